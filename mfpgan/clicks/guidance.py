"""Everything a network reads beside the photo: click maps and, with memory, its own last answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mfpgan.clicks.encoding import RADIUS_PX, draw_clicks
from mfpgan.clicks.modulation import modulate
from mfpgan.types import Click, ClickEncoding, EncodingName


def click_maps(
    clicks: Sequence[Sequence[Click]],
    height: int,
    width: int,
    shape: EncodingName = "disk",
    radius: float = RADIUS_PX,
) -> Tensor:
    """Clicks of a batch, for each image those of `mfpgan.clicks.encoding.draw_clicks`; arguments as there.

    Returns:
        (B, 2, height, width) float32 on the CPU, in [0, 1]; channel 0 holds the positive clicks, channel 1 the negative.
    """
    maps = np.empty((len(clicks), 2, height, width), np.float32)
    for image_maps, image_clicks in zip(maps, clicks, strict=True):
        image_maps[:] = draw_clicks(image_clicks, height, width, shape, radius)
    return torch.from_numpy(maps)


def encode(
    encoding: ClickEncoding,
    clicks: Sequence[Sequence[Click]],
    previous: Tensor | None,
    *,
    height: int,
    width: int,
    device: torch.device | str,
) -> Tensor:
    """The guidance channels of a batch. One copy to the device for the whole batch.

    Args:
        clicks: for each image its clicks, oldest first, in pixels of the image.
        previous: (B, 1, H, W) float32 in [0, 1] on `device`, the answer before the newest clicks; None counts as all 0.
        height, width: size of the images in pixels.

    Returns:
        (B, C, height, width) float32 on `device`, C = encoding.channels: positive and negative click map, then with
        memory the previous probability, then, if it is "modulated", that probability corrected round the last click.

    Raises:
        ValueError: a click lies outside the image.
    """
    maps = click_maps(clicks, height, width, encoding.shape, encoding.radius).to(device, non_blocking=True)
    if encoding.memory == "none":
        return maps
    if previous is None:  # zeros stay zeros when they are modulated
        return torch.cat([maps, maps.new_zeros(len(clicks), encoding.channels - 2, height, width)], 1)
    if encoding.memory == "previous":
        return torch.cat([maps, previous], 1)
    return torch.cat([maps, previous, modulate(previous, clicks)], 1)
