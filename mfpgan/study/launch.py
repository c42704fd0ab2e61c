"""Cells at work: so many at a time on this machine, or as jobs of a SLURM cluster."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from mfpgan.config import did_you_mean, nearest
from mfpgan.study.cells import STUDIES, State, Survey
from mfpgan.study.origin import differences
from mfpgan.study.work import Children, Task, Tell, run_cell, threads
from mfpgan.types import InputError, quoted, reason_of

LOOK_S = 0.2
"""Between looks for a signal."""
ASK_S = 2.0
"""Between questions to SLURM."""
USUAL = {"time": 60}
"""Of a job, where the user says nothing: submitit's own five minutes are too few. A cell that needs more is saved, queued again and
resumed, three times at most."""


class Stop:
    """While it is entered, SIGINT and SIGTERM are counted and do nothing else."""

    def __init__(self) -> None:
        self.signal = 0
        """The first one."""
        self.count = 0

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _: object) -> None:
        self.signal = self.signal or number
        self.count += 1


@dataclass(frozen=True)
class Local:
    """So many cells at a time on this machine."""

    jobs: int = 1

    def check(self) -> None:
        pass

    def run(self, survey: Survey, states: Sequence[State], tell: Tell) -> int:
        """Work on cells, each in processes of its own.

        The first SIGINT or SIGTERM is handed to the commands that run, which finish their step and save; a second one too, and ends
        them at once.

        Returns:
            The signal that stopped it; 0 if none did.
        """
        tasks = tasks_of(survey, states, threads(self.jobs))
        children, handed = Children(), 0
        with Stop() as stop, ThreadPoolExecutor(self.jobs) as pool:
            waiting = futures = {pool.submit(run_cell, task, children, tell) for task in tasks}
            while waiting:
                if stop.count > handed:
                    handed = stop.count
                    children.stop(stop.signal)
                waiting = wait(waiting, LOOK_S).not_done
            for future in futures:
                future.result()
        return stop.signal


@dataclass(frozen=True)
class Submitit:
    """Each cell a job of SLURM, through submitit."""

    parameters: Mapping[str, Any]
    """Of submitit's SlurmExecutor: partition, time (minutes), gres, ..."""
    jobs: int | None = None
    """Most of them at a time; None: as SLURM likes."""
    cluster: str = "slurm"
    """submitit's own `local` and `debug` are for tests."""

    def check(self) -> None:
        """Raises InputError where submitit or SLURM is missing, or a parameter is unknown."""
        self._executor(Path("studies"))

    def run(self, survey: Survey, states: Sequence[State], tell: Tell) -> int:
        """Submit the cells, and wait until no job is left. A signal cancels the jobs: SLURM tells the commands, which save.

        Returns:
            The signal that stopped it; 0 if none did.
        """
        folder = survey.folder / STUDIES / survey.study.name / "slurm"
        executor = self._executor(folder, job_name=survey.study.name)
        tasks = tasks_of(survey, states, {"OMP_WAIT_POLICY": "passive"})
        with Stop() as stop:
            try:
                with executor.batch():
                    jobs = [executor.submit(Job(task)) for task in tasks]
            except Exception as error:  # submitit's own kinds, and whatever sbatch says
                raise InputError(f"SLURM did not take the jobs ({reason_of(error)}); see --slurm.") from None
            waiting = dict(zip([state.cell.name for state in states], jobs, strict=True))
            for state, job in zip(states, jobs, strict=True):
                tell(state.cell, "submitted", f"job {job.job_id}")
            self._wait(waiting, survey, stop, tell)
        return stop.signal

    def _wait(self, waiting: dict[str, Any], survey: Survey, stop: Stop, tell: Tell) -> None:
        cancelled = False
        asked = -math.inf
        while waiting:
            if stop.signal and not cancelled:
                cancelled = True
                for job in waiting.values():
                    with contextlib.suppress(OSError, subprocess.SubprocessError):
                        job.cancel(check=False)
            if stop.count > 1:
                return  # SLURM may not answer, and whoever asks twice waits no longer
            if time.monotonic() - asked >= ASK_S:
                alive = self._alive(waiting)
                over = [name for name in waiting if name not in alive]
                asked = time.monotonic()
                states = {state.cell.name: state for state in survey.again().states} if over else {}
                for name in over:
                    del waiting[name]
                    state = states[name]
                    what = state.status if state.status in ("done", "failed") else "interrupted"
                    tell(state.cell, what, state.note)
            time.sleep(LOOK_S)

    def _alive(self, waiting: Mapping[str, Any]) -> set[str]:
        """The cells whose jobs wait or run. submitit asks sacct, which many clusters do not have; squeue is always there."""
        if self.cluster != "slurm":
            return {name for name, job in waiting.items() if not job.done()}
        ids = {name: str(job.job_id) for name, job in waiting.items()}
        bases = sorted({number.split("_")[0] for number in ids.values()})
        words = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(bases)}"]
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
        if asked.returncode and "Invalid job id" not in asked.stderr:
            return set(waiting)  # it does not answer; asked again later
        listed = [line.split() for line in asked.stdout.splitlines()]
        there = {words[0] for words in listed if len(words) == 2 and words[1] not in _OVER}
        return {name for name, number in ids.items() if number in there}

    def _executor(self, folder: Path, **more: Any) -> Any:
        try:
            import submitit
        except ImportError:
            raise InputError(
                "--launcher submitit: submitit is not installed; install it with: pip install 'mfpgan[slurm]'"
            ) from None
        if self.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("squeue")):
            raise InputError("--launcher submitit: there is no sbatch here, so this is no machine of a SLURM cluster.")
        known = sorted(submitit.SlurmExecutor._valid_parameters())
        for key in self.parameters:
            if key not in known:
                hint = did_you_mean(nearest(key, known))
                raise InputError(
                    f"--slurm {quoted(key)}: submitit has no such parameter{hint}; it has {', '.join(known)}."
                )
        given = {**USUAL, **more, **({} if self.jobs is None else {"array_parallelism": self.jobs}), **self.parameters}
        executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster)
        executor.update_parameters(**{f"slurm_{key}": value for key, value in given.items()})
        return executor


