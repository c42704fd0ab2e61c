"""What keeps the networks of several processes one network.

Gradients are averaged by hand, after the backward pass and in one message, and not by DistributedDataParallel: the loop takes
gradients at the logits and at the last layer by `torch.autograd.grad`, plays its users without gradient, and gives the
discriminator penalties of second order and weights that are switched on and off. DDP sees none of this or stumbles over it,
while a mean of gradients is the same formula for every loss: all of them are means over samples, or divide by `total` counts.
What is given up is that messages overlap with the backward pass.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mfpgan import distributed
from mfpgan.types import InputError

CHECK_VARIABLE = "MFPGAN_CHECK_PROCESSES"
"""Steps between checks that the processes have not drifted apart; unset or 0: only at the start."""


class DriftError(RuntimeError):
    """The processes of a run do not hold the same networks."""


def average_gradients(network: nn.Module) -> None:
    """Each gradient becomes its mean over the processes: that of the whole batch."""
    distributed.average([weight.grad for weight in network.parameters() if weight.grad is not None])


def share_statistics(network: nn.Module, device: torch.device) -> None:
    """On cards batch norm counts the whole batch, by torch's SyncBatchNorm, which there is for nothing else."""
    if distributed.count() > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def average_statistics(network: nn.Module) -> None:
    """On CPUs each process normalises by its own share of the batch, and the running numbers become their mean."""
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
    ]
    distributed.average(
        [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
    )


def check_every() -> int:
    """Steps between checks for drift, from the environment; 0: none.

    Raises:
        InputError: the variable is no number of steps.
    """
    text = os.environ.get(CHECK_VARIABLE) or "0"
    if not text.isdecimal():
        raise InputError(f"{CHECK_VARIABLE}={text} is no number of steps; use 100, or unset it.")
    return int(text)


def check_equal(parts: Mapping[str, Any], step: int) -> None:
    """Compare what the processes hold, to the last bit.

    Args:
        parts: by name; tensors and plain types, nested.
        step: steps done.

    Raises:
        DriftError: a part differs; the same in all processes.
    """
    if distributed.count() == 1:
        return
    for number, theirs in enumerate(everyone := distributed.told({name: digest(part) for name, part in parts.items()})):
        differing = [name for name in parts if theirs[name] != everyone[0][name]]
        if differing:
            raise DriftError(
                f"at step {step} process {number} differs from process 0 in its {' and '.join(differing)}; give all processes "
                "the same options, data, machines and versions. If they have them, this is a bug."
            )


def digest(part: Any) -> str:
    """16 hex digits of every bit of nested tensors and plain types."""
    state = blake2b(digest_size=8)
    _add(part, state)
    return state.hexdigest()


def _add(part: Any, state: blake2b) -> None:
    if isinstance(part, Tensor):
        state.update(f"{part.dtype} {tuple(part.shape)}".encode())
        state.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(part, Mapping):
        for name in part:
            state.update(repr(name).encode())
            _add(part[name], state)
    elif isinstance(part, list | tuple):
        state.update(f"{len(part)}:".encode())
        for item in part:
            _add(item, state)
    else:
        state.update(repr(part).encode())
