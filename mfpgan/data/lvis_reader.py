"""Reads and checks an LVIS or COCO JSON, in the memory of its index.

Annotations may stand before the images that they belong to, as in LVIS. So a first pass over the text only takes what it
can judge without them into arrays, thousands of annotations at a time; what depends on the image is judged at the end.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.json_stream import read_lists
from mfpgan.data.lvis_index import ARRAYS, FLOATS, HUNDREDTHS, RUNS, Source, Tables
from mfpgan.data.photos import MAX_PIXELS
from mfpgan.data.problem import Problem
from mfpgan.data.segmentation import FINE, WRONG, hits_a_pixel, runs_of, segmentation_problem, verdicts

AT_A_TIME = 4096
LARGEST_ID = 2**62
_THIN = "the polygon is so thin that it covers no pixel"


def read_json(path: Path, progress: Callable[[int, int], None] | None = None) -> tuple[Tables, list[Problem]]:
    """The whole file; what is wrong with single entries is collected, not raised.

    Args:
        progress: called with (bytes read, bytes in all) now and then.

    Returns:
        Objects that can be drawn, image by image in the file's order, without crowds; and everything that is wrong.

    Raises:
        InputError: not readable, not JSON, or without the lists `images`, `annotations` and `categories`.
    """
    reader = _Reader(path)
    digest = hashlib.sha256()
    lists = {"images": reader.image, "annotations": reader.annotation, "categories": reader.category}
    places = dict.fromkeys(lists, 0)
    for name, entry in read_lists(path, lists, progress, digest.update):
        lists[name](places[name], entry)
        places[name] += 1
    state = path.stat()
    return reader.finish(Source(state.st_size, state.st_mtime_ns, digest.hexdigest()[:16]))


class _Pending(NamedTuple):
    """An annotation whose segmentation cannot be drawn, whatever its image turns out to be."""

    number: int
    id: int
    image: int
    category: int
    segmentation: Any


class _Chunk(NamedTuple):
    """Some objects of one kind; their geometry makes sense, their image is not looked at yet."""

    kind: int
    numbers: NDArray[np.int64]
    """Of the annotation, in the file's list."""
    ids: NDArray[np.int64]
    images: NDArray[np.int64]
    """Ids, as are the categories."""
    categories: NDArray[np.int64]
    areas: NDArray[np.float32]
    parts: NDArray[np.int32]
    """Polygons of each object; 1 for run lengths."""
    lengths: NDArray[np.int32]
    words: NDArray[np.int32]
    sizes: NDArray[np.int64]
    """(objects, 2), the size that run lengths are for; without rows for polygons."""


