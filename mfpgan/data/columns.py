"""Named arrays, in memory or in a mapped file that is summed up block by block: each block when it is first used.

A file of half a gigabyte cannot be read to its end just to be opened, and a wrong bit in it would be a wrong mask without a
word. A block is a page of memory, so whoever uses one number of it has read all of it anyway.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import InputError

BLOCK_BYTES = 4096
_ALIGNMENT = 64
_SUM = np.dtype("<u4")
_LONG_BLOCKS = 16
"""From so many on the system is asked to read ahead."""


class DamagedError(InputError):
    """A block of the file does not fit its checksum."""


class Columns:
    """Named one-dimensional arrays."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)

    def length(self, name: str) -> int:
        return len(self._arrays[name])

    def part(self, name: str, first: int = 0, end: int | None = None) -> NDArray[Any]:
        """Numbers `first` to `end` of an array, by default all; both from 0 to its length. Not to be written to."""
        return self._arrays[name][first:end]

    def value(self, name: str, number: int) -> Any:
        """One number of an array as a Python number; raises IndexError behind its end."""
        return self._arrays[name].item(number)


class MappedColumns(Columns):
    """The arrays that `write_columns` wrote.

    Args:
        file: open for reading; may be closed afterwards.
        path: its name, for messages.
        start: where in it the arrays begin, a multiple of BLOCK_BYTES.
        kinds: every array's dtype, in the file's order.
        lengths: every array's length.

    Raises:
        DamagedError: the file is too short or too long, or the checksums are not what was written.
    """

    def __init__(
        self, file: BinaryIO, path: Path, start: int, kinds: Mapping[str, np.dtype[Any]], lengths: Mapping[str, int]
    ) -> None:
        state = os.fstat(file.fileno())
        self._path, self._file = path, (state.st_dev, state.st_ino)
        layout, size = _layout(kinds, lengths)
        blocks = size // BLOCK_BYTES
        if state.st_size != start + size + (blocks + 1) * _SUM.itemsize:
            raise self._damaged()
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Numbers are looked up here and there: reading ahead would fill the memory with what nobody asked for.
        self._advise("MADV_RANDOM", 0, state.st_size)
        self._bytes, self._start = memoryview(self._map), start
        self._advise("MADV_WILLNEED", start + size, state.st_size)
        sums = self._bytes[start + size :]
        if zlib.crc32(sums[: -_SUM.itemsize]) != int.from_bytes(sums[-_SUM.itemsize :], "little"):
            raise self._damaged()
        self._sums = np.frombuffer(sums, _SUM, blocks)
        self._places = layout
        self._fine = bytearray(blocks)
        """For each block, whether this process or the one that it was forked from has summed it up."""
        super().__init__({
            name: np.frombuffer(self._map, kind, lengths[name], start + layout[name]) for name, kind in kinds.items()
        })  # fmt: skip

    def part(self, name: str, first: int = 0, end: int | None = None) -> NDArray[Any]:
        """See `Columns.part`; raises DamagedError."""
        array = self._arrays[name][first:end]
        place = self._places[name] + first * array.itemsize
        block, last = place // BLOCK_BYTES, -(-(place + array.nbytes) // BLOCK_BYTES)
        if 0 in self._fine[block:last]:
            self._check(block, last)
        return array

    def value(self, name: str, number: int) -> Any:
        """See `Columns.value`; raises DamagedError."""
        array, place = self._arrays[name], self._places[name]
        value = array.item(number)
        block = (place + number % len(array) * array.itemsize) // BLOCK_BYTES  # just one, for arrays are aligned
        if not self._fine[block]:
            self._check(block, block + 1)
        return value

    def _check(self, first: int, end: int) -> None:
        if end - first >= _LONG_BLOCKS:
            self._advise("MADV_WILLNEED", self._start + first * BLOCK_BYTES, self._start + end * BLOCK_BYTES)
        for block in range(first, end):
            place = self._start + block * BLOCK_BYTES
            if zlib.crc32(self._bytes[place : place + BLOCK_BYTES]) != self._sums[block]:
                raise self._damaged()
            self._fine[block] = 1

    def _advise(self, advice: str, first: int, end: int) -> None:
        """Where the system takes it: an advice changes nothing but the speed."""
        first -= first % mmap.PAGESIZE
        with suppress(AttributeError, OSError):
            self._map.madvise(getattr(mmap, advice), first, end - first)

    def _damaged(self) -> DamagedError:
        """What to say; and the file goes, or the next start would find it again."""
        remedy = "was removed; start again, and it is built anew"
        try:
            state = self._path.stat()
            if (state.st_dev, state.st_ino) == self._file:  # otherwise somebody has built another one meanwhile
                self._path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            remedy = f"cannot be removed ({error.strerror}); delete it and start again"
        return DamagedError(f"{self._path}: the index is damaged and {remedy}.")


def write_columns(
    file: BinaryIO, kinds: Mapping[str, np.dtype[Any]], pieces: Mapping[str, Iterable[NDArray[Any]]]
) -> None:
    """Arrays, each given in pieces, from here to the end of the file; takes no more memory than the largest piece."""
    blocks = _Blocks(file)
    for name, kind in kinds.items():
        for piece in pieces[name]:
            if len(piece):
                blocks.write(np.ascontiguousarray(piece, kind).data.cast("B"))
        blocks.fill(_ALIGNMENT)
    blocks.fill(BLOCK_BYTES)
    sums = np.array(blocks.sums, _SUM).tobytes()
    file.write(sums + zlib.crc32(sums).to_bytes(_SUM.itemsize, "little"))


class _Blocks:
    """Writes on, and sums up every block."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0
        self._sum = 0
        self.sums: list[int] = []

    def write(self, content: memoryview) -> None:
        self._file.write(content)
        while content:
            taken = content[: BLOCK_BYTES - self._written % BLOCK_BYTES]
            content = content[len(taken) :]
            self._sum = zlib.crc32(taken, self._sum)
            self._written += len(taken)
            if self._written % BLOCK_BYTES == 0:
                self.sums.append(self._sum)
                self._sum = 0

    def fill(self, alignment: int) -> None:
        self.write(memoryview(bytes(-self._written % alignment)))


def _layout(kinds: Mapping[str, np.dtype[Any]], lengths: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Where each array begins, in bytes, and the size of all, a multiple of BLOCK_BYTES."""
    layout, size = {}, 0
    for name, kind in kinds.items():
        layout[name] = size
        size += -(-lengths[name] * kind.itemsize // _ALIGNMENT) * _ALIGNMENT
    return layout, size + -size % BLOCK_BYTES