def parameters_of(texts: Sequence[str]) -> dict[str, Any]:
    """What `--slurm KEY=VALUE` says, values as in YAML; raises InputError for a text of another kind."""
    parameters: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--slurm {text}: expected KEY=VALUE, for example --slurm partition=gpu.")
        try:
            parameters[key] = value if ":" in value else yaml.safe_load(value)  # YAML 1.1 takes 1:00:00 for 3600
        except yaml.YAMLError:
            raise InputError(f"--slurm {text}: the value is not readable; quote it as in YAML.") from None
    return parameters


_OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")
"""States in which squeue still lists a job for a while."""
Launcher = Local | Submitit


class Job:
    """A cell inside a job of SLURM; pickled by submitit."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.children: Children | None = None

    def __call__(self) -> None:
        # SLURM sends the signal before the end of the time to all processes; only submitit is to hear it.
        self.children = Children(ignored=(signal.SIGUSR2,))
        for key, value in threads(1).items():
            os.environ.setdefault(key, value)
        run_cell(self.task, self.children, lambda *_: None)

    def checkpoint(self) -> Any:
        """Called by submitit, in a signal handler, when the time is nearly over: the command saves, the job is queued again."""
        import submitit

        if self.children is not None:
            self.children.stop(signal.SIGTERM)
            self.children.wait_in_handler()
        return submitit.helpers.DelayedSubmission(Job(self.task))


def tasks_of(survey: Survey, states: Sequence[State], environment: Mapping[str, str]) -> list[Task]:
    """Cells as what is to be done; whoever hands one in that failed wants it tried again."""
    return [
        Task(
            state.cell, survey.study.name, tuple(survey.evaluations), survey.folder, state.status == "failed", environment
        )
        for state in states
    ]  # fmt: skip


def run_study(survey: Survey, launcher: Launcher, tell: Tell, *, retry: bool = False, force: bool = False) -> int:
    """Do what is left of a study.

    Args:
        tell: called from several threads.
        retry: failed cells too.
        force: though other cells were made with other code or data.

    Returns:
        The signal that stopped it; 0 if none did.

    Raises:
        InputError: another process runs the study, data cannot be used, cells differ in code or data, or the launcher is of no
            use here; nothing has been started then.
    """
    states = survey.to_do(retry)
    if not states:
        return 0
    launcher.check()
    sentences = [] if force else differences(survey)
    if sentences:
        told = "; ".join(sentence.removesuffix(".") for sentence in sentences)
        raise InputError(f"{told}; --force goes on all the same, another folder starts anew.")
    with _alone(survey):
        return launcher.run(survey, states, tell)


@contextmanager
def _alone(survey: Survey) -> Iterator[None]:
    folder = survey.folder / STUDIES / survey.study.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"study {survey.study.name}: another process runs it in this folder; wait for it.") from None
    try:
        yield
    finally:
        lock.release()
