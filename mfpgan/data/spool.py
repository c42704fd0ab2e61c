"""Arrays that wait on disk: they would be most of the memory that building an index takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Arrays of int32, added one after the other and read back one at a time.

    Args:
        folder: where a file without a name holds them, which is gone with the process, however that ends; None keeps them
            in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: IO[bytes] | None = None if folder is None else TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
        self._kept: list[NDArray[np.int32]] = []
        self._ends = [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, array: NDArray[np.int32]) -> int:
        """Its number. Raises OSError on a full disk."""
        if self._file is None:
            self._kept.append(array)
        else:
            self._file.seek(4 * self._ends[-1])
            self._file.write(array.data.cast("B"))
        self._ends.append(self._ends[-1] + len(array))
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        """Raises IndexError behind the last."""
        place = range(len(self))[number]
        if self._file is None:
            return self._kept[place]
        self._file.seek(4 * self._ends[place])
        return np.frombuffer(self._file.read(4 * (self._ends[place + 1] - self._ends[place])), np.int32)
