"""Looking runs up, in the folder and in the MLflow store; either may be missing, and looking creates neither."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mfpgan.tracking.mirror import Counts, Mirror, whole_folder
from mfpgan.tracking.mlflow_store import Store, StoreError, open_store
from mfpgan.tracking.run_folder import (
    BEFORE,
    BEST,
    CHECKPOINT,
    ENVIRONMENT,
    INTERRUPTED,
    RunRecord,
    Status,
    is_held,
    lock_folder,
    read_record,
    run_folders,
    write_record,
)
from mfpgan.types import InputError


def list_runs(root: Path = Path("runs")) -> list[RunRecord]:
    """All runs that the folder or the store knows, newest first.

    A store that does not answer costs one line on stderr. Where it still takes a run of this machine for running that is
    over, it is told so.
    """
    store, records = _stored(root)
    for folder in run_folders(root):
        local = read_record(folder)
        stored = records.get(local.id)
        records[local.id] = local if stored is None else _newer(local, stored)
        if store is not None and stored is not None and stored.status == "RUNNING" and stored.host == platform.node():
            _end(store, stored.mlflow_id, local)
    return sorted(records.values(), key=lambda record: (record.started, record.id), reverse=True)


def local_runs(root: Path = Path("runs")) -> list[RunRecord]:
    """The runs that the folder knows, oldest first."""
    return sorted(map(read_record, run_folders(root)), key=lambda record: (record.started, record.id))


def find_run(prefix: str, root: Path = Path("runs")) -> RunRecord:
    """The one run whose id, or MLflow's id of it, begins with `prefix`.

    Eight digits that fit one run of the folder are enough without asking the store.

    Raises:
        InputError: none or several do.
    """
    prefix = prefix.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", prefix):
        raise InputError(
            f"run id {prefix!r}: an id is up to 32 hex digits, or the first few; `mfpgan runs` lists them."
        )
    here = [folder for folder in run_folders(root) if folder.name.startswith(prefix)]
    if len(prefix) >= 8 and len(here) == 1 and (here[0] / "run.json").is_file():
        return read_record(here[0])
    runs = list_runs(root)
    found = [record for record in runs if record.id.startswith(prefix) or record.mlflow_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not runs:
        raise InputError(
            f"run id {prefix!r}: there is no run in {root} or in MLflow; train first, or see `mfpgan runs`."
        )
    shown = [f"{record.id} ({record.name})" if record.name else record.id for record in (found or runs)[:5]]
    more = ", ..." if len(found or runs) > 5 else ""
    problem = f"{len(found)} runs begin so" if found else "no run begins so; the newest are"
    separator = ": " if found else " "
    raise InputError(
        f"run id {prefix!r}: {problem}{separator}{', '.join(shown)}{more}; "
        f"{'give more digits' if found else 'choose one'}, `mfpgan runs` lists all."
    )


def fetch(record: RunRecord) -> Path:
    """The folder of a run with its config.yaml and checkpoint, brought from MLflow if they are not on this machine.

    Raises:
        InputError: they are nowhere.
    """
    missing = [name for name in (CHECKPOINT, "config.yaml") if not (record.folder / name).is_file()]
    if missing == [CHECKPOINT] and (record.folder / BEFORE).is_file():
        return record.folder  # killed between two renames, and the one before is newer than whatever MLflow has
    if not missing:
        return record.folder
    root = record.folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".fetch-", dir=root))
    except OSError as error:
        raise InputError(
            f"{root}: cannot be written ({error.strerror}), so run {record.id} cannot be fetched."
        ) from None
    try:
        store = open_store()
        if store is None:
            raise StoreError("there is no MLflow store here")
        stored = record.mlflow_id or record.id
        arrived = {name: store.download(stored, name, beside) for name in missing}
        if CHECKPOINT in arrived and not (record.folder / BEST).is_file():
            with contextlib.suppress(StoreError):  # a run that was never validated has none
                arrived = {BEST: store.download(stored, BEST, beside)} | arrived
        for name, path in arrived.items():  # config.yaml last: a folder that has it is complete
            (record.folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(record.folder / name)
    except StoreError as error:
        raise InputError(
            f"run {record.id}: {' and '.join(missing)} not in {record.folder} nor to be had from MLflow ({error}); "
            "copy the folder here, or set MLFLOW_TRACKING_URI to the store that has it."
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if not (record.folder / "run.json").exists() and record.status != "UNKNOWN":
        write_record(record)
    return record.folder


def fetch_notes(folder: Path) -> str:
    """Bring what `fetch` left in MLflow and only people ask for, evaluations and the environment, into a run's folder that was
    fetched; files that are there stay.

    Returns:
        A sentence if MLflow could not be asked, otherwise "".
    """
    if (folder / ENVIRONMENT).is_file() or not re.fullmatch(r"[0-9a-f]{32}", folder.name):
        return ""  # trained on this machine, or no run of MLflow
    try:
        store = open_store()
        record = store.find(folder.name, folder.parent) if store else None
        if store is None or record is None:
            return ""
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as beside:
            known = store.names(record.mlflow_id)
            for name in ("eval", ENVIRONMENT):  # the last one says that all is here
                if name in known:
                    arrived = store.download(record.mlflow_id, name, Path(beside))
                    _take_over(arrived, folder, Path(beside))
    except StoreError as error:
        return f"MLflow did not answer ({error}), so evaluations that were made on other machines are missing here."
    return ""


def _take_over(arrived: Path, folder: Path, beside: Path) -> None:
    """The files of a download into the folder, where it has none of that name."""
    for path in sorted(arrived.rglob("*.json")) if arrived.is_dir() else [arrived]:
        place = folder / path.absolute().relative_to(beside.absolute())
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


@dataclass(frozen=True)
class Synced:
    """What a sync did."""

    mlflow_id: str
    sent: Counts
    """What MLflow lacked."""


def sync(record: RunRecord, progress: Callable[[int, int], None] | None = None) -> Synced:
    """Bring MLflow up to date with a run's folder: parameters, numbers, pictures, files, status. What it has is not sent
    again, so a second time changes nothing.

    A run that MLflow does not know is made there; MLflow gives it an id of its own, which `find_run` finds as well.

    Args:
        progress: called with (done, all).

    Raises:
        InputError: the folder is not here, another process trains the run, or MLflow does not answer.
    """
    if not record.folder.is_dir():
        raise InputError(
            f"run {record.id[:8]}: its folder is not on this machine, so there is nothing that MLflow lacks."
        )
    lock = lock_folder(record.folder)
    try:
        store = open_store(create=True)
        assert store is not None
        mirror = Mirror(record, store, whole_folder(record.folder))
        total, done = mirror.outbox.pieces(), 0
        mirror.open()
        while mirror.send_lines() or mirror.send_file():
            done += 1
            if progress is not None:
                progress(min(done, total), total)
        status = _mlflow_status(record.status)
        if status is not None:
            mirror.end(status, record.ended or record.started)
        return Synced(mirror.mlflow_id, mirror.counts)
    except (StoreError, OSError) as error:
        raise InputError(f"run {record.id[:8]}: MLflow did not take it ({error}); try again later.") from None
    finally:
        lock.release()


def _stored(root: Path) -> tuple[Store | None, dict[str, RunRecord]]:
    try:
        store = open_store()
        return store, {record.id: record for record in store.runs(root)} if store else {}
    except StoreError as error:
        print(f"mfpgan: MLflow cannot be read ({error}); only the runs in {root} are known.", file=sys.stderr)
        return None, {}


def _newer(local: RunRecord, stored: RunRecord) -> RunRecord:
    """The folder's word, unless the run went on or ended later elsewhere or the folder has no record; metrics of both."""
    runs_here = local.status == "RUNNING" and local.host in ("", platform.node())
    goes_on = stored.status == "RUNNING" and stored.host not in ("", platform.node())
    later = (stored.ended or 0) > (local.ended or 0) + 1
    elsewhere = local.status == "UNKNOWN" or (not runs_here and (goes_on or later))
    first, second = (stored, local) if elsewhere else (local, stored)
    metrics = {**second.metrics, **first.metrics}
    return replace(first, folder=local.folder, metrics=metrics, stored=True, mlflow_id=stored.mlflow_id)


def _end(store: Store, mlflow_id: str, local: RunRecord) -> None:
    """Tell the store how a run ended, if it did; whether the store takes it or not."""
    status = _mlflow_status(local.status)
    if status is not None and not is_held(local.folder):  # who holds it is just about to say so
        with contextlib.suppress(StoreError):
            store.end(mlflow_id, status, local.ended or local.started)


def _mlflow_status(status: str) -> Status | None:
    """What MLflow calls it; None for a run that is not known to be over."""
    known: dict[str, Status] = {"FINISHED": "FINISHED", "FAILED": "FAILED", "KILLED": "KILLED", INTERRUPTED: "KILLED"}
    return known.get(status)
