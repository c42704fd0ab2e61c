"""metrics.jsonl: a line a step, appended by training and by evaluations beside it, whole whatever happens to the disk.

On a full disk training goes on: lines wait in memory and are written as soon as there is room. A shared disk is often full
for a minute, and a run that is left alone for days must not end there; nor is anything at risk, for a checkpoint is only
written when all lines before it are on the disk (`MetricsFile.flush`), and that is where a disk that stays full stops the
run: a resumed one starts from the checkpoint before and makes those lines again.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mfpgan.files import write_atomically

LARGEST = sys.float_info.max
"""Stands for infinity, in metrics.jsonl as in MLflow: JSON has no word for it."""
LAST_STEP = 2**53
METRIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-. /]{0,249}")
"""What MLflow takes as a metric's name."""
LAST_MOMENT = 1e11
"""In seconds since 1970, the year 5138."""
OF_TRAINING = ("train/", "d/", "val/", "val_ema/")
"""Beginnings of the names that training logs, once a step; all others are of an evaluation, which may be repeated."""


class Span(NamedTuple):
    """A part of the file that holds whole lines, in bytes."""

    start: int
    end: int


class MetricsFile:
    """metrics.jsonl, open for appending.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        size = os.lseek(self._file, 0, os.SEEK_END)
        self._torn = False
        if size:
            os.lseek(self._file, -1, os.SEEK_END)
            # Killed in the middle of a line: the next one must not be glued to it.
            self._torn = os.read(self._file, 1) != b"\n"
        self._held: list[bytes] = []
        self._untold: int | None = None
        """Where lines begin that arrived before the disk became full on the way, so that no span has them yet."""

    def write(self, metrics: Mapping[str, float], step: int, moment: float) -> Span:
        """Append a line, and those held before it; where they stand in the file.

        Raises:
            OSError: the disk did not take it; the line is held and comes with the next one.
        """
        values = {name: json_value(value) for name, value in metrics.items()}
        line = {"step": int(step), "time": round(moment, 3), **values}
        self._held.append(f"{json.dumps(line, allow_nan=False)}\n".encode())
        return self._write_held()

    def flush(self) -> Span:
        """All lines are on the disk when this returns, power loss or not.

        Raises:
            OSError: they are not.
        """
        span = self._write_held()
        os.fsync(self._file)
        return span

    def close(self) -> None:
        os.close(self._file)

    def _write_held(self) -> Span:
        if not self._held:
            end = os.lseek(self._file, 0, os.SEEK_END)
            return Span(end, end)
        data = (b"\n" if self._torn else b"") + b"".join(self._held)
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        if written < len(data):  # the disk became full on the way: what arrived whole counts
            arrived = data[:written]
            lines = arrived.count(b"\n") - (self._torn and written > 0)
            self._torn = not arrived.endswith(b"\n")
            del self._held[:lines]
            if self._untold is None:
                self._untold = os.lseek(self._file, 0, os.SEEK_CUR) - written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        end = os.lseek(self._file, 0, os.SEEK_CUR)  # behind what was appended, whoever else appends
        start = end - len(data) if self._untold is None else self._untold
        self._torn, self._held, self._untold = False, [], None
        return Span(start, end)


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl, oldest first, without torn ones."""
    try:
        data = (folder / "metrics.jsonl").read_bytes()
    except FileNotFoundError:
        return
    yield from _parse(data)


def read_span(folder: Path, span: Span, most: int) -> tuple[list[dict[str, Any]], int]:
    """Lines of a span, at most so many bytes of them unless a single line is longer; and where the next one begins."""
    with (folder / "metrics.jsonl").open("rb") as file:
        file.seek(span.start)
        data = file.read(min(most, span.end - span.start))
        if span.start + len(data) < span.end and not data.endswith(b"\n"):
            data += file.readline()
    return list(_parse(data)), span.start + len(data) if data else span.end


def _parse(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and _is_step(values.get("step")) and is_moment(values.get("time", 0)):
            yield values


def _is_step(value: object) -> bool:
    return type(value) is int and 0 <= value <= LAST_STEP


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line; null comes back as NaN."""
    return {
        name: math.nan if value is None else float(max(-LARGEST, min(LARGEST, value)))
        for name, value in line.items()
        if is_name(name) and (value is None or isinstance(value, (int, float)))
    }


def is_name(name: str) -> bool:
    """Whether MLflow takes it as a metric's name, and a line has no other use for it."""
    parts = name.split("/")
    return bool(METRIC_NAME.fullmatch(name)) and name not in ("step", "time") and all(part.strip(".") for part in parts)


def last_metrics(folder: Path) -> dict[str, float]:
    """The last value of every metric in metrics.jsonl."""
    last: dict[str, float] = {}
    for line in read_lines(folder):
        last.update(metrics_of(line))
    return last


def last_moment(folder: Path) -> float:
    """Time of the last line, in seconds since 1970; 0 where there is none."""
    return max((float(line["time"]) for line in read_lines(folder) if is_moment(line.get("time"))), default=0.0)


def is_moment(value: object) -> TypeGuard[float]:
    """Whether it is a time in seconds since 1970 that a calendar can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LAST_MOMENT


def go_back(folder: Path, step: int) -> None:
    """Make the folder what it was at `step`: the resumed run will write the later lines again.

    Evaluations are of a checkpoint that will be replaced: their lines go, and eval/ becomes eval-step<STEP>/.
    """
    if (folder / "metrics.jsonl").exists():
        kept = [line for line in read_lines(folder) if line["step"] <= step and of_training(line)]
        write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())
    if (folder / "eval").is_dir():
        old = folder / f"eval-step{step}"
        shutil.rmtree(old, ignore_errors=True)
        (folder / "eval").replace(old)


def of_training(names: Mapping[str, Any]) -> bool:
    return all(name in ("step", "time") or name.startswith(OF_TRAINING) for name in names)


def json_value(value: float) -> float | None:
    """A number as metrics.jsonl and run.json hold it."""
    return None if math.isnan(value) else max(-LARGEST, min(LARGEST, value))
