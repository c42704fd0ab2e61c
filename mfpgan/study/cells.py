"""The trainings of a study: what is there, and what is to do.

Nothing of that is kept in a list of its own. A cell's run is the newest one with the study's and the cell's tag, and its
reports lie in that run's folder. Beside the logs a small file says how long a cell took and whether a command failed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from filelock import FileLock, Timeout

from mfpgan import tracking
from mfpgan.config import EvalConfig
from mfpgan.files import write_atomically
from mfpgan.study.file import Cell, Study
from mfpgan.tracking import INTERRUPTED, RunRecord
from mfpgan.types import InputError

STUDIES = Path("studies")
"""Where logs and small files of studies lie, in the working folder, a folder a study."""
RUNS = Path("runs")
Status = Literal["missing", "interrupted", "running", "elsewhere", "trained", "failed", "done"]
"""interrupted: there is a checkpoint to go on from, or nothing was trained yet; running: by a process of this machine;
elsewhere: of another one, and nobody here can see whether it still does; trained: not evaluated, or not all."""
_PARTS = {"single", "interactive"}
_EVALUATION_DATA = ("data", "images", "split", "ignore_value")


class Evaluation(NamedTuple):
    """An entry of `evaluate`, with its data looked at."""

    config: EvalConfig
    prefix: str
    """Name of its folder below eval/ of a run."""
    digest: str
    """Of the data."""
    note: str
    """A sentence that says what data was taken."""


def evaluations_of(study: Study, progress: Callable[[int, int], None] | None = None) -> list[Evaluation]:
    """Open each data set of `evaluate` once, and name the reports.

    Raises:
        InputError: one cannot be used.
    """
    from mfpgan import build  # torch costs a second and a half, and whoever only starts commands needs none
    from mfpgan.jobs.evaluation import prefix_of

    opened: dict[tuple[Any, ...], Any] = {}
    found = []
    for config in study.evaluations:
        key = tuple(getattr(config, name) for name in _EVALUATION_DATA)
        if key not in opened:
            data, _, note = build.open_data(config, "eval", progress)
            opened[key] = data, note
        data, note = opened[key]
        found.append(Evaluation(config, prefix_of(data, config), data.digest(), note))
    _check_apart(study, found)
    return found


def _check_apart(study: Study, evaluations: Sequence[Evaluation]) -> None:
    """A run keeps one report under a name, with a part for each protocol."""
    for (first, one), (second, other) in combinations(enumerate(evaluations, start=1), 2):
        alike = one.config.model_copy(update={"protocol": other.config.protocol}) == other.config
        if one.prefix == other.prefix and not (alike and {one.config.protocol, other.config.protocol} == _PARTS):
            raise InputError(
                f"study {study.name}: evaluate, entries {first} and {second} would both be kept as {one.prefix}, one in the "
                "place of the other; leave one out, or let them differ in the protocol alone (single and interactive)."
            )


@dataclass(frozen=True)
class Effort:
    """What the file beside a cell's log says."""

    cell: str
    """Digest."""
    seconds: float = 0.0
    """That its commands took, all together."""
    failed: str = ""
    """The last line of the command that failed; "" if none did."""


def effort_of(path: Path, cell: Cell) -> Effort:
    """Of this cell; that of another config, or a file that is not there or unreadable, says nothing."""
    try:
        effort = Effort(**json.loads(path.read_text(encoding="utf-8")))
        known = effort.cell == cell.digest and isinstance(effort.failed, str) and float(effort.seconds) >= 0
    except (OSError, ValueError, TypeError, RecursionError):
        known = False
    return effort if known else Effort(cell.digest)


def write_effort(path: Path, effort: Effort) -> None:
    write_atomically(path, f"{json.dumps(asdict(effort), ensure_ascii=False)}\n".encode())


