"""The server of `mfpgan demo`: the page's files, and what it asks while somebody clicks.

All that touches networks and sessions happens in one thread, in the order in which it was asked: a network is no faster in two,
and nobody's clicks overtake each other. Files are read and written in two other threads: a file of some kilobytes may be
hundreds of megabytes when it is unpacked.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from PIL import Image as PillowImage
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from mfpgan.apps import formats
from mfpgan.apps.web.guard import Guard
from mfpgan.apps.web.heat import heat
from mfpgan.apps.web.models import Models
from mfpgan.apps.web.sessions import Gone, People, Person
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.photos import read_mask, upright_photo
from mfpgan.types import BoolMask, Click, Image, InputError

Answer = TypeVar("Answer")
STATIC = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
EXAMPLES = ("000000017029", "000000006012", "000000012062", "000000418281", "000000475678")
"""Photos of the sample that the page offers."""
JPEG_SIDE = 65_500
"""Pixels; longer sides need another format."""
FILES = ("/photo", "/mask")
"""Ends of the paths that take a file."""


class Demo:
    """What the requests share.

    Args:
        models: what can be chosen.
        people: who is there; their number and memory are limited.
    """

    def __init__(self, models: Models, people: People | None = None) -> None:
        self.models = models
        self.people = People() if people is None else people
        self._networks = ThreadPoolExecutor(1, "networks")
        self._files = ThreadPoolExecutor(2, "files")

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do something with networks or sessions when it is its turn; what it raises is raised here."""
        return await asyncio.wrap_future(self._networks.submit(work))

    async def file(self, work: Callable[[], Answer]) -> Answer:
        """Read or write a file's content."""
        return await asyncio.wrap_future(self._files.submit(work))

    def load(self) -> None:
        """Load the first network before anybody asks.

        Raises:
            InputError: it cannot be used.
        """
        self._networks.submit(lambda: self.models.engine(self.models.first)).result()

    def close(self) -> None:
        """What is still waiting is not done."""
        for threads in (self._networks, self._files):
            threads.shutdown(wait=True, cancel_futures=True)


async def _demo(request: Request) -> Demo:
    demo: Demo = request.app.state.demo
    return demo


Here = Annotated[Demo, Depends(_demo)]


async def _person(name: str, demo: Here) -> Person:
    return demo.people.find(name)


async def _body(request: Request) -> bytes:
    return await request.body()  # of a length that the guard has looked at


Who = Annotated[Person, Depends(_person)]
Body = Annotated[bytes, Depends(_body)]


class Model(BaseModel):
    """Body of a request: which network."""

    key: str


class Number(BaseModel):
    """Body of a request: which object, or which example."""

    number: int


class Place(BaseModel):
    """Body of a request: a click, in pixels from the top left of the photo."""

    y: int
    x: int
    positive: bool = True


api = APIRouter(prefix="/api")
of_person = APIRouter(prefix="/api/sessions/{name}")


@api.get("/start")
async def start(demo: Here) -> Response:
    """What a page has to know before anything else."""
    found = await demo.file(demo.models.choices)  # MLflow may be far away
    choices = [{"key": one.key, "text": one.text, "heat": one.heat} for one in found]
    return _json(
        {"models": choices, "first": demo.models.first, "examples": len(EXAMPLES), "colours": formats.OBJECT_COLOURS}
    )


@api.post("/sessions")
async def join(model: Model, demo: Here) -> Response:
    """A session for a new tab."""
    person = await demo.run(lambda: Person(demo.models, model.key))
    return _json({"name": demo.people.join(person)} | person.state(), 201)


@of_person.post("/photo")
async def photo(person: Who, body: Body, demo: Here) -> Response:
    """Begin with a photo; the body is its file."""
    return await _opened(demo, person, lambda: upright_photo(body, "the file"))


@of_person.post("/example")
async def example(person: Who, number: Number, demo: Here) -> Response:
    """Begin with one of the photos that come along."""
    name = EXAMPLES[number.number % len(EXAMPLES)]
    return await _opened(demo, person, lambda: upright_photo(SAMPLE_FOLDER / "val" / f"{name}.jpg"))


