"""The part of a photo that a zoom looks at, at the size that the network sees, and its answer back in its place."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mfpgan.zoom import CROP_PX, SHRUNK, View, averaging, crop_size


def in_unit_range(planes: Tensor) -> Tensor:
    """(..., H, W) uint8 as float32 in [0, 1]; float stays as it is."""
    return planes.float() / 255 if planes.dtype == torch.uint8 else planes


def crop(planes: Tensor, view: View, size_px: int = CROP_PX) -> Tensor:
    """What the network sees: the view, resized (bilinear, corner onto corner); unchanged if it has the size already.

    A view that is more than `SHRUNK` times as large is averaged (see `mfpgan.zoom.averaging`).

    Args:
        planes: (B, C, H, W) float, the photo or a previous probability at the photo's size; or uint8, read as in [0, 1].
            Click maps are not cropped: draw them from `clicks_in`, so that a disk has its radius in pixels of the crop.

    Returns:
        (B, C, *crop_size(view, size_px)) float, the device as given.
    """
    window = planes[..., view.top : view.bottom, view.left : view.right]
    size = crop_size(view, size_px)
    if max(window.shape[-2] / size[0], window.shape[-1] / size[1]) <= SHRUNK:
        return functional.interpolate(in_unit_range(window), size, mode="bilinear", align_corners=True)
    narrow = _averaged(window.flatten(0, 1), size[0]).transpose(1, 2)
    return _averaged(narrow, size[1]).transpose(1, 2).reshape(*window.shape[:2], *size)


def _averaged(planes: Tensor, shorter: int) -> Tensor:
    """(P, H, W) with its rows averaged to (P, shorter, W) float32; as floats only a few rows at a time."""
    weights = torch.from_numpy(averaging(planes.shape[1], shorter)).to(planes.device)
    rows = []
    for row in weights:
        first, last = (int(place) for place in row.nonzero()[:, 0][[0, -1]])
        rows.append(row[first : last + 1] @ in_unit_range(planes[:, first : last + 1]))
    return torch.stack(rows, 1)


def paste(probability: Tensor, view: View, height: int, width: int) -> Tensor:
    """The network's answer to a crop, back in its place in the photo.

    Args:
        probability: (B, 1, h, w) float in [0, 1], the answer to `crop(photo, view)`.
        height, width: size of the photo in pixels.

    Returns:
        (B, 1, height, width), dtype and device as given, in [0, 1]: resized inside the view (bilinear, corner onto
        corner), 0 outside.
    """
    size = (view.bottom - view.top, view.right - view.left)
    inside = functional.interpolate(probability, size, mode="bilinear", align_corners=True)
    if size == (height, width):
        return inside
    whole = probability.new_zeros((*probability.shape[:2], height, width))
    whole[..., view.top : view.bottom, view.left : view.right] = inside
    return whole
