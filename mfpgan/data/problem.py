"""What can be wrong with a data set, in one sentence each: readers collect it, `mfpgan data check` lists it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mfpgan.types import InputError

Level = Literal["stop", "skip", "hint"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one file."""

    file: str
    """Path of the file that has to be mended."""
    id: str
    """The object, image or field inside the file; empty if it is about the whole file."""
    sentence: str
    """What came, what was expected, what to do."""
    level: Level
    """stop: opening or reading raises InputError; skip: the object is left out; hint: readable, but look at it."""

    @property
    def unusable(self) -> bool:
        """True if data is lost to this problem, False for a mere hint."""
        return self.level != "hint"

    def error(self) -> InputError:
        """The same as an exception."""
        return InputError(f"{self.file}{f' ({self.id})' if self.id else ''}: {self.sentence}")


def stop_at_first(problems: Iterable[Problem]) -> None:
    """Raise the first problem of level `stop` as InputError; do nothing if there is none."""
    for problem in problems:
        if problem.level == "stop":
            raise InputError(f"{problem.error()} `mfpgan data check` lists all that is wrong.")
