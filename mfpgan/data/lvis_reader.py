"""Reads and checks an LVIS or COCO JSON, in the memory of its index.

Annotations may stand before the images that they belong to, as in LVIS. So a first pass over the text only takes what it
can judge without them into arrays, thousands of annotations at a time; what depends on the image is judged at the end.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.json_stream import read_lists
from mfpgan.data.lvis_index import ARRAYS, FLOATS, HUNDREDTHS, RUNS, Source, Tables
from mfpgan.data.problem import Problem
from mfpgan.data.segmentation import FINE, WRONG, hits_a_pixel, runs_of, segmentation_problem, verdicts
from mfpgan.data.spool import Spool
from mfpgan.photos import MAX_PIXELS
from mfpgan.types import InputError, quoted

LARGEST_ID = 2**62
WITHOUT_ID = "an entry is an object with an integer id"
_THIN = "the polygon is so thin that it covers no pixel"


def read_json(
    path: Path, progress: Callable[[int, int], None] | None = None, spool: Spool | None = None
) -> tuple[Tables, list[Problem]]:
    """The whole file; what is wrong with single entries is collected, not raised.

    Args:
        progress: called with (bytes read, bytes in all) now and then.
        spool: where the coordinates wait meanwhile, which are most of the memory; None: in memory.

    Returns:
        Objects that can be drawn, image by image in the file's order, without crowds; and everything that is wrong.

    Raises:
        InputError: not readable, not JSON, or without the lists `images`, `annotations` and `categories`.
        OSError: no room in the spool.
    """
    reader = _Reader(path, Spool(None) if spool is None else spool)
    before = _source(path)
    digest = hashlib.sha256()
    lists = {"images": reader.images, "annotations": reader.annotations, "categories": reader.categories}
    counts = dict.fromkeys(lists, 0)
    for name, entries in read_lists(path, lists, progress, digest.update):
        lists[name](counts[name], entries)
        counts[name] += len(entries)
    if _source(path) != before:
        raise InputError(f"{path}: the file changed while it was read; start again when it is complete.")
    return reader.finish(before._replace(digest=digest.hexdigest()[:16]))


def _source(path: Path) -> Source:
    """Without digest; of a file that is not there zeros, for whoever opens it says so better."""
    try:
        return Source.of(path)
    except OSError:
        return Source(0, 0, 0, "")


_Head = tuple[int, int, int, int]
"""Number in the file's list, id, image id, category id."""


class _Columns:
    """Some annotations of one kind, as they are found."""

    def __init__(self) -> None:
        self.heads: list[_Head] = []
        self.areas: list[float] = []
        self.contents: list[Any] = []

    def add(self, head: _Head, area: float, content: Any) -> None:
        self.heads.append(head)
        self.areas.append(area)
        self.contents.append(content)

    def head_array(self) -> NDArray[np.int64]:
        return np.fromiter(chain.from_iterable(self.heads), np.int64, 4 * len(self.heads)).reshape(-1, 4)

    def area_array(self) -> NDArray[np.float32]:
        return np.array(self.areas, np.float32)


class _Chunk(NamedTuple):
    """Some objects of one kind; their geometry makes sense, their image is not looked at yet."""

    kind: int
    heads: NDArray[np.int64]
    """(objects, 4), see _Head."""
    areas: NDArray[np.float32]
    """As the JSON says, NaN where it does not."""
    parts: NDArray[np.int32]
    """Polygons of each object; 1 for run lengths."""
    lengths: NDArray[np.int32]
    words: int
    """Their number in the spool."""
    word_count: int
    sizes: NDArray[np.int64]
    """(objects, 2), the size that run lengths are for; without rows for polygons."""


