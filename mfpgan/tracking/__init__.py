"""Runs: a folder that is always complete, and MLflow beside it. The only part of mfpgan that knows mlflow.

run_folder.py    the files of a run            mlflow_store.py  the store, behind a dozen plain methods
run.py           a run while it lasts          records.py       finding, listing and fetching runs
ui.py            MLflow's page
"""

from mfpgan.tracking.mlflow_store import store_uri
from mfpgan.tracking.records import CHECKPOINT, fetch, find_run, list_runs
from mfpgan.tracking.run import NoRun, Run, TrackedRun
from mfpgan.tracking.run_folder import RunRecord, Status, read_lines
from mfpgan.tracking.start import reopen_run, resume_run, start_run
from mfpgan.tracking.ui import open_ui, runs_page, ui_command

__all__ = [
    "CHECKPOINT",
    "NoRun",
    "Run",
    "RunRecord",
    "Status",
    "TrackedRun",
    "fetch",
    "find_run",
    "list_runs",
    "open_ui",
    "read_lines",
    "reopen_run",
    "resume_run",
    "runs_page",
    "start_run",
    "store_uri",
    "ui_command",
]
