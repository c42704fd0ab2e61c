"""A cell of an experiment is a run of `mfpgan train` that is made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path


def train_once(folder: Path, config: Path, options: list[str], environment: dict[str, str]) -> Path:
    """The folder of the run that `mfpgan train --config CONFIG OPTIONS` makes in a folder; made only if it is not there.

    A file `cell-DIGEST.txt` holds its id, the digest being that of the config's text and the options; so a changed config is
    another cell.

    Args:
        environment: variables on top of this process's own.
    """
    digest = sha256("\0".join([config.read_text(encoding="utf-8"), *options]).encode()).hexdigest()[:12]
    marker = folder / f"cell-{digest}.txt"
    if not marker.is_file():
        words = [sys.executable, "-m", "mfpgan", "train", "--config", str(config), *options]
        done = subprocess.run(
            words, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
        )
        marker.write_text(done.stdout)
    return folder / "runs" / marker.read_text().strip()


def origins(runs: Iterable[Path]) -> str:
    """A sentence: with which code the runs were made. Finished cells are not made again when the code changes."""
    commits = set()
    for run in runs:
        environment = json.loads((run / "environment.json").read_text())
        commits.add(
            (environment.get("commit") or "unknown")[:7] + (" with changes" * bool(environment.get("modified")))
        )
    return f"Made with commit {', '.join(sorted(commits))}."