class _Reader:
    def __init__(self, path: Path) -> None:
        self._file = str(path)
        self._problems: list[tuple[int, Problem]] = []
        """With a number to sort them by: categories, images, annotations."""
        self._categories: dict[int, tuple[str, str]] = {}
        self._images: dict[int, tuple[int, int, bytes]] = {}
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self._seen: list[NDArray[np.int64]] = []
        """(annotations, 2): id and number of all that have an id, crowds too."""
        self._chunks: list[_Chunk] = []
        self._pending: list[_Pending] = []

    def category(self, number: int, entry: Any) -> None:
        if not self._has_new_id("categories", number, entry, self._categories):
            return
        if not isinstance(entry.get("name"), str):
            self._stop("categories", number, entry["id"], "name is missing or no text")
            return
        frequency = entry.get("frequency")
        self._categories[entry["id"]] = (entry["name"], frequency if frequency in ("r", "c", "f") else "")

    def image(self, number: int, entry: Any) -> None:
        if not self._has_new_id("images", number, entry, self._images):
            return
        names = _photo_names(entry)
        height, width = entry.get("height"), entry.get("width")
        problem = ""
        if not (type(height) is int and type(width) is int and min(height, width) > 0):
            problem = "height and width must be integers above 0"
        elif height * width > MAX_PIXELS:
            problem = f"{width}x{height} pixels are more than the {MAX_PIXELS} that can be read"
        elif not names:
            problem = "neither file_name nor coco_url names the photo"
        if problem:
            self._stop("images", number, entry["id"], problem)
        else:
            self._images[entry["id"]] = (height, width, names)

    def annotation(self, number: int, entry: Any) -> None:
        if self._has_id("annotations", number, entry):
            self._waiting.append((number, entry))
            if len(self._waiting) == AT_A_TIME:
                self._take()

    def finish(self, source: Source) -> tuple[Tables, list[Problem]]:
        """Judge what depends on images, categories and on all ids; sort by image."""
        self._take()
        image_ids = np.fromiter(self._images, np.int64, len(self._images))
        sizes = np.array([size[:2] for size in self._images.values()], np.int32).reshape(-1, 2)
        category_ids = np.fromiter(self._categories, np.int64, len(self._categories))
        twice = self._used_twice()
        for item in self._pending:
            image = _place(np.array([item.image]), image_ids)[0]
            known = self._known(item.number, item.id, item.image, image, item.category, category_ids)
            if known and item.number not in twice:
                height, width = (int(side) for side in sizes[image])
                reason = segmentation_problem(item.segmentation, height, width)
                self._skip(item.number, item.id, reason or "it cannot be drawn")
        tables = [self._judged(chunk, image_ids, sizes, category_ids, twice) for chunk in self._chunks]
        arrays = _sorted_by_image(tables) | _image_arrays(
            image_ids, sizes, [name for *_, name in self._images.values()]
        )
        arrays |= {"words": [chunk.words for chunk in self._chunks]}
        arrays |= {"part_length": [chunk.lengths for chunk in self._chunks]}
        problems = [problem for _, problem in sorted(self._problems, key=lambda item: item[0])]
        left_out = [(problem.id, problem.sentence) for problem in problems if problem.level == "skip"]
        return Tables(source, list(self._categories.values()), left_out, arrays), problems

    def _take(self) -> None:
        """Everything that waits becomes chunks, problems and pending."""
        entries, self._waiting = self._waiting, []
        self._seen.append(np.array([(entry["id"], number) for number, entry in entries], np.int64).reshape(-1, 2))
        outlines: list[_Pending] = []
        runs: list[tuple[_Pending, NDArray[np.int64]]] = []
        areas: dict[int, float] = {}
        for number, entry in entries:
            if entry.get("iscrowd", 0) not in (0, False):
                continue
            image, category = entry.get("image_id"), entry.get("category_id")
            if type(image) is not int or abs(image) > LARGEST_ID:
                self._unknown(number, entry["id"], "image", image)
            elif type(category) is not int or abs(category) > LARGEST_ID:
                self._unknown(number, entry["id"], "category", category)
            elif "segmentation" not in entry:
                sentence = "segmentation is missing; boxes alone do not say which pixels belong to the object"
                self._stop("annotations", number, entry["id"], sentence)
            else:
                segmentation = entry["segmentation"]
                item = _Pending(number, entry["id"], image, category, segmentation)
                area = entry.get("area")
                areas[number] = area if isinstance(area, int | float) and 0 < area < 1e12 else math.nan
                if _are_outlines(segmentation):
                    outlines.append(item)
                elif (found := _own_runs(segmentation)) is not None:
                    runs.append((item, found))
                else:
                    self._pending.append(item)
        if outlines:
            self._take_outlines(outlines, areas)
        if runs:
            self._take_runs(runs, areas)

    def _take_outlines(self, items: list[_Pending], areas: dict[int, float]) -> None:
        values = _numbers(items)
        if values is None:
            sound = [_numbers([item]) is not None for item in items]
            self._pending += [item for item, fine in zip(items, sound, strict=True) if not fine]
            items = [item for item, fine in zip(items, sound, strict=True) if fine]
            values = _numbers(items) if items else None
        if values is None:
            return
        parts = np.array([len(item.segmentation) for item in items], np.int32)
        lengths = np.array([len(part) for item in items for part in item.segmentation], np.int32)
        per_object = np.add.reduceat(lengths, np.cumsum(parts) - parts)
        hundredths = np.rint(values * 100)
        exact = (np.abs(hundredths) < 2**31) & (hundredths / 100 == values)
        exact_object = np.logical_and.reduceat(exact, np.cumsum(per_object) - per_object)
        for kind, chosen in ((HUNDREDTHS, exact_object), (FLOATS, ~exact_object)):
            if chosen.any():
                inside = np.repeat(chosen, per_object)
                words = hundredths[inside].astype(np.int32) if kind == HUNDREDTHS else values[inside].view(np.int32)
                some = [item for item, kept in zip(items, chosen, strict=True) if kept]
                kept_lengths = lengths[np.repeat(chosen, parts)]
                self._chunks.append(_chunk(kind, some, areas, parts[chosen], kept_lengths, words, np.zeros((0, 2))))

    def _take_runs(self, found: list[tuple[_Pending, NDArray[np.int64]]], areas: dict[int, float]) -> None:
        items = [item for item, _ in found]
        lengths = np.array([len(runs) for _, runs in found], np.int32)
        words = np.concatenate([runs for _, runs in found]).astype(np.int32)
        sizes = np.array([item.segmentation["size"] for item in items])
        self._chunks.append(_chunk(RUNS, items, areas, np.ones(len(items), np.int32), lengths, words, sizes))

    def _judged(
        self,
        chunk: _Chunk,
        image_ids: NDArray[np.int64],
        sizes: NDArray[np.int32],
        category_ids: NDArray[np.int64],
        twice: set[int],
    ) -> dict[str, Any]:
        """The columns of the objects of a chunk that can be drawn, with what is wrong with the others noted."""
        images, categories = _place(chunk.images, image_ids), _place(chunk.categories, category_ids)
        kept = (images >= 0) & (categories >= 0)
        for place in np.flatnonzero(~kept):
            number, identity = int(chunk.numbers[place]), int(chunk.ids[place])
            self._known(number, identity, int(chunk.images[place]), int(images[place]), int(chunk.categories[place]), category_ids)  # fmt: skip
        if twice:
            kept &= ~np.isin(chunk.numbers, list(twice))
        heights, widths = (sizes[images, axis] if len(sizes) else np.zeros(len(images), np.int32) for axis in (0, 1))
        part_ends = np.cumsum(chunk.parts)
        ends = np.cumsum(np.add.reduceat(chunk.lengths, part_ends - chunk.parts))
        values = _values(chunk)
        starts = ends - np.diff(ends, prepend=0)
        areas = chunk.areas.copy()
        if chunk.kind == RUNS:
            marked = values * (np.arange(len(values)) - np.repeat(starts, np.diff(ends, prepend=0)) & 1)
            measured = np.add.reduceat(marked, starts)
            doubted = kept & ((chunk.sizes[:, 0] != heights) | (chunk.sizes[:, 1] != widths))
        else:
            found, measured = verdicts(values, chunk.lengths, chunk.parts, heights, widths)
            doubted = kept & (found != FINE)
        areas = np.where(np.isnan(areas), measured, areas).astype(np.float32)
        for place in np.flatnonzero(doubted):
            size = int(heights[place]), int(widths[place])
            if chunk.kind == RUNS:
                theirs = [int(side) for side in chunk.sizes[place]]
                reason = segmentation_problem({"size": theirs}, *size)
            else:
                lengths = chunk.lengths[part_ends[place] - chunk.parts[place] : part_ends[place]]
                parts = np.split(values[starts[place] : ends[place]], np.cumsum(lengths[:-1]))
                if found[place] == WRONG:
                    reason = segmentation_problem([part.tolist() for part in parts], *size)
                else:
                    reason = None if hits_a_pixel(parts, *size) else _THIN
            if reason is not None:
                kept[place] = False
                self._skip(int(chunk.numbers[place]), int(chunk.ids[place]), reason)
        per_number = 2 if chunk.kind == FLOATS else 1
        return {
            "kept": kept,
            "number": chunk.numbers,
            "object_id": chunk.ids,
            "object_image": images,
            "object_category": categories,
            "object_area": areas,
            "object_kind": np.full(len(kept), chunk.kind, np.uint8),
            "object_word": starts * per_number,
            "object_part": part_ends - chunk.parts,
            "object_parts": chunk.parts,
            "words": np.int64(len(chunk.words)),
            "parts": np.int64(len(chunk.lengths)),
        }

    def _known(
        self, number: int, identity: int, image_id: int, image: int, category_id: int, ids: NDArray[np.int64]
    ) -> bool:
        """Whether an annotation's image (its place among the images, or -1) and category exist; a problem if not."""
        if image < 0:
            self._unknown(number, identity, "image", image_id)
        elif _place(np.array([category_id]), ids)[0] < 0:
            self._unknown(number, identity, "category", category_id)
        else:
            return True
        return False

    def _used_twice(self) -> set[int]:
        """Numbers of the annotations whose id an earlier one has."""
        seen = np.concatenate(self._seen)
        seen = seen[np.argsort(seen[:, 0], kind="stable")]
        again = seen[1:][seen[1:, 0] == seen[:-1, 0]]
        for identity, number in again.tolist():
            self._stop("annotations", number, None, f"id {identity} is used twice; ids must differ")
        return set(again[:, 1].tolist())

    def _has_id(self, name: str, number: int, entry: Any) -> bool:
        if isinstance(entry, dict) and type(entry.get("id")) is int and abs(entry["id"]) < LARGEST_ID:
            return True
        self._stop(name, number, None, "an entry is an object with an integer id")
        return False

    def _has_new_id(self, name: str, number: int, entry: Any, known: dict[int, Any]) -> bool:
        if not self._has_id(name, number, entry):
            return False
        if entry["id"] in known:
            self._stop(name, number, None, f"id {entry['id']} is used twice; ids must differ")
            return False
        return True

    def _unknown(self, number: int, identity: int, what: str, found: Any) -> None:
        of = {"image": "images", "category": "categories"}[what]
        self._stop("annotations", number, identity, f"{what}_id {str(found)[:40]!r} is not the id of an entry of {of}")

    def _stop(self, name: str, number: int, identity: int | None, sentence: str) -> None:
        place = f"{name}[{number}]" + ("" if identity is None else f", id {identity}")
        order = number - {"categories": 2 << 60, "images": 1 << 60, "annotations": 0}[name]
        self._problems.append((order, Problem(self._file, place, f"{sentence}.", "stop")))

    def _skip(self, number: int, identity: int, reason: str) -> None:
        self._problems.append((number, Problem(self._file, f"annotation {identity}", f"{reason}.", "skip")))


