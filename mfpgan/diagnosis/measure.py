"""What a discriminator answers to masks, and where it pushes their pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mfpgan.training.adversary import Adversary
from mfpgan.types import Batch, BoolMask

PLANT_STREAM = 9
"""Third entry of a seed, beside the streams of training."""


def planted(
    batch: Batch, error: Callable[[BoolMask, np.random.Generator], BoolMask], *, seed: int, position: int
) -> Tensor:
    """The targets of a batch with an error each, a function of (seed, position).

    Args:
        position: of the batch's first sample.

    Returns:
        (B, 1, H, W) float32, 0 or 1, on the batch's device.
    """
    targets = batch.target[:, 0].bool().cpu().numpy()
    masks = [
        error(target, np.random.default_rng([seed, position + item, PLANT_STREAM]))
        for item, target in enumerate(targets)
    ]
    return torch.from_numpy(np.stack(masks)).unsqueeze(1).float().to(batch.target.device)


def scores(adversary: Adversary, batch: Batch, click_maps: Tensor, mask: Tensor) -> list[float]:
    """Mean logit of each image's mask, high for "drawn by people"."""
    with torch.no_grad():
        values: list[float] = adversary.judge(batch, click_maps, mask).score().tolist()
    return values


def wish(adversary: Adversary, batch: Batch, click_maps: Tensor, mask: Tensor) -> Tensor:
    """Where the adversary wants each pixel's probability to go: minus the gradient of all that the
    generator minimises for the adversary's sake, feature matching included.

    Args:
        mask: (B, 1, H, W) float32 in [0, 1].

    Returns:
        (B, 1, H, W) float32, positive for "more object"; the images do not influence each other, but the mean over the
        batch makes it smaller in larger batches.
    """
    leaf = mask.detach().clone().requires_grad_()
    fake = adversary.judge(batch, click_maps, leaf)
    with torch.no_grad():
        real = adversary.judge(batch, click_maps, batch.target)
    (gradient,) = torch.autograd.grad(adversary.objective(real, fake), leaf)
    return -gradient


def right_way(wish: Tensor, mask: Tensor, target: Tensor, valid: Tensor) -> list[float]:
    """For each image the share of its wrong pixels that the adversary pushes the right way; chance is .5.

    A pixel is wrong if the mask, hard at .5, differs from the target; the right way is up on the object and down beside it.
    A pixel without any push counts half. Images without a wrong pixel are left out.

    Args:
        wish, mask, target, valid: (B, 1, H, W) float.
    """
    wrong = ((mask > 0.5) != (target > 0.5)) & (valid > 0)
    direction = torch.sign(wish) * torch.where(target > 0.5, 1.0, -1.0)
    shares = []
    for item in range(len(mask)):
        values = direction[item][wrong[item]]
        if len(values):
            shares.append(float((values + 1).mean() / 2))
    return shares
