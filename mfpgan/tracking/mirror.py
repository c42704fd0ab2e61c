"""Brings MLflow to what a run's folder holds, a piece at a time: during training, at a resume and for `mfpgan sync`."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mfpgan.tracking.metrics_file import OF_TRAINING, Span, metrics_of, read_span
from mfpgan.tracking.mlflow_store import HOST_TAG, RUN_ID_TAG, VERSION_TAG, Point, Store, StoreError
from mfpgan.tracking.run_folder import FIGURES, RunRecord, Status, artifacts_of, picture_of, pictures_of
from mfpgan.version import __version__

PIECE_BYTES = 1 << 16
"""Of metrics.jsonl read at a time."""


class Outbox:
    """What a run has for MLflow: names and places, the content is in the folder. So it stays small, however many days
    nobody takes anything, and whoever puts something in never waits for who takes it out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._files: dict[Path, str] = {}

    def add_lines(self, span: Span) -> None:
        with self._lock:
            if self._spans and self._spans[-1].end == span.start:
                self._spans[-1] = Span(self._spans[-1].start, span.end)
            elif span.start < span.end:
                self._spans.append(span)

    def add_file(self, path: Path, folder: str) -> None:
        """A file for the artifacts, under `folder`; once, however often it is added before it is taken."""
        with self._lock:
            self._files[path] = folder

    def lines(self) -> Span | None:
        """Where the oldest lines are."""
        with self._lock:
            return self._spans[0] if self._spans else None

    def lines_sent(self, until: int) -> None:
        """The oldest lines need not be sent, up to this byte."""
        with self._lock:
            first = self._spans.pop(0)
            if until < first.end:
                self._spans.insert(0, Span(until, first.end))

    def take_file(self) -> tuple[Path, str] | None:
        with self._lock:
            if not self._files:
                return None
            path = next(iter(self._files))
            return path, self._files.pop(path)

    def put_back(self, path: Path, folder: str) -> None:
        """A file that MLflow did not take; behind the others, so that it does not stop them."""
        with self._lock:
            self._files.setdefault(path, folder)

    def pieces(self) -> int:
        """How many there are, about."""
        with self._lock:
            return sum(-(-(span.end - span.start) // PIECE_BYTES) for span in self._spans) + len(self._files)


def whole_folder(folder: Path, skip: Iterable[str] = ()) -> Outbox:
    """All that a folder has for MLflow.

    Args:
        skip: paths of artifacts that are left out.
    """
    outbox = Outbox()
    lines = folder / "metrics.jsonl"
    if lines.is_file():
        outbox.add_lines(Span(0, lines.stat().st_size))
    for path in artifacts_of(folder):
        place = path.parent.relative_to(folder).as_posix()
        if path.relative_to(folder).as_posix() not in skip:
            outbox.add_file(path, "" if place == "." else place)
    for path in pictures_of(folder):
        outbox.add_file(path, FIGURES)
    return outbox


@dataclass
class Counts:
    """What MLflow lacked and has got."""

    numbers: int = 0
    pictures: int = 0
    files: int = 0

    def __bool__(self) -> bool:
        return bool(self.numbers or self.pictures or self.files)


class Mirror:
    """One run in MLflow. Asks nothing before `open`; every method raises StoreError when MLflow does not answer, and may
    simply be called again.

    A point counts as being there if MLflow has the same name, step, time and value; of training, whose lines a resumed run
    makes again to the bit at another time, if it has the name and the step. A file counts by its content.

    Args:
        record: the run as its folder knows it.
        outbox: what is to be sent.
        mlflow_id: of a run that was just made there, so that nothing of it need be looked up.
        create: make the run where MLflow does not know it.
        running: it is being trained from now on.
    """

    def __init__(
        self,
        record: RunRecord,
        store: Store,
        outbox: Outbox,
        *,
        mlflow_id: str = "",
        create: bool = True,
        running: bool = False,
    ) -> None:
        self.record = record
        self.outbox = outbox
        self.counts = Counts()
        self._store = store
        self._create = create
        self._running = running
        self._fresh = mlflow_id
        self._id = ""
        self._told: tuple[str, float | None] = ("", None)
        """Status and end that MLflow knows."""
        self._steps: dict[str, array[int]] = {}
        """Steps that MLflow has of each metric of training, sorted; 8 bytes each, for a long run has millions."""
        self._points: set[tuple[str, int, int, float | None]] = set()
        """All points that MLflow has of the others, NaN as None."""
        self._images: set[tuple[str, int]] | None = set()
        """Pictures that MLflow has; None if it has to be asked."""
        self._digests: dict[str, str] = {}
        self._sizes: dict[str, dict[str, int]] = {}

    @property
    def mlflow_id(self) -> str:
        """ "" before it is open."""
        return self._id

    def open(self) -> None:
        """Find the run in MLflow or make it there, and learn what it has."""
        if self._id:
            return
        store, record = self._store, self.record
        found = None if self._fresh else store.find(record.id, record.folder.parent)
        params = record.params
        if found is not None:
            run_id = found.mlflow_id
            self._learn(run_id, found)
            params = {name: value for name, value in params.items() if name not in found.params}
        elif self._fresh:
            run_id = self._fresh
        elif self._create:
            ours = {VERSION_TAG: __version__, RUN_ID_TAG: record.id, HOST_TAG: record.host}
            tags = {**record.tags, **ours, **_commit(record.folder)}
            # Should the answer be lost, the next attempt finds it by its tag.
            run_id = store.create_run(record.name or None, tags, record.started).mlflow_id
        else:
            raise StoreError(f"it does not know run {record.id[:8]} yet")
        if params:
            store.log_params(run_id, params)
        if self._running and found is not None and (found.status, found.host) != ("RUNNING", platform.node()):
            store.set_running(run_id, platform.node())
            self._told = ("RUNNING", None)
        self._id = run_id

    def send_lines(self) -> bool:
        """Send a piece of the lines; False if there was none."""
        span = self.outbox.lines()
        if span is None:
            return False
        self.open()
        lines, until = read_span(self.record.folder, span, PIECE_BYTES)
        points = [
            Point(name, value, line["step"], round(float(line.get("time", 0)) * 1000))
            for line in lines
            for name, value in metrics_of(line).items()
        ]
        points = [point for point in points if not self._has(point)]
        if points:
            self._store.log_metrics(self._id, points)
            self.counts.numbers += len(points)
        self.outbox.lines_sent(until)
        return True

    def send_file(self) -> bool:
        """Send a picture or another file; False if there was none."""
        taken = self.outbox.take_file()
        if taken is None:
            return False
        path, folder = taken
        try:
            self.open()
            if path.is_file():  # or it was set aside since
                self._send_picture(path) if folder == FIGURES else self._send_artifact(path, folder)
        except BaseException:
            self.outbox.put_back(path, folder)
            raise
        return True

    def end(self, status: Status, ended: float) -> None:
        """Tell MLflow how and when the run ended."""
        self.open()
        told, moment = self._told
        if told != status or moment is None or round(moment * 1000) != round(ended * 1000):
            self._store.end(self._id, status, ended)
            self._told = (status, ended)

    def _learn(self, run_id: str, found: RunRecord) -> None:
        store = self._store
        self._told = (found.status, found.ended)
        self._steps, self._points = {}, set()
        for name in found.metrics:
            points = store.history(run_id, name)
            if name.startswith(OF_TRAINING):
                self._steps[name] = array("q", sorted({point.step for point in points}))
            else:
                self._points |= {_identity(point) for point in points}
        self._images = store.images(run_id)
        self._digests = store.digests(run_id)

    def _has(self, point: Point) -> bool:
        steps = self._steps.get(point.name)
        if steps is None:
            return _identity(point) in self._points
        place = bisect_left(steps, point.step)
        return place < len(steps) and steps[place] == point.step

    def _send_picture(self, path: Path) -> None:
        named = picture_of(path)
        if self._images is None:
            self._images = self._store.images(self._id)
        if named is None or named in self._images:
            return
        try:
            self._store.log_image(self._id, path, *named)
        except StoreError:
            self._images = None  # it may have arrived all the same, and a second one would stand beside it
            raise
        self.counts.pictures += 1

    def _send_artifact(self, path: Path, folder: str) -> None:
        place = f"{folder}/{path.name}".removeprefix("/")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        if self._digests.get(place) == digest:
            return
        if not (place not in self._digests and self._same_size(path, folder, place)):
            self._store.log_artifact(self._id, path, folder)
            self.counts.files += 1
        self._digests = {name: value for name, value in self._digests.items() if name != place} | {place: digest}
        self._store.set_digests(self._id, self._digests)

    def _same_size(self, path: Path, folder: str, place: str) -> bool:
        """Whether MLflow has it from a version of mfpgan that left no digests: then the size has to do."""
        if self._fresh:
            return False
        if folder not in self._sizes:
            self._sizes[folder] = self._store.sizes(self._id, folder)
        return self._sizes[folder].get(place) == path.stat().st_size


def _identity(point: Point) -> tuple[str, int, int, float | None]:
    return point.name, point.step, point.milliseconds, None if math.isnan(point.value) else point.value


def _commit(folder: Path) -> dict[str, str]:
    """MLflow's tag for the commit that the run was made from, where it is known."""
    try:
        commit = json.loads((folder / "environment.json").read_text(encoding="utf-8")).get("commit")
    except (OSError, ValueError, AttributeError):
        return {}
    return {"mlflow.source.git.commit": commit} if isinstance(commit, str) else {}
