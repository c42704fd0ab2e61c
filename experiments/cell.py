"""A cell of an experiment is a run of `mfpgan train` that is made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def train_once(marker: Path, options: list[str], environment: dict[str, str]) -> Path:
    """The folder of the run that `mfpgan train OPTIONS` makes in the marker's folder; made only if the marker is not there.

    Args:
        marker: file that holds the run's id afterwards.
        environment: variables on top of this process's own.
    """
    if not marker.is_file():
        words = [sys.executable, "-m", "mfpgan", "train", *options]
        done = subprocess.run(
            words, cwd=marker.parent, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
        )
        marker.write_text(done.stdout)
    return marker.parent / "runs" / marker.read_text().strip()
