"""What bounds a discriminator's slope or holds its inner answers together: scalars with a graph, from what it was shown and said."""

from __future__ import annotations

import torch
from torch import Tensor

from mfpgan.losses.adversarial import mean
from mfpgan.models.discriminator import Judgement


def r1(reals: list[Tensor], masks: Tensor) -> Tensor:
    """Squared gradient of the logits at the masks, a scalar with a graph: mean over images and scales.

    Every patch is a sample of its own: the squared gradient of the sum of an image's logits is divided by their number. Patches
    overlap, and where they do their gradients add up before they are squared, so that slopes of one sign count more and
    opposite ones cancel. Gamma does not depend on the size of the picture. The gradient penalty's lambda weighs the slope of
    the mean logit instead: the two are not on one scale. Only the mask's gradient counts: photo and clicks are the condition, the same for both players.

    Args:
        reals: for each scale (B, 1, H', W') logits of real masks.
        masks: (N, C, H, W), what the discriminator saw; others than the real ones get no gradient of theirs.
    """
    terms = []
    for logits in reals:
        (slope,) = torch.autograd.grad(logits.sum(), masks, create_graph=True)
        terms.append(slope.square().sum() / logits.numel())
    return mean(terms)


def gradient_penalty(mixed: list[Tensor], masks: Tensor) -> Tensor:
    """(|gradient| - 1)^2 of an image's score at masks between real and predicted ones, mean over them.

    The score is the mean logit, as it stands in the Wasserstein loss.

    Args:
        mixed: for each scale (B, 1, H', W') logits of the masks between.
        masks: (3 B, C, H, W), what the discriminator saw; the masks between are the last B.
    """
    score = Judgement(mixed, []).score()
    (slope,) = torch.autograd.grad(score.sum(), masks, create_graph=True)
    lengths: Tensor = slope[-len(score) :].flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean absolute difference of the inner answers, mean over layers and scales, a scalar."""
    return mean([(one.float() - other.float()).abs().mean() for one, other in zip(real, fake, strict=True)])
