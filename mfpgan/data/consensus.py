"""From the regions of several annotators to objects: the rule by which BSDS500 is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask

CONSENSUS_VERSION = 1
"""Goes up whenever the rule gives other objects."""
SMALLEST_SHARE, LARGEST_SHARE = 0.005, 0.6
SAME_REGION, SAME_OBJECT = 0.8, 0.5


def consensus_objects(segmentations: Sequence[NDArray[np.integer]]) -> list[BoolMask]:
    """Objects that the annotators of one image agree on, the principal one first.

    - Every annotator's labels are split into 4-connected components; those that cover 0.5 to 60 % of the image
      (inclusive) are candidates.
    - J is the Jaccard index (intersection over union) of two candidates.
    - Support of a candidate: the number of annotators who have a candidate at J >= .8 with it, its own included.
      Score: the mean over annotators of the best J with one of theirs.
    - In order of (support, score), both falling, ties by annotator and then by first pixel in reading order, a candidate
      is kept if its support is at least max(2, half of the annotators rounded up) and its J with everything kept so
      far is below .5.

    Args:
        segmentations: (H, W) integer label maps of one image, one an annotator.

    Returns:
        (H, W) bool masks, which may overlap; an empty list if nobody agrees.

    Raises:
        ValueError: no map at all, or maps of different sizes.
    """
    if not segmentations:
        raise ValueError("consensus needs the label map of one annotator at least, got none")
    if len({labels.shape for labels in segmentations}) > 1:
        raise ValueError(f"label maps of one image differ in size: {[labels.shape for labels in segmentations]}")
    annotators = len(segmentations)
    maps = [_candidate_map(labels) for labels in segmentations]
    counts = [int(numbers.max(initial=0)) for numbers in maps]
    starts = np.cumsum([0, *counts])
    jaccard = _jaccard(maps, counts)
    # (annotators, candidates): the best match of each candidate among each annotator's.
    best = np.stack([jaccard[start:end].max(axis=0, initial=0.0) for start, end in pairwise(starts)])
    support, score = (best >= SAME_REGION).sum(axis=0), best.mean(axis=0)
    needed = max(2, (annotators + 1) // 2)
    kept: list[int] = []
    for candidate in np.lexsort((-score, -support)):
        if support[candidate] >= needed and (jaccard[candidate, kept] < SAME_OBJECT).all():
            kept.append(int(candidate))
    owners = np.searchsorted(starts, kept, side="right") - 1
    return [maps[owner] == candidate - starts[owner] + 1 for owner, candidate in zip(owners, kept, strict=True)]


def _candidate_map(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """(H, W) int64: 0 outside candidates, otherwise the candidate's number from 1, by first pixel in reading order."""
    components = _components(labels)
    _, first, sizes = np.unique(components, return_index=True, return_counts=True)
    fits = (sizes >= SMALLEST_SHARE * labels.size) & (sizes <= LARGEST_SHARE * labels.size)
    numbers = np.zeros(len(sizes), np.int64)
    in_reading_order = np.flatnonzero(fits)[np.argsort(first[fits])]
    numbers[in_reading_order] = np.arange(1, len(in_reading_order) + 1)
    return numbers[components]


def _components(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """(H, W) int32, from 0 without gaps: the 4-connected components of equal labels.

    A grid with a cell for each pixel and one between neighbours, set where they are equal, makes it one call for all
    labels instead of one a label.
    """
    height, width = labels.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    grid[1::2, ::2] = labels[1:] == labels[:-1]
    grid[::2, 1::2] = labels[:, 1:] == labels[:, :-1]
    _, numbered = cv2.connectedComponents(grid, connectivity=4)
    components: NDArray[np.int32] = np.asarray(numbered)[::2, ::2] - np.int32(1)
    return components


def _jaccard(maps: Sequence[NDArray[np.int64]], counts: Sequence[int]) -> NDArray[np.float64]:
    """(N, N) float64: J of all candidates, annotator after annotator, from how often their numbers meet in a pixel."""
    areas = np.concatenate([np.bincount(numbers.ravel(), minlength=1)[1:] for numbers in maps])
    rows = []
    for first, first_count in zip(maps, counts, strict=True):
        row = []
        for second, second_count in zip(maps, counts, strict=True):
            shape = first_count + 1, second_count + 1
            met = np.bincount((first * shape[1] + second).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
            row.append(met[1:, 1:])
        rows.append(np.concatenate(row, axis=1))
    intersection = np.concatenate(rows, axis=0)
    jaccard: NDArray[np.float64] = intersection / (areas[:, None] + areas[None, :] - intersection)
    return jaccard
