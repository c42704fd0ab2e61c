"""Adversarial losses: pairs of formulas of logits, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """What each player minimises, given the discriminator's logits (any shape) on real and on predicted masks."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits) -> scalar."""
    generator: Callable[[Tensor], Tensor]
    """fake logits -> scalar."""


# Hinge: Lim and Ye 2017; Miyato et al., ICLR 2018, equations 16 and 17.
_HINGE = AdversarialLoss(
    discriminator=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
    generator=lambda fake: -fake.mean(),
)
# Non-saturating cross-entropy: Goodfellow et al., NeurIPS 2014, section 3. -log sigmoid(x) = softplus(-x).
_BCE = AdversarialLoss(
    discriminator=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
    generator=lambda fake: softplus(-fake).mean(),
)

ADVERSARIAL: dict[str, AdversarialLoss] = {"hinge": _HINGE, "bce": _BCE}
