"""Which objects a run trains on, and how often: chosen by what is known of them, never by reading them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.facts import Facts, facts_of
from mfpgan.data.groups import Groups
from mfpgan.data.subset import Subset
from mfpgan.types import DataSet, InputError

FREQUENCIES = ("r", "c", "f")
"""LVIS's letters for rare, common and frequent categories."""


def choose(
    data: DataSet, min_area: float | None = None, max_area: float | None = None, categories: Sequence[str] = ()
) -> DataSet:
    """The objects that fulfil all conditions, as a data set; without a condition `data` itself.

    Args:
        min_area: smallest area in pixels of the photo, itself allowed.
        max_area: largest area, itself allowed.
        categories: names of categories, or LVIS's letters r, c and f for all categories of that frequency.

    Raises:
        InputError: the data set does not know what is asked for, has no such category, or nothing is left.
    """
    if min_area is None and max_area is None and not categories:
        return data
    facts = facts_of(data)
    if facts is None:
        flag = "categories" if min_area is None and max_area is None else "min-area and --max-area"
        raise InputError(f"{data.name} does not know the size or category of its objects; leave out --{flag}.")
    if not len(data):
        raise InputError(f"{data.name}: no usable object in it; `mfpgan data check` lists what is wrong.")
    keep = np.ones(len(data), np.bool_)
    if min_area is not None:
        keep &= facts.area_px >= min_area
    if max_area is not None:
        keep &= facts.area_px <= max_area
    if categories:
        keep &= np.isin(facts.category, _numbers(facts, categories, data.name))
    if not keep.any():
        asked = [
            f"--{name}-area {value:g}" for name, value in (("min", min_area), ("max", max_area)) if value is not None
        ]
        if categories:
            asked.append(f"--categories {', '.join(categories)}")
        raise InputError(
            f"none of the {len(data)} objects of {data.name} is left by {' '.join(asked)}; ask for less (they have from "
            f"{facts.area_px.min():.0f} to {facts.area_px.max():.0f} pixels)."
        )
    return Subset(data, None, data.name, keep)


def _numbers(facts: Facts, categories: Sequence[str], name: str) -> list[int]:
    """Indices of the categories that are meant."""
    if not facts.categories:
        raise InputError(f"{name} knows no categories; leave out --categories.")
    numbers: list[int] = []
    for asked in categories:
        if asked in FREQUENCIES:
            found = [number for number, letter in enumerate(facts.frequency) if letter == asked]
        else:
            found = [number for number, known in enumerate(facts.categories) if known == asked]
        if not found:
            near = get_close_matches(asked, facts.categories, n=3, cutoff=0.5) or facts.categories[:3]
            hint = f"{', '.join(near)}" + (" or r, c, f" if any(facts.frequency) else "")
            raise InputError(
                f"--categories {asked}: {name} has no such category; name one of its {len(facts.categories)}, say {hint}."
            )
        numbers += found
    return numbers


def repeat_factors(data: DataSet, threshold: float) -> NDArray[np.float64]:
    """(images,) float64, 1 at least: how often an image should come in an epoch, on average.

    Repeat-factor sampling, Gupta, Dollar and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR
    2019, section 4.2: with f the share of images that hold a category, the category's factor is max(1, sqrt(threshold / f)),
    the image's the largest of its categories.

    Args:
        threshold: t of the paper, .001 there.

    Raises:
        InputError: the data set knows no categories.
    """
    groups = Groups.of(data.objects_of_image)
    facts = facts_of(data)
    if facts is None or not facts.categories:
        raise InputError(f"{data.name} knows no categories; leave out --repeat-threshold.")
    count = len(facts.categories)
    category = facts.category[groups.indices]
    known = category >= 0
    # Each category of an image once, whatever the number of its objects. A stable sort, for they are almost in order:
    # np.unique takes fifty times as long on the 1.3 million of LVIS.
    pairs = np.sort(groups.images[known] * count + category[known], kind="stable")
    images, categories = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], count)
    share = np.bincount(categories, minlength=count) / len(groups)
    factors = np.ones(len(groups))
    np.maximum.at(factors, images, np.sqrt(threshold / share[categories]))
    return factors