class _Reader:
    def __init__(self, path: Path, spool: Spool) -> None:
        self._file = str(path)
        self._spool = spool
        self._problems: list[tuple[int, Problem]] = []
        """With a number to sort them by: categories, images, annotations."""
        self._categories: dict[int, tuple[str, str]] = {}
        self._images: dict[int, tuple[int, int, bytes]] = {}
        self._refused: dict[str, set[int]] = {"images": set(), "categories": set()}
        """Ids of entries that are wrong themselves, and named for it: their annotations are not named as well."""
        self._seen: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        """Ids and numbers of all annotations that have an id, crowds too."""
        self._chunks: list[_Chunk] = []
        self._pending: list[tuple[int, int, int, int, Any]] = []
        """A head and a segmentation that cannot be drawn, whatever its image turns out to be."""

    def categories(self, start: int, entries: list[Any]) -> None:
        for number, entry in enumerate(entries, start):
            if not self._has_new_id("categories", number, entry, self._categories):
                continue
            name, frequency = entry.get("name"), entry.get("frequency")
            if isinstance(name, str):
                self._categories[entry["id"]] = (name, frequency if frequency in ("r", "c", "f") else "")
            else:
                self._stop("categories", number, entry["id"], "name is missing or no text")

    def images(self, start: int, entries: list[Any]) -> None:
        for number, entry in enumerate(entries, start):
            if not self._has_new_id("images", number, entry, self._images):
                continue
            names = _photo_names(entry)
            outside = [name for name in names if _leaves_the_folder(name)]
            height, width = entry.get("height"), entry.get("width")
            if not (type(height) is int and type(width) is int and min(height, width) > 0):
                self._stop("images", number, entry["id"], "height and width must be integers above 0")
            elif height * width > MAX_PIXELS:
                sentence = f"{quoted(width)}x{quoted(height)} pixels are more than the {MAX_PIXELS} that can be read"
                self._stop("images", number, entry["id"], sentence)
            elif not names:
                self._stop("images", number, entry["id"], "neither file_name nor coco_url names the photo")
            elif outside:
                sentence = f"the photo's name {outside[0][:80]!r} leaves the folder of the photos; name it from there"
                self._stop("images", number, entry["id"], sentence)
            else:
                self._images[entry["id"]] = (height, width, "\0".join(names).encode("utf-8", "replace"))

    def finish(self, source: Source) -> tuple[Tables, list[Problem]]:
        """Judge what depends on images, categories and on all ids; sort by image."""
        images, categories = _Places(self._images), _Places(self._categories)
        sizes = np.array([size[:2] for size in self._images.values()], np.int32).reshape(-1, 2)
        twice = self._used_twice()
        for *head, segmentation in self._pending:
            number, identity, image_id, category_id = head
            if image_id not in self._images:
                self._unknown(number, identity, "image", image_id)
            elif category_id not in self._categories:
                self._unknown(number, identity, "category", category_id)
            elif not twice[number]:
                reason = segmentation_problem(segmentation, *self._images[image_id][:2])
                self._skip(number, identity, str(reason))
        tables = [self._judged(chunk, images, categories, sizes, twice) for chunk in self._chunks]
        arrays = _sorted_by_image(tables) | _image_arrays(self._images, sizes)
        arrays |= {"part_length": [chunk.lengths for chunk in self._chunks]}
        problems = [problem for _, problem in sorted(self._problems, key=lambda item: item[0])]
        left_out = [(problem.id, problem.sentence) for problem in problems if problem.level == "skip"]
        columns: dict[str, Iterable[NDArray[Any]]] = {**arrays, "words": self._spool}
        return Tables(source, list(self._categories.values()), left_out, columns), problems

    def annotations(self, start: int, entries: list[Any]) -> None:
        """Sort some annotations into chunks, pending and problems."""
        seen_ids: list[int] = []
        seen_numbers: list[int] = []
        outlines, runs = _Columns(), _Columns()
        for number, entry in enumerate(entries, start):
            if not self._has_id("annotations", number, entry):
                continue
            identity = entry["id"]
            seen_ids.append(identity)
            seen_numbers.append(number)
            head = self._head(number, identity, entry)
            if head is None:
                continue
            segmentation, area = entry["segmentation"], entry.get("area")
            if not isinstance(area, int | float) or not 0 < area < 1e12:
                area = math.nan
            if _are_outlines(segmentation):
                outlines.add(head, area, segmentation)
            elif (found := _own_runs(segmentation)) is not None:
                runs.add(head, area, (found, segmentation["size"]))
            else:
                self._pending.append((*head, segmentation))
        self._seen.append((np.array(seen_ids, np.int64), np.array(seen_numbers, np.int64)))
        if outlines.heads:
            self._take_outlines(outlines)
        if runs.heads:
            lengths = np.array([len(found) for found, _ in runs.contents], np.int32)
            words = np.concatenate([found for found, _ in runs.contents]).astype(np.int32)
            sizes = np.array([size for _, size in runs.contents], np.int64)
            ones = np.ones(len(lengths), np.int32)
            self._keep(RUNS, runs.head_array(), runs.area_array(), ones, lengths, words, sizes)

    def _head(self, number: int, identity: int, entry: dict[str, Any]) -> _Head | None:
        """Of an annotation with a segmentation; None for crowds and, with a problem noted, for others."""
        crowd = entry.get("iscrowd")
        if crowd not in (0, 1, None):  # "0" is a crowd to one half of pycocotools and none to the other
            self._stop("annotations", number, identity, f"iscrowd is 0 or 1, got {str(crowd)[:40]!r}")
            return None
        if crowd:
            return None
        image, category = entry.get("image_id"), entry.get("category_id")
        if not _is_id(image):
            self._unknown(number, identity, "image", image)
        elif not _is_id(category):
            self._unknown(number, identity, "category", category)
        elif "segmentation" not in entry:
            sentence = "segmentation is missing; boxes alone do not say which pixels belong to the object"
            self._stop("annotations", number, identity, sentence)
        else:
            return number, identity, image, category
        return None

    def _take_outlines(self, outlines: _Columns) -> None:
        values = _numbers(outlines.contents)
        if values is None:
            sound = _Columns()
            for head, area, parts in zip(outlines.heads, outlines.areas, outlines.contents, strict=True):
                if _numbers([parts]) is None:
                    self._pending.append((*head, parts))
                else:
                    sound.add(head, area, parts)
            if sound.heads:
                self._take_outlines(sound)
            return
        heads, areas = outlines.head_array(), outlines.area_array()
        parts = np.array(list(map(len, outlines.contents)), np.int32)
        lengths = np.array(list(map(len, chain.from_iterable(outlines.contents))), np.int32)
        per_object = np.add.reduceat(lengths, np.cumsum(parts) - parts)
        with np.errstate(over="ignore"):  # beyond all pictures, and refused for that
            hundredths = np.rint(values * 100)
        exact = (np.abs(hundredths) < 2**31) & (hundredths / 100 == values)
        exact_object = np.logical_and.reduceat(exact, np.cumsum(per_object) - per_object)
        no_size = np.zeros((0, 2), np.int64)
        for kind, chosen in ((HUNDREDTHS, exact_object), (FLOATS, ~exact_object)):
            if chosen.any():
                inside = np.repeat(chosen, per_object)
                words = hundredths[inside].astype(np.int32) if kind == HUNDREDTHS else values[inside].view(np.int32)
                kept = lengths[np.repeat(chosen, parts)]
                self._keep(kind, heads[chosen], areas[chosen], parts[chosen], kept, words, no_size)

    def _keep(
        self,
        kind: int,
        heads: NDArray[np.int64],
        areas: NDArray[np.float32],
        parts: NDArray[np.int32],
        lengths: NDArray[np.int32],
        words: NDArray[np.int32],
        sizes: NDArray[np.int64],
    ) -> None:
        number = self._spool.add(words)
        self._chunks.append(_Chunk(kind, heads, areas, parts, lengths, number, len(words), sizes))

    def _judged(
        self,
        chunk: _Chunk,
        image_places: _Places,
        category_places: _Places,
        sizes: NDArray[np.int32],
        twice: NDArray[np.bool_],
    ) -> dict[str, Any]:
        """The columns of the objects of a chunk that can be drawn, with what is wrong with the others noted."""
        numbers, ids, image_ids, category_ids = chunk.heads.T
        images, categories = image_places.of(image_ids), category_places.of(category_ids)
        kept = (images >= 0) & (categories >= 0)
        for place in np.flatnonzero(~kept):
            what, found = ("image", image_ids) if images[place] < 0 else ("category", category_ids)
            self._unknown(int(numbers[place]), int(ids[place]), what, int(found[place]))
        kept &= ~twice[numbers]
        heights, widths = (sizes[images, axis] if len(sizes) else np.zeros(len(images), np.int32) for axis in (0, 1))
        part_ends = np.cumsum(chunk.parts)
        ends = np.cumsum(np.add.reduceat(chunk.lengths, part_ends - chunk.parts))
        values = _values(chunk.kind, self._spool[chunk.words])
        starts = ends - np.diff(ends, prepend=0)
        areas = chunk.areas.copy()
        if chunk.kind == RUNS:
            marked = values * (np.arange(len(values)) - np.repeat(starts, np.diff(ends, prepend=0)) & 1)
            measured = np.add.reduceat(marked, starts)
            doubted = kept & ((chunk.sizes[:, 0] != heights) | (chunk.sizes[:, 1] != widths))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
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
                self._skip(int(numbers[place]), int(ids[place]), reason)
        per_number = 2 if chunk.kind == FLOATS else 1
        return {
            "kept": kept,
            "number": numbers,
            "object_id": ids,
            "object_image": images,
            "object_category": categories,
            "object_area": areas,
            "object_kind": np.full(len(kept), chunk.kind, np.uint8),
            "object_word": starts * per_number,
            "object_part": part_ends - chunk.parts,
            "object_parts": chunk.parts,
            "words": chunk.word_count,
            "parts": len(chunk.lengths),
        }

    def _used_twice(self) -> NDArray[np.bool_]:
        """For each annotation of the file, whether an earlier one has its id."""
        nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        ids, numbers = map(np.concatenate, zip(nothing, *self._seen, strict=True))
        order = np.argsort(ids, kind="stable")
        again = order[1:][ids[order[1:]] == ids[order[:-1]]]
        for place in again:
            self._stop("annotations", int(numbers[place]), None, f"id {ids[place]} is used twice; ids must differ")
        twice = np.zeros(numbers.max(initial=-1) + 1, np.bool_)
        twice[numbers[again]] = True
        return twice

    def _has_id(self, name: str, number: int, entry: Any) -> bool:
        if type(entry) is dict and _is_id(entry.get("id")):
            return True
        self._stop(name, number, None, WITHOUT_ID)
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
        if _is_id(found) and found in self._refused[of]:
            return
        self._stop("annotations", number, identity, f"{what}_id {str(found)[:40]!r} is not the id of an entry of {of}")

    def _stop(self, name: str, number: int, identity: int | None, sentence: str) -> None:
        if identity is not None and name in self._refused:
            self._refused[name].add(identity)
        place = f"{name}[{number}]" + ("" if identity is None else f", id {identity}")
        order = number - {"categories": 2 << 60, "images": 1 << 60, "annotations": 0}[name]
        self._problems.append((order, Problem(self._file, place, f"{sentence}.", "stop")))

    def _skip(self, number: int, identity: int, reason: str) -> None:
        self._problems.append((number, Problem(self._file, f"annotation {identity}", f"{reason}.", "skip")))


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and abs(value) < LARGEST_ID


