"""The folder of a run: config.yaml, environment.json, run.json, metrics.jsonl, checkpoints/, figures/.

It is complete whatever happens to the MLflow server, and every file in it is either written whole or appended by lines.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mfpgan.files import write_atomically
from mfpgan.tracking.metrics_file import is_moment, is_name, json_value, last_metrics, last_moment
from mfpgan.types import InputError, quoted

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
INTERRUPTED = "INTERRUPTED"
"""Status of a run whose process is gone without a word; MLflow has none for that and calls it KILLED."""
CHECKPOINT = "checkpoints/last.pt"
"""What a run's folder and its MLflow artifacts both call the checkpoint."""
BEFORE = "checkpoints/before.pt"
"""The checkpoint before it, in the folder only."""
BEST = "checkpoints/best.pt"
"""The best by validation."""
CHECKPOINTS = (CHECKPOINT, BEST, "checkpoints/*.safetensors")
"""They change while a run goes on."""
ENVIRONMENT = "environment.json"
"""What the numbers of a run may depend on."""
ARTIFACTS = ("config.yaml", ENVIRONMENT, *CHECKPOINTS, "eval/*/*", "diagnosis/*")
"""Files that MLflow has too, as patterns in the run's folder."""
FIGURES = "figures"
A_DAY = 86_400.0

PACKAGES = ("mfpgan", "torch", "torchvision", "numpy", "scipy", "opencv-python-headless", "albumentations", "mlflow")
RESERVED = ("mlflow.", "mfpgan.")
"""Beginnings of tags that are not the user's."""
LONGEST_TAG = 5000
_TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-. /]{0,249}")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run without touching its files again."""

    id: str
    """32 hex digits; the MLflow run id, unless MLflow was away when the run began."""
    name: str
    status: str
    """RUNNING, FINISHED, FAILED, KILLED or INTERRUPTED; UNKNOWN for a folder without run.json."""
    started: float
    """Seconds since 1970."""
    folder: Path
    """Where the files are, or would be if `fetch` brought them to this machine."""
    ended: float | None = None
    """Seconds since 1970; None while it runs."""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each."""
    stored: bool = True
    """Whether the MLflow store knows the run; in a folder, whether it did when the run began."""
    mlflow_id: str = ""
    """The MLflow run id where that is another one; known when the store was asked."""
    host: str = ""
    """Name of the machine it was last trained on."""
    tags: dict[str, str] = field(default_factory=dict)
    """What its user marked it with."""

    @property
    def has_checkpoint(self) -> bool:
        """Whether the folder holds one to go on from, the last or the one before it."""
        return any((self.folder / name).is_file() for name in (CHECKPOINT, BEFORE))


def write_json(path: Path, values: Any) -> None:
    """Indented, for people; raises ValueError on NaN and infinity."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def write_record(record: RunRecord) -> None:
    """run.json of the run's folder."""
    values = asdict(record)
    del values["folder"], values["mlflow_id"]
    values["metrics"] = {name: json_value(value) for name, value in record.metrics.items()}
    write_json(record.folder / "run.json", values)


def read_record(folder: Path) -> RunRecord:
    """The record of a folder; a running run's metrics come from its lines, since run.json has them only at the end.

    A run of this machine that nobody holds the lock of is INTERRUPTED, since its last line. Of one that was trained on
    another machine nobody here can say that: it stays RUNNING, and the record names the host.
    """
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        metrics = {name: math.nan if value is None else float(value) for name, value in values.pop("metrics").items()}
        record = RunRecord(**values, folder=folder, metrics=metrics)
        _check_record(record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        record = RunRecord(folder.name, "", "UNKNOWN", folder.stat().st_mtime, folder)
    if record.ended is None:
        record = replace(record, metrics=last_metrics(folder))
    if record.status == "RUNNING" and record.host in ("", platform.node()) and not is_held(folder):
        record = replace(record, status=INTERRUPTED, ended=max(record.started, last_moment(folder)))
    return record


def _check_record(record: RunRecord) -> None:
    """Raises ValueError where run.json has something of another type than was written."""
    texts = (
        record.id,
        record.name,
        record.status,
        record.mlflow_id,
        record.host,
        *record.params,
        *record.params.values(),
        *record.tags,
        *record.tags.values(),
    )
    moments = [record.started] if record.ended is None else [record.started, record.ended]
    if not all(isinstance(text, str) for text in texts) or not all(map(is_moment, moments)):
        raise ValueError("run.json holds something of another type")
    if type(record.stored) is not bool or type(record.params) is not dict or type(record.tags) is not dict:
        raise ValueError("run.json holds something of another type")


def lock_folder(folder: Path) -> FileLock:
    """The lock of whoever trains in this folder; gone with the process, however that ends.

    Raises:
        InputError: another process has it, or the folder cannot be written.
    """
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0.5, poll_interval=0.05)  # somebody who looks (`is_held`) has it for a moment
    except Timeout:
        raise InputError(f"run {folder.name}: another process is training it; wait for it, or stop it first.") from None
    except OSError as error:
        raise InputError(
            f"{folder}: this run's folder cannot be written ({error.strerror}); copy the run to where it can."
        ) from None
    return lock


