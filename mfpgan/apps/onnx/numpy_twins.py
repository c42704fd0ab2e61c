"""What stands between a photo and a network, without torch: `mfpgan.crop`, and MFP's modulation.

Twins of the functions of torch, held to them by tests. They are here for exported networks, which run where torch is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpgan.clicks.encoding import standing
from mfpgan.types import Click, Image, Probability
from mfpgan.zoom import SHRUNK, View, averaging, crop_size

Floats = NDArray[np.float32]

# Constants of mfpgan.clicks.modulation, which imports torch; a test holds them equal.
MAX_RADIUS_PX, SIMILARITY_CLICKS, SURE = 100, 7, 0.99
LOWEST, HIGHEST = np.float32(2.0**-126), np.float32(1 - 2.0**-24)


def in_unit_range(pixels: Image | Floats) -> Floats:
    """uint8 as float32 in [0, 1]; float32 stays as it is."""
    return (
        pixels.astype(np.float32) / np.float32(255)
        if pixels.dtype == np.uint8
        else pixels.astype(np.float32, copy=False)
    )


def crop(pixels: Image | Floats, view: View, size_px: int) -> Floats:
    """The view, resized to `crop_size(view, size_px)`: bilinear, corner onto corner; averaged where it is shrunk far.

    Args:
        pixels: (H, W) or (H, W, C), uint8 or float32 in [0, 1].

    Returns:
        (h, w) or (h, w, C) float32.
    """
    window = pixels[view.top : view.bottom, view.left : view.right]
    size = crop_size(view, size_px)
    if max(window.shape[0] / size[0], window.shape[1] / size[1]) <= SHRUNK:
        return resize(window, size)
    rows = _averaged(window, size[0])
    return _averaged(rows.swapaxes(0, 1), size[1]).swapaxes(0, 1)


def paste(probability: Probability, view: View, height: int, width: int) -> Probability:
    """An answer (h, w) to a crop, back in its place in a photo: (height, width) float32, 0 outside the view."""
    size = (view.bottom - view.top, view.right - view.left)
    inside = resize(probability, size)
    if size == (height, width):
        return inside
    whole = np.zeros((height, width), np.float32)
    whole[view.top : view.bottom, view.left : view.right] = inside
    return whole


def resize(pixels: Image | Floats, size: tuple[int, int]) -> Floats:
    """(H, W) or (H, W, C) as (*size) or (*size, C) float32: bilinear, corner onto corner; as it is if it has the size."""
    if pixels.shape[:2] == size:
        return in_unit_range(pixels)
    upper, lower, down = _between(pixels.shape[0], size[0])
    left, right, across = _between(pixels.shape[1], size[1])
    down = down.reshape(-1, *[1] * (pixels.ndim - 1))
    across = across.reshape(1, -1, *[1] * (pixels.ndim - 2))

    # Columns first: enlarged rows are then copied as wholes.
    wide = in_unit_range(pixels[:, left]) * (1 - across) + in_unit_range(pixels[:, right]) * across
    mixed: Floats = wide[upper]
    mixed *= 1 - down
    mixed += wide[lower] * down
    return mixed


def _between(length: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each new pixel the old ones before and behind it, and how far it lies between the two."""
    step = np.float32(length - 1) / np.float32(wanted - 1) if wanted > 1 else np.float32(0)
    place = np.arange(wanted, dtype=np.float32) * step
    before = np.minimum(place.astype(np.int64), length - 1)
    return before, np.minimum(before + 1, length - 1), place - before.astype(np.float32)


def _averaged(pixels: Any, shorter: int) -> Floats:
    """The first axis averaged to `shorter`; as floats only a few rows at a time."""
    rows = []
    for row in averaging(len(pixels), shorter):
        (places,) = row.nonzero()
        part = slice(places[0], places[-1] + 1)
        rows.append(np.tensordot(row[part], in_unit_range(pixels[part]), 1))
    return np.stack(rows).astype(np.float32, copy=False)


def modulate(previous: Probability, clicks: Sequence[Click]) -> Probability:
    """MFP's modulation of one answer (H, W) round the last click, see `mfpgan.clicks.modulation.modulate`; a new array."""
    modulated = previous.copy()
    if not clicks or not previous.any():
        return modulated
    height, width = previous.shape
    *others, last = standing(clicks, height, width)
    opposite = [(c.y - last.y) ** 2 + (c.x - last.x) ** 2 for c in others if c.positive != last.positive]
    diameter_squared = min([*opposite, (2 * MAX_RADIUS_PX) ** 2])
    reach_squared = diameter_squared // 4
    reach = isqrt(reach_squared)
    top, left = max(last.y - reach, 0), max(last.x - reach, 0)
    window = modulated[top : last.y + reach + 1, left : last.x + reach + 1]
    y, x = last.y - top, last.x - left
    rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
    distance_squared = (rows - y) ** 2 + (columns - x) ** 2
    inside = distance_squared <= reach_squared

    logarithm = np.log(np.clip(window, LOWEST, HIGHEST))
    at_click = logarithm[y, x]
    ratio = at_click / np.float32(log(SURE)) if last.positive else np.float32(log(1 - SURE)) / at_click
    steepest = np.maximum(ratio, np.float32(1))
    if len(clicks) <= SIMILARITY_CLICKS:
        difference = (window - window[y, x]) ** 2
        median = np.sort(difference[inside])[(int(inside.sum()) + 1) // 2 - 1]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            relative = np.where(difference == 0, np.float32(0), difference / median)
        gamma = (steepest - 1) * np.maximum(1 - relative, 0) ** 3 + 1
    else:
        nearness = 1 - np.sqrt((distance_squared * 4 / diameter_squared).astype(np.float32))
        gamma = (steepest - 1) * nearness + 1
    gamma = gamma.astype(np.float32)
    with np.errstate(under="ignore", over="ignore", divide="ignore"):
        power = np.exp(logarithm / gamma if last.positive else logarithm * gamma)
    window[...] = np.where(inside & (gamma > 1), power, window)
    return modulated
