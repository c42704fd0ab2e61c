"""The index of an LVIS or COCO JSON: its objects as arrays in one file, which is mapped into memory instead of read.

All processes of a machine share the pages. Polygons with two decimals, as LVIS and COCO have them, are kept as int32
hundredths; dividing by 100 gives back the very number that stood in the JSON. Others are kept as float64.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import InputError

MAGIC = b"mfpgan index of an LVIS JSON\n"
VERSION = 1
_ALIGNMENT = 64
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
    digest: str
    """First 16 hex digits of its SHA-256."""


class Tables(NamedTuple):
    """An index before it is written."""

    source: Source
    categories: list[tuple[str, str]]
    """Name, and LVIS's frequency r, c or f, empty in COCO."""
    left_out: list[tuple[str, str]]
    """Objects that cannot be drawn: "annotation 7", and why."""
    arrays: Mapping[str, Sequence[NDArray[Any]]]
    """For each name in ARRAYS its pieces."""


class LvisIndex:
    """What the JSON says, looked up in the mapped file; copies nothing but what is asked for.

    Pickled, it is its path: another process maps the same file.
    """

    def __init__(self, meta: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path | None) -> None:
        self.source = Source(*meta["source"])
        self.categories = tuple(name for name, _ in meta["categories"])
        self.frequencies = tuple(frequency for _, frequency in meta["categories"])
        self.left_out = [(where, why) for where, why in meta["left_out"]]
        self._meta, self._arrays, self._path = meta, arrays, path
        self.object_area = arrays["object_area"]
        """(objects,) float32, see `LvisObject.area_px`."""
        self.object_category = arrays["object_category"]
        """(objects,) int32, index into `categories`."""
        self.group_start = arrays["group_start"]
        """(images with objects + 1,) int64: the objects of the k-th such image are group_start[k] to group_start[k + 1]."""

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            return LvisIndex, (self._meta, self._arrays, None)
        return _mapped, (self._path, self.source.digest)

    @classmethod
    def of(cls, tables: Tables) -> LvisIndex:
        """In memory, where no file can be written."""
        arrays = {name: np.concatenate([np.zeros(0, kind), *tables.arrays[name]]) for name, kind in ARRAYS.items()}
        return cls(_meta(tables), arrays, None)

    def tables(self, source: Source) -> Tables:
        """The same index of another source, to be written."""
        categories = list(zip(self.categories, self.frequencies, strict=True))
        return Tables(source, categories, self.left_out, {name: [array] for name, array in self._arrays.items()})

    @property
    def image_count(self) -> int:
        return len(self._arrays["image_id"])

    @property
    def object_count(self) -> int:
        return len(self._arrays["object_id"])

    def image(self, number: int) -> LvisImage:
        arrays = self._arrays
        ends = arrays["image_name_end"]
        start = int(ends[number - 1]) if number else 0
        names = arrays["names"][start : int(ends[number])].tobytes().decode()
        height, width = int(arrays["image_height"][number]), int(arrays["image_width"][number])
        return LvisImage(int(arrays["image_id"][number]), tuple(names.split("\0")), height, width)

    def object(self, number: int) -> LvisObject:
        arrays = self._arrays
        return LvisObject(
            int(arrays["object_id"][number]),
            int(arrays["object_image"][number]),
            self.categories[int(arrays["object_category"][number])],
            float(arrays["object_area"][number]),
            self.segmentation(number),
        )

    def segmentation(self, number: int) -> list[NDArray[np.float64]] | NDArray[np.int64]:
        """See `LvisObject.segmentation`."""
        arrays = self._arrays
        kind, word, part = (int(arrays[name][number]) for name in ("object_kind", "object_word", "object_part"))
        lengths = arrays["part_length"][part : part + int(arrays["object_parts"][number])]
        count = int(lengths.sum()) * (2 if kind == FLOATS else 1)
        words = arrays["words"][word : word + count]
        if kind == RUNS:
            return words.astype(np.int64)
        values = words.copy().view(np.float64) if kind == FLOATS else words / 100
        return np.split(values, np.cumsum(lengths[:-1])) if len(lengths) > 1 else [values]

    def image_of(self, number: int) -> int:
        """The number of an object's image."""
        return int(self._arrays["object_image"][number])

    def group(self, image: int) -> range:
        """The objects of image number `image`."""
        # Of the same type, or the whole column would be converted.
        ends = np.array((image, image + 1), np.int32)
        first, end = np.searchsorted(self._arrays["object_image"], ends)
        return range(int(first), int(end))


def write_index(file: BinaryIO, tables: Tables) -> None:
    """Header and arrays; a memory of no more than the pieces."""
    layout, start = {}, 0
    for name, kind in ARRAYS.items():
        count = sum(map(len, tables.arrays[name]))
        layout[name] = (start, count)
        start += -(-count * kind.itemsize // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({**_meta(tables), "layout": layout, "bytes": start}).encode()
    header += b" " * (-(len(MAGIC) + 20 + len(header)) % _ALIGNMENT)
    header = b"%08x" % zlib.crc32(header) + header
    file.write(MAGIC + struct.pack("<IQ", VERSION, len(header)) + header)
    for name, kind in ARRAYS.items():
        written = 0
        for piece in tables.arrays[name]:
            written += file.write(np.ascontiguousarray(piece, kind).data.cast("B") if len(piece) else b"")
        file.write(b"\0" * (-written % _ALIGNMENT))


def read_index(path: Path) -> LvisIndex | None:
    """The index in this file; None if there is none, or it is damaged or of an older version, so that it is to be built.

    What is damaged shows in the length and in the header's checksum. The arrays are not read for that: it would cost what
    the mapping saves, and they are trusted as any file on a disk is.

    Raises:
        InputError: a newer version of mfpgan made it.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            version, length = struct.unpack("<IQ", file.read(12))
            if version > VERSION:
                raise InputError(
                    f"{path}: an index of version {version}, this mfpgan reads {VERSION}; update mfpgan, delete the file, or "
                    "name another folder with MFPGAN_CACHE."
                )
            start = len(MAGIC) + 12 + length
            size = os.fstat(file.fileno()).st_size
            if version < VERSION or start > size:
                return None
            header = file.read(length)
            if int(header[:8], 16) != zlib.crc32(header[8:]):
                return None
            meta = json.loads(header[8:])
            if start + meta["bytes"] != size:
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # Objects are looked up here and there: reading ahead would fill the memory with what nobody asked for.
            if hasattr(mmap, "MADV_RANDOM"):
                mapped.madvise(mmap.MADV_RANDOM)
        arrays: dict[str, NDArray[Any]] = {}
        for name, kind in ARRAYS.items():
            offset, count = meta["layout"][name]
            arrays[name] = np.frombuffer(mapped, kind, count, start + offset)
        return LvisIndex(meta, arrays, path)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _mapped(path: Path, digest: str) -> LvisIndex:
    index = read_index(path)
    if index is None or index.source.digest != digest:
        raise InputError(f"{path}: the index was removed or replaced while it was in use; start again.")
    return index


def _meta(tables: Tables) -> dict[str, Any]:
    return {"source": tables.source, "categories": tables.categories, "left_out": tables.left_out}
