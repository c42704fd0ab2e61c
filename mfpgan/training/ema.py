"""A running mean of the generator's weights, an extra model that costs no extra training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def running_mean(generator: nn.Module, decay: float) -> AveragedModel | None:
    """The mean, updated by `update_parameters(generator)` after each step; None with decay 0.

    Batch norm's statistics are averaged as the weights are. At its first update it takes the weights as they are.
    """
    if not decay:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(generator, multi_avg_fn=average, use_buffers=True)


def averaged_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """The generator's state dict inside a running mean's."""
    return {name.removeprefix("module."): value for name, value in state.items() if name.startswith("module.")}
