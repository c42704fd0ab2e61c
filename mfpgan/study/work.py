"""The commands of one cell: `mfpgan train`, then `mfpgan eval` for each entry of `evaluate`, in processes of their own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from mfpgan import tracking
from mfpgan.files import write_atomically
from mfpgan.study.cells import RUNS, STUDIES, Effort, Evaluation, Files, State, effort_of, state_of, write_effort
from mfpgan.study.file import Cell
from mfpgan.types import reason_of

Tell = Callable[[Cell, str, str], None]
"""Called as tell(cell, what, more): `what` is train, resume, eval, done, failed, interrupted, submitted or left."""
MFPGAN = (sys.executable, "-m", "mfpgan")
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a command that was told to stop, and did."""


@dataclass(frozen=True)
class Task:
    """A cell to work on, with all that another process, or another machine that shares the folder, has to know."""

    cell: Cell
    study: str
    """Its name."""
    evaluations: tuple[Evaluation, ...]
    folder: Path
    """The working folder, absolute."""
    retry: bool = False
    """Work on it though it failed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that count where they are not set."""
    program: tuple[str, ...] = field(default_factory=lambda: MFPGAN)
    """What `mfpgan` is here."""

    @property
    def files(self) -> Files:
        return Files(self.folder / STUDIES / self.study, self.cell.name)

    def look(self) -> State:
        """How far the cell is, for whoever works on it."""
        records = tracking.local_runs(self.folder / RUNS)
        return state_of(self.cell, self.study, self.evaluations, records, self.folder, mine=True)


class Children:
    """The commands that run now. Signals of a terminal do not reach them: they get each once, from `stop`.

    Args:
        ignored: signals that the commands do not hear; only for a process without other threads.
    """

    def __init__(self, ignored: Sequence[int] = ()) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ignored = ignored
        self.stopped = False

    def run(self, task: Task, words: Sequence[str]) -> int | None:
        """Exit code of `mfpgan` with these words, its stderr appended to the log; None if it was not started, since all is to
        stop."""
        with task.files.log.open("ab") as stderr:
            stderr.write(f"$ {shlex.join(['mfpgan', *words])}\n".encode())
            stderr.flush()
            with self._lock:
                if self.stopped:
                    return None
                process = subprocess.Popen(
                    [*task.program, *words], cwd=task.folder, env={**task.environment, **os.environ}, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=stderr, process_group=0,
                    preexec_fn=self._ignore if self._ignored else None,  # noqa: PLW1509, only where there is one thread
                )  # fmt: skip
                self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self, number: int) -> None:
        """Start no more, and send the signal to those that run."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.send_signal(number)

    def wait_in_handler(self) -> None:
        """Until those that run are over; also inside a signal handler that interrupted `run`."""
        for process in list(self._running):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    def _ignore(self) -> None:
        for number in self._ignored:
            signal.signal(number, signal.SIG_IGN)


def run_cell(task: Task, children: Children, tell: Tell) -> None:
    """Do what is left of a cell. What comes of it is in the folders; nothing is raised for a command that fails."""
    if children.stopped:
        return
    files = task.files
    files.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(files.lock)
    try:
        lock.acquire(timeout=0.5, poll_interval=0.05)  # somebody who looks has it for a moment
    except Timeout:
        tell(task.cell, "left", "another process works on it")
        return
    try:
        _work(task, children, tell)
    finally:
        lock.release()


def _work(task: Task, children: Children, tell: Tell) -> None:
    state = task.look()
    if state.status in ("running", "elsewhere") or (state.status == "failed" and not task.retry):
        tell(task.cell, "left", state.note)
        return
    trained = state.record is not None and state.record.status == "FINISHED"
    if state.effort.failed:
        write_effort(task.files.effort, replace(state.effort, failed=""))
    if not trained and not _command(task, children, tell, *_training(task, state)):
        return
    state = task.look()
    if state.record is None or state.record.status != "FINISHED":
        _fail(task, "the training left no finished run")
        tell(task.cell, "failed", "the training left no finished run")
        return
    for evaluation, report in zip(task.evaluations, state.reports, strict=True):
        if report is None and not _command(task, children, tell, *_evaluating(task, evaluation, state.record.id)):
            return
    missing = [entry.prefix for entry, path in zip(task.evaluations, task.look().reports, strict=True) if path is None]
    if missing:
        line = f"the evaluation {missing[0]} left no report that answers what was asked"
        _fail(task, line)
        tell(task.cell, "failed", line)
        return
    tell(task.cell, "done", "")


def _training(task: Task, state: State) -> tuple[str, str, list[str]]:
    """What to call it, more of it, and the words after `mfpgan`."""
    if state.resumable and state.record is not None:
        return "resume", f"run {state.record.id[:8]}", ["train", "--resume", state.record.id]
    write_effort(task.files.effort, Effort(task.cell.digest))
    write_atomically(task.files.config, task.cell.config.to_yaml().encode())
    tags = {"study": task.study, "arm": task.cell.arm, "seed": str(task.cell.seed), "cell": task.cell.digest}
    marks = [word for key, value in tags.items() for word in ("--tag", f"{key}={value}")]
    return "train", "", ["train", "--config", str(task.files.config), "--name", task.cell.name, *marks]


def _evaluating(task: Task, evaluation: Evaluation, run_id: str) -> tuple[str, str, list[str]]:
    path = task.files.folder / f"{task.cell.name}-{evaluation.prefix}.yaml"
    write_atomically(path, evaluation.config.to_yaml().encode())
    return (
        "eval",
        f"{evaluation.prefix}, {evaluation.config.protocol}",
        ["eval", "--run-id", run_id, "--config", str(path)],
    )


def _command(task: Task, children: Children, tell: Tell, what: str, more: str, words: list[str]) -> bool:
    """Whether a command did what it should; its time is counted, and its failure kept."""
    tell(task.cell, what, more)
    log, start = task.files.log, time.monotonic()
    before = log.stat().st_size if log.is_file() else 0
    code = children.run(task, words)
    effort = effort_of(task.files.effort, task.cell)
    write_effort(task.files.effort, replace(effort, seconds=round(effort.seconds + time.monotonic() - start, 1)))
    if code == 0:
        return True
    if code is None or code < 0 or code in STOPPED:
        more = "" if code is None or code in STOPPED else f"ended by signal {-code}"
        tell(task.cell, "interrupted", more)
        return False
    line = last_line(log, before) or f"exit code {code}"
    _fail(task, line)
    tell(task.cell, "failed", line)
    return False


def _fail(task: Task, line: str) -> None:
    write_effort(task.files.effort, replace(effort_of(task.files.effort, task.cell), failed=line))


def last_line(log: Path, start: int = 0) -> str:
    """The last line with something in it of what stands in a log from byte `start` on, for a message; "" if there is none."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 10_000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("$ mfpgan ")]
    return reason_of(ValueError(said[-1].removeprefix("mfpgan: "))) if said else ""


def threads(jobs: int) -> dict[str, str]:
    """What OpenMP is told where the user says nothing: cells share the cores, and none of their threads spins."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE", "")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = int(granted) if granted.isdigit() else available
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), "OMP_WAIT_POLICY": "passive"}
