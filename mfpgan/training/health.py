"""How the discriminator is, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from mfpgan.distributed import total
from mfpgan.models.presentation import blur

SOFTENING_SIGMA_PX = 2.0
DIFFERENCE = 0.05
"""Two masks differ in a pixel if their shown values are further apart."""
CELL_PX = 8
"""Distance of neighbouring logits at full scale."""
UNDECIDED = (0.1, 0.9)
"""A pixel between these probabilities is undecided."""


def undecided(prob: Tensor, valid: Tensor) -> Tensor:
    """Share of the valid pixels of all processes with a probability between .1 and .9, a scalar.

    Args:
        prob, valid: (B, 1, H, W) float in [0, 1].
    """
    between = ((prob > UNDECIDED[0]) & (prob < UNDECIDED[1])).float()
    counts = total(torch.stack([(between * valid).sum(), valid.sum()]))
    return counts[0] / counts[1].clamp(min=1)


def soften(mask: Tensor) -> Tensor:
    """A drawn mask as an unsure network would answer it: blurred by 2 px and pulled towards .5, every pixel on the side of
    .5 where it was. So only the softness is new, never the shape, also at corners and on thin parts.

    Args:
        mask: (B, 1, H, W) float32, 0 or 1.

    Returns:
        (B, 1, H, W) float32 in [.05, .45] beside the object and in [.55, .95] on it.
    """
    soft = 0.05 + 0.9 * blur(mask, SOFTENING_SIGMA_PX)
    return torch.where(mask > 0.5, soft.clamp(min=0.55), soft.clamp(max=0.45))


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Probability that a value of `higher` is above one of `lower`, ties counting half (Mann and Whitney 1947).

    .5 means that nothing tells them apart, 1 and 0 that everything does.
    """
    ranks = rankdata([*higher, *lower])
    count, others = len(higher), len(lower)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * others))


def differing(real: Tensor, fake: Tensor, logits: Sequence[Tensor]) -> Tensor:
    """For every patch whether the two masks differ in its middle, where a discriminator could tell them apart.

    Elsewhere it gives both the same logit, or nearly so, whatever it knows.

    Args:
        real, fake: (B, C, H, W) float, as they are shown.
        logits: for each scale (B, 1, H', W'); scale k judges pictures averaged down by 2^k.

    Returns:
        (patches of all scales,) float32, 0 or 1, in the order of the flattened logits.
    """
    difference = ((real - fake).abs().amax(1, keepdim=True) > DIFFERENCE).float()
    cells = []
    for scale, answer in enumerate(logits):
        edge = CELL_PX * 2**scale  # the first logit stands over the second cell, the last over the last but one
        inner = difference[..., edge:-edge, edge:-edge]
        cells.append(functional.adaptive_max_pool2d(inner, answer.shape[-2:]).flatten())
    return torch.cat(cells)


def accuracies(real: Tensor, fake: Tensor, counts: Tensor, boundary: float | None) -> tuple[Tensor, Tensor]:
    """Share of the patches with a real logit above the boundary, and of those with a fake one below it.

    Without a boundary only differences mean anything; then both are the share of the patches whose real logit is above
    their fake one. Ties count half; .5 if no patch counts.

    Args:
        real, fake: (patches,), logits of the same patches.
        counts: (patches,), 1 for patches that count, otherwise 0.
    """
    against_real, against_fake = (fake, real) if boundary is None else (boundary, boundary)
    right = [
        ((real > against_real).float() + (real == against_real).float() / 2),
        ((fake < against_fake).float() + (fake == against_fake).float() / 2),
    ]
    total = counts.sum()
    real_share, fake_share = (torch.where(total > 0, (one * counts).sum() / total.clamp(min=1), 0.5) for one in right)
    return real_share, fake_share
