"""Faults that a run must survive, tried for real: it is killed at random moments, its files are damaged, its disk is full.

python experiments/reliability.py                           200 kills, some ten minutes
python experiments/reliability.py --kills 20 --into README.md

Every trial is the command line in a process of its own, on drawn shapes: `mfpgan train`, then the fault, then
`mfpgan train --resume`, as often as it takes. A trial counts as survived if the run ends with the weights, the optimizer
states, the running mean and the lines of metrics.jsonl of a run that nobody disturbed, equal to the bit (times apart), and if
MLflow's database is sound and has each of these numbers once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MFPGAN_CACHE"] = os.environ.get("MFPGAN_CACHE", "cache")

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  all that a child needs is imported once: children are forked
import torch

import mfpgan.jobs  # noqa: F401
from mfpgan.cli import main as command_line
from mfpgan.tracking import read_lines

WORDS = (  # noqa: SIM905
    "--data synthetic --width 0.1 --size 96 --batch-size 2 --encoder-weights none --device cpu --precision fp32 "
    "--workers 0 --adv hinge --ema 0.9 --val-images 2 --val-clicks 1 --log-every 1 --eval-every 7 --save-every 2"
).split()
TIMES = ("time", "train/samples_per_second")


class Ended(NamedTuple):
    """A process of the command line."""

    code: int
    """Its exit code; -9 if it was killed."""
    out: str
    err: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs at random moments, saves included")
    parser.add_argument("--steps", type=int, default=30, help="of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--into", type=Path, help="page with the markers `<!-- results: reliability -->`")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        rows = trials(arguments.kills, arguments.steps, random.Random(arguments.seed))
    lines = ["| fault | tried | survived | |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {row.fault} | {row.tried} | {row.survived} | {row.note} |" for row in rows]
    text = "\n".join(lines)
    print(text)
    if arguments.into:
        from page import put

        put(arguments.into, "reliability", text)
    if any(row.survived < row.tried for row in rows):
        sys.exit("Not everything was survived.")


class Row(NamedTuple):
    fault: str
    tried: int
    survived: int
    note: str


def trials(kills: int, steps: int, moments: random.Random) -> list[Row]:
    """The table, in an empty working folder."""
    return [killed(kills, steps, moments), *(signalled(number, steps, moments) for number in ("SIGTERM", "SIGINT"))]


def killed(kills: int, steps: int, moments: random.Random) -> Row:
    """Runs that are killed again and again until they end, as many as it takes for so many kills."""
    done = sound = unborn = runs = 0
    whole: dict[str, Any] = {}
    while done < kills:
        seed = ["--seed", str(runs), "--steps", str(steps)]
        start = time.perf_counter()
        whole = state_of(run(*WORDS, *seed).out.strip())
        length = time.perf_counter() - start
        identity, here = "", 0
        while True:
            words = ("--resume", identity) if identity else (*WORDS, *seed)
            # Most kills fall into the first third of what is left, so that a run of some seconds takes many.
            wait = moments.uniform(0, length / 3) if done + here < kills else None
            ended = run(*words, kill_after=wait)
            here += ended.code == -signal.SIGKILL
            if not identity:
                identity = started(ended.out)
                unborn += not identity
            if ended.code == 0:
                break
            if ended.code != -signal.SIGKILL:
                print(f"seed {runs}: {' '.join(words)} ended with {ended.code}: {ended.err[-500:]}", file=sys.stderr)
                break
        good = ended.code == 0 and same(whole, state_of(identity))
        sound += here if good else 0
        done, runs = done + here, runs + 1
        print(f"{done} of {kills} kills, {runs} runs", file=sys.stderr, flush=True)
    return Row(
        "SIGKILL at random moments, saves and validations included", done, sound,
        f"{runs} runs of {steps} steps; {unborn} kills came before a run had begun",
    )  # fmt: skip


def signalled(name: str, steps: int, moments: random.Random, count: int = 5) -> Row:
    """Runs that are asked to stop once, and go on."""
    number, code = getattr(signal, name), 128 + getattr(signal, name)
    good = 0
    for seed in range(count):
        words = [*WORDS, "--steps", str(steps), "--seed", str(1000 + seed)]
        start = time.perf_counter()
        whole = state_of(run(*words).out.strip())
        length = time.perf_counter() - start
        ended = run(*words, kill_after=moments.uniform(length / 3, 0.8 * length), number=number)
        identity = started(ended.out)
        again = run("--resume", identity) if identity and ended.code == code else ended
        # A signal that came before the run had begun ends the program with nothing to go on from, one after its end nothing.
        never_began = ended.code == code and not identity
        good += never_began or (again.code == 0 and same(whole, state_of(identity)))
    return Row(f"{name} in the middle", count, good, f"exit code {code}, a checkpoint of that step")


def run(*words: str, kill_after: float | None = None, number: int = signal.SIGKILL) -> Ended:
    """`mfpgan train WORDS` in a child of this process, killed after so many seconds if it has not ended."""
    child = os.fork()
    if not child:
        with Path("out").open("w") as out, Path("err").open("w") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["mfpgan", "train", *words]
            try:
                command_line()
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))
            finally:
                os._exit(99)
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.005)
        else:
            os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, Path("out").read_text(), Path("err").read_text())


def started(out: str) -> str:
    """The id that a run printed, if it got so far as to have a checkpoint."""
    identity = out.strip()
    return identity if (Path("runs") / identity / "checkpoints" / "last.pt").is_file() and identity else ""


def state_of(identity: str) -> dict[str, Any]:
    """All that must not depend on what happened to a run."""
    folder = Path("runs") / identity
    parts = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    lines = [{name: value for name, value in line.items() if name not in TIMES} for line in read_lines(folder)]
    return {"parts": {name: value for name, value in parts.items() if name != "config"}, "lines": lines} | stored(
        identity
    )


def stored(identity: str) -> dict[str, Any]:
    """What MLflow's database says: whether it is sound, and how often it has each step of each number."""
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        points = database.execute("SELECT key, step FROM metrics WHERE run_uuid = ?", (identity,)).fetchall()
        status = database.execute("SELECT status FROM runs WHERE run_uuid = ?", (identity,)).fetchone()
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


if __name__ == "__main__":
    main()
