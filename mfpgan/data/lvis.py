"""LVIS and COCO instance annotations: one JSON file, photos beside it or anywhere else.

LVIS v1 names no file: the photo's path is the tail of `coco_url` ("train2017/000000000009.jpg").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mfpgan.data.facts import Facts
from mfpgan.data.parts import Parts
from mfpgan.data.photos import MAX_PIXELS, LastPhoto
from mfpgan.data.problem import Problem, stop_at_first
from mfpgan.data.segmentation import draw, draw_together, segmentation_problem, stated_area_px
from mfpgan.types import BoolMask, Image, InputError, Sample


@dataclass(frozen=True, slots=True)
class LvisImage:
    """One image entry."""

    id: int
    names: tuple[str, ...]
    """Where the photo may lie below a folder, the likeliest first: "train2017/000000000009.jpg", "000000000009.jpg"."""
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class LvisObject:
    """One annotation that can be drawn."""

    id: int
    image: int
    """Index into `LvisIndex.images`."""
    category: str
    segmentation: Any
    """List of polygons or RLE object, checked."""
    area_px: float


@dataclass(frozen=True, slots=True)
class LvisIndex:
    """All that the file says, with everything that is wrong with it."""

    images: list[LvisImage]
    objects: list[LvisObject]
    """Those that can be drawn, image by image in the file's order; crowds are left out."""
    problems: list[Problem]
    frequencies: dict[str, str]
    """For each category by name, LVIS's "r", "c" or "f", or ""."""


