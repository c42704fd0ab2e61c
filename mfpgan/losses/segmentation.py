"""Segmentation losses: formulas of (logits, target, valid), nothing else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


class SegmentationLoss(Protocol):
    """How far a mask is from the truth."""

    def __call__(self, logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
        """Scalar float32 loss, at least 0.

        Args:
            logits: (B, 1, H, W) float.
            target: (B, 1, H, W) float32, 0 or 1.
            valid: (B, 1, H, W) float32, 1 where the pixel counts.
            pos_weight: weight of the object's pixels.
        """
        ...


def bce(logits: Tensor, target: Tensor, valid: Tensor, *, pos_weight: float) -> Tensor:
    """Weighted binary cross-entropy, mean over the pixels that count: the baseline of this project.

    -(pos_weight * t * log p + (1 - t) * log(1 - p)), the sum divided by the number of valid pixels (not by the sum of
    weights, as `torch.nn.BCEWithLogitsLoss(pos_weight=...)` does it).
    """
    weight = logits.new_tensor(pos_weight, dtype=target.dtype)
    pixels = binary_cross_entropy_with_logits(logits.float(), target, pos_weight=weight, reduction="none")
    return (pixels * valid).sum() / valid.sum().clamp(min=1)


SEGMENTATION: dict[str, SegmentationLoss] = {"bce": bce}
