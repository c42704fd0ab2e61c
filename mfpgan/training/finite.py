"""Neither player makes a step with a loss or a gradient that is no number."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NotFiniteError(RuntimeError):
    """A loss or a gradient became infinite or NaN."""


def check_finite(value: Tensor, name: str, step: int, advice: str) -> None:
    """Raise NotFiniteError if a scalar is no number.

    Args:
        name: of the value, for the message.
        step: number of the present step, from 0.
        advice: what to do, as the end of a sentence that begins so.
    """
    if not torch.isfinite(value):
        raise NotFiniteError(
            f"the {name} became {value.item()} at step {step + 1}; the last checkpoint is as it was. {advice} in a new run, or use "
            "--precision fp32 there."
        )


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network, a scalar."""
    return torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])
