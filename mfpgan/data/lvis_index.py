"""The index of an LVIS or COCO JSON: its objects as arrays in one file, which is mapped into memory instead of read.

All processes of a machine share the pages. Polygons with two decimals, as LVIS and COCO have them, are kept as int32
hundredths; dividing by 100 gives back the very number that stood in the JSON. Others are kept as float64.

The file: MAGIC; version, length of the header and its checksum, and the checksum of these (see _PREFIX); the header, JSON;
from the next block on the arrays (see `mfpgan.data.columns`).
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.columns import BLOCK_BYTES, Columns, DamagedError, MappedColumns, write_columns
from mfpgan.types import InputError

MAGIC = b"mfpgan index of an LVIS JSON\n"
VERSION = 2
_PREFIX = struct.Struct("<IQI")
_START = len(MAGIC) + _PREFIX.size + 4
"""Of the header."""
HUNDREDTHS, FLOATS, RUNS = 0, 1, 2
"""Kinds of objects: polygons in int32 hundredths, polygons in float64 (two words each), run lengths."""

ARRAYS: dict[str, np.dtype[Any]] = {
    "image_id": np.dtype(np.int64),
    "image_height": np.dtype(np.int32),
    "image_width": np.dtype(np.int32),
    "image_name_end": np.dtype(np.int64),  # in `names`
    "names": np.dtype(np.uint8),  # UTF-8; an image's names are divided by a zero byte
    "object_id": np.dtype(np.int64),
    "object_image": np.dtype(np.int32),
    "object_category": np.dtype(np.int32),
    "object_area": np.dtype(np.float32),
    "object_kind": np.dtype(np.uint8),
    "object_word": np.dtype(np.int64),  # its first in `words`
    "object_part": np.dtype(np.int64),  # its first in `part_length`
    "object_parts": np.dtype(np.int32),
    "part_length": np.dtype(np.int32),  # numbers in a polygon, or runs
    "words": np.dtype(np.int32),
    "group_start": np.dtype(np.int64),  # the first object of each image that has any, and the number of objects
}
"""Every array of the index, in the file's order."""


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
    """Number of its image in the file's order."""
    category: str
    area_px: float
    """As the JSON says, or, if it does not, the polygons' area or the number of marked pixels."""
    segmentation: list[NDArray[np.float64]] | NDArray[np.int64]
    """Polygons (x, y, x, y, ... in pixels), or run lengths of the columns, background first."""


class Source(NamedTuple):
    """Which JSON an index was made of."""

    size: int
    """In bytes."""
    mtime_ns: int
    ctime_ns: int
    """The system's own note of the last change, which no program can set back as it can the other."""
    digest: str
    """First 16 hex digits of its SHA-256."""

    @classmethod
    def of(cls, path: Path, digest: str = "") -> Source:
        """Of the file as it is now; raises OSError."""
        state = path.stat()
        return cls(state.st_size, state.st_mtime_ns, state.st_ctime_ns, digest)


class Tables(NamedTuple):
    """An index before it is written."""

    source: Source
    categories: list[tuple[str, str]]
    """Name, and LVIS's frequency r, c or f, empty in COCO."""
    left_out: list[tuple[str, str]]
    """Objects that cannot be drawn: "annotation 7", and why."""
    arrays: Mapping[str, Iterable[NDArray[Any]]]
    """For each name in ARRAYS its pieces; they are gone through twice."""


