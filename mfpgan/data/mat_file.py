"""Cells of structs of numbers in a MATLAB 5 file: BSDS500's ground truth is one.

SciPy's loadmat reads much more, but some wrong bytes in a file end the process without a word (a segmentation fault in SciPy
1.17's read_var_array, found by tests/fuzz). Here each length is held against the bytes that are there. The format is in
MathWorks' "MAT-File Format", chapter "Level 5 MAT-Files".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_BYTES = 1 << 28
"""A variable that unpacks to more is refused; BSDS500's are some megabytes."""
_HEADER_BYTES = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""What is stored, by type."""
_CELL, _STRUCT, _NUMERIC = 1, 2, range(6, 16)
"""What it means, by class."""
_COMPLEX = 0x800


def read_cells(content: bytes, name: str, field: str) -> list[NDArray[Any]]:
    """The arrays of numbers in `field` of each struct in the cell array `name`, in the file's order.

    Raises:
        ValueError: no such file, variable or field, or something else in it; says what is wrong.
    """
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(content[_HEADER_BYTES - 4 : _HEADER_BYTES])
    if order is None:
        raise ValueError("no MATLAB 5 file")
    found = [
        matrix for matrix in _variables(memoryview(content)[_HEADER_BYTES:], order) if matrix.name == name.encode()
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} variables {name} in it")
    if found[0].kind != _CELL:
        raise ValueError(f"{name} is no cell array")
    return [_field(cell, field) for cell in found[0].inner(found[0].count)]


@dataclass(frozen=True)
class _Matrix:
    """An array, its content not looked at yet."""

    kind: int
    shape: tuple[int, ...]
    name: bytes
    is_complex: bool
    rest: list[tuple[int, memoryview]]
    order: str

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def inner(self, count: int) -> list[_Matrix]:
        """The arrays of a cell array or struct, `count` of them."""
        if len(self.rest) != count:
            raise ValueError(f"an array of {count} others holds {len(self.rest)}")
        return [_matrix(kind, body, self.order) for kind, body in self.rest]


def _variables(data: memoryview, order: str) -> Iterator[_Matrix]:
    for kind, body in _elements(data, order):
        if kind != _COMPRESSED:
            yield _matrix(kind, body, order)
            continue
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(body, LARGEST_BYTES)
        if not unpacker.eof:  # only now its checksum was looked at
            raise ValueError(f"a variable breaks off or has more than {LARGEST_BYTES:,} bytes")
        for inner_kind, inner_body in _elements(memoryview(unpacked), order):
            yield _matrix(inner_kind, inner_body, order)


def _field(cell: _Matrix, field: str) -> NDArray[Any]:
    if cell.kind != _STRUCT or cell.count != 1 or len(cell.rest) < 2:
        raise ValueError("a cell holds something else than one struct")
    (_, length), (_, names) = cell.rest[:2]
    step = _integers(length, cell.order)[0] if len(length) else 0
    if step < 1 or len(names) % step:
        raise ValueError("the names of a struct's fields break off")
    fields = [bytes(names[start : start + step]).split(b"\0")[0] for start in range(0, len(names), step)]
    if len(cell.rest) != 2 + len(fields) or fields.count(field.encode()) != 1:
        raise ValueError(f"a struct has no field {field}, or not as many values as fields")
    return _numbers(_matrix(*cell.rest[2 + fields.index(field.encode())], cell.order))


def _numbers(matrix: _Matrix) -> NDArray[Any]:
    if matrix.kind not in _NUMERIC or matrix.is_complex or len(matrix.rest) != 1 or matrix.rest[0][0] not in _NUMBERS:
        raise ValueError("it holds something else than real numbers where a label map should be")
    kind, body = matrix.rest[0]
    values = np.frombuffer(body, matrix.order + _NUMBERS[kind])
    if len(values) != matrix.count:
        raise ValueError(f"an array of {matrix.count} numbers holds {len(values)}")
    return values.reshape(matrix.shape, order="F")


def _matrix(kind: int, body: memoryview, order: str) -> _Matrix:
    if kind != _MATRIX:
        raise ValueError("it holds something else than an array")
    if not len(body):  # MATLAB's []
        return _Matrix(_NUMERIC[0], (0, 0), b"", False, [(9, body)], order)
    parts = list(_elements(body, order))
    if [part for part, _ in parts[:3]] != [_UINT32, _INT32, _INT8] or len(parts[0][1]) != 8:
        raise ValueError("it holds something else than an array")
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    shape = _integers(parts[1][1], order)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError("an array without a size")
    return _Matrix(flags & 0xFF, shape, bytes(parts[2][1]), bool(flags & _COMPLEX), parts[3:], order)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, bytes) of what stands side by side in `data`."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise ValueError("it breaks off")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start = place + 8
        if kind >> 16:  # four bytes at most, in place of the size
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place += 8
        else:
            place = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > min(len(data), place):
            raise ValueError("it breaks off")
        yield kind, data[start : start + size]


def _integers(body: memoryview, order: str) -> tuple[int, ...]:
    if len(body) % 4:
        raise ValueError("it breaks off")
    return struct.unpack(f"{order}{len(body) // 4}i", body)
