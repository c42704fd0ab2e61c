"""Adversarial losses: pairs of formulas of logits, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """What each player minimises, given the discriminator's logits on real and on predicted masks.

    Both are handed over to both formulas, in one shape and with the same photo at the same place, so that a pair can be
    compared. The mean goes over all patches.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits) -> scalar."""
    generator: Callable[[Tensor, Tensor], Tensor]
    """(real logits, fake logits) -> scalar."""
    pairs: bool = False
    """Whether the generator's formula looks at the real logits; a forward pass of the discriminator is saved if not."""
    boundary: float | None = 0.0
    """Logit at which the discriminator is undecided. None: only differences mean anything, and the middle between the two
    means stands for it."""


def over_scales(
    formula: Callable[[Tensor, Tensor], Tensor], reals: Sequence[Tensor], fakes: Sequence[Tensor]
) -> Tensor:
    """A player's formula at each scale of the discriminator's logits, real and fake in the same order; mean over scales."""
    return mean([formula(real, fake) for real, fake in zip(reals, fakes, strict=True)])


def mean(terms: Sequence[Tensor]) -> Tensor:
    """Mean of scalars, with their graphs."""
    return terms[0] if len(terms) == 1 else torch.stack(list(terms)).mean()


# Hinge: Lim and Ye, Geometric GAN, 2017; Miyato et al., ICLR 2018, equations 16 and 17.
_HINGE = AdversarialLoss(
    discriminator=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
    generator=lambda real, fake: -fake.mean(),
)
# Non-saturating cross-entropy: Goodfellow et al., NeurIPS 2014, section 3. -log sigmoid(x) = softplus(-x).
_BCE = AdversarialLoss(
    discriminator=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
    generator=lambda real, fake: softplus(-fake).mean(),
)
# Least squares: Mao et al., ICCV 2017, equation 9 (a = 0, b = c = 1).
_LSGAN = AdversarialLoss(
    discriminator=lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
    generator=lambda real, fake: (fake - 1).square().mean() / 2,
    boundary=0.5,
)
# Wasserstein: Arjovsky et al., ICML 2017; its gradient penalty (Gulrajani et al., NeurIPS 2017) is the adversary's business.
_WGAN = AdversarialLoss(
    discriminator=lambda real, fake: fake.mean() - real.mean(),
    generator=lambda real, fake: -fake.mean(),
    boundary=None,
)
# Relativistic pairing: Jolicoeur-Martineau, ICLR 2019 (RSGAN); Huang et al., R3GAN, NeurIPS 2024. A predicted mask is held
# against the real mask of the same photo.
_RELATIVISTIC = AdversarialLoss(
    discriminator=lambda real, fake: softplus(fake - real).mean(),
    generator=lambda real, fake: softplus(real - fake).mean(),
    pairs=True,
    boundary=None,
)

ADVERSARIAL: dict[str, AdversarialLoss] = {
    "bce": _BCE,
    "lsgan": _LSGAN,
    "hinge": _HINGE,
    "wgan-gp": _WGAN,
    "relativistic": _RELATIVISTIC,
}
