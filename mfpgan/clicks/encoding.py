"""Clicks as the networks see them: two maps of disks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mfpgan.types import Click

RADIUS_PX = 5
"""Binary disks of radius 5, as in RITM."""

_OFFSETS = np.arange(-RADIUS_PX, RADIUS_PX + 1)
_DISK = (_OFFSETS[:, None] ** 2 + _OFFSETS**2 <= RADIUS_PX**2).astype(np.float32)


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


def click_maps(clicks: Sequence[Sequence[Click]], height: int, width: int) -> torch.Tensor:
    """Clicks of a batch as disks: 1 within 5 pixels of a click, 0 elsewhere.

    Args:
        clicks: for each image of the batch, its clicks in any order; none is allowed.
        height, width: size of the images in pixels.

    Returns:
        (B, 2, height, width) float32 on the CPU, 0 or 1; channel 0 holds the positive clicks, channel 1 the negative.

    Raises:
        ValueError: a click lies outside the image.
    """
    maps = np.zeros((len(clicks), 2, height, width), np.float32)
    for image_maps, image_clicks in zip(maps, clicks, strict=True):
        for y, x, positive in image_clicks:
            if not (0 <= y < height and 0 <= x < width):
                raise ValueError(f"click at y={y}, x={x} lies outside the image of height {height} and width {width}")
            top, left = max(y - RADIUS_PX, 0), max(x - RADIUS_PX, 0)
            window = image_maps[0 if positive else 1, top : y + RADIUS_PX + 1, left : x + RADIUS_PX + 1]
            disk_top, disk_left = top - y + RADIUS_PX, left - x + RADIUS_PX
            disk = _DISK[disk_top : disk_top + window.shape[0], disk_left : disk_left + window.shape[1]]
            np.maximum(window, disk, out=window)
    return torch.from_numpy(maps)
