"""How much one recipe differs from another: paired by object and seed, with what chance alone would do.

A difference d[s, o] of seed s on object o has three sources of chance: the seed (another training would be better or worse
everywhere), the image (another photo would suit one of the recipes), and both together. Objects of one image are no
independent evidence, so images are drawn again as wholes. Seeds are the outer level. Drawing three seeds again with replacement
would say that training varies by two thirds of what it does and that this is known exactly (tests/test_statistics.py
shows how often such an interval is wrong), so the outer level is drawn from Student's t instead.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from mfpgan.metrics import cluster_draws

SAMPLES = 4000
"""Redrawn studies behind an interval."""
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Difference:
    """An arm less the reference, on one measure."""

    mean: float
    """Over objects, then over seeds."""
    low: float
    high: float
    """95 % interval. Of other images and other seeds; with one seed only of other images."""
    by_seed: tuple[float, ...]
    """Mean over objects of each seed."""
    by_object: NDArray[np.float64]
    """(objects,): mean over seeds."""
    p: float
    """Wilcoxon's signed-rank test (two-sided) of the images' means: whether these very networks differ on other images. Other
    seeds are no part of it, so a small p beside an interval with 0 in it says that the seeds disagree."""
    p_seeds: float
    """The level at which the interval would begin to leave 0 out; of other images and other seeds, as the interval is."""
    better: float
    """Probability of improvement: share of objects and seeds where the arm is better, ties counting half."""
    image_variance: float
    """Of `mean`, by the draw of images."""
    seed_deviation: float
    """Standard deviation of one seed's mean; nan with one seed."""

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def seeds_for(self, half_width: float) -> int | None:
        """About how many seeds an interval of +- `half_width` takes, on these images; None if no number of seeds does, or
        if there are no two seeds to tell from."""
        if math.isnan(self.seed_deviation):
            return None
        for seeds in range(2, MOST_SEEDS):
            if _half_width(self.image_variance, self.seed_deviation, seeds) <= half_width:
                return seeds
        return None


def difference(
    arm: NDArray[np.float64],
    reference: NDArray[np.float64],
    images: Sequence[Hashable],
    *,
    higher_is_better: bool = True,
    seed: int = 0,
) -> Difference:
    """Compare two arms on the same objects with the same seeds.

    Args:
        arm, reference: (seeds, objects) float64 each, a measure.
        images: for each object, the image it belongs to.
        higher_is_better: of the measure; False for numbers of clicks.
        seed: of the draws.

    Raises:
        ValueError: shapes differ, or nothing is there.
    """
    if arm.shape != reference.shape or arm.ndim != 2 or not arm.size or arm.shape[1] != len(images):
        raise ValueError(f"arms must be (seeds, {len(images)}) both, got {arm.shape} and {reference.shape}")
    changes = arm - reference
    seeds = len(changes)
    by_seed, by_object = changes.mean(1), changes.mean(0)
    mean = float(by_object.mean())
    drawn = cluster_draws(by_object.tolist(), images, SAMPLES, seed) - mean
    image_variance = float(drawn.var())
    deviation = float(by_seed.std(ddof=1)) if seeds > 1 else math.nan
    if seeds > 1:
        # What seed and image do together is in both levels; it is counted once, with the seeds.
        both = _interaction(changes, images)
        alone = max(image_variance - both, 0.0)
        drawn *= math.sqrt(alone / image_variance) if image_variance else 0.0
        image_variance = alone
        rng = np.random.default_rng([seed, 1])
        drawn = drawn + rng.standard_t(seeds - 1, len(drawn)) * deviation / math.sqrt(seeds)
    low, high = (float(value) for value in np.percentile(drawn, [2.5, 97.5]))
    good = changes if higher_is_better else -changes
    return Difference(
        mean=mean,
        low=mean + low,
        high=mean + high,
        by_seed=tuple(by_seed.tolist()),
        by_object=by_object,
        p=_wilcoxon(_by_image(by_object, images)[0]),
        p_seeds=_level(drawn, mean),
        better=float(((good > 0) + 0.5 * (good == 0)).mean()),
        image_variance=image_variance,
        seed_deviation=deviation,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p of several tests: none is below what it would be alone, and the chance that any of the true nulls is below .05
    is at most 5 % (Holm, Scandinavian Journal of Statistics 1979)."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = highest
    return adjusted


def _by_image(values: NDArray[np.float64], images: Sequence[Hashable]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean of each image's objects, and how many they are; images in the order in which they first come."""
    number: dict[Hashable, int] = {}
    index = [number.setdefault(image, len(number)) for image in images]
    counts = np.bincount(index)
    return np.bincount(index, weights=values) / counts, counts


def _interaction(changes: NDArray[np.float64], images: Sequence[Hashable]) -> float:
    """Variance of the mean over seeds and objects by what seed and image do together (two-way analysis of variance, images
    weighted by their objects)."""
    seeds, objects = changes.shape
    rest = changes - changes.mean(1, keepdims=True) - changes.mean(0) + changes.mean()
    sums = []
    for row in rest:
        means, counts = _by_image(row, images)
        sums.append(means * counts)
    total = float(np.square(np.array(sums)).sum())
    count = len(sums[0])
    between: float = count / (count - 1) if count > 1 else 1.0
    return total * between / int(objects * objects * seeds * (seeds - 1))


def _wilcoxon(values: NDArray[np.float64]) -> float:
    """1 where nothing differs."""
    if not np.any(np.abs(values) > 1e-12):
        return 1.0
    return float(scipy.stats.wilcoxon(values, zero_method="zsplit").pvalue)


def _level(drawn: NDArray[np.float64], mean: float) -> float:
    """Twice the share of draws on the other side of 0; 1 where nothing differs."""
    beyond = min(int((mean + drawn <= 0).sum()), int((mean + drawn >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))


def _half_width(image_variance: float, deviation: float, seeds: int) -> float:
    t = float(scipy.stats.t.ppf(0.975, seeds - 1))
    return math.sqrt(1.96**2 * image_variance + (t * deviation) ** 2 / seeds)