def is_held(folder: Path) -> bool:
    """Whether a process trains in this folder. Looking creates nothing."""
    if not (folder / "lock").is_file():
        return False
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written: nobody trains in it from here
        return False
    lock.release()
    return False


def beginning(root: Path) -> float:
    """Now, or just after the newest run under `root` where the clock was set back since that one began: so their order stays.

    By more than a day, and it is that run's date that was wrong.
    """
    now, newest = time.time(), 0.0
    for folder in run_folders(root):
        try:
            started = float(json.loads((folder / "run.json").read_text(encoding="utf-8"))["started"])
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue  # not a record
        newest = max(newest, started if started < now + A_DAY else 0.0)
    return max(now, newest + 0.001)


def artifacts_of(folder: Path) -> list[Path]:
    """What of the folder belongs into MLflow's artifacts, pictures not counted."""
    return [path for pattern in ARTIFACTS for path in sorted(folder.glob(pattern)) if path.is_file()]


def pictures_of(folder: Path) -> list[Path]:
    return sorted((folder / FIGURES).glob("*.png"))


def picture_path(folder: Path, key: str, step: int) -> Path:
    return folder / FIGURES / f"{key}-{step:06d}.png"


def picture_of(path: Path) -> tuple[str, int] | None:
    """Key and step of a picture's file; None for a file of another name."""
    found = re.fullmatch(r"(.+)-(\d{6,})\.png", path.name)
    return (found[1], int(found[2])) if found else None


class Clock:
    """The time of day for a run, in seconds since 1970; it never goes back, whatever somebody does to the machine's clock.

    Args:
        not_before: the last moment that the run knows.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._start = max(time.time(), not_before)
        self._counted = time.monotonic()

    def now(self) -> float:
        return self._start + time.monotonic() - self._counted


def run_folders(root: Path) -> list[Path]:
    """The folders under `root` that hold a run."""
    try:
        folders = list(root.iterdir())
    except OSError:
        return []
    return [
        folder
        for folder in folders
        if not folder.name.startswith(".") and any((folder / name).is_file() for name in ("run.json", "config.yaml"))
    ]


def check_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The same with plain floats.

    Raises:
        ValueError: a name that MLflow or metrics.jsonl would not take.
    """
    for name in metrics:
        if not is_name(name):
            raise ValueError(
                f"metric name {name!r}: use letters, digits and _ - . / or a space, begin with a letter or digit "
                "(NoC_90, not NoC@90), and not the words step or time"
            )
    return {name: float(value) for name, value in metrics.items()}


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InputError for a tag that MLflow would not take, or take for one of its own."""
    for key, value in tags.items():
        if not _TAG_NAME.fullmatch(key) or key.startswith(RESERVED):
            raise InputError(
                f"tag {quoted(key)}: a name begins with a letter or digit, goes on with those and _ - . / or a space, and "
                f"not with {' or '.join(RESERVED)}."
            )
        if len(value) > LONGEST_TAG:
            raise InputError(f"tag {key}: its value has {len(value)} characters; {LONGEST_TAG} are the most.")


def environment(device: str | None = None) -> dict[str, Any]:
    """What the numbers of a run may depend on, as environment.json records it."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "device": device,
        "packages": versions,
        "source": _source(),
        **_git_state(),
    }


@cache
def _source() -> str:
    """Digest of mfpgan's own files, so that nothing but they makes another code: the commit changes with every README."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _git_state() -> dict[str, Any]:
    """Commit of the checkout that mfpgan runs from, and whether files differ from it; nothing when installed."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return {}
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