class LvisIndex:
    """What the JSON says, looked up in the mapped file; copies nothing but what is asked for.

    Pickled, it is its path: another process maps the same file. Whatever looks into a part of the file that is damaged raises
    DamagedError, which is an InputError, and removes the file.
    """

    def __init__(self, meta: dict[str, Any], columns: Columns, path: Path | None) -> None:
        self.source = Source(*meta["source"])
        self.categories = tuple(name for name, _ in meta["categories"])
        self.frequencies = tuple(frequency for _, frequency in meta["categories"])
        self.left_out = [(where, why) for where, why in meta["left_out"]]
        self._meta, self._columns, self._path = meta, columns, path
        self.image_count, self.object_count = columns.length("image_id"), columns.length("object_id")
        self.group_start: NDArray[np.int64] = columns.part("group_start")
        """(images with objects + 1,) int64: the objects of the k-th such image are group_start[k] to group_start[k + 1]."""

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            return LvisIndex, (self._meta, self._columns, None)
        return _mapped, (self._path, self.source.digest)

    @classmethod
    def of(cls, tables: Tables) -> LvisIndex:
        """In memory, where no file can be written."""
        arrays = {name: np.concatenate([np.zeros(0, kind), *tables.arrays[name]]) for name, kind in ARRAYS.items()}
        return cls(_meta(tables), Columns(arrays), None)

    @property
    def object_area(self) -> NDArray[np.float32]:
        """(objects,) float32, see `LvisObject.area_px`."""
        return self._columns.part("object_area")

    @property
    def object_category(self) -> NDArray[np.int32]:
        """(objects,) int32, index into `categories`."""
        return self._columns.part("object_category")

    def image(self, number: int) -> LvisImage:
        value = self._columns.value
        start = value("image_name_end", number - 1) if number else 0
        names = self._columns.part("names", start, value("image_name_end", number)).tobytes().decode()
        height, width = value("image_height", number), value("image_width", number)
        return LvisImage(value("image_id", number), tuple(names.split("\0")), height, width)

    def object(self, number: int) -> LvisObject:
        value = self._columns.value
        return LvisObject(
            value("object_id", number),
            value("object_image", number),
            self.categories[value("object_category", number)],
            value("object_area", number),
            self.segmentation(number),
        )

    def segmentation(self, number: int) -> list[NDArray[np.float64]] | NDArray[np.int64]:
        """See `LvisObject.segmentation`."""
        columns = self._columns
        kind, word, part, parts = (
            columns.value(name, number) for name in ("object_kind", "object_word", "object_part", "object_parts")
        )
        lengths = columns.part("part_length", part, part + parts)
        count = int(lengths.sum()) * (2 if kind == FLOATS else 1)
        words = columns.part("words", word, word + count)
        if kind == RUNS:
            return words.astype(np.int64)
        values = words.copy().view(np.float64) if kind == FLOATS else words / 100
        return np.split(values, np.cumsum(lengths[:-1])) if len(lengths) > 1 else [values]

    def image_of(self, number: int) -> int:
        """The number of an object's image."""
        image: int = self._columns.value("object_image", number)
        return image

    def group(self, image: int) -> range:
        """The objects of image number `image`."""
        starts = self.group_start
        # By halves: a page for each, where the whole column would have to be summed up.
        place = bisect_left(range(len(starts) - 1), image, key=lambda group: self.image_of(int(starts[group])))
        if place == len(starts) - 1 or self.image_of(int(starts[place])) != image:
            return range(0)
        return range(int(starts[place]), int(starts[place + 1]))


def write_index(file: BinaryIO, tables: Tables) -> None:
    """Header and arrays; a memory of no more than the pieces."""
    lengths = {name: sum(map(len, tables.arrays[name])) for name in ARRAYS}
    header = json.dumps({**_meta(tables), "lengths": lengths}).encode()
    header += b" " * (-(_START + len(header)) % BLOCK_BYTES)
    prefix = MAGIC + _PREFIX.pack(VERSION, len(header), zlib.crc32(header))
    file.write(prefix + struct.pack("<I", zlib.crc32(prefix)) + header)
    write_columns(file, ARRAYS, tables.arrays)


def read_index(path: Path) -> LvisIndex | None:
    """The index in this file; None if there is none, or it is damaged or of an older version, so that it is to be built.

    What is damaged shows in checksums: of the header here, of the arrays when they are looked into.

    Raises:
        InputError: a newer version of mfpgan made it.
    """
    try:
        with path.open("rb") as file:
            prefix = file.read(_START)
            version, length, header_sum = _PREFIX.unpack(prefix[len(MAGIC) : -4])
            if not prefix.startswith(MAGIC) or struct.pack("<I", zlib.crc32(prefix[:-4])) != prefix[-4:]:
                return None
            if version > VERSION:
                raise InputError(
                    f"{path}: an index of version {version}, this mfpgan reads {VERSION}; update mfpgan, delete the file, or "
                    "name another folder with MFPGAN_CACHE."
                )
            if version < VERSION or length > os.fstat(file.fileno()).st_size:
                return None
            header = file.read(length)
            if zlib.crc32(header) != header_sum:
                return None
            meta = json.loads(header)
            return LvisIndex(meta, MappedColumns(file, path, _START + length, ARRAYS, meta["lengths"]), path)
    except (OSError, struct.error, DamagedError):
        return None


def _mapped(path: Path, digest: str) -> LvisIndex:
    index = read_index(path)
    if index is None or index.source.digest != digest:
        raise InputError(f"{path}: the index was removed or replaced while it was in use; start again.")
    return index


def _meta(tables: Tables) -> dict[str, Any]:
    return {"source": tables.source, "categories": tables.categories, "left_out": tables.left_out}
