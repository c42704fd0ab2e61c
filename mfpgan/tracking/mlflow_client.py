"""MLflow's client: its settings, its silence and how long it waits."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WARNERS = r"(mlflow|sqlalchemy|alembic|requests|urllib3|google)\b"
_SPEAKERS = ("mlflow", "sqlalchemy", "alembic", "urllib3")


def shown_uri(uri: str) -> str:
    """`uri` without a user name and password."""
    return re.sub(r"//[^/@\s]+@", "//", uri)


def sqlite_path(uri: str) -> Path | None:
    """The database of an SQLite store, None of another."""
    if not uri.startswith("sqlite:///") or uri.endswith(":memory:"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def make_client(uri: str) -> Any:
    """The client, with MLflow's settings made before its import (which takes 1.3 s)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with _opening():
        from mlflow import MlflowClient

        database = sqlite_path(uri)
        if database and not database.exists():
            _make_database(database, MlflowClient)
        client = MlflowClient(uri)
    # For good, and not round each call: calls come from a thread, while the settings are the whole process's. MLflow's
    # failures are raised as well, so nothing real is lost; urllib3 tells of every retry, sqlalchemy prints tracebacks.
    for name in _SPEAKERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=_WARNERS)
    return client


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


@contextmanager
def _opening() -> Iterator[None]:
    """Silence while MLflow is imported and a database opened: alembic tells of every migration. MLflow before 3.7 also
    overwrites the root logger when it migrates (its issue 19038), so that is put back."""
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
def patient(seconds: int | None, retries: int | None) -> Iterator[None]:
    """Wait for another time than the ten seconds of a batch of numbers, and ask more than once.

    A checkpoint may pass through the server to a slow disk; a first question to a silent host should fail soon. Mostly it
    is asked once: the thread that sends comes back later by itself, and a run must not be made three times because the
    server was slow to say that it is made. The user's own settings stay.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": ("10", seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": ("0", retries),
    }
    changed = {
        name: str(value)
        for name, (usual, value) in wanted.items()
        if value is not None and os.environ.get(name) == usual
    }
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.update({name: wanted[name][0] for name in changed})
