"""How a mask is shown to the discriminator, real and predicted ones by the same path.

A predicted mask is soft and a drawn one is hard: shown as they are, a discriminator tells them apart by softness alone,
and the generator learns hardness instead of shape. Each presentation is another answer to that; `experiments/presentation.py`
measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BLUR_SIGMA_PX = 2.0
"""Of `ste-blur`: wide enough that a pixel beside an edge gets a gradient, narrow enough that a hole of 5 pixels is seen."""
GUMBEL_TEMPERATURE = 1.0
_CERTAIN = 1e-4  # a drawn mask's odds are finite only if it is allowed to err once in ten thousand pixels


class Presentation(NamedTuple):
    """A way of showing masks."""

    show: Callable[[Tensor, Tensor, Sequence[torch.Generator]], Tensor]
    """(mask (B, 1, H, W) float in [0, 1], image (B, 3, H, W) float in [0, 1], chance) -> (B, channels, H, W) in [0, 1].

    The chance is a generator on the CPU for each mask; only presentations that draw use it."""
    channels: int = 1
    hard: bool = False
    """Whether only the side of .5 on which each pixel lies is shown, so that softness cannot be seen."""


def _prob(mask: Tensor, image: Tensor, chance: Sequence[torch.Generator]) -> Tensor:
    """As it is."""
    return mask


def _ste(mask: Tensor, image: Tensor, chance: Sequence[torch.Generator]) -> Tensor:
    """Hard at .5; the gradient passes straight through the threshold (Bengio et al. 2013)."""
    hard: Tensor = _StraightThrough.apply(mask)
    return hard


def _ste_blur(mask: Tensor, image: Tensor, chance: Sequence[torch.Generator]) -> Tensor:
    """Hard at .5, then blurred: both kinds get the same soft edges, and the gradient of an edge reaches the pixels round it."""
    return blur(_ste(mask, image, chance), BLUR_SIGMA_PX)


def _gumbel(mask: Tensor, image: Tensor, chance: Sequence[torch.Generator]) -> Tensor:
    """A draw from the mask's probabilities, hard, with the gradient of the soft draw (binary Gumbel-softmax,
    straight-through: Jang et al.; Maddison et al., both ICLR 2017; temperature 1)."""
    drawn = [torch.rand(mask.shape[1:], generator=one) for one in chance]
    uniform = torch.stack(drawn).clamp(1e-6, 1 - 1e-6).to(mask.device)
    odds = mask.float().clamp(_CERTAIN, 1 - _CERTAIN).logit()
    soft = torch.sigmoid((odds + uniform.logit()) / GUMBEL_TEMPERATURE)
    hard: Tensor = _StraightThrough.apply(soft)
    return hard


def _image_mul(mask: Tensor, image: Tensor, chance: Sequence[torch.Generator]) -> Tensor:
    """The photo cut out by the mask, as SegAN shows it (Xue et al., Neuroinformatics 2018)."""
    return image * mask


def blur(mask: Tensor, sigma_px: float) -> Tensor:
    """(B, 1, H, W) blurred by a Gaussian cut off at 3 sigma; the edge of the picture is continued."""
    reach = ceil(3 * sigma_px)
    offsets = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    weights = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    weights = weights / weights.sum()
    padded = functional.pad(mask, (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))


class _StraightThrough(torch.autograd.Function):
    # Not hard + prob - prob.detach(): rounding would leave traces of prob on predicted masks only.
    @staticmethod
    def forward(ctx: Any, prob: Tensor) -> Tensor:
        return (prob > 0.5).to(prob.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


PRESENTATIONS: dict[str, Presentation] = {
    "prob": Presentation(_prob),
    "ste": Presentation(_ste, hard=True),
    "ste-blur": Presentation(_ste_blur, hard=True),
    "gumbel": Presentation(_gumbel),
    "image-mul": Presentation(_image_mul, channels=3),
}
