"""What a mask is worth: pure functions that count first and divide last. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask

_BOOTSTRAP_CHUNK = 2**22  # draws held in memory at once


class Confusion(NamedTuple):
    """Counts of pixels: object found, background taken for object, object missed, background left alone."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: object) -> Confusion:
        """Counts pooled over both, not the longer tuple that `+` would make."""
        if not isinstance(other, Confusion):
            return NotImplemented
        return Confusion(*(a + b for a, b in zip(self, other, strict=True)))


def confusion(prediction: BoolMask, target: BoolMask, ignore: BoolMask | None = None) -> Confusion:
    """Pixels of one mask against the truth; pixels of `ignore` are not counted at all.

    Args:
        prediction, target: (H, W) bool.
        ignore: (H, W) bool, or None to count every pixel.

    Raises:
        ValueError: the masks differ in shape or are not bool.
    """
    _check(prediction, target, ignore)
    total = int(target.size)
    if ignore is not None:
        counts = ~ignore
        prediction, target, total = prediction & counts, target & counts, int(np.count_nonzero(counts))
    tp = int(np.count_nonzero(prediction & target))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(target)) - tp
    return Confusion(tp, fp, fn, total - tp - fp - fn)


def dice(c: Confusion) -> float:
    """2 TP / (2 TP + FP + FN), the F1 score of the pixels; 1 if both masks are empty."""
    return _share(2 * c.tp, 2 * c.tp + c.fp + c.fn, c)


def iou(c: Confusion) -> float:
    """TP / (TP + FP + FN), the Jaccard index; 1 if both masks are empty."""
    return _share(c.tp, c.tp + c.fp + c.fn, c)


def precision(c: Confusion) -> float:
    """TP / (TP + FP); without a predicted pixel 1 if there was nothing to find, otherwise 0."""
    return _share(c.tp, c.tp + c.fp, c)


def recall(c: Confusion) -> float:
    """TP / (TP + FN); without an object 1 if nothing was predicted, otherwise 0."""
    return _share(c.tp, c.tp + c.fn, c)


def accuracy(c: Confusion) -> float:
    """(TP + TN) / all counted pixels; 1 if no pixel counts."""
    return _share(c.tp + c.tn, sum(c), c)


def _share(part: int, whole: int, c: Confusion) -> float:
    """part / whole; 0/0 is 1 where nothing was missed and nothing was too much, otherwise 0."""
    return part / whole if whole else float(c.fp == 0 and c.fn == 0)


METRICS: dict[str, Callable[[Confusion], float]] = {
    "dice": dice,
    "iou": iou,
    "precision": precision,
    "recall": recall,
    "accuracy": accuracy,
}


def boundary_width(height: int, width: int, dilation_ratio: float = 0.02) -> int:
    """Width in pixels of the boundary band: a share of the image diagonal, at least 1 (Cheng et al., CVPR 2021)."""
    return max(1, round(dilation_ratio * float(np.hypot(height, width))))


def inner_boundary(mask: BoolMask, width_px: int) -> BoolMask:
    """Pixels of the mask that lie within `width_px` of its edge; the picture edge is an edge.

    Distance as in the reference implementation (bowenc0221/boundary-iou-api): chessboard, by repeated 3x3 erosion.

    Args:
        mask: (H, W) bool.
        width_px: at least 1.

    Returns:
        (H, W) bool, a part of `mask`.
    """
    boundary = np.zeros_like(mask)
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width:
        # Outside its bounding box the mask is empty, which is what the zero border of the erosion says too.
        box = np.s_[top : top + height, left : left + width]
        inside = mask[box].astype(np.uint8)
        eroded = cv2.erode(
            inside, np.ones((3, 3), np.uint8), iterations=width_px, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        np.not_equal(inside, eroded, out=boundary[box])
    return boundary


def boundary_iou(
    prediction: BoolMask, target: BoolMask, ignore: BoolMask | None = None, dilation_ratio: float = 0.02
) -> float:
    """IoU of the inner boundaries of two masks (Cheng et al., Boundary IoU, CVPR 2021); 1 if both are empty.

    Pixels of `ignore` count as background of both masks before the boundaries are taken: a mask that is right wherever
    anyone knows the truth scores 1, whatever it does inside the band.

    Args:
        prediction, target: (H, W) bool.
        ignore: (H, W) bool or None.
        dilation_ratio: width of the boundary as a share of the image diagonal.

    Raises:
        ValueError: the masks differ in shape or are not bool.
    """
    _check(prediction, target, ignore)
    if ignore is not None:
        prediction, target = prediction & ~ignore, target & ~ignore
    width = boundary_width(target.shape[0], target.shape[1], dilation_ratio)
    return iou(confusion(inner_boundary(prediction, width), inner_boundary(target, width)))


def noc(ious: Sequence[float], threshold: float, max_clicks: int) -> int:
    """Number of clicks until IoU >= threshold for the first time; `max_clicks` if never.

    Args:
        ious: IoU after click 1, 2, ...; what comes after `max_clicks` is not looked at.
    """
    return next((k for k, value in enumerate(ious[:max_clicks], start=1) if value >= threshold), max_clicks)


def failed(ious: Sequence[float], threshold: float, max_clicks: int) -> bool:
    """True if `max_clicks` clicks never reach the threshold; `noc` alone cannot tell that from a late success."""
    return all(value < threshold for value in ious[:max_clicks])


def bootstrap_interval(
    values: Sequence[float], groups: Sequence[Hashable], samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean when whole images are drawn again, with replacement.

    Objects of one image share their photo and are no independent evidence, so whole groups are drawn.

    Args:
        values: one number an object, not empty.
        groups: for each value, the image it belongs to.
        samples: number of redrawn data sets.
        seed: the interval is a function of the arguments.

    Returns:
        (low, high), the 2.5th and 97.5th percentile.

    Raises:
        ValueError: no values, or not one group each.
    """
    low, high = np.percentile(cluster_draws(values, groups, samples, seed), [2.5, 97.5])
    return float(low), float(high)


def cluster_draws(values: Sequence[float], groups: Sequence[Hashable], samples: int, seed: int) -> NDArray[np.float64]:
    """(samples,) means of data sets in which whole groups are drawn again, with replacement; see `bootstrap_interval`."""
    if not len(values) or len(values) != len(groups):
        raise ValueError(f"bootstrap needs one group for each value, got {len(values)} values, {len(groups)} groups")
    number: dict[Hashable, int] = {}
    index = [number.setdefault(group, len(number)) for group in groups]
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    rng, means, chunk = np.random.default_rng(seed), [], max(1, _BOOTSTRAP_CHUNK // len(number))
    for start in range(0, samples, chunk):
        drawn = rng.integers(len(number), size=(min(chunk, samples - start), len(number)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _check(prediction: BoolMask, target: BoolMask, ignore: BoolMask | None) -> None:
    for name, mask in (("prediction", prediction), ("target", target), ("ignore", ignore)):
        if mask is not None and (mask.shape != target.shape or mask.dtype != np.bool_ or mask.ndim != 2):
            raise ValueError(f"{name} must be {target.shape} bool, got {mask.shape} {mask.dtype}")
