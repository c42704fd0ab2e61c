"""How the benchmarks measure: a peer and mfpgan in turn, so that both meet the same load; ratios first, then what they are made of."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Row(NamedTuple):
    """One line of a result: the same thing measured at the peer and at mfpgan, turn by turn."""

    what: str
    peer: ArrayLike
    """(turns,)"""
    mfpgan: ArrayLike
    """(turns,)"""
    unit: str
    """Of both: s, ms, MiB. Less is better."""


def in_turn(*players: Callable[[], object], turns: int) -> NDArray[np.float64]:
    """(players, turns) seconds. One turn before the first is not counted; every other turn goes backwards, so that nobody
    always follows the same one."""
    seconds = np.zeros((len(players), turns + 1))
    for turn in range(turns + 1):
        for number in range(len(players))[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            players[number]()
            seconds[number, turn] = time.perf_counter() - start
    return seconds[:, 1:]


def report(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """A Markdown table: the ratio peer / mfpgan of each turn, then the two, each as median and range."""
    lines = [
        f"| {title} | peer / mfpgan [range] | peer | mfpgan |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        peer, own = np.asarray(row.peer, np.float64), np.asarray(row.mfpgan, np.float64)
        ends = f"{spread(peer)} {row.unit} | {spread(own)} {row.unit}"
        lines.append(f"| {row.what} | **{spread(peer / own)}** | {ends} |")
    return "\n".join([*lines, "", *notes])


def spread(values: ArrayLike) -> str:
    """Median and range, with three digits that count."""
    found = np.asarray(values, np.float64)
    return f"{_short(float(np.median(found)))} [{_short(float(found.min()))}, {_short(float(found.max()))}]"


def _short(value: float) -> str:
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{min(digits, 4)}f}"


def machine() -> str:
    """One line on where it was measured."""
    packages = ("numpy", "torch", "opencv-python-headless", "pycocotools")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    threads = os.environ.get("OMP_NUM_THREADS", "as many as cores")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{cores} cores of {platform.machine()}{busy}, OpenMP threads {threads}; Python {platform.python_version()}, {versions}."


def alone(script: str, *words: object, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What a fresh process of a benchmark prints as its last line, a JSON object.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} {' '.join(command[2:])} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory_mib(key: str = "VmHWM") -> float:
    """MiB of this process: VmHWM, its peak so far, or VmRSS, now. Linux only."""
    # Not getrusage: a child process inherits its parent's peak there.
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) / 2**10