def _are_outlines(segmentation: Any) -> bool:
    """Whether it is a list of lists of at least six values, an even number each; the values are not looked at."""
    if type(segmentation) is not list or not segmentation:
        return False
    for part in segmentation:  # noqa: SIM110 - `all` takes twice as long
        if type(part) is not list or len(part) < 6 or len(part) % 2:
            return False
    return True


def _numbers(outlines: list[list[list[Any]]]) -> NDArray[np.float64] | None:
    """All coordinates, or None if one of them is no finite number."""
    flat = list(chain.from_iterable(chain.from_iterable(outlines)))
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


def _values(kind: int, words: NDArray[np.int32]) -> NDArray[Any]:
    """Coordinates in pixels, or run lengths."""
    if kind == RUNS:
        return words.astype(np.int64)
    return words / 100 if kind == HUNDREDTHS else words.view(np.float64)


class _Places:
    """Where each id stands in a list of them."""

    def __init__(self, ids: Iterable[int]) -> None:
        listed = np.fromiter(ids, np.int64)
        self._order = np.argsort(listed)
        self._sorted = listed[self._order]

    def of(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places, -1 for an id that is not there."""
        if not len(self._order):
            return np.full(len(wanted), -1, np.int64)
        found = np.minimum(np.searchsorted(self._sorted, wanted), len(self._order) - 1)
        return np.where(self._sorted[found] == wanted, self._order[found], -1)


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


def _image_arrays(images: dict[int, tuple[int, int, bytes]], sizes: NDArray[np.int32]) -> dict[str, list[NDArray[Any]]]:
    names = [name for *_, name in images.values()]
    return {
        "image_id": [np.fromiter(images, np.int64)],
        "image_height": [sizes[:, 0]],
        "image_width": [sizes[:, 1]],
        "image_name_end": [np.cumsum([len(name) for name in names], dtype=np.int64)],
        "names": [np.frombuffer(b"".join(names), np.uint8)],
    }


def _photo_names(entry: dict[str, Any]) -> list[str]:
    """Where the photo may lie below a folder, the likeliest first; empty if nothing says so."""
    names: list[str] = []
    if isinstance(entry.get("file_name"), str):
        names.append(entry["file_name"])
    if isinstance(entry.get("coco_url"), str):
        names.append("/".join(entry["coco_url"].split("/")[-2:]))
    names += [PurePosixPath(name).name for name in names]
    return list(dict.fromkeys(name for name in names if name and "\0" not in name))


def _leaves_the_folder(name: str) -> bool:
    """Whether the name by itself leads out of a folder; a link in the folder may, it is the user's own."""
    if ".." not in name and not name.startswith("/") and os.sep == "/":
        return False  # almost all
    path = PurePath(os.path.normpath(name))
    return bool(path.anchor) or path.parts[:1] == ("..",)
