"""Looking runs up, in the folder and in the MLflow store; either may be missing, and looking creates neither."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from mfpgan.tracking.mlflow_store import StoreError, open_store
from mfpgan.tracking.run_folder import RunRecord, read_record, run_folders, write_record
from mfpgan.types import InputError

CHECKPOINT = "checkpoints/last.pt"
"""What a run's folder and its MLflow artifacts both call the checkpoint."""


def list_runs(root: Path = Path("runs")) -> list[RunRecord]:
    """All runs that the folder or the store knows, newest first.

    A store that does not answer costs one line on stderr.
    """
    records = {record.id: record for record in _stored(root)}
    for folder in run_folders(root):
        local = read_record(folder)
        records[local.id] = _newer(local, records[local.id]) if local.id in records else local
    return sorted(records.values(), key=lambda record: record.started, reverse=True)


def find_run(prefix: str, root: Path = Path("runs")) -> RunRecord:
    """The one run whose id begins with `prefix`.

    Raises:
        InputError: none or several do.
    """
    prefix = prefix.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", prefix):
        raise InputError(
            f"run id {prefix!r}: an id is up to 32 hex digits, or the first few; `mfpgan runs` lists them."
        )
    if len(prefix) == 32 and (root / prefix / "run.json").is_file():  # no need to ask a server
        return read_record(root / prefix)
    runs = list_runs(root)
    found = [record for record in runs if record.id.startswith(prefix)]
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
        arrived = {name: store.download(record.id, name, beside) for name in missing}
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


def _stored(root: Path) -> list[RunRecord]:
    try:
        store = open_store()
        return store.runs(root) if store else []
    except StoreError as error:
        print(f"mfpgan: MLflow cannot be read ({error}); only the runs in {root} are known.", file=sys.stderr)
        return []


def _newer(local: RunRecord, stored: RunRecord) -> RunRecord:
    """The folder's word, unless the run ended later elsewhere or the folder has no record; metrics of both."""
    elsewhere = local.status == "UNKNOWN" or (stored.ended or 0) > (local.ended or 0) + 1
    first, second = (stored, local) if elsewhere else (local, stored)
    return replace(first, folder=local.folder, metrics={**second.metrics, **first.metrics}, stored=True)