class LvisDataSet:
    """Objects of an LVIS or COCO JSON. Objects whose polygon or RLE cannot be drawn, and crowds, are left out.

    Args:
        path: the JSON file.
        images: folder of the photos; they are also looked for beside the JSON and beside its folder.
        strict: False opens the file in spite of wrong entries, which are left out and listed in `problems`.

    Raises:
        InputError: not JSON, a key missing or of the wrong type, an id used twice, or an unknown image or category.
    """

    def __init__(self, path: Path, images: Path | None = None, strict: bool = True) -> None:
        self.path = path
        self.name = f"lvis {path.stem}"
        index = read_index(path)
        if strict:
            stop_at_first(index.problems)
        self.problems = index.problems
        """What was left out and why."""
        self.images = index.images
        self.objects = index.objects
        self._frequencies = index.frequencies
        self._folders = photo_folders(path, images)
        self._photo = LastPhoto()
        self._digest: str | None = None
        self._by_image: dict[int, list[int]] = {}
        for number, item in enumerate(index.objects):
            self._by_image.setdefault(item.image, []).append(number)
        self._objects_of_image = list(self._by_image.values())

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`.

        Raises:
            InputError: the photo is missing, damaged or of another size, or the polygon cancels itself out.
        """
        return self.parts(index).whole()

    def parts(self, index: int) -> Parts:
        """Object number `index`, its photo not decoded yet; raises InputError as `[index]` does."""
        item = self.objects[index]
        image = self.images[item.image]
        target = draw(item.segmentation, image.height, image.width)
        if not target.any():
            raise InputError(f"{self.path} (annotation {item.id}): the polygon covers no pixel; remove or mend it.")

        def photo(reduction: int) -> Image:
            path = self.photo_path(item.image)
            return self._photo.look(path, (image.height, image.width), self.path.name, reduction)

        return Parts(f"{image.id}/{item.id}", target, None, photo)

    def facts(self) -> Facts:
        """Area as the annotations state it, and category of every object."""
        numbers = {name: number for number, name in enumerate(self._frequencies)}
        return Facts(
            np.array([item.area_px for item in self.objects], np.float32),
            np.array([numbers[item.category] for item in self.objects], np.int32),
            tuple(self._frequencies),
            tuple(self._frequencies.values()),
        )

    def others(self, index: int) -> BoolMask:
        """(H, W) bool: the image's other objects, drawn together; crowds and what cannot be drawn are not among them."""
        image = self.objects[index].image
        height, width = self.images[image].height, self.images[image].width
        beside = [self.objects[other].segmentation for other in self._by_image[image] if other != index]
        return draw_together(beside, height, width)

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image that has any, the indices of its objects."""
        return self._objects_of_image

    def digest(self) -> str:
        """First 16 hex digits of the file's SHA-256."""
        if self._digest is None:
            with self.path.open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return self._digest

    def photo_path(self, image: int) -> Path:
        """The photo of image number `image`; InputError with the places searched if it lies in none of them."""
        names = self.images[image].names
        for folder in self._folders:
            for name in names:
                if (folder / name).is_file():
                    return folder / name
        places = ", ".join(str(folder) for folder in self._folders)
        raise InputError(f"photo {names[0]} of {self.path} was not found in {places}; name its folder with --images.")


def photo_folders(path: Path, images: Path | None) -> list[Path]:
    """Where photos of the JSON file `path` are looked for, in this order; InputError if `images` is no folder."""
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder; --images names the folder of the photos.")
    around = [path.parent, path.resolve().parent.parent]
    beside = [folder / name for folder in around for name in (".", "images", "coco") if (folder / name).is_dir()]
    return [*([images] if images is not None else []), *beside]


def read_index(path: Path) -> LvisIndex:
    """Read and check the whole file; what is wrong with single entries is collected, not raised.

    Raises:
        InputError: not readable, not JSON, or without the lists `images`, `annotations` and `categories`.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); give the path of an LVIS or COCO JSON.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); give an LVIS or COCO instances file, unpacked.") from None
    lists: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list):
            raise InputError(
                f"{path}: no list {key!r} in it, which an LVIS or COCO instances JSON has; give such a file."
            )
        lists[key] = value
    reader = _EntryReader(path)
    categories = reader.categories(lists["categories"])
    images = reader.images(lists["images"])
    objects = reader.objects(lists["annotations"], images, categories)
    return LvisIndex(images, objects, reader.problems, reader.frequencies)


class _EntryReader:
    """Reads the three lists and notes the problems of each entry."""

    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self.problems: list[Problem] = []
        self.frequencies: dict[str, str] = {}

    def categories(self, entries: list[Any]) -> dict[int, str]:
        names: dict[int, str] = {}
        for place, entry in self._entries("categories", entries, names):
            if isinstance(entry.get("name"), str):
                names[entry["id"]] = entry["name"]
                frequency = entry.get("frequency")
                self.frequencies[entry["name"]] = frequency if frequency in ("r", "c", "f") else ""
            else:
                self._stop(place, "name is missing or no text")
        return names

    def images(self, entries: list[Any]) -> list[LvisImage]:
        images: dict[int, LvisImage] = {}
        for place, entry in self._entries("images", entries, images):
            names = _photo_names(entry)
            height, width = entry.get("height"), entry.get("width")
            if not (type(height) is int and type(width) is int and min(height, width) > 0):
                self._stop(place, "height and width must be integers above 0")
            elif height * width > MAX_PIXELS:
                self._stop(place, f"{width}x{height} pixels are more than the {MAX_PIXELS} that can be read")
            elif not names:
                self._stop(place, "neither file_name nor coco_url names the photo")
            else:
                images[entry["id"]] = LvisImage(entry["id"], names, height, width)
        return list(images.values())

    def objects(self, entries: list[Any], images: list[LvisImage], categories: dict[int, str]) -> list[LvisObject]:
        numbers = {image.id: number for number, image in enumerate(images)}
        objects: dict[int, LvisObject] = {}
        seen: dict[int, None] = {}
        for place, entry in self._entries("annotations", entries, seen):
            seen[entry["id"]] = None
            if entry.get("iscrowd", 0) not in (0, False):
                continue
            image, category = entry.get("image_id"), entry.get("category_id")
            if type(image) is not int or image not in numbers:
                self._stop(place, f"image_id {str(image)[:40]!r} is not the id of an entry of images")
            elif type(category) is not int or category not in categories:
                self._stop(place, f"category_id {str(category)[:40]!r} is not the id of an entry of categories")
            elif "segmentation" not in entry:
                self._stop(place, "segmentation is missing; boxes alone do not say which pixels belong to the object")
            else:
                size = images[numbers[image]]
                reason = segmentation_problem(entry["segmentation"], size.height, size.width)
                if reason is None:
                    number, name = numbers[image], categories[category]
                    area_px = stated_area_px(entry)
                    objects[entry["id"]] = LvisObject(entry["id"], number, name, entry["segmentation"], area_px)
                else:
                    self.problems.append(Problem(self._file, f"annotation {entry['id']}", f"{reason}.", "skip"))
        return sorted(objects.values(), key=lambda item: item.image)

    def _entries(self, name: str, entries: list[Any], known: dict[int, Any]) -> Any:
        """The entries that are objects with an id of their own, each with the words that point to it."""
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or type(entry.get("id")) is not int:
                self._stop(f"{name}[{number}]", "an entry is an object with an integer id")
            elif entry["id"] in known:
                self._stop(f"{name}[{number}]", f"id {entry['id']} is used twice; ids must differ")
            else:
                yield f"{name}[{number}], id {entry['id']}", entry

    def _stop(self, place: str, sentence: str) -> None:
        self.problems.append(Problem(self._file, place, f"{sentence}.", "stop"))


def _photo_names(entry: dict[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    if isinstance(entry.get("file_name"), str):
        names.append(entry["file_name"])
    if isinstance(entry.get("coco_url"), str):
        names.append("/".join(entry["coco_url"].split("/")[-2:]))
    names += [PurePosixPath(name).name for name in names]
    return tuple(dict.fromkeys(name for name in names if name and "\0" not in name))
