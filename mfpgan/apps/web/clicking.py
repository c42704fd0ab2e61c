"""What a person does: the requests that change a session. Each answers with `Person.state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from mfpgan.apps.formats import OBJECT_COLOURS
from mfpgan.apps.web.desk import Body, Demo, Here, Who, as_json
from mfpgan.apps.web.sessions import Person
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.photos import read_mask, upright_photo
from mfpgan.types import Click, Image

EXAMPLES = ("000000017029", "000000006012", "000000012062", "000000418281", "000000475678")
"""Photos of the sample that the page offers."""
FILES = ("/photo", "/mask")
"""Ends of the paths that take a file."""

router = APIRouter(prefix="/api")


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


@router.get("/start")
async def start(demo: Here) -> Response:
    """What a page has to know before anything else."""
    found = await demo.file(demo.models.choices)  # MLflow may be far away
    choices = [{"key": one.key, "text": one.text, "heat": one.heat} for one in found]
    return as_json(
        {"models": choices, "first": demo.models.first, "examples": len(EXAMPLES), "colours": OBJECT_COLOURS}
    )


@router.post("/sessions")
async def join(model: Model, demo: Here) -> Response:
    """A session for a new tab."""
    person = await demo.run(lambda: Person(demo.models, model.key))
    return as_json({"name": demo.people.join(person)} | person.state(), 201)


@router.post("/sessions/{name}/photo")
async def photo(person: Who, body: Body, demo: Here) -> Response:
    """Begin with a photo; the body is its file."""
    return await _opened(demo, person, lambda: upright_photo(body, "the file"))


@router.post("/sessions/{name}/example")
async def example(person: Who, number: Number, demo: Here) -> Response:
    """Begin with one of the photos that come along."""
    name = EXAMPLES[number.number % len(EXAMPLES)]
    return await _opened(demo, person, lambda: upright_photo(SAMPLE_FOLDER / "val" / f"{name}.jpg"))


@router.post("/sessions/{name}/mask")
async def mask(person: Who, body: Body, demo: Here) -> Response:
    """An object that begins with a mask; the body is its file, grey or of a palette, 0 is background."""
    values = await demo.file(lambda: read_mask(body, "the file"))
    return await _acted(demo, lambda: person.new_object(values > 0))


@router.post("/sessions/{name}/click")
async def click(person: Who, place: Place, demo: Here) -> Response:
    """One click on the selected object."""
    return await _acted(demo, lambda: person.click(Click(place.y, place.x, place.positive)))


@router.post("/sessions/{name}/undo")
async def undo(person: Who, demo: Here) -> Response:
    """Take the selected object's last click back."""
    return await _acted(demo, person.undo)


@router.post("/sessions/{name}/redo")
async def redo(person: Who, demo: Here) -> Response:
    """The click that was taken back last, again."""
    return await _acted(demo, person.redo)


@router.post("/sessions/{name}/reset")
async def reset(person: Who, demo: Here) -> Response:
    """Take all clicks of the selected object back."""
    return await _acted(demo, person.reset)


@router.post("/sessions/{name}/object")
async def new_object(person: Who, demo: Here) -> Response:
    """One more object, which is then the selected one."""
    return await _acted(demo, person.new_object)


@router.post("/sessions/{name}/select")
async def select(person: Who, number: Number, demo: Here) -> Response:
    """Go on with an object, from 1."""
    return await _acted(demo, lambda: person.select(number.number))


@router.post("/sessions/{name}/model")
async def model(person: Who, model: Model, demo: Here) -> Response:
    """The same clicks, answered by another network."""
    return await _acted(demo, lambda: person.change_model(model.key))


@router.post("/sessions/{name}/leave")
async def leave(name: str, demo: Here) -> Response:
    """The tab was closed."""
    demo.people.leave(name)
    return Response(status_code=204)


async def _opened(demo: Demo, person: Person, read: Callable[[], Image]) -> Response:
    pixels = await demo.file(read)
    return await _acted(demo, lambda: person.open(pixels))


async def _acted(demo: Demo, action: Callable[[], dict[str, Any]]) -> Response:
    def act() -> Response:
        state = action()
        demo.people.make_room()
        return as_json(state)

    return await demo.run(act)
