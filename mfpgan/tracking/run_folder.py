"""The folder of a run: config.yaml, environment.json, run.json, metrics.jsonl, checkpoints/, figures/.

It is complete whatever happens to the MLflow server, and every file in it is either written whole or appended by lines.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TextIO

from mfpgan.files import write_atomically

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

LARGEST = sys.float_info.max
"""Stands for infinity, in metrics.jsonl as in MLflow: JSON has no word for it."""
PACKAGES = ("mfpgan", "torch", "torchvision", "numpy", "scipy", "opencv-python-headless", "albumentations", "mlflow")
_METRIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-. /]{0,249}")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run without touching its files again."""

    id: str
    """32 hex digits, the MLflow run id where MLflow knows the run."""
    name: str
    status: str
    """RUNNING, FINISHED, FAILED or KILLED; UNKNOWN for a folder without run.json."""
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
    """Whether the MLflow store knows the run."""


def write_json(path: Path, values: Any) -> None:
    """Indented, for people; raises ValueError on NaN and infinity."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def write_record(record: RunRecord) -> None:
    """run.json of the run's folder."""
    values = asdict(record)
    del values["folder"]
    values["metrics"] = {name: _json_value(value) for name, value in record.metrics.items()}
    write_json(record.folder / "run.json", values)


def read_record(folder: Path) -> RunRecord:
    """The record of a folder; a running run's metrics come from its lines, since run.json has them only at the end."""
    try:
        values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        metrics = {name: _float(value) for name, value in values.pop("metrics").items()}
        record = RunRecord(**values, folder=folder, metrics=metrics)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        record = RunRecord(folder.name, "", "UNKNOWN", folder.stat().st_mtime, folder)
    if record.ended is None:
        record = replace(record, metrics=last_metrics(folder))
    return record


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
        parts = name.split("/")
        if not _METRIC_NAME.fullmatch(name) or name in ("step", "time") or not all(part.strip(".") for part in parts):
            raise ValueError(
                f"metric name {name!r}: use letters, digits and _ - . / or a space, begin with a letter or digit "
                "(NoC_90, not NoC@90), and not the words step or time"
            )
    return {name: float(value) for name, value in metrics.items()}


class MetricsFile:
    """metrics.jsonl, open for appending: one line a step, on the disk when `write` returns."""

    def __init__(self, folder: Path) -> None:
        path = folder / "metrics.jsonl"
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file: TextIO = path.open("a", encoding="utf-8")
        if torn:  # killed in the middle of a line: the next one must not be glued to it
            self._file.write("\n")

    def write(self, metrics: Mapping[str, float], step: int, moment: float) -> None:
        values = {name: _json_value(value) for name, value in metrics.items()}
        line = {"step": int(step), "time": round(moment, 3), **values}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl, oldest first, without torn ones."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and isinstance(values.get("step"), int):
            yield values


def last_metrics(folder: Path) -> dict[str, float]:
    """The last value of every metric in metrics.jsonl; null comes back as NaN."""
    last: dict[str, float] = {}
    for line in read_lines(folder):
        last.update({name: _float(value) for name, value in line.items() if name not in ("step", "time")})
    return last


def go_back(folder: Path, step: int) -> None:
    """Make the folder what it was at `step`: the resumed run will write the later lines again.

    Evaluations are of a checkpoint that will be replaced: their lines go, and eval/ becomes eval-step<STEP>/.
    """
    if (folder / "metrics.jsonl").exists():
        kept = [line for line in read_lines(folder) if line["step"] <= step and _of_training(line)]
        write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())
    if (folder / "eval").is_dir():
        old = folder / f"eval-step{step}"
        shutil.rmtree(old, ignore_errors=True)
        (folder / "eval").replace(old)


def _of_training(line: Mapping[str, Any]) -> bool:
    return all(name in ("step", "time") or name.startswith(("train/", "d/", "val/", "val_ema/")) for name in line)


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
        **_git_state(),
    }


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


def _json_value(value: float) -> float | None:
    return None if math.isnan(value) else max(-LARGEST, min(LARGEST, value))


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
