"""How a run begins: new, going on from a checkpoint, or opened once more for an evaluation."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mfpgan.files import write_atomically
from mfpgan.tracking.mlflow_store import LONGEST_PARAM, VERSION_TAG, Store, StoreError, open_store
from mfpgan.tracking.records import fetch, find_run
from mfpgan.tracking.run import TrackedRun, warn
from mfpgan.tracking.run_folder import RunRecord, environment, go_back, write_json, write_record
from mfpgan.types import InputError
from mfpgan.version import __version__


def start_run(
    params: Mapping[str, Any],
    *,
    config: str,
    root: Path = Path("runs"),
    name: str | None = None,
    device: str | None = None,
) -> TrackedRun:
    """A new run, with config.yaml, environment.json and run.json in runs/<id>/ and its parameters in MLflow.

    Args:
        params: logged as text; None becomes "".
        config: what config.yaml will hold.
        device: name of the graphics card, for environment.json.

    Raises:
        InputError: the folder cannot be written. An MLflow that does not answer costs one line on stderr instead.
    """
    _check_writable(root)
    texts = {key: _param_text(value) for key, value in params.items()}
    surroundings = environment(device)
    tags = {VERSION_TAG: __version__}
    if "commit" in surroundings:
        tags["mlflow.source.git.commit"] = surroundings["commit"]
    store, record = None, None
    try:
        store = open_store(create=True)
        assert store is not None
        record = store.create_run(name, tags)
    except StoreError as error:
        store = None
        warn(f"MLflow cannot be used ({error}); the run is kept in {root} only.")
    if record is None:
        number = uuid.uuid4().hex
        record = RunRecord(number, name or number[:8], "RUNNING", time.time(), root / number, stored=False)
    try:
        record = replace(record, folder=root / record.id, params=texts)
        record.folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(record.folder)
        write_atomically(record.folder / "config.yaml", config.encode())
        write_json(record.folder / "environment.json", surroundings)
        write_record(record)
        run = TrackedRun(record, store, lock=lock)
        run.params(texts)
        run.artifact(record.folder / "config.yaml")
        run.artifact(record.folder / "environment.json")
    except BaseException:
        if store is not None:  # nobody would ever end it
            _end_quietly(store, record.id)
        raise
    return run


def resume_run(run_id: str, root: Path = Path("runs"), *, step: int) -> TrackedRun:
    """Go on with a run from `step`, in the same folder and the same MLflow run; lines of later steps are dropped.

    MLflow cannot forget: there the steps done twice have two values, the later one with the later time.

    Args:
        run_id: the id, or a beginning of it that no other run shares.

    Raises:
        InputError: no such run, or another process is training it.
    """
    record = find_run(run_id, root)
    fetch(record)
    lock = lock_folder(record.folder)
    go_back(record.folder, step)
    record = replace(record, status="RUNNING", ended=None, metrics={})
    write_record(record)
    run = TrackedRun(record, _store_of(record), lock=lock)
    run.set_running()
    return run


def reopen_run(run_id: str, root: Path = Path("runs")) -> TrackedRun:
    """Add numbers to a run that has ended, an evaluation's for instance; its status stays what it was."""
    record = find_run(run_id, root)
    if not record.folder.is_dir():
        fetch(record)
    return TrackedRun(record, _store_of(record), keep_status=True)


def lock_folder(folder: Path) -> FileLock:
    """The lock of whoever trains in this folder; gone with the process, however that ends."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"run {folder.name}: another process is training it; wait for it, or stop it first.") from None
    return lock


def _store_of(record: RunRecord) -> Store | None:
    """The store if it knows the run, otherwise None and one line on stderr."""
    if not record.stored:
        return None
    try:
        store = open_store()
        if store is None:
            raise StoreError("there is no mlflow.db in this folder")
        store.run(record.id, record.folder.parent)
    except StoreError as error:
        warn(f"MLflow cannot be used ({error}); what follows is kept in {record.folder} only.")
        return None
    return store


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{root.absolute()}: cannot make this folder for runs ({error.strerror}); start mfpgan in a folder that can be written."
        ) from None
    if not os.access(root, os.W_OK):
        raise InputError(
            f"{root.absolute()}: this folder for runs cannot be written; start mfpgan in a folder that can."
        )


def _param_text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 1] + "…"


def _end_quietly(store: Store, run_id: str) -> None:
    with contextlib.suppress(StoreError):  # what stopped the start is being raised, and says more
        store.end(run_id, "FAILED", time.time())
