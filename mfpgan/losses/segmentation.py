"""Segmentation losses: formulas of (logits, target, valid), nothing else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mfpgan.distributed import count, total


class SegmentationLoss(Protocol):
    """How far a mask is from the truth.

    In a process that holds a share of a batch, the mean of its answers over processes is the whole batch's: a mean over
    images is that as it stands, and who divides by a count of pixels asks `mfpgan.distributed.total` for all of them.
    """

    def __call__(self, logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
        """Scalar float32 loss, at least 0.

        Args:
            logits: (B, 1, H, W) float.
            target: (B, 1, H, W) float32, 0 or 1.
            valid: (B, 1, H, W) float32, 1 where the pixel counts.
            pos_weight: weight of the object's pixels in the cross-entropy.
        """
        ...


def bce(logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
    """Weighted binary cross-entropy, mean over the pixels that count: the baseline of this project.

    -(pos_weight * t * log p + (1 - t) * log(1 - p)), the sum divided by the number of valid pixels (not by the sum of
    weights, as `torch.nn.BCEWithLogitsLoss(pos_weight=...)` does it).
    """
    weight = logits.new_tensor(pos_weight, dtype=target.dtype)
    pixels = binary_cross_entropy_with_logits(logits.float(), target, pos_weight=weight, reduction="none")
    return (pixels * valid).sum() * count() / total(valid.sum()).clamp(min=1)


def normalized_focal(logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
    """Normalized focal loss with alpha .5 and gamma 2 (Sofiiuk et al., AdaptIS, ICCV 2019; RITM, ICIP 2022).

    With pt the probability of the right answer, -.5 * m * (1 - pt)^2 * log(pt), where m scales the weights (1 - pt)^2 of
    each image to a mean of 1 over its valid pixels and passes no gradient; mean over the valid pixels of each image, then
    over images. The easy pixels stop counting, the loss as a whole does not shrink with them. `pos_weight` has no part in it.
    """
    log_right = -binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    focus = (1 - log_right.exp()) ** 2 * valid
    pixels = valid.sum((1, 2, 3))
    scale = (pixels / (focus.sum((1, 2, 3)) + _EPSILON)).detach()
    loss = -(focus * log_right).sum((1, 2, 3))
    return (0.5 * scale * loss / pixels.clamp(min=1)).mean()


def bce_dice(logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
    """`bce` plus the soft Dice loss 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) of each image, mean over images.

    Sums over valid pixels, p the probability; the 1 keeps an image without an object defined (Milletari et al., V-Net,
    3DV 2016, without their squares).
    """
    prob, truth = logits.float().sigmoid() * valid, target * valid
    both, either = (prob * truth).sum((1, 2, 3)), (prob + truth).sum((1, 2, 3))
    dice = 1 - (2 * both + 1) / (either + 1)
    return bce(logits, target, valid, pos_weight=pos_weight) + dice.mean()


_EPSILON = 1e-8
"""Keeps a perfect image's scale finite."""

SEGMENTATION: dict[str, SegmentationLoss] = {"bce": bce, "nfl": normalized_focal, "bce-dice": bce_dice}