def _are_outlines(segmentation: Any) -> bool:
    """Whether it is a list of lists of at least six values, an even number each; the values are not looked at."""
    return (
        type(segmentation) is list
        and len(segmentation) > 0
        and all(type(part) is list and len(part) >= 6 and not len(part) % 2 for part in segmentation)
    )


def _numbers(items: list[_Pending]) -> NDArray[np.float64] | None:
    """All coordinates, or None if one of them is no finite number."""
    flat = list(chain.from_iterable(chain.from_iterable(item.segmentation for item in items)))
    if not {*map(type, flat)} <= {int, float}:
        return None
    try:
        values = np.array(flat, np.float64)
    except OverflowError:  # an int of hundreds of digits
        return None
    return values if np.isfinite(values).all() else None


def _own_runs(segmentation: Any) -> NDArray[np.int64] | None:
    """The run lengths of an RLE object that fits the size it names itself."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
        return None
    if size[0] * size[1] > MAX_PIXELS:
        return None
    found = runs_of(segmentation, *size)
    return None if isinstance(found, str) else found


def _chunk(
    kind: int,
    items: list[_Pending],
    areas: dict[int, float],
    parts: NDArray[np.int32],
    lengths: NDArray[np.int32],
    words: NDArray[np.int32],
    sizes: NDArray[Any],
) -> _Chunk:
    numbers, ids, images, categories = (np.array([item[column] for item in items], np.int64) for column in range(4))
    own_areas = np.array([areas[item.number] for item in items], np.float32)
    return _Chunk(kind, numbers, ids, images, categories, own_areas, parts, lengths, words, sizes.astype(np.int64))


def _values(chunk: _Chunk) -> NDArray[Any]:
    """Coordinates in pixels, or run lengths."""
    if chunk.kind == RUNS:
        return chunk.words.astype(np.int64)
    return chunk.words / 100 if chunk.kind == HUNDREDTHS else chunk.words.view(np.float64)


def _place(wanted: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each id stands among `ids`, -1 if it does not."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(ids, kind="stable")
    place = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[place] == wanted, place, -1)


def _sorted_by_image(tables: list[dict[str, Any]]) -> dict[str, list[NDArray[Any]]]:
    """The columns of all kept objects, image by image, in each in the order of the file."""
    columns = [name for name in ARRAYS if name.startswith("object_")]
    first_word = np.cumsum([0, *(table["words"] for table in tables)])
    first_part = np.cumsum([0, *(table["parts"] for table in tables)])
    gathered: dict[str, list[NDArray[Any]]] = {name: [np.zeros(0, ARRAYS[name])] for name in columns}
    numbers = [np.zeros(0, np.int64)]
    for table, word, part in zip(tables, first_word[:-1], first_part[:-1], strict=True):
        kept = table["kept"]
        shifts = {"object_word": word, "object_part": part}
        for name in columns:
            gathered[name].append((table[name][kept] + shifts.get(name, 0)).astype(ARRAYS[name]))
        numbers.append(table["number"][kept])
    whole = {name: np.concatenate(pieces) for name, pieces in gathered.items()}
    order = np.lexsort((np.concatenate(numbers), whole["object_image"]))
    images = whole["object_image"][order]
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    sorted_columns: dict[str, list[NDArray[Any]]] = {name: [column[order]] for name, column in whole.items()}
    return sorted_columns | {"group_start": [np.append(starts, len(images)).astype(np.int64)]}


def _image_arrays(
    ids: NDArray[np.int64], sizes: NDArray[np.int32], names: list[bytes]
) -> dict[str, list[NDArray[Any]]]:
    return {
        "image_id": [ids],
        "image_height": [sizes[:, 0]],
        "image_width": [sizes[:, 1]],
        "image_name_end": [np.cumsum([len(name) for name in names], dtype=np.int64)],
        "names": [np.frombuffer(b"".join(names), np.uint8)],
    }


def _photo_names(entry: dict[str, Any]) -> bytes:
    """Where the photo may lie below a folder, the likeliest first, divided by zero bytes; empty if nothing says so."""
    names: list[str] = []
    if isinstance(entry.get("file_name"), str):
        names.append(entry["file_name"])
    if isinstance(entry.get("coco_url"), str):
        names.append("/".join(entry["coco_url"].split("/")[-2:]))
    names += [PurePosixPath(name).name for name in names]
    kept = dict.fromkeys(name for name in names if name and "\0" not in name)
    return "\0".join(kept).encode("utf-8", "replace")