@of_person.post("/mask")
async def mask(person: Who, body: Body, demo: Here) -> Response:
    """An object that begins with a mask; the body is its file, grey or of a palette, 0 is background."""
    values = await demo.file(lambda: read_mask(body, "the file"))
    return await _acted(demo, lambda: person.new_object(values > 0))


@of_person.post("/click")
async def click(person: Who, place: Place, demo: Here) -> Response:
    """One click on the selected object."""
    return await _acted(demo, lambda: person.click(Click(place.y, place.x, place.positive)))


@of_person.post("/undo")
async def undo(person: Who, demo: Here) -> Response:
    """Take the selected object's last click back."""
    return await _acted(demo, person.undo)


@of_person.post("/redo")
async def redo(person: Who, demo: Here) -> Response:
    """The click that was taken back last, again."""
    return await _acted(demo, person.redo)


@of_person.post("/reset")
async def reset(person: Who, demo: Here) -> Response:
    """Take all clicks of the selected object back."""
    return await _acted(demo, person.reset)


@of_person.post("/object")
async def new_object(person: Who, demo: Here) -> Response:
    """One more object, which is then the selected one."""
    return await _acted(demo, person.new_object)


@of_person.post("/select")
async def select(person: Who, number: Number, demo: Here) -> Response:
    """Go on with an object, from 1."""
    return await _acted(demo, lambda: person.select(number.number))


@of_person.post("/model")
async def model(person: Who, model: Model, demo: Here) -> Response:
    """The same clicks, answered by another network."""
    return await _acted(demo, lambda: person.change_model(model.key))


@of_person.post("/leave")
async def leave(name: str, demo: Here) -> Response:
    """The tab was closed."""
    demo.people.leave(name)
    return Response(status_code=204)


@of_person.get("/photo")
async def shown_photo(person: Who, demo: Here) -> Response:
    """The photo upright, as the network sees it, whatever format it came in."""
    pixels = await demo.run(lambda: person.opened.image)
    if max(pixels.shape) > JPEG_SIDE:
        return await _png(demo, lambda: formats.png_of(pixels))

    def jpeg() -> bytes:
        file = BytesIO()
        PillowImage.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)
        return file.getvalue()

    return Response(await demo.file(jpeg), media_type="image/jpeg")


