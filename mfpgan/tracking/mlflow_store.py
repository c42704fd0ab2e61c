"""The MLflow store: what the tracking asks of it, in plain methods that raise one kind of error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mfpgan.tracking.mlflow_client import make_client, patient, shown_uri, sqlite_path
from mfpgan.tracking.run_folder import LONGEST_TAG, RESERVED, RunRecord, Status

T = TypeVar("T")

VERSION_TAG = "mfpgan.version"
"""Marks our runs among those of other programs in a shared store."""
RUN_ID_TAG = "mfpgan.run_id"
"""The id of a run that MLflow got to know after its start, and gave an id of its own."""
START_TAG = "mfpgan.start"
"""What a run would be called without MLflow: finds the one that was made although MLflow did not say so in time."""
HOST_TAG = "mfpgan.host"
"""The machine that trains it: only there can anybody say that it does no more."""
FILES_TAG = "mfpgan.files"
"""Which files arrived, as JSON: path to a digest of the content."""
_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's page open on runs, metrics and artifacts instead of traces of language models."""
LONGEST_PARAM = 6000
EXPERIMENT = "mfpgan"
"""All runs are in it."""
_METRICS_A_BATCH, _PARAMS_A_BATCH, _RUNS_A_PAGE = 1000, 100, 1000
_SOON = 4
"""Seconds for questions that somebody waits for."""
_IMAGE_FILE = re.compile(r"images/(.+?)[+%]step[+%](\d+)[+%]timestamp.*[+%]compressed\.webp")
"""How MLflow names the smaller copy of a gallery's picture, which it writes after the PNG; % before its version 3.8."""
_GALLERY_TAG = "mlflow.loggedImages"
"""Makes MLflow's page look for pictures."""


