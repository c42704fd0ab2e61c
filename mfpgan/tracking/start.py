"""How a run begins: new, going on from a checkpoint, or opened once more for an evaluation."""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from mfpgan.files import clean, write_atomically
from mfpgan.tracking.metrics_file import go_back
from mfpgan.tracking.mirror import Mirror, Outbox, whole_folder
from mfpgan.tracking.mlflow_store import (
    HOST_TAG,
    LONGEST_PARAM,
    START_TAG,
    VERSION_TAG,
    Store,
    StoreError,
    open_store,
)
from mfpgan.tracking.records import fetch, find_run
from mfpgan.tracking.run import TrackedRun, warn
from mfpgan.tracking.run_folder import (
    CHECKPOINT,
    CHECKPOINTS,
    ENVIRONMENT,
    RunRecord,
    beginning,
    check_tags,
    environment,
    is_held,
    lock_folder,
    write_json,
    write_record,
)
from mfpgan.types import InputError
from mfpgan.version import __version__


def start_run(
    params: Mapping[str, Any],
    *,
    config: str,
    root: Path = Path("runs"),
    name: str | None = None,
    device: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> TrackedRun:
    """A new run, with config.yaml, environment.json and run.json in runs/<id>/ and its parameters in MLflow.

    Args:
        params: logged as text; None becomes "".
        config: what config.yaml will hold.
        device: name of the graphics card, for environment.json.
        tags: what marks the run; MLflow's page filters and groups by them.

    Raises:
        InputError: the folder cannot be written, or a tag has a name that MLflow does not take. An MLflow that does not answer costs one line on stderr instead.
    """
    check_tags(tags or {})
    _check_writable(root)
    texts = {key: _param_text(value) for key, value in params.items()}
    surroundings = environment(device)
    number, started, host = uuid.uuid4().hex, beginning(root), platform.node()
    marks = {**(tags or {}), VERSION_TAG: __version__, START_TAG: number, HOST_TAG: host}
    if "commit" in surroundings:
        marks["mlflow.source.git.commit"] = surroundings["commit"]
    store, made = None, None
    try:
        store = open_store(create=True)
        assert store is not None
        made = store.create_run(name, marks, started)
    except StoreError as error:
        again = ", and MLflow is asked again from time to time" if store else ""
        warn(f"MLflow cannot be used ({error}); the run is kept in {root}{again}.")
    try:
        record = RunRecord(
            id=made.id if made else number,
            name=made.name if made else name or number[:8],
            status="RUNNING",
            started=started,
            folder=root / (made.id if made else number),
            params=texts,
            stored=made is not None,
            host=host,
            tags=dict(tags or {}),
        )
        record.folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(record.folder)
        write_atomically(record.folder / "config.yaml", config.encode())
        write_json(record.folder / ENVIRONMENT, surroundings)
        write_record(record)
        mirror = None
        if store is not None:
            mirror = Mirror(record, store, whole_folder(record.folder), mlflow_id=made.id if made else "")
        return TrackedRun(record, mirror, lock=lock, told=made is None)
    except BaseException:
        if store is not None and made is not None:  # nobody would ever end it
            _end_quietly(store, made.id)
        raise


def resume_run(run_id: str, root: Path = Path("runs"), *, step: int, lock: FileLock | None = None) -> TrackedRun:
    """Go on with a run from `step`, in the same folder and the same MLflow run; lines of later steps are dropped.

    They will be made again to the bit, so MLflow keeps those that it has. It gets whatever else of the folder it lacks, from
    times when it was away.

    Args:
        run_id: the id, or a beginning of it that no other run shares.
        lock: of the folder, where the caller has taken it before it looked what the last checkpoint is.

    Raises:
        InputError: no such run, or another process is training it.
    """
    record = find_run(run_id, root)
    fetch(record)
    lock = lock or lock_folder(record.folder)
    host = platform.node()
    if record.status == "RUNNING" and record.host not in ("", host):
        warn(f"run {record.id[:8]} was being trained on {record.host}, and nobody here can see whether it still is.")
    clean((record.folder / CHECKPOINT).parent)  # each as large as a checkpoint
    go_back(record.folder, step)
    record = replace(record, status="RUNNING", ended=None, metrics={}, host=host)
    write_record(record)
    # Checkpoints come when training ends; the present ones would be sent for nothing.
    present = [path for pattern in CHECKPOINTS for path in record.folder.glob(pattern)]
    outbox = whole_folder(record.folder, skip=[path.relative_to(record.folder).as_posix() for path in present])
    return TrackedRun(record, _mirror(record, outbox, running=True), lock=lock)


def reopen_run(run_id: str, root: Path = Path("runs")) -> TrackedRun:
    """Add numbers to a run that has ended, an evaluation's for instance; its status stays what it was.

    MLflow gets whatever else of the folder it lacks; but while another process trains the run, that is left to it.

    Raises:
        InputError: no such run, or its folder cannot be written.
    """
    record = find_run(run_id, root)
    if not record.folder.is_dir():
        fetch(record)
    trained = is_held(record.folder)
    mirror = _mirror(record, Outbox() if trained else whole_folder(record.folder), create=not trained)
    try:
        return TrackedRun(record, mirror, keep_status=True)
    except OSError as error:
        raise InputError(
            f"{record.folder}: this run's folder cannot be written ({error.strerror}); copy the run to where it can."
        ) from None


def _mirror(record: RunRecord, outbox: Outbox, create: bool = True, running: bool = False) -> Mirror | None:
    """Of a run that is not new; None and one line on stderr if the store cannot be opened."""
    try:
        store = open_store()
        if store is None:
            raise StoreError("there is no mlflow.db in this folder")
    except StoreError as error:
        warn(f"MLflow cannot be used ({error}); what follows is kept in {record.folder} only.")
        return None
    return Mirror(record, store, outbox, create=create, running=running)


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
