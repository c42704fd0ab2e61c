"""Runs: a folder that is always complete, and MLflow beside it. The only part of mfpgan that knows mlflow.

run_folder.py    the files of a run            metrics_file.py  its numbers, line by line
run.py, start.py a run while it lasts          records.py       finding, listing, fetching and syncing runs
mirror.py        brings MLflow to what a folder holds           sender.py   the thread that does so during a run
mlflow_store.py  the store, behind plain methods                mlflow_client.py   MLflow's settings
ui.py            MLflow's page
"""

from mfpgan.tracking.metrics_file import read_lines
from mfpgan.tracking.mlflow_store import store_uri
from mfpgan.tracking.records import Synced, fetch, fetch_notes, find_run, list_runs, local_runs, sync
from mfpgan.tracking.run import NoRun, Run, TrackedRun
from mfpgan.tracking.run_folder import (
    CHECKPOINT,
    INTERRUPTED,
    RunRecord,
    Status,
    check_tags,
    environment,
    lock_folder,
)
from mfpgan.tracking.start import reopen_run, resume_run, start_run
from mfpgan.tracking.ui import open_ui, runs_page, ui_command

__all__ = [
    "CHECKPOINT",
    "INTERRUPTED",
    "NoRun",
    "Run",
    "RunRecord",
    "Status",
    "Synced",
    "TrackedRun",
    "check_tags",
    "environment",
    "fetch",
    "fetch_notes",
    "find_run",
    "list_runs",
    "local_runs",
    "lock_folder",
    "open_ui",
    "read_lines",
    "reopen_run",
    "resume_run",
    "runs_page",
    "start_run",
    "store_uri",
    "sync",
    "ui_command",
]
