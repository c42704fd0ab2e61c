"""Faults that a run must survive, tried for real: it is killed at random moments, its files are damaged, its disk is full.

python experiments/reliability.py                           200 kills and the other faults, some fifteen minutes
python experiments/reliability.py --kills 20 --into README.md

Every trial is the command line in a process of its own, on drawn shapes: `mfpgan train`, then the fault, then
`mfpgan train --resume`, as often as it takes. A trial counts as survived if the run ends with the weights, the optimizer
states, the running mean, the best weights, the lines of metrics.jsonl and the files of a run that nobody disturbed, equal to the bit (times apart), and if
MLflow's database is sound and has each of these numbers once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MFPGAN_CACHE"] = os.environ.get("MFPGAN_CACHE", "cache")

from trial import DRAWN, Ended, checkpoint, run, same, started, state_of, together

from mfpgan import build
from mfpgan.data.loader import training_batches
from mfpgan.training.checkpoint import BAD_STEP

PLAYERS = (["--adv", "hinge"], ["--adv", "off"])
WORKERS = (["--workers", "0"], ["--workers", "2"])
FULL = r"""
mkdir disk && mount -t tmpfs -o size=48m none disk && cd disk || exit 9
(while [ ! -f runs/*/checkpoints/before.pt ]; do sleep .05; done; sleep "$1"; cat /dev/zero >filler) 2>/dev/null &
shift
mfpgan() { "$PYTHON" -m mfpgan "$@"; }
id=$(mfpgan train "$@" 2>../first); echo $? >../code
rm filler
mfpgan train --resume $id 2>../err >../out
cp -r runs mlflow.db ..
"""
"""A disk of its own is filled while a run trains on it, then there is room again."""


class Row(NamedTuple):
    fault: str
    tried: int
    survived: int
    note: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="SIGKILLs at random moments, saves included")
    parser.add_argument("--steps", type=int, default=30, help="of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--into", type=Path, help="page with the markers `<!-- results: reliability -->`")
    arguments = parser.parse_args()
    page = arguments.into and arguments.into.absolute()
    rows = []
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        for row in trials(arguments.kills, arguments.steps, random.Random(arguments.seed)):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
    lines = ["| fault | tried | survived | |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {row.fault} | {row.tried} | {row.survived} | {row.note} |" for row in rows]
    text = "\n".join(lines)
    print(text)
    if page:
        from page import put

        put(page, "reliability", text)
    if any(row.survived < row.tried for row in rows):
        sys.exit("Not everything was survived.")


def trials(kills: int, steps: int, moments: random.Random) -> Iterator[Row]:
    """The table's rows, in an empty working folder."""
    yield killed(kills, steps, moments)
    yield signalled("SIGTERM", steps, moments)
    yield signalled("SIGINT", steps, moments)
    yield damaged(steps, moments)
    yield not_finite(steps, moments)
    yield away(steps, moments)
    yield lost(steps, moments)
    yield full(steps, moments)


def killed(kills: int, steps: int, moments: random.Random) -> Row:
    """Runs that are killed again and again until they end, as many as it takes for so many kills."""
    done = sound = unborn = runs = 0
    while done < kills:
        workers = str(runs // len(PLAYERS) % 2 * 2)
        words = [
            *DRAWN,
            *PLAYERS[runs % len(PLAYERS)],
            "--workers",
            workers,
            "--seed",
            str(runs),
            "--steps",
            str(steps),
        ]
        whole, length = undisturbed(words)
        identity, here = "", 0
        while True:
            next_words = ("--resume", identity) if identity else words
            # Most kills fall into the first third of what is left, so that a run of some seconds takes many.
            wait = moments.uniform(0, length / 3) if done + here < kills else None
            ended = run("train", *next_words, kill_after=wait)
            here += ended.code == -signal.SIGKILL
            if not identity:
                identity = started(ended.out)
                unborn += not identity
            if ended.code != -signal.SIGKILL:
                break
        if "has done all its" in ended.err:  # killed on its way out; MLflow may lack the end
            ended = run("sync", identity)
        sound += here if went_on(ended, identity, whole) else 0
        done, runs = done + here, runs + 1
        print(f"{done} of {kills} kills, {runs} runs", file=sys.stderr, flush=True)
    return Row(
        "SIGKILL at random moments, saves and validations included", done, sound,
        f"{runs} runs of {steps} steps, with and without adversary, 0 and 2 loader processes; {unborn} kills came before a "
        "run had begun",
    )  # fmt: skip


def signalled(name: str, steps: int, moments: random.Random, count: int = 5) -> Row:
    """Runs that are asked to stop once, and go on."""
    code = 128 + getattr(signal, name)
    good = 0
    for whole, ended, identity in stopped(name, steps, moments, count, seed=1000):
        good += ended.code == code and went_on(resumed(identity), identity, whole)
    return Row(f"{name} in the middle", count, good, f"exit code {code}, a checkpoint of that step")


def damaged(steps: int, moments: random.Random) -> Row:
    """The last checkpoint of a run that was stopped is not what was written."""

    def cut(path: Path) -> None:
        os.truncate(path, moments.randrange(path.stat().st_size))

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[moments.randrange(len(content))] ^= 1 << moments.randrange(8)
        path.write_bytes(content)

    def zeros(path: Path) -> None:
        path.write_bytes(bytes(path.stat().st_size))

    kinds: list[Callable[[Path], None]] = [cut, flip, zeros, Path.unlink]
    good = 0
    count = 3 * len(kinds)
    for number, (whole, _, identity) in enumerate(stopped("SIGTERM", steps, moments, count, seed=2000, begun=True)):
        kinds[number % len(kinds)](checkpoint(identity))
        good += went_on(resumed(identity), identity, whole)
    return Row(
        "last checkpoint cut, a bit flipped, all zeros, gone", count, good, "goes on from the one before, and says so"
    )


def training(steps: int, seed: int) -> list[str]:
    """Words after `mfpgan train`: players and workers change with the seed."""
    return [*DRAWN, *PLAYERS[seed % 2], *WORKERS[seed // 2 % 2], "--steps", str(steps), "--seed", str(seed)]


def not_finite(steps: int, moments: random.Random, count: int = 4) -> Row:
    """A batch with a pixel that is no number; then the same run with it mended."""
    good = 0
    for seed in range(3000, 3000 + count):
        words = training(steps, seed)
        bad = moments.randrange(3, steps)

        def spoil(bad: int = bad) -> None:
            def batches(data: Any, *, steps: range, **options: Any) -> Iterator[Any]:
                for step, batch in zip(steps, training_batches(data, steps=steps, **options), strict=False):
                    yield replace(batch, image=batch.image / 0) if step == bad else batch

            build.training_batches = batches  # type: ignore[attr-defined]

        whole, _ = undisturbed(words)
        ended = run("train", *words, fault=spoil)
        identity = started(ended.out)
        named = (
            ended.code == 1
            and f"at step {bad + 1};" in ended.err
            and checkpoint(identity).with_name(BAD_STEP).is_file()
        )
        good += named and went_on(resumed(identity), identity, whole)
    return Row(
        "a loss that is no number",
        count,
        good,
        "stops before the update, names the step, keeps its batch; goes on when mended",
    )


def away(steps: int, moments: random.Random) -> Row:
    """MLflow's server refuses, hangs, or is killed in the middle; `mfpgan sync` afterwards."""
    good = 0
    for number, server in enumerate((refusing, hanging, killed_server, killed_server)):
        words = [*DRAWN, *PLAYERS[0], *WORKERS[0], "--steps", str(steps), "--seed", str(4000 + number)]
        whole, length = undisturbed(words)
        with server(moments.uniform(0.2, 0.8) * length) as address:
            ended = run("train", *words, surroundings={"MLFLOW_TRACKING_URI": address})
        identity = ended.out.strip()
        synced = run("sync", identity)
        good += synced.code == 0 and went_on(ended, identity, whole)
    return Row(
        "MLflow's server refuses, hangs, is killed in the middle",
        4,
        good,
        "training ends as if nothing were; `mfpgan sync` brings the rest",
    )


@contextlib.contextmanager
def refusing(_: float) -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@contextlib.contextmanager
def hanging(_: float) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@contextlib.contextmanager
def killed_server(after: float) -> Iterator[str]:
    address = f"http://127.0.0.1:{(port := free_port())}"
    words = ["server", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1", "--port", str(port),
             "--no-serve-artifacts", "--default-artifact-root", str(Path.cwd() / "mlartifacts")]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with Path("server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=os.environ | quiet,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    for _ in range(480):
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(f"{address}/health").close()
            break
        time.sleep(0.25)
    killer = subprocess.Popen(["sh", "-c", f"sleep {after}; kill -9 -{server.pid}"])
    yield address
    killer.wait()
    server.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def lost(steps: int, moments: random.Random, count: int = 3) -> Row:
    """Two processes that work as one; one is killed after its second checkpoint, then both go on."""
    good = tried = 0
    while tried < count:
        words = [*DRAWN, *PLAYERS[0], *WORKERS[0], "--steps", str(steps), "--seed", str(5000 + tried)]
        whole = together(*words)
        expected = state_of(whole.out.strip())
        ended = together(*words, kill_second_after=moments.uniform(0, 1))
        if not ended.code:  # it came too late
            continue
        tried += 1
        identity = started(ended.out)
        good += bool(identity) and went_on(together("--resume", identity), identity, expected)
    return Row("one of two processes killed", count, good, "the other ends by itself, with the last checkpoint whole")


def full(steps: int, moments: random.Random, count: int = 4) -> Row:
    """The disk, a small tmpfs, fills up while a run trains on it; then there is room again, and the run goes on."""
    fault = "disk full in the middle (a small tmpfs)"
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        return Row(fault, 0, 0, "not tried: no user namespaces here")
    good = 0
    for seed in range(6000, 6000 + count):
        words = training(steps, seed)
        whole, length = undisturbed(words)
        wait = moments.uniform(0, length / 4)
        folder = Path(f"full{seed}")
        folder.mkdir()
        with contextlib.chdir(folder):
            surroundings = os.environ | {"PYTHON": sys.executable}
            subprocess.run(["unshare", "-rm", "sh", "-c", FULL, "sh", str(wait), *words], env=surroundings, check=True)
            code = int(Path("code").read_text())
            (identity,) = (path.name for path in Path("runs").iterdir())
            told = "No space left on device" in Path("first").read_text()
            good += code == 2 and told and went_on(Ended(0, "", "", 0), identity, whole)
    return Row(fault, count, good, "one sentence, the last checkpoint whole; goes on when there is room")


def undisturbed(words: list[str]) -> tuple[dict[str, Any], float]:
    """The state of a run that nobody disturbs, and its seconds."""
    ended = run("train", *words)
    if ended.code:
        sys.exit(f"mfpgan train {' '.join(words)} ended with {ended.code}: {ended.err[-500:]}")
    return state_of(ended.out.strip()), ended.seconds


def stopped(
    name: str, steps: int, moments: random.Random, count: int, *, seed: int, begun: bool = False
) -> Iterator[tuple[dict[str, Any], Ended, str]]:
    """So many runs that got a signal after they had begun and before they had ended: their undisturbed state, how they ended, their id.

    Args:
        begun: only runs that have a checkpoint and one before it.
    """
    while count:
        words = training(steps, seed)
        whole, length = undisturbed(words)
        ended = run("train", *words, kill_after=moments.uniform(0.3, 0.8) * length, number=getattr(signal, name))
        identity = started(ended.out)
        in_the_middle = ended.code != 0 and identity
        if in_the_middle and (not begun or checkpoint(identity).with_name("before.pt").is_file()):
            yield whole, ended, identity
            count -= 1
        seed += 1


def resumed(identity: str) -> Ended:
    return run("train", "--resume", identity)


def went_on(ended: Ended, identity: str, whole: dict[str, Any]) -> bool:
    """Whether a run came to the end that it would have come to by itself; if not, why is said on stderr."""
    if ended.code:
        print(f"{identity} ended with {ended.code}: {ended.err[-500:]}", file=sys.stderr)
        return False
    return same(whole, state_of(identity))


if __name__ == "__main__":
    main()