@of_person.get("/probability")
async def probability(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 for 1, row by row."""
    shown = await demo.run(person.probability)
    return Response(shown.tobytes(), media_type="application/octet-stream")


@of_person.get("/heat")
async def heat_map(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 where the discriminator dislikes the mask most; the logits at 255 and 0 in the headers."""

    def ask() -> tuple[bytes, float, float]:
        found = heat(person.opened, demo.models.critic(person.engine.key))
        return person.reduced(found.level).tobytes(), found.low, found.high

    levels, low, high = await demo.run(ask)
    headers = {"x-low": f"{low:.3g}", "x-high": f"{high:.3g}"}
    return Response(levels, media_type="application/octet-stream", headers=headers)


@of_person.get("/mask.png")
async def mask_file(person: Who, demo: Here) -> Response:
    """255 on the selected object, 0 elsewhere."""
    mask = await demo.run(lambda: person.opened.mask)
    return await _png(demo, lambda: formats.png_of_mask(mask))


@of_person.get("/labels.png")
async def labels_file(person: Who, demo: Here) -> Response:
    """The number of the object at each pixel, 0 for none."""
    labels = await demo.run(lambda: person.opened.label_map)
    return await _png(demo, lambda: formats.png_of_labels(labels))


@of_person.get("/overlay.png")
async def overlay_file(person: Who, demo: Here, opacity: float = 0.5) -> Response:
    """The photo with objects and clicks."""
    if not 0 <= opacity <= 1:
        raise InputError(f"the opacity is {opacity:g}, expected 0 to 1.")

    def ask() -> tuple[Image, Any, list[Click]]:
        return person.opened.image, person.opened.label_map, person.all_clicks

    image, labels, clicks = await demo.run(ask)
    return await _png(demo, lambda: formats.png_of(formats.overlay(image, labels, clicks, opacity)))


@of_person.get("/coco.json")
async def coco_file(person: Who, demo: Here) -> Response:
    """A COCO file of the objects, as run lengths; those without a pixel are left out."""
    masks = await demo.run(lambda: person.opened.masks)
    return _json(await demo.file(lambda: coco(masks)))


def coco(masks: list[BoolMask]) -> dict[str, Any]:
    """A COCO file of one photo, as plain types.

    Args:
        masks: (H, W) bool, one an object; their numbers are the entries' ids.
    """
    height, width = masks[0].shape
    annotations = []
    for number, mask in enumerate(masks, 1):
        if mask.any():
            ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = (xs[0], ys[0], xs[-1] - xs[0] + 1, ys[-1] - ys[0] + 1)
            annotations.append(
                {
                    "id": number,
                    "image_id": 1,
                    "category_id": 1,
                    "segmentation": formats.coco_rle(mask),
                    "area": int(np.count_nonzero(mask)),
                    "bbox": [int(side) for side in box],
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": 1, "width": width, "height": height, "file_name": "photo"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "object"}],
    }


def make_app(demo: Demo) -> FastAPI:
    """The page and what it asks."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.demo = demo
    app.include_router(api)
    app.include_router(of_person)
    for path in sorted(STATIC.iterdir()):  # these and no others, read once: no path of a request is ever opened
        if path.suffix in KINDS:
            address = "/" if path.name == "index.html" else f"/static/{path.name}"
            app.get(address)(_serving(path.read_bytes(), KINDS[path.suffix]))
    for kind, status in (
        (Gone, 410),
        (InputError, 400),
        (RequestValidationError, 400),
        (HTTPException, 404),
        (Exception, 500),
    ):
        app.add_exception_handler(kind, _refusing(status))
    app.add_middleware(Guard, files=FILES)
    return app


def listen(port: int) -> socket.socket:
    """Where the page will be, on this machine only; port 0 for any that is free.

    Raises:
        InputError: the port is taken.
    """
    # By its full name: only then asyncio switches Nagle's algorithm off, which holds each answer's body back for 40 ms.
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page closed a moment ago does not count
    try:
        place.bind(("127.0.0.1", port))
        place.listen(2048)  # as uvicorn does, but now: two that are only bound may share a port
    except OSError as error:
        place.close()
        raise InputError(f"127.0.0.1:{port} cannot be used ({error.strerror}); choose another --port.") from None
    return place


def serve(demo: Demo, place: socket.socket) -> None:
    """Until Ctrl-C."""
    try:
        with suppress(KeyboardInterrupt):
            _server(demo).run(sockets=[place])
    finally:
        demo.close()


@contextmanager
def running(demo: Demo) -> Iterator[str]:
    """Meanwhile the page is served from a thread; its address."""
    place = listen(0)
    server = _server(demo)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        demo.close()
        place.close()


def _server(demo: Demo) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            make_app(demo), log_level="error", access_log=False, lifespan="off", server_header=False, ws="none",
            http="h11", timeout_graceful_shutdown=2,
        )
    )  # fmt: skip


async def _opened(demo: Demo, person: Person, read: Callable[[], Image]) -> Response:
    pixels = await demo.file(read)
    return await _acted(demo, lambda: person.open(pixels))


async def _acted(demo: Demo, action: Callable[[], dict[str, Any]]) -> Response:
    answer = await demo.run(lambda: _json(action()))
    demo.people.make_room()  # clicks, objects and masks take memory too
    return answer


async def _png(demo: Demo, draw: Callable[[], bytes]) -> Response:
    return Response(await demo.file(draw), media_type="image/png")


def _json(values: Any, status: int = 200) -> Response:
    """Straight from plain types: FastAPI's own way looks at each number of a list."""
    return Response(json.dumps(values, separators=(",", ":")), status, media_type="application/json")


def _serving(data: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(data, media_type=kind)


def _refusing(status: int) -> Callable[[Request, Exception], Response]:
    """One sentence about what went wrong."""

    def answer(_: Request, error: Exception) -> Response:
        if isinstance(error, InputError):
            sentence = str(error)
        elif isinstance(error, RequestValidationError):
            sentence = "the request is not as the page sends it; reload the page."
        elif isinstance(error, HTTPException):
            sentence = "there is nothing at this address; open the page itself."
        else:
            sentence = "the server failed at this; what happened stands in its terminal."
        return _json({"error": sentence}, status)

    return answer