@dataclass(frozen=True)
class Files:
    """Of one cell, in the study's folder."""

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """What its commands said."""
        return self.folder / f"{self.name}.log"

    @property
    def config(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    @property
    def effort(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        """Of whoever works on the cell."""
        return self.folder / f"{self.name}.lock"


@dataclass(frozen=True)
class State:
    """How far a cell is."""

    cell: Cell
    status: Status
    record: RunRecord | None
    """Its run."""
    reports: tuple[Path | None, ...]
    """The report.json of each entry of `evaluate`; None where there is none of this training."""
    effort: Effort

    @property
    def resumable(self) -> bool:
        """Whether its run goes on from a checkpoint."""
        return self.record is not None and self.record.status != "FINISHED" and self.record.has_checkpoint

    @property
    def note(self) -> str:
        """What to say of it besides the status; "" if there is nothing."""
        if self.status == "failed":
            return self.effort.failed or "its run failed"
        if self.status == "elsewhere" and self.record is not None:
            resume = f"mfpgan train --resume {self.record.id[:8]}"
            return f"on {self.record.host}, left alone; whether it still is can only be seen there, if not: {resume}"
        if self.status == "running":
            return "by another process, left alone"
        return ""


def state_of(
    cell: Cell, study: str, evaluations: Sequence[Evaluation], records: Iterable[RunRecord], folder: Path, *, mine: bool
) -> State:
    """How far a cell is.

    Args:
        study: name of the study.
        records: of runs, oldest first.
        folder: the working folder.
        mine: the caller works on the cell, so that its lock says nothing.
    """
    own = [run for run in records if (run.tags.get("study"), run.tags.get("cell")) == (study, cell.digest)]
    record = own[-1] if own else None
    files = Files(folder / STUDIES / study, cell.name)
    effort = effort_of(files.effort, cell)
    reports: tuple[Path | None, ...] = (None,) * len(evaluations)
    if record is not None and record.status == "FINISHED":
        reports = tuple(_report(record, evaluation) for evaluation in evaluations)
    status = _status(record, all(reports), bool(effort.failed))
    if not mine and status != "done" and _is_held(files.lock):
        status = "running"
    return State(cell, status, record, reports, effort)


def _status(record: RunRecord | None, evaluated: bool, failed: bool) -> Status:
    if record is not None and record.status == "RUNNING":
        return "running" if record.host in ("", platform.node()) else "elsewhere"
    if record is not None and record.status == "FINISHED" and evaluated:
        return "done"
    if failed or (record is not None and record.status == "FAILED"):
        return "failed"
    if record is None:
        return "missing"
    return "interrupted" if record.status in (INTERRUPTED, "KILLED") else "trained"


def _report(record: RunRecord, evaluation: Evaluation) -> Path | None:
    """The report of an evaluation, if it is of these weights, this data and this protocol."""
    path = record.folder / "eval" / evaluation.prefix / "report.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        moment = path.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("digest") != evaluation.digest:
        return None
    # Which step was the best one only the checkpoint knows, but after the end it is no other one.
    last = str(values.get("step")) == record.params.get("total_steps")
    fresh = moment >= (record.ended or 0.0) if evaluation.config.weights == "best" else last
    config = evaluation.config
    if config.precision not in ("auto", values.get("precision")):
        return None
    if config.device != "auto" and config.device.split(":")[0] != str(values.get("device")).split(":")[0]:
        return None
    protocol = config.protocol
    wanted = ("single", "interactive") if protocol == "both" else (protocol,)
    return path if fresh and all(values.get(name) for name in wanted) else None


def _is_held(path: Path) -> bool:
    """Whether a process has this lock. Looking creates nothing."""
    if not path.is_file():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written
        return False


@dataclass(frozen=True)
class Survey:
    """A study and how far it is."""

    study: Study
    folder: Path
    """The working folder, absolute."""
    evaluations: list[Evaluation]
    states: list[State]

    @classmethod
    def of(cls, study: Study, folder: Path = Path(), progress: Callable[[int, int], None] | None = None) -> Survey:
        """Look at the cells of a study.

        Args:
            folder: the working folder, with runs/ and studies/.
            progress: called with (done, all) while evaluation data is opened.

        Raises:
            InputError: evaluation data cannot be used.
        """
        folder = folder.absolute()
        evaluations = evaluations_of(study, progress)
        return cls(study, folder, evaluations, _states(study, evaluations, folder))

    def again(self) -> Survey:
        """The same, looked at now."""
        return Survey(self.study, self.folder, self.evaluations, _states(self.study, self.evaluations, self.folder))

    def to_do(self, retry: bool = False) -> list[State]:
        """The cells to work on; failed ones only with `retry`."""
        wanted = ("missing", "interrupted", "trained", *(("failed",) if retry else ()))
        return [state for state in self.states if state.status in wanted]

    def seconds_of(self, state: State) -> float | None:
        """About how long the rest of a cell takes, from finished cells: those of its arm, or all; None before there is one."""
        done = [other for other in self.states if other.status == "done" and other.effort.seconds]
        times = [other.effort.seconds for other in done if other.cell.arm == state.cell.arm]
        times = times or [other.effort.seconds for other in done]
        return max(0.0, sum(times) / len(times) - state.effort.seconds) if times else None

    def seconds_left(self, states: Sequence[State], jobs: int = 1) -> float | None:
        """About how long these cells take, so many at a time; None before a cell is finished."""
        times = [self.seconds_of(state) for state in states]
        known = [time for time in times if time is not None]
        return max(sum(known) / jobs, max(known, default=0.0)) if len(known) == len(times) else None


def _states(study: Study, evaluations: Sequence[Evaluation], folder: Path) -> list[State]:
    records = tracking.local_runs(folder / RUNS)
    return [state_of(cell, study.name, evaluations, records, folder, mine=False) for cell in study.cells]
