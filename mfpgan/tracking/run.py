"""A run while it lasts: everything goes into its folder at once, and into MLflow as far as MLflow answers."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from filelock import FileLock

from mfpgan.files import write_atomically
from mfpgan.tracking.mlflow_store import Point, Store, StoreError
from mfpgan.tracking.run_folder import (
    MetricsFile,
    RunRecord,
    Status,
    check_metrics,
    last_metrics,
    read_record,
    write_record,
)
from mfpgan.types import Image, InputError

WAITING_POINTS = 200
WAITING_SECONDS = 10.0
"""MLflow gets its numbers when so many wait, or when the oldest has waited so long: single ones cost 20 ms each."""


class Run(Protocol):
    """What the loops know of tracking. A context manager: an exception ends the run as FAILED, Ctrl-C as KILLED."""

    id: str
    folder: Path

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Numbers of one step. Raises ValueError for a name that MLflow does not take, such as NoC@90."""
        ...

    def image(self, key: str, image: Image, step: int) -> None:
        """(H, W, 3) uint8: a PNG in figures/, and in MLflow's gallery by step."""
        ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Copy a file of the run into the MLflow artifacts, under `folder`."""
        ...

    def finish(self, status: Status = "FINISHED") -> None:
        """Send what waits and close; a second call does nothing."""
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
    """A run in its folder and in MLflow. Made by start_run, resume_run and reopen_run."""

    def __init__(
        self, record: RunRecord, store: Store | None, keep_status: bool = False, lock: FileLock | None = None
    ) -> None:
        self.id = record.id
        self.folder = record.folder
        self.name = record.name
        self._record = record
        self._keep_status = keep_status
        self._lock = lock
        self._store = store
        self._numbers_arrive = self._files_arrive = store is not None
        """Apart, since files may have another host than numbers and a full disk there must not blind the charts."""
        self._complained = False
        self._waiting: list[Point] = []
        self._sent = time.monotonic()
        self._undelivered: dict[str, Callable[[Store], None]] = {}
        """Files and images that MLflow did not take, by name, so that a checkpoint saved ten times waits once."""
        self._file = MetricsFile(record.folder)
        self._open = True

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        values, moment = check_metrics(metrics), time.time()
        self._file.write(values, step, moment)
        if self._store is None:
            return
        self._waiting += [Point(name, value, int(step), moment) for name, value in values.items()]
        late = time.monotonic() - self._sent >= WAITING_SECONDS
        if self._numbers_arrive and (late or len(self._waiting) >= WAITING_POINTS) and not self._try(self._send_points):
            self._numbers_arrive = self._files_arrive = False

    def image(self, key: str, image: Image, step: int) -> None:
        from PIL import Image as PillowImage

        check_metrics({key: 0.0})
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image {key}: must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        path = self.folder / "figures" / f"{key.replace('/', '-')}-{step:06d}.png"
        png = io.BytesIO()
        PillowImage.fromarray(image).save(png, "PNG")
        write_atomically(path, png.getbuffer())

        def send(store: Store) -> None:
            store.log_image(self.id, np.asarray(PillowImage.open(path).convert("RGB")), key, step)

        self._deliver(f"image {path.name}", send)

    def artifact(self, path: Path, folder: str = "") -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such file; an artifact is a file of the run.")
        self._deliver(f"{folder}/{path.name}", lambda store: store.log_artifact(self.id, path, folder))

    def finish(self, status: Status = "FINISHED") -> None:
        if not self._open:
            return
        self._open = False
        self._file.close()
        if self._keep_status and (self.folder / "run.json").is_file():
            self._record = read_record(self.folder)  # training may have ended since
        elif not self._keep_status:
            self._record = replace(self._record, status=status, ended=time.time())
        # From the lines, because an evaluation may have written beside a running training.
        self._record = replace(self._record, metrics={**self._record.metrics, **last_metrics(self.folder)})
        write_record(self._record)
        if self._lock is not None:
            self._lock.release()
        if self._store is None or not self._try(self._send_points):
            return
        for name, send in list(self._undelivered.items()):
            if not self._try(send):
                break
            del self._undelivered[name]
        if not self._keep_status:
            self._try(lambda store: store.end(self.id, status, self._record.ended or time.time()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in (130, 143))
        self.finish("FINISHED" if error is None else "KILLED" if stopped else "FAILED")

    def params(self, params: Mapping[str, str]) -> None:
        """Send the parameters, of 6,000 characters at most; they cannot change later."""
        self._deliver("params", lambda store: store.log_params(self.id, params))

    def set_running(self) -> None:
        """Tell MLflow that an ended run goes on."""
        self._deliver("running", lambda store: store.set_running(self.id))

    def _send_points(self, store: Store) -> None:
        store.log_metrics(self.id, self._waiting)
        self._waiting = []
        self._sent = time.monotonic()

    def _deliver(self, name: str, send: Callable[[Store], None]) -> None:
        if self._store is None or (self._files_arrive and self._try(send)):
            return
        self._files_arrive = False
        self._undelivered[name] = send

    def _try(self, send: Callable[[Store], None]) -> bool:
        """Whether MLflow took it. After a failure it is left in peace until the end of the run, then asked once more."""
        if self._store is None:
            return False
        try:
            send(self._store)
        except (StoreError, OSError) as error:  # OSError: a picture that waited is gone
            if not self._complained:
                self._complained = True
                warn(f"MLflow failed ({error}); the run goes on, all numbers are in {self.folder}.")
            return False
        return True


def warn(line: str) -> None:
    """One line on stderr: tracking never stops a run."""
    print(f"mfpgan: {line}", file=sys.stderr)
