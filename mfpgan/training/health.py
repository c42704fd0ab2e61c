"""How the discriminator is: numbers for the charts, and words when somebody should look."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from mfpgan.models.presentation import blur

SOFTENING_SIGMA_PX = 2.0
WINDOW = 10
"""Logged steps that an alarm looks back on."""
WATCHED = ("d/real_accuracy", "d/fake_accuracy", "d/spread", "d/gap")
WINS_ACCURACY = 0.98
DEAD_SPREAD = 1e-3
SOFTNESS_AUC = 0.9

UNDECIDED = (0.1, 0.9)
"""A pixel between these probabilities is undecided."""


class NotFiniteError(RuntimeError):
    """A loss or a gradient became infinite or NaN."""

    half_done: bool = False
    """Whether the discriminator has already made its step, so that the two players no longer stand at the same one."""


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network, a scalar."""
    return torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])


def undecided(prob: Tensor, valid: Tensor) -> Tensor:
    """Share of the valid pixels with a probability between .1 and .9, a scalar.

    Args:
        prob, valid: (B, 1, H, W) float in [0, 1].
    """
    between = ((prob > UNDECIDED[0]) & (prob < UNDECIDED[1])).float()
    return (between * valid).sum() / valid.sum().clamp(min=1)


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


def accuracies(real: Tensor, fake: Tensor, boundary: float | None) -> tuple[Tensor, Tensor]:
    """Share of real logits above the boundary, and of fake ones below it; None is the middle of the two means."""
    middle = (real.mean() + fake.mean()) / 2 if boundary is None else torch.as_tensor(boundary, device=real.device)
    return (real > middle).float().mean(), (fake < middle).float().mean()


class Watchdog:
    """Speaks in words when the discriminator wins, dies, or looks at softness: once, until that has passed."""

    def __init__(self) -> None:
        self._logs: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._softness = 0.5
        self._said: set[float] = set()
        self.level = 0.0
        """1: it wins; -1: it is dead; .5: it judges softness; 0: nothing to say."""

    def look(self, metrics: Mapping[str, float]) -> str:
        """What is new with these metrics of one logged step, in words; otherwise empty.

        Args:
            metrics: as logged; steps without `d/` metrics are passed over.
        """
        if "d/real_accuracy" in metrics:
            self._logs.append({name: metrics[name] for name in WATCHED})
        self._softness = metrics.get("d/softness_auc", self._softness)
        alarms = self._alarms()
        self.level = next(iter(alarms), 0.0)
        words = " ".join(sentence for level, sentence in alarms.items() if level not in self._said)
        self._said = set(alarms)
        return words

    def state_dict(self) -> dict[str, Any]:
        """What it has seen and said; plain types."""
        return {"logs": list(self._logs), "softness": self._softness, "said": sorted(self._said)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._logs.clear()
        self._logs.extend(state["logs"])
        self._softness, self._said = state["softness"], set(state["said"])

    def _alarms(self) -> dict[float, str]:
        """What there is to say now, by level, the most serious first."""
        alarms = {}
        if len(self._logs) == WINDOW:
            real, fake, spread, gap = (sum(log[name] for log in self._logs) / WINDOW for name in WATCHED)
            if min(real, fake) >= WINS_ACCURACY:
                alarms[1.0] = (
                    f"The discriminator wins: over the last {WINDOW} logs it was right on {real:.1%} of real and "
                    f"{fake:.1%} of predicted patches, so its gradient says little. Try a lower --d-lr, --d-augment 0.5, another "
                    "--d-mask, or --d-r1 1 where no --d-gp is in force."
                )
            if not max(spread, abs(gap)) >= DEAD_SPREAD:  # also if they are no numbers
                alarms[-1.0] = (
                    f"The discriminator is dead: over the last {WINDOW} logs its logits differed by {spread:.1g} only, "
                    "whatever it saw, so the adversarial term does nothing. Try a higher --d-lr, less --d-r1, or another "
                    "--adv."
                )
        if max(self._softness, 1 - self._softness) > SOFTNESS_AUC:
            alarms[0.5] = (
                f"The discriminator judges softness: it tells drawn masks from the same masks softened with AUC "
                f"{self._softness:.2f}, so the generator learns hardness instead of shape. Try --d-mask ste-blur or ste."
            )
        return alarms
