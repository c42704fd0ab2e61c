"""Clicks that somebody wrote down: in a file for many photos, or on a command line for one.

    [
      {"image": "cat.jpg", "clicks": [{"x": 120, "y": 80}, {"x": 30, "y": 40, "positive": false}]},
      {"image": "street/two.jpg", "objects": [{"clicks": [{"x": 5, "y": 9}]}, {"clicks": [{"x": 7, "y": 7}], "mask": "old.png"}]}
    ]

An entry is a photo. It has `objects`, or stands for its only one. Paths are relative to the file's folder.
"""

from __future__ import annotations

import json
import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mfpgan.types import Click, InputError, quoted, reason_of

MOST_BYTES = 2**26
"""A larger file of clicks is refused; it would hold more than a million of them and take a gigabyte of memory."""
MOST_OBJECTS = 65_535
"""In one photo: a label map has 16 bits."""
_LONGEST_SIDE_PX = 2**31
"""No photo reaches so far, and a number of a thousand digits stays out of all messages."""


@dataclass(frozen=True, slots=True)
class ObjectClicks:
    """What is known of one object."""

    clicks: tuple[Click, ...]
    """Oldest first, at least one."""
    mask: Path | None = None
    """A mask file that the clicks correct: all but 0 is the object."""


@dataclass(frozen=True, slots=True)
class PhotoClicks:
    """A photo and its objects."""

    photo: Path
    objects: tuple[ObjectClicks, ...]
    """At least one."""
    name: str
    """The photo's name in what is written: as in the file of clicks; of a photo on a command line, its file's name."""
    where: str
    """How messages call it."""


def read_click_file(path: Path) -> list[PhotoClicks]:
    """The entries of a file of clicks, at least one; see above.

    That a photo is there is looked up; whether it can be read, and holds its clicks, is seen when it is opened.

    Raises:
        InputError: the file cannot be read, something in it is not as above, or a photo or mask is missing or there twice.
    """
    entries = _read_json(path)
    if not isinstance(entries, list) or not entries:
        _refuse(f"{path}", f"expected a list of entries like {_EXAMPLE}, got {quoted(entries)}")
    photos = [_photo(entry, path, number) for number, entry in enumerate(entries, 1)]
    first: dict[Path, PhotoClicks] = {}
    for photo in photos:
        same = first.setdefault(Path(os.path.normpath(photo.photo)), photo)
        if same is not photo:
            _refuse(photo.where, f"the photo has an entry before, {quoted(same.name)}; put all its objects into one")
    return photos


def clicks_on_photo(photo: Path, clicks: list[str], mask: Path | None) -> PhotoClicks:
    """One photo with one object.

    Args:
        clicks: each X,Y,SIGN, see `click_of`.

    Raises:
        InputError: a text is no click, or there is none; the photo or the mask is missing.
    """
    if not clicks:
        raise InputError(
            f"{photo}: there is no click; give one as --click X,Y,+ or the clicks of many photos as --clicks."
        )
    for path in (photo, mask):
        if path is not None and not os.path.isfile(path):  # noqa: PTH113, Path's raises for names that no file can have
            raise InputError(f"{path}: no such file; put the picture there or mend the path.")
    one = ObjectClicks(tuple(map(click_of, clicks)), mask)
    return PhotoClicks(photo, (one,), photo.name, str(photo))


def click_of(text: str) -> Click:
    """The click that X,Y,SIGN means: "120,80,+" is on the pixel at x=120, y=80.

    Raises:
        InputError: it means none.
    """
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*,\s*([+-])\s*", text)
    if not found:
        raise InputError(
            f"--click {quoted(text)}: expected X,Y,SIGN, whole pixels from the top left and + (this belongs to the object) or "
            "- (this does not), for example --click 120,80,+."
        )
    x, y, sign = found.groups()
    return Click(int(y), int(x), sign == "+")


_EXAMPLE = '{"image": "a.jpg", "clicks": [{"x": 120, "y": 80, "positive": true}]}'


def _read_json(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB; split it")
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file, expected a list of photos and clicks in JSON.") from None
    except RecursionError:
        raise InputError(
            f"{path}: not readable as JSON (it is nested too deeply); expected entries like {_EXAMPLE}."
        ) from None
    except (OSError, ValueError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error, without=str(path))
        )
        raise InputError(f"{path}: not readable as JSON ({reason}); expected entries like {_EXAMPLE}.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name JSON's readers take the last without a word."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _photo(value: Any, path: Path, number: int) -> PhotoClicks:
    where = f"{path}: entry {number}"
    fields = _fields(value, ("image", "objects", "clicks", "mask"), where)
    photo = _file(fields.get("image"), "image", path.parent, where)
    where = f"{where}, {quoted(fields['image'])}"
    objects = fields.get("objects")
    if "objects" not in fields:
        objects = [{name: kept for name, kept in fields.items() if name != "image"}]
    elif len(fields) > 2:
        _refuse(where, "it has objects, which have the clicks and masks, and one beside them; put that into an object")
    if not isinstance(objects, list) or not 1 <= len(objects) <= MOST_OBJECTS:
        _refuse(
            where,
            f'objects must be a list of 1 to {MOST_OBJECTS}, each like {{"clicks": [...]}}, got {quoted(objects)}',
        )
    several = len(objects) > 1
    made = [
        _object(one, path.parent, f"{where}, object {place}" if several else where)
        for place, one in enumerate(objects, 1)
    ]
    return PhotoClicks(photo, tuple(made), fields["image"], where)


def _object(value: Any, folder: Path, where: str) -> ObjectClicks:
    fields = _fields(value, ("clicks", "mask"), where)
    clicks = fields.get("clicks")
    if not isinstance(clicks, list) or not clicks:
        _refuse(where, f'clicks must be a list of at least one {{"x": 120, "y": 80}}, got {quoted(clicks)}')
    mask = _file(fields["mask"], "mask", folder, where) if "mask" in fields else None
    return ObjectClicks(tuple(_click(one, f"{where}, click {place}") for place, one in enumerate(clicks, 1)), mask)


def _click(value: Any, where: str) -> Click:
    fields = _fields(value, ("x", "y", "positive"), where)
    for name in ("x", "y"):
        place = fields.get(name)
        if type(place) is not int or not 0 <= place < _LONGEST_SIDE_PX:  # True is an int too
            _refuse(where, f"{name} must be a whole number of pixels from the top left, got {quoted(place)}")
    positive = fields.get("positive", True)
    if type(positive) is not bool:
        _refuse(where, f"positive must be true or false, got {quoted(positive)}")
    return Click(fields["y"], fields["x"], positive)


def _fields(value: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """The fields of an object of JSON; a name that is not known may be a known one misspelt."""
    names = ", ".join(known)
    if not isinstance(value, dict):
        _refuse(where, f"expected an object of JSON with the keys {names}, got {quoted(value)}")
    for name in value:
        if name not in known:
            _refuse(where, f"the key {quoted(name)} means nothing here; possible are {names}")
    return value


def _file(value: Any, name: str, folder: Path, where: str) -> Path:
    if not isinstance(value, str):
        _refuse(where, f"{name} must be the path of a picture, got {quoted(value)}")
    if not os.path.isfile(folder / value):  # noqa: PTH113, Path's raises for names that no file can have
        _refuse(where, f"{name} {quoted(value)} is no file in {folder}; put it there or mend the path")
    return folder / value


def _refuse(where: str, sentence: str) -> NoReturn:
    raise InputError(f"{where}: {sentence}.")
