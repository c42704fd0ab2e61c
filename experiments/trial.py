"""A trial of a fault: `mfpgan train` in a process of its own, what it leaves, and whether that is equal to the bit."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  all that a child needs is imported once: children are forked
import torch

import mfpgan.jobs  # noqa: F401
from mfpgan.cli import main as command_line
from mfpgan.tracking import read_lines

DRAWN = (  # noqa: SIM905
    "--data synthetic --width 0.1 --size 96 --batch-size 2 --encoder-weights none --device cpu --precision fp32 "
    "--ema 0.9 --val-images 2 --val-clicks 1 --log-every 1 --eval-every 7 --save-every 2"
).split()
"""A small run that has everything: `mfpgan train` and these."""
TIMES = ("time", "train/samples_per_second")


class Ended(NamedTuple):
    """A process of the command line."""

    code: int
    """Its exit code; -9 if it was killed."""
    out: str
    err: str
    seconds: float


def run(
    *words: str,
    kill_after: float | None = None,
    number: int = signal.SIGKILL,
    surroundings: Mapping[str, str] | None = None,
    fault: Callable[[], None] = lambda: None,
) -> Ended:
    """`mfpgan WORDS` in a child of this process.

    Args:
        kill_after: seconds until it gets the signal `number`, if it has not ended.
        surroundings: environment variables for it.
        fault: called in the child before anything else.
    """
    start = time.perf_counter()
    child = os.fork()
    if not child:
        with Path("out").open("w") as out, Path("err").open("w") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(surroundings or {})
            sys.argv = ["mfpgan", *words]
            try:
                fault()
                command_line()
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))
            finally:
                os._exit(99)
    if kill_after is not None:
        while time.perf_counter() < start + kill_after:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.005)
        else:
            os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, Path("out").read_text(), Path("err").read_text(), time.perf_counter() - start)


def together(*words: str, kill_second_after: float | None = None) -> Ended:
    """`mfpgan train WORDS` in two processes that torchrun starts; the second can be killed so many seconds after the
    second checkpoint."""
    start = time.perf_counter()
    before = set(Path("runs").glob("*/checkpoints/before.pt"))
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mfpgan", "train", *words)
    with Path("out").open("w") as out, Path("err").open("w") as err:
        agent = subprocess.Popen([sys.executable, *words], stdout=out, stderr=err)
        if kill_second_after is not None:
            while agent.poll() is None and before.issuperset(Path("runs").glob("*/checkpoints/before.pt")):
                time.sleep(0.01)
            time.sleep(kill_second_after)
            for status in Path("/proc").glob("[0-9]*/environ"):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    told = dict(part.split(b"=", 1) for part in status.read_bytes().split(b"\0") if b"=" in part)
                    parent = int((status.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    if parent == agent.pid and told.get(b"RANK") == b"1":
                        os.kill(int(status.parent.name), signal.SIGKILL)
        agent.wait()
    return Ended(agent.returncode, Path("out").read_text(), Path("err").read_text(), time.perf_counter() - start)


def started(out: str) -> str:
    """The id that a run printed, if it got so far as to have a checkpoint."""
    identity = out.strip()
    return identity if identity and checkpoint(identity).is_file() else ""


def checkpoint(identity: str) -> Path:
    return Path("runs") / identity / "checkpoints" / "last.pt"


def state_of(identity: str) -> dict[str, Any]:
    """All that must not depend on what happened to a run."""
    folder = checkpoint(identity).parents[1]
    parts, best = (
        torch.load(checkpoint(identity).with_name(name), weights_only=True) for name in ("last.pt", "best.pt")
    )
    lines = read_lines(folder)
    # before.pt is that of an earlier save or, after a fall back, not there; bad_step.pt is there where one was.
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {
        "parts": {name: value for name, value in parts.items() if name != "config"},
        "best": {name: value for name, value in best.items() if name != "config"},
        "files": sorted(files - {f"checkpoints/{name}" for name in ("before.pt", "bad_step.pt")}),
        "lines": [{name: value for name, value in line.items() if name not in TIMES} for line in lines],
    } | stored(identity)


def stored(identity: str) -> dict[str, Any]:
    """What MLflow's database says: whether it is sound, and how often it has each step of each number."""
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        # A run that MLflow was away for at its start has another id there, and says so in a tag.
        named = "run_uuid IN (SELECT run_uuid FROM tags WHERE run_uuid = ?1 OR value = ?1)"
        points = database.execute(f"SELECT key, step FROM metrics WHERE {named}", (identity,)).fetchall()
        status = database.execute(f"SELECT status FROM runs WHERE {named}", (identity,)).fetchall()
    return {"database": verdict, "points": Counter(points), "status": status}


def same(first: Any, second: Any, place: str = "") -> bool:
    """Equal to the bit, through all containers; the first difference is said on stderr."""
    if isinstance(first, dict) and first.keys() == second.keys():
        return all(same(first[key], second[key], f"{place}/{key}") for key in first)
    if isinstance(first, list | tuple) and len(first) == len(second):
        return all(same(*pair, f"{place}/{number}") for number, pair in enumerate(zip(first, second, strict=True)))
    tensors = isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
    equal = torch.equal(first, second) if tensors else bool(first == second)
    if not equal:
        print(f"difference at {place}: {str(first)[:300]} and {str(second)[:300]}", file=sys.stderr)
    return equal
