"""The rules of the game between generator and discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the two players treat each other; the defaults are `TrainConfig`'s."""

    lr: float
    """Of the discriminator's Adam, betas (0, .9)."""
    weight: float
    """Of the adversarial loss beside the segmentation loss; 0: the discriminator learns, the generator never hears of it."""
    warmup: int
    """Steps before the discriminator starts."""
    ramp: int
    """Steps after the warm-up over which the weight grows to its full value."""
    balance: Literal["fixed", "grad"]
    """grad: the weight is a share of the segmentation loss's gradient at the generator's last layer, as in Esser et al.,
    VQGAN, CVPR 2021, equation 7, with the bound of 1e4 of their code. Both norms are smoothed with decay .9, which they do
    not do. (The ratio itself smoothed would hang for long on its first values, when the discriminator's gradient is tiny.)"""
    r1: float
    """Weight gamma of R1 (Mescheder et al., ICML 2018): gamma / 2 times the squared gradient on real masks."""
    r1_every: int
    """Steps between R1's turns, each with so many times the weight (lazy: Karras et al., StyleGAN2, CVPR 2020)."""
    gradient_penalty: float
    """Weight lambda of (|gradient| - 1)^2 between real and predicted masks (Gulrajani et al., NeurIPS 2017)."""
    feature_matching: float
    """Weight, inside the adversarial loss, of the distance between the inner answers to real and predicted masks (Wang et
    al., pix2pixHD, CVPR 2018)."""
    augment: float
    """Probability that a picture is moved before the discriminator sees it."""
    seed: int
    """Chance is a function of it and of a sample's position in the run."""

    def weight_at(self, step: int) -> float:
        """The weight at a step, before balancing."""
        if step < self.warmup:
            return 0.0
        return self.weight * min(1.0, (step - self.warmup + 1) / max(1, self.ramp))