class StoreError(Exception):
    """MLflow did not do what it was asked; the message is one line."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    step: int
    milliseconds: int
    """Since 1970. MLflow takes a point with the same name, value, step and milliseconds for the same point."""


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, otherwise sqlite:///mlflow.db in the working folder. SQLite paths come back absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    database = sqlite_path(uri)
    return f"sqlite:///{database.absolute()}" if database else uri


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def store_exists(uri: str) -> bool:
    """Whether looking into the store cannot create it. Only SQLite can tell without a connection."""
    database = sqlite_path(uri)
    return database is None or database.is_file()


def artifact_folder(uri: str) -> Path | None:
    """mlartifacts/ beside an SQLite database; None where the server decides."""
    database = sqlite_path(uri)
    return database.parent / "mlartifacts" if database else None


class Store:
    """What the tracking needs of MLflow. Every method raises StoreError and nothing else; run ids are MLflow's.

    Raises:
        StoreError: the store cannot be opened.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = self._ask(lambda: make_client(uri))

    def experiment_id(self) -> str | None:
        """Number of our experiment, or None before the first run."""
        known = self._ask(lambda: self._client.get_experiment_by_name(EXPERIMENT))
        return None if known is None else str(known.experiment_id)

    def create_run(self, name: str | None, tags: Mapping[str, str], started: float | None = None) -> RunRecord:
        return self._ask(lambda: self._create_run(name, tags, started), patience_s=_SOON)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        self._ask(lambda: self._log_params(run_id, params))

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        self._ask(lambda: self._log_metrics(run_id, points))

    def log_image(self, run_id: str, path: Path, key: str, step: int) -> None:
        """A picture of the gallery, with the time of its file."""
        self._ask(lambda: self._log_image(run_id, path, key, step), patience_s=120)

    def log_artifact(self, run_id: str, path: Path, folder: str) -> None:
        self._ask(lambda: self._client.log_artifact(run_id, str(path), folder or None), patience_s=120)

    def download(self, run_id: str, path: str, folder: Path) -> Path:
        ask = partial(self._client.download_artifacts, run_id, path, str(folder))
        return Path(self._ask(ask, patience_s=120, retries=2))

    def end(self, run_id: str, status: Status, ended: float) -> None:
        self._ask(lambda: self._client.set_terminated(run_id, status, round(ended * 1000)))

    def set_running(self, run_id: str, host: str) -> None:
        def ask() -> None:
            self._client.set_tag(run_id, HOST_TAG, host)
            self._client.update_run(run_id, status="RUNNING")

        self._ask(ask)

    def run(self, run_id: str, root: Path) -> RunRecord:
        return self._ask(lambda: _record(self._client.get_run(run_id), root))

    def find(self, run_id: str, root: Path) -> RunRecord | None:
        """The run that is called so in its folder; None if MLflow does not know it."""
        return self._ask(lambda: self._find(run_id, root))

    def runs(self, root: Path) -> list[RunRecord]:
        """All runs of mfpgan in all experiments, newest first."""
        return self._ask(
            lambda: [_record(run, root) for run in self._search(f"tags.`{VERSION_TAG}` != ''")], patience_s=_SOON
        )

    def history(self, run_id: str, name: str) -> list[Point]:
        """All points of a metric."""
        points = self._ask(lambda: self._client.get_metric_history(run_id, name))
        return [Point(name, point.value, point.step, point.timestamp) for point in points]

    def images(self, run_id: str) -> set[tuple[str, int]]:
        """Key and step of every picture that is whole in the gallery."""
        paths = [item.path for item in self._ask(lambda: self._client.list_artifacts(run_id, "images"))]
        return {(found[1], int(found[2])) for path in paths if (found := _IMAGE_FILE.match(path))}

    def names(self, run_id: str) -> set[str]:
        """Files and folders at the top of the artifacts."""
        return {item.path for item in self._ask(lambda: self._client.list_artifacts(run_id))}

    def sizes(self, run_id: str, folder: str) -> dict[str, int]:
        """Path and bytes of the artifacts in a folder."""
        items = self._ask(lambda: self._client.list_artifacts(run_id, folder or None))
        return {item.path: item.file_size for item in items if not item.is_dir}

    def digests(self, run_id: str) -> dict[str, str]:
        """What `set_digests` said last."""
        told = self._ask(lambda: self._client.get_run(run_id).data.tags.get(FILES_TAG, "{}"))
        try:
            values = json.loads(told)
        except ValueError:
            return {}
        return {str(path): str(digest) for path, digest in values.items()} if isinstance(values, dict) else {}

    def set_digests(self, run_id: str, digests: Mapping[str, str]) -> None:
        """Remember which files arrived; the newest as far as a tag holds them."""
        kept = dict(digests)
        while len(text := json.dumps(kept)) > LONGEST_TAG:
            del kept[next(iter(kept))]
        self._ask(lambda: self._client.set_tag(run_id, FILES_TAG, text))

    def _ask(self, question: Callable[[], T], patience_s: int | None = None, retries: int | None = None) -> T:
        try:
            with patient(patience_s, retries):
                return question()
        except Exception as error:
            # MLflow raises its own, sqlalchemy's, requests' and plain OSErrors; the caller needs one line.
            raise StoreError(f"{shown_uri(self.uri)}: {_reason(error)}") from error

    def _create_run(self, name: str | None, tags: Mapping[str, str], started: float | None) -> RunRecord:
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
        experiment = known.experiment_id if known else number
        moment = None if started is None else round(started * 1000)
        run = self._client.create_run(experiment, start_time=moment, run_name=name, tags=dict(tags))
        return _record(run, Path())

    def _find(self, run_id: str, root: Path) -> RunRecord | None:
        from mlflow.exceptions import MlflowException

        try:
            return _record(self._client.get_run(run_id), root)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        for tag in (RUN_ID_TAG, START_TAG):
            for run in self._search(f"tags.`{tag}` = '{run_id}'"):
                self._client.set_tag(run.info.run_id, RUN_ID_TAG, run_id)
                run.data.tags[RUN_ID_TAG] = run_id
                return _record(run, root)
        return None

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entities = [Param(name, value) for name, value in params.items()]
        for start in range(0, len(entities), _PARAMS_A_BATCH):
            self._client.log_batch(run_id, params=entities[start : start + _PARAMS_A_BATCH], synchronous=True)

    def _log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        entities = [Metric(point.name, point.value, point.milliseconds, point.step) for point in points]
        for start in range(0, len(entities), _METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=entities[start : start + _METRICS_A_BATCH], synchronous=True)

    def _log_image(self, run_id: str, path: Path, key: str, step: int) -> None:
        from PIL import Image

        # MLflow sets it last; a server lost before that would leave a picture that is there and not shown.
        self._client.set_tag(run_id, _GALLERY_TAG, "True")
        with Image.open(path) as picture:
            moment = round(path.stat().st_mtime * 1000)
            self._client.log_image(
                run_id, picture.convert("RGB"), key=key, step=step, timestamp=moment, synchronous=True
            )

    def _search(self, filters: str) -> Iterator[Any]:
        """Active runs in all experiments, newest first."""
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        token: str | None = None
        while experiments:
            page = self._client.search_runs(
                experiments,
                filters,
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


def _reason(error: BaseException) -> str:
    """One line: the operating system's word ("Connection refused") if it is at the bottom, otherwise MLflow's."""
    deepest = error
    while (below := deepest.__cause__ or deepest.__context__) is not None:
        deepest = below
    told = deepest if isinstance(deepest, OSError) else error
    # Of sqlalchemy's line, what the database said.
    text = " ".join(str(told).split()).split(" [SQL")[0].split("OperationalError) ")[-1]
    return shown_uri(text)[:200].strip() or type(told).__name__


def _record(run: Any, root: Path) -> RunRecord:
    info, tags = run.info, run.data.tags
    run_id = tags.get(RUN_ID_TAG) or info.run_id
    return RunRecord(
        id=run_id,
        name=info.run_name or "",
        status=info.status,
        started=info.start_time / 1000,
        folder=root / run_id,
        ended=info.end_time / 1000 if info.end_time and info.status != "RUNNING" else None,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        mlflow_id=info.run_id,
        host=tags.get(HOST_TAG, ""),
        tags={key: value for key, value in tags.items() if not key.startswith(RESERVED)},
    )
