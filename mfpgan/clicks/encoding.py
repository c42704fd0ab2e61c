"""Clicks as the networks see them: two maps, one for each sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import Click, EncodingName

RADIUS_PX = 5
"""Disks of radius 5, as in RITM (Sofiiuk et al., ICIP 2022)."""
USUAL_RADIUS_PX: dict[EncodingName, float] = {"disk": RADIUS_PX, "gaussian": 10, "distance": 255}
"""The sizes of the literature: disks as in RITM; gaussians of sigma 10 as in DEXTR (Maninis et al., CVPR 2018);
distances truncated at 255 as in Xu et al., "Deep Interactive Object Selection", CVPR 2016."""


def standing(clicks: Sequence[Click], height: int, width: int) -> list[Click]:
    """The clicks that count: of several on one pixel the last; it withdraws the earlier ones, whatever their sign.

    Args:
        clicks: one object's clicks, oldest first.
        height, width: size of the image in pixels.

    Returns:
        One click for each clicked pixel, oldest first.

    Raises:
        ValueError: a click, withdrawn or not, lies outside the image.
    """
    last: dict[tuple[int, int], Click] = {}
    for click in clicks:
        y, x = click.y, click.x
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"click at y={y}, x={x} lies outside the image of height {height} and width {width}")
        last.pop((y, x), None)  # or it would keep the place of the click that it withdraws
        last[y, x] = click
    return list(last.values())


def positive_stands(clicks: Sequence[Click], height: int, width: int) -> bool:
    """Whether a click says what belongs to the object and is not withdrawn; arguments and errors as of `standing`."""
    return any(click.positive for click in standing(clicks, height, width))


def last_answer_counts(clicks: Sequence[Click], given: bool, height: int, width: int) -> bool:
    """Whether the newest click goes on from the answer before it, or is a first click.

    It goes on if a positive click stands before it and with it: otherwise no earlier click has said what the object is, or the
    only one that did is withdrawn. A mask that the user began with says it too.

    Args:
        clicks: the newest included, oldest first.
        given: whether the user began with a mask.
        height, width: size of the image in pixels.

    Raises:
        ValueError: a click lies outside the image.
    """
    stands = positive_stands(clicks, height, width)  # asked in any case: it looks at all clicks
    return given or (stands and positive_stands(clicks[:-1], height, width))


def draw_clicks(
    clicks: Sequence[Click], height: int, width: int, shape: EncodingName = "disk", radius: float = RADIUS_PX
) -> NDArray[np.float32]:
    """Clicks of one image, each drawn by its distance r to every pixel; where they meet, the nearest click counts.

    - disk: 1 where r <= radius, 0 elsewhere.
    - gaussian: exp(-r^2 / (2 radius^2)), so radius is sigma; 0 beyond 6 sigma, where it is below 2e-8.
    - distance: 1 - r / radius, 0 beyond the radius. Upside down against Xu et al., whose map is min(r, 255), so that
      all three shapes are 1 at a click and 0 without one.

    Of several clicks on one pixel only the last is drawn, see `standing`.

    Args:
        clicks: oldest first; none is allowed.
        height, width: size of the image in pixels.
        shape: what a click draws.
        radius: its size in pixels, above 0; USUAL_RADIUS_PX holds those of the literature.

    Returns:
        (2, height, width) float32 in [0, 1]; channel 0 holds the positive clicks, channel 1 the negative.

    Raises:
        ValueError: a click lies outside the image.
    """
    maps = np.zeros((2, height, width), np.float32)
    reach = min(int(_REACH[shape] * radius), max(height, width) - 1)
    stamp = _stamp(shape, radius, reach)
    for y, x, positive in standing(clicks, height, width):
        top, left = max(y - reach, 0), max(x - reach, 0)
        window = maps[0 if positive else 1, top : y + reach + 1, left : x + reach + 1]
        stamp_top, stamp_left = top - y + reach, left - x + reach
        part = stamp[stamp_top : stamp_top + window.shape[0], stamp_left : stamp_left + window.shape[1]]
        np.maximum(window, part, out=window)
    return maps


@lru_cache(maxsize=2)  # a run has one encoding; a wide stamp takes longer to draw than a batch of clicks
def _stamp(shape: EncodingName, radius: float, reach: int) -> NDArray[np.float32]:
    """One click, (2 reach + 1, 2 reach + 1) float32 with the click in the middle."""
    offsets = np.arange(-reach, reach + 1)
    squared = (offsets[:, None] ** 2 + offsets**2).astype(np.float64)
    stamp = np.where(squared <= (_REACH[shape] * radius) ** 2, _PROFILES[shape](squared, radius), 0)
    return stamp.astype(np.float32)


_Profile = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
# Shape -> what a click draws, as a function of squared distance and radius, and how far, in radii.
_PROFILES: dict[EncodingName, _Profile] = {
    "disk": lambda squared, radius: np.ones_like(squared),
    "gaussian": lambda squared, radius: np.exp(-squared / (2 * radius**2)),
    "distance": lambda squared, radius: 1 - np.sqrt(squared) / radius,
}
_REACH: dict[EncodingName, int] = {"disk": 1, "gaussian": 6, "distance": 1}
