"""The MLflow store: the only file that imports mlflow, and not before it is needed (the import takes 1.3 s)."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mfpgan.tracking.run_folder import RunRecord, Status
from mfpgan.types import Image

T = TypeVar("T")

VERSION_TAG = "mfpgan.version"
"""Marks our runs among those of other programs in a shared store."""
_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's page open on runs, metrics and artifacts instead of traces of language models."""
LONGEST_PARAM = 6000
EXPERIMENT = "mfpgan"
"""All runs are in it."""
_METRICS_A_BATCH, _PARAMS_A_BATCH, _RUNS_A_PAGE = 1000, 100, 1000


class StoreError(Exception):
    """MLflow did not do what it was asked; the message is one line."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    step: int
    time: float
    """Seconds since 1970."""


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, otherwise sqlite:///mlflow.db in the working folder. SQLite paths come back absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    database = _sqlite_path(uri)
    return f"sqlite:///{database.absolute()}" if database else uri


def shown_uri(uri: str) -> str:
    """`uri` without a user name and password."""
    return re.sub(r"//[^/@\s]+@", "//", uri)


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def store_exists(uri: str) -> bool:
    """Whether looking into the store cannot create it. Only SQLite can tell without a connection."""
    database = _sqlite_path(uri)
    return database is None or database.is_file()


def artifact_folder(uri: str) -> Path | None:
    """mlartifacts/ beside an SQLite database; None where the server decides."""
    database = _sqlite_path(uri)
    return database.parent / "mlartifacts" if database else None


class Store:
    """What the tracking needs of MLflow. Every method raises StoreError and nothing else.

    Raises:
        StoreError: the store cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = self._ask(lambda: _client(uri))

    def experiment_id(self) -> str | None:
        """Number of our experiment, or None before the first run."""
        known = self._ask(lambda: self._client.get_experiment_by_name(EXPERIMENT))
        return None if known is None else str(known.experiment_id)

    def create_run(self, name: str | None, tags: Mapping[str, str]) -> RunRecord:
        return self._ask(lambda: self._create_run(name, tags), patience_s=4)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        self._ask(lambda: self._log_params(run_id, params))

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        self._ask(lambda: self._log_metrics(run_id, points))

    def log_image(self, run_id: str, image: Image, key: str, step: int) -> None:
        self._ask(lambda: self._client.log_image(run_id, image, key=key, step=step, synchronous=True), patience_s=120)

    def log_artifact(self, run_id: str, path: Path, folder: str) -> None:
        self._ask(lambda: self._client.log_artifact(run_id, str(path), folder or None), patience_s=120)

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        return Path(self._ask(lambda: self._client.download_artifacts(run_id, path, str(folder)), patience_s=120))

    def end(self, run_id: str, status: Status, ended: float) -> None:
        self._ask(lambda: self._client.set_terminated(run_id, status, round(ended * 1000)))

    def set_running(self, run_id: str) -> None:
        self._ask(lambda: self._client.update_run(run_id, status="RUNNING"))

    def run(self, run_id: str, root: Path) -> RunRecord:
        return self._ask(lambda: _record(self._client.get_run(run_id), root), patience_s=4)

    def runs(self, root: Path) -> list[RunRecord]:
        """All runs of mfpgan in all experiments, newest first."""
        return self._ask(lambda: [_record(run, root) for run in self._search()])

    def _ask(self, question: Callable[[], T], patience_s: int | None = None) -> T:
        try:
            with _quiet(), _patient(patience_s):
                return question()
        except Exception as error:
            # MLflow raises its own, sqlalchemy's, requests' and plain OSErrors; the caller needs one line.
            raise StoreError(f"{shown_uri(self.uri)}: {_reason(error)}") from error

    def _create_run(self, name: str | None, tags: Mapping[str, str]) -> RunRecord:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            artifacts = artifact_folder(self.uri)
            try:
                number = self._client.create_experiment(
                    EXPERIMENT, artifacts.as_uri() if artifacts else None, _MODEL_TRAINING
                )
            except Exception:
                # Two runs that start together both find no experiment; one of them creates it.
                known = self._client.get_experiment_by_name(EXPERIMENT)
                if known is None:
                    raise
        run = self._client.create_run(known.experiment_id if known else number, run_name=name, tags=dict(tags))
        return _record(run, Path())

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entities = [Param(name, value) for name, value in params.items()]
        for start in range(0, len(entities), _PARAMS_A_BATCH):
            self._client.log_batch(run_id, params=entities[start : start + _PARAMS_A_BATCH], synchronous=True)

    def _log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        entities = [Metric(point.name, point.value, round(point.time * 1000), point.step) for point in points]
        for start in range(0, len(entities), _METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=entities[start : start + _METRICS_A_BATCH], synchronous=True)

    def _search(self) -> Iterator[Any]:
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        token: str | None = None
        while experiments:
            page = self._client.search_runs(
                experiments,
                f"tags.`{VERSION_TAG}` != ''",
                max_results=_RUNS_A_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


def open_store(create: bool = False) -> Store | None:
    """The store, or None where there is none yet and `create` is off. Raises StoreError."""
    uri = store_uri()
    return Store(uri) if create or store_exists(uri) else None


def _client(uri: str) -> Any:
    """The client, with MLflow's settings made before its import."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    database = _sqlite_path(uri)
    if database and not database.exists():
        _make_database(database, MlflowClient)
    return MlflowClient(uri)


def _make_database(database: Path, client: Callable[[str], Any]) -> None:
    """A new SQLite store, made beside its place and put there whole.

    MLflow migrates a new database for a second, and three runs that started together left one that none could use.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=database.parent) as beside:
        made = Path(beside) / database.name
        client(f"sqlite:///{made}")
        try:
            os.link(made, database)
        except FileExistsError:
            pass  # another run was faster: its store is the one
        except OSError:  # no hard links on this disk
            made.rename(database)


def _reason(error: BaseException) -> str:
    """One line: the operating system's word ("Connection refused") if it is at the bottom, otherwise MLflow's."""
    deepest = error
    while (below := deepest.__cause__ or deepest.__context__) is not None:
        deepest = below
    told = deepest if isinstance(deepest, OSError) else error
    return shown_uri(" ".join(str(told).split()).split(" [SQL")[0])[:200].strip() or type(told).__name__


def _record(run: Any, root: Path) -> RunRecord:
    info = run.info
    return RunRecord(
        id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        started=info.start_time / 1000,
        folder=root / info.run_id,
        ended=info.end_time / 1000 if info.end_time and info.status != "RUNNING" else None,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
    )


def _sqlite_path(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///") or uri.endswith(":memory:"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence while MLflow works: alembic tells of every migration, urllib3 of every retry, sqlalchemy prints whole
    tracebacks. Nothing real is lost, since failures are raised as well. MLflow before 3.7 also overwrites the root
    logger when it migrates a database (its issue 19038), so that is put back."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def _patient(seconds: int | None) -> Iterator[None]:
    """Wait for another time than the ten seconds of a batch of numbers: a checkpoint may pass through the server to a
    slow disk; a small first question to a silent host should fail soon (each is asked three times)."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    before = os.environ.get(name)
    if seconds is None or before is None or before != "10":  # the user's own limit stays
        yield
        return
    os.environ[name] = str(seconds)
    try:
        yield
    finally:
        os.environ[name] = before
