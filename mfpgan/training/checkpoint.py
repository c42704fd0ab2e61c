"""Checkpoints: named parts of tensors and plain types, replaced as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mfpgan.files import atomic_file, read_weights
from mfpgan.types import InputError

FORMAT = 1


def save_checkpoint(path: Path, parts: dict[str, Any]) -> None:
    """Write `parts` to `path`; a crash or a full disk leaves the old file as it was.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path) as file:
        try:
            torch.save({"format": FORMAT, **parts}, file)
        except RuntimeError as error:  # torch's own, on top of what the file said
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from an optimizer's state dict, also where weights lie in another memory layout than where it was saved.

    torch keeps the layout of what it loads, and its fused optimizers read weights and moments side by side from memory: in
    another order, each weight would get the moments of another one.
    """
    optimizer.load_state_dict(state)
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                moments[name] = torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The parts of a checkpoint, on the CPU.

    Raises:
        InputError: the file is missing, broken or of another format.
    """
    parts = read_weights(path, "a checkpoint of mfpgan")
    if not isinstance(parts, dict) or parts.get("format") != FORMAT or "generator" not in parts:
        raise InputError(f"{path}: not a checkpoint of format {FORMAT}; it was made by another program or version.")
    return parts
