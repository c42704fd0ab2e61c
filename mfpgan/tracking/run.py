"""A run while it lasts: everything goes into its folder at once, and from there into MLflow, in a thread of its own."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from filelock import FileLock

from mfpgan.files import write_atomically
from mfpgan.tracking.metrics_file import MetricsFile, Span, last_metrics, last_moment
from mfpgan.tracking.mirror import Mirror
from mfpgan.tracking.run_folder import (
    FIGURES,
    Clock,
    RunRecord,
    Status,
    check_metrics,
    picture_path,
    read_record,
    write_record,
)
from mfpgan.tracking.sender import Sender
from mfpgan.types import Image, InputError

WAITING_POINTS = 200
"""MLflow gets its numbers at once when so many wait; otherwise when its thread next looks."""


class Run(Protocol):
    """What the loops know of tracking. A context manager: an exception ends the run as FAILED, Ctrl-C as KILLED."""

    id: str
    folder: Path

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Numbers of one step. Raises ValueError for a name that MLflow does not take, such as NoC@90."""
        ...

    def flush(self) -> None:
        """All numbers so far are on the disk when this returns, power loss or not: a checkpoint is about to say that they
        are. Raises OSError if the disk does not take them."""
        ...

    def image(self, key: str, image: Image, step: int) -> None:
        """(H, W, 3) uint8: a PNG in figures/, and in MLflow's gallery by step; `key` is a metric's name without /."""
        ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file of the run into the MLflow artifacts, under `folder`, as it is when its turn comes."""
        ...

    def finish(self, status: Status = "FINISHED") -> None:
        """Send what waits, for a limited time, and close; a second call does nothing. Raises OSError if numbers are lost
        because the disk is full."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NoRun:
    """The quiet twin: a folder for checkpoints, nothing recorded."""

    def __init__(self, folder: Path = Path("runs/untracked")) -> None:
        self.id = "untracked"
        self.folder = folder

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        check_metrics(metrics)

    def flush(self) -> None:
        pass

    def image(self, key: str, image: Image, step: int) -> None:
        pass

    def artifact(self, path: Path, folder: str = "") -> None:
        pass

    def finish(self, status: Status = "FINISHED") -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class TrackedRun:
    """A run in its folder and in MLflow. Made by start_run, resume_run and reopen_run.

    Args:
        record: what run.json says.
        mirror: brings MLflow up to date; None without a store.
        keep_status: for an evaluation, which does not begin or end the run.
        lock: of the folder.
        told: people know already that MLflow does not answer.
    """

    def __init__(
        self,
        record: RunRecord,
        mirror: Mirror | None,
        *,
        keep_status: bool = False,
        lock: FileLock | None = None,
        told: bool = False,
    ) -> None:
        self.id = record.id
        self.folder = record.folder
        self.name = record.name
        self._record = record
        self._keep_status = keep_status
        self._lock = lock
        self._file = MetricsFile(record.folder)
        self._clock = Clock(max(record.started, last_moment(record.folder)))
        self._disk_complained = False
        self._waiting = 0
        self._mirror = mirror
        self._sender = Sender(mirror, None if told else self._complain) if mirror else None
        self._open = True

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        values = check_metrics(metrics)
        try:
            self._tell(self._file.write(values, step, self._clock.now()))
        except OSError as error:
            self._complain_of_disk(error)
        self._waiting += len(values)
        if self._sender and self._waiting >= WAITING_POINTS:
            self._waiting = 0
            self._sender.wake()

    def flush(self) -> None:
        self._tell(self._file.flush())

    def image(self, key: str, image: Image, step: int) -> None:
        from PIL import Image as PillowImage

        check_metrics({key: 0.0})
        if "/" in key:
            raise ValueError(f"image {key}: its key names a file, so it has no /")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image {key}: must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        path = picture_path(self.folder, key, step)
        png = io.BytesIO()
        PillowImage.fromarray(image).save(png, "PNG", compress_level=1)  # a quarter of the time, 8 % more bytes
        try:
            write_atomically(path, png.getbuffer())
        except OSError as error:  # a picture is not worth a run
            self._complain_of_disk(error)
            return
        self._send(path, FIGURES)

    def artifact(self, path: Path, folder: str = "") -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such file; an artifact is a file of the run.")
        self._send(path, folder)

    def finish(self, status: Status = "FINISHED") -> None:
        if not self._open:
            return
        self._open = False
        problem = self._close_folder(status)
        try:
            if self._sender is not None:
                end = None if self._keep_status else (status, self._record.ended or self._clock.now())
                missing = self._sender.finish(end)
                if missing:
                    warn(
                        f"MLflow has not got everything of this run ({missing}); nothing is lost, later bring it up to "
                        f"date with: mfpgan sync {self.id[:8]}"
                    )
        finally:  # a second Ctrl-C while that waits
            if self._lock is not None:
                self._lock.release()
        if problem is not None:
            raise problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in (130, 143))
        try:
            self.finish("FINISHED" if error is None else "KILLED" if stopped else "FAILED")
        except OSError as problem:
            if error is None:
                raise
            self._complain_of_disk(problem)  # what stopped the run says more

    def _close_folder(self, status: Status) -> OSError | None:
        """metrics.jsonl and run.json as they stay; what the disk said if it did not take them."""
        problem = None
        try:
            self.flush()
        except OSError as error:
            problem = error
        self._file.close()
        if self._keep_status and (self.folder / "run.json").is_file():
            self._record = read_record(self.folder)  # training may have ended since
        elif not self._keep_status:
            self._record = replace(self._record, status=status, ended=self._clock.now())
        # From the lines, because an evaluation may have written beside a running training.
        self._record = replace(self._record, metrics={**self._record.metrics, **last_metrics(self.folder)})
        try:
            write_record(self._record)
        except OSError as error:
            problem = problem or error
        return problem

    def _tell(self, span: Span) -> None:
        if self._mirror is not None:
            self._mirror.outbox.add_lines(span)

    def _send(self, path: Path, folder: str) -> None:
        if self._mirror is not None and self._sender is not None:
            self._mirror.outbox.add_file(path, folder)
            self._sender.wake()

    def _complain(self, reason: str) -> None:
        warn(
            f"MLflow failed ({reason}); the run goes on, everything is in {self.folder}, and MLflow is asked again from "
            "time to time."
        )

    def _complain_of_disk(self, error: OSError) -> None:
        if not self._disk_complained:
            self._disk_complained = True
            warn(
                f"{error.filename or self.folder}: {error.strerror or error}; numbers wait in memory and pictures are left "
                "out until there is room. Training stops at the next checkpoint if there is none."
            )


def warn(line: str) -> None:
    """One line on stderr: tracking never stops a run."""
    with contextlib.suppress(OSError):  # that may be a file on the full disk
        print(f"mfpgan: {line}", file=sys.stderr)
