"""The server of `mfpgan demo`: the page's files, and what it asks while somebody clicks.

All that touches networks and sessions happens in one thread, in the order in which it was asked: a network is no faster in two,
and nobody's clicks overtake each other. Files are read and written in the threads of the requests.
"""

from __future__ import annotations

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
from mfpgan.types import Click, Image, InputError

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
        self.decoding = threading.Lock()
        """One photo at a time is unpacked: a file of some kilobytes may be hundreds of megabytes."""
        self._worker = ThreadPoolExecutor(1, "networks")

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Do something with networks or sessions when it is its turn; what it raises is raised here."""
        return self._worker.submit(work).result()

    def close(self) -> None:
        """What is still waiting is not done."""
        self._worker.shutdown(wait=True, cancel_futures=True)


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
def start(demo: Here) -> Response:
    """What a page has to know before anything else."""
    choices = [{"key": one.key, "text": one.text, "heat": one.heat} for one in demo.models.choices()]
    return _json(
        {"models": choices, "first": demo.models.first, "examples": len(EXAMPLES), "colours": formats.OBJECT_COLOURS}
    )


@api.post("/sessions")
def join(model: Model, demo: Here) -> Response:
    """A session for a new tab."""
    person = demo.run(lambda: Person(demo.models, model.key))
    return _json({"name": demo.people.join(person)} | person.state(), 201)


@of_person.post("/photo")
def photo(person: Who, body: Body, demo: Here) -> Response:
    """Begin with a photo; the body is its file."""
    with demo.decoding:
        pixels = upright_photo(body, "the file")
    return _opened(demo, person, pixels)


@of_person.post("/example")
def example(person: Who, number: Number, demo: Here) -> Response:
    """Begin with one of the photos that come along."""
    name = EXAMPLES[number.number % len(EXAMPLES)]
    return _opened(demo, person, upright_photo(SAMPLE_FOLDER / "val" / f"{name}.jpg"))


@of_person.post("/mask")
def mask(person: Who, body: Body, demo: Here) -> Response:
    """An object that begins with a mask; the body is its file, grey or of a palette, 0 is background."""
    with demo.decoding:
        values = read_mask(body, "the file")
    return _acted(demo, lambda: person.new_object(values > 0))


@of_person.post("/click")
def click(person: Who, place: Place, demo: Here) -> Response:
    """One click on the selected object."""
    return _acted(demo, lambda: person.click(Click(place.y, place.x, place.positive)))


@of_person.post("/undo")
def undo(person: Who, demo: Here) -> Response:
    """Take the selected object's last click back."""
    return _acted(demo, person.undo)


@of_person.post("/redo")
def redo(person: Who, demo: Here) -> Response:
    """The click that was taken back last, again."""
    return _acted(demo, person.redo)


@of_person.post("/reset")
def reset(person: Who, demo: Here) -> Response:
    """Take all clicks of the selected object back."""
    return _acted(demo, person.reset)


@of_person.post("/object")
def new_object(person: Who, demo: Here) -> Response:
    """One more object, which is then the selected one."""
    return _acted(demo, person.new_object)


@of_person.post("/select")
def select(person: Who, number: Number, demo: Here) -> Response:
    """Go on with an object, from 1."""
    return _acted(demo, lambda: person.select(number.number))


@of_person.post("/model")
def model(person: Who, model: Model, demo: Here) -> Response:
    """The same clicks, answered by another network."""
    return _acted(demo, lambda: person.change_model(model.key))


@of_person.post("/leave")
def leave(name: str, demo: Here) -> Response:
    """The tab was closed."""
    demo.people.leave(name)
    return Response(status_code=204)


@of_person.get("/photo")
def shown_photo(person: Who, demo: Here) -> Response:
    """The photo upright, as the network sees it, whatever format it came in."""
    pixels = demo.run(lambda: person.opened.image)
    if max(pixels.shape) > JPEG_SIDE:
        return Response(formats.png_of(pixels), media_type="image/png")
    file = BytesIO()
    PillowImage.fromarray(pixels).save(file, "JPEG", quality=92, subsampling=0)
    return Response(file.getvalue(), media_type="image/jpeg")


@of_person.get("/probability")
def probability(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 for 1, row by row."""
    return Response(demo.run(person.probability).tobytes(), media_type="application/octet-stream")


@of_person.get("/heat")
def heat_map(person: Who, demo: Here) -> Response:
    """A byte a shown pixel, 255 where the discriminator dislikes the mask most; the logits at 255 and 0 in the headers."""

    def ask() -> tuple[bytes, float, float]:
        found = heat(person.opened, demo.models.critic(person.engine.key))
        return person.reduced(found.level).tobytes(), found.low, found.high

    levels, low, high = demo.run(ask)
    headers = {"x-low": f"{low:.3g}", "x-high": f"{high:.3g}"}
    return Response(levels, media_type="application/octet-stream", headers=headers)


@of_person.get("/mask.png")
def mask_file(person: Who, demo: Here) -> Response:
    """255 on the selected object, 0 elsewhere."""
    return Response(formats.png_of_mask(demo.run(lambda: person.opened.mask)), media_type="image/png")


@of_person.get("/labels.png")
def labels_file(person: Who, demo: Here) -> Response:
    """The number of the object at each pixel, 0 for none."""
    return Response(formats.png_of_labels(demo.run(lambda: person.opened.label_map)), media_type="image/png")


@of_person.get("/overlay.png")
def overlay_file(person: Who, demo: Here, opacity: float = 0.5) -> Response:
    """The photo with objects and clicks."""
    if not 0 <= opacity <= 1:
        raise InputError(f"the opacity is {opacity:g}, expected 0 to 1.")

    def ask() -> tuple[Image, Any, list[Click]]:
        return person.opened.image, person.opened.label_map, person.all_clicks

    image, labels, clicks = demo.run(ask)
    return Response(formats.png_of(formats.overlay(image, labels, clicks, opacity)), media_type="image/png")


@of_person.get("/coco.json")
def coco_file(person: Who, demo: Here) -> Response:
    """A COCO file of the objects, as run lengths; those without a pixel are left out."""
    masks = demo.run(lambda: person.opened.masks)
    height, width = masks[0].shape
    annotations = []
    for number, one in enumerate(masks, 1):
        if one.any():
            ys, xs = np.nonzero(one.any(1))[0], np.nonzero(one.any(0))[0]
            box = [xs[0], ys[0], xs[-1] - xs[0] + 1, ys[-1] - ys[0] + 1]
            annotations.append(
                {
                    "id": number,
                    "image_id": 1,
                    "category_id": 1,
                    "segmentation": formats.coco_rle(one),
                    "area": int(np.count_nonzero(one)),
                    "bbox": [int(side) for side in box],
                    "iscrowd": 0,
                }
            )
    return _json(
        {
            "images": [{"id": 1, "width": width, "height": height, "file_name": "photo"}],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "object"}],
        }
    )


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
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page closed a moment ago does not count
    try:
        place.bind(("127.0.0.1", port))
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


def _opened(demo: Demo, person: Person, pixels: Image) -> Response:
    answer = _acted(demo, lambda: person.open(pixels))
    demo.people.make_room()
    return answer


def _acted(demo: Demo, action: Callable[[], dict[str, Any]]) -> Response:
    return _json(demo.run(action))


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
