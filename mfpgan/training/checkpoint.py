"""Checkpoints: named parts of tensors and plain types, replaced as a whole or not at all; the last two and the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mfpgan.files import atomic_file, read_weights, write_atomically
from mfpgan.types import InputError, quoted

FORMAT = 2
BEFORE, BEST, BAD_STEP = "before.pt", "best.pt", "bad_step.pt"
"""Beside the last checkpoint: the one before it, the best by validation, and the state of a step that left the numbers."""
PARTS: dict[str, tuple[type, ...]] = {
    "step": (int,), "config": (str,), "data_digest": (str,), "generator": (dict,), "adversary": (dict,),
    "optimizer": (dict,), "ema": (dict,), "watchdog": (dict,), "skipped": (list,), "best": (float,),
    "pending": (dict, NoneType), "bad_steps": (int,),
}  # fmt: skip
"""What a checkpoint may hold, and of which type; `step` and `generator` are in every one."""

WEIGHT_TYPES = {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64}
"""The last is batch norm's counter."""


def save_checkpoint(path: Path, parts: Mapping[str, Any], *, keep: bool = False) -> None:
    """Write `parts` to `path`; a crash or a full disk leaves the old file as it was.

    Args:
        keep: the old file becomes `BEFORE`.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path, path.with_name(BEFORE) if keep else None) as file:
        try:
            torch.save({"format": FORMAT, **parts}, file)
        except RuntimeError as error:  # torch's own, on top of what the file said
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from an optimizer's state dict, also where weights lie in another memory layout than where it was saved.

    torch keeps the layout of what it loads, and its fused optimizers read weights and moments side by side from memory: in
    another order, each weight would get the moments of another one, and past the end of a shorter one they read and write
    whatever is there. Of the groups only the rate is taken, which a schedule may have changed; the rest is the optimizer's own.

    Raises:
        ValueError: it is not the state of an Adam over these weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = state.get("state")
    if not isinstance(moments, dict) or not set(moments) <= set(range(len(weights))):
        raise ValueError("an optimizer's state is of other weights")
    for number, found in moments.items():
        if not isinstance(found, dict) or found.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError("an optimizer's state is not Adam's")
        shapes = {"step": torch.Size(), "exp_avg": weights[number].shape, "exp_avg_sq": weights[number].shape}
        for name, shape in shapes.items():
            if not _is_plain(found[name]) or found[name].shape != shape or not torch.isfinite(found[name]).all():
                raise ValueError(f"an optimizer's {name} is of another shape or holds NaN")
    groups = optimizer.state_dict()["param_groups"]
    for group, saved in zip(groups, state["param_groups"], strict=True):
        if type(saved["lr"]) is not float or not 0 <= saved["lr"] < math.inf:
            raise ValueError("an optimizer's rate is no number")
        group["lr"] = saved["lr"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for weight, own in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            own[name] = torch.empty_like(weight, requires_grad=False).copy_(own[name])


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The parts of a checkpoint, on the CPU; nothing in the file can run.

    Raises:
        InputError: the file is missing, broken, of another format, or its weights are no numbers.
    """
    loaded = read_weights(path, "a checkpoint of mfpgan")
    parts: dict[Any, Any] = loaded if isinstance(loaded, dict) else {}
    form = parts.get("format")  # anything, even a tensor
    if type(form) is not int or form != FORMAT or not {"step", "generator"} <= parts.keys():
        raise InputError(f"{path}: not a checkpoint of format {FORMAT}; it was made by another program or version.")
    wrong = [name for name, value in parts.items() if name != "format" and not _fits(name, value)]
    if wrong:
        part = quoted(wrong[0])
        raise InputError(f"{path}: not a checkpoint of mfpgan, its part {part} is unknown or of another type.")
    for name, value in [*parts["generator"].items(), *parts.get("ema", {}).items()]:
        if not isinstance(name, str) or not _is_plain(value):
            raise InputError(f"{path}: not a checkpoint of mfpgan, its weight {quoted(name)} is no plain tensor.")
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: its weights hold NaN or infinity ({quoted(name)}); take an earlier checkpoint.")
    return parts


def load_last(path: Path) -> tuple[dict[str, Any], str]:
    """The last checkpoint, or the one before it where that one is damaged; then a sentence about it, otherwise "".

    Raises:
        InputError: neither can be used.
    """
    try:
        return load_checkpoint(path), ""
    except InputError as error:
        try:
            parts = load_checkpoint(path.with_name(BEFORE))
        except InputError as other:
            raise InputError(f"{error} Nor can the one before it be used: {other}") from None
        return parts, f"{error} Going on from the one before it, of step {parts['step']}."


def write_safetensors(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Weights in the format of Hugging Face, which holds tensors and nothing else."""
    whole = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, safetensors.torch.save(whole, dict(metadata)))


def _fits(name: str, value: object) -> bool:
    if name not in PARTS or not isinstance(value, PARTS[name]) or isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 0
    if name == "skipped":
        return isinstance(value, list) and all(type(item) is int for item in value)
    if name == "pending" and isinstance(value, dict):
        return all(isinstance(key, str) and type(number) is float for key, number in value.items())
    return True


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of numbers that lie in the file; not one number that is said to be there a billion times."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in WEIGHT_TYPES
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
