"""Checkpoints: named parts of tensors and plain types, replaced as a whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from mfpgan.types import InputError

FORMAT = 1


def save_checkpoint(path: Path, parts: dict[str, Any]) -> None:
    """Write `parts` to `path`; a crash or a full disk leaves the old file as it was."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **parts}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105 (atomic)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The parts of a checkpoint, on the CPU. Only tensors and plain types are read: nothing in the file can run.

    Raises:
        InputError: the file is missing, broken or of another format.
    """
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint; the run may have stopped before its first.") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable as a checkpoint ({reason}); train again or take another run.") from None
    if not isinstance(parts, dict) or parts.get("format") != FORMAT or "generator" not in parts:
        raise InputError(f"{path}: not a checkpoint of format {FORMAT}; it was made by another program or version.")
    return parts
