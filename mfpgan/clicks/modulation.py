"""The network's last answer, corrected around the last click before the network sees it again.

Probability modulation of MFP: Lee, Lee, Kim, "MFP: Making Full Use of Probability Maps for Interactive Image
Segmentation", CVPR 2024. The authors' program (cwlee00/MFP, isegm/model/modulation.py) has the same Gamma, the same
median and the same two formulas, but departs from the paper where the paper's formulas come to nothing: its window is
never smaller than 10 pixels (cut back around opposite clicks) nor limited to 100 once there is an opposite click, it
writes 1 or 0 instead of .99 or .01 at the clicked pixel, and it draws a cone where the probability there is 0 or 1.
Here the paper's formulas hold everywhere; `modulate` says what they mean at their limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, log

import numpy as np
import torch
from torch import Tensor

from mfpgan.clicks.encoding import standing
from mfpgan.types import Click

MAX_RADIUS_PX = 100
"""The largest window."""
SIMILARITY_CLICKS = 7
"""MFP's N: up to this click, what resembles the clicked pixel is corrected; later, what is near it."""
SURE = 0.99
"""Modulated probability at a positive click; 1 - SURE at a negative one."""

# A sigmoid in float32 rounds to 1 above a logit of 17 and to 0 below -104. No power moves 0 or 1, so the power is
# taken of the nearest numbers that one can move.
_LOWEST = 2.0**-126
_HIGHEST = 1 - 2.0**-24


@torch.no_grad()
def modulate(previous: Tensor, clicks: Sequence[Sequence[Click]]) -> Tensor:
    """Raises (positive) or lowers (negative) the last probability P around each sample's last click u.

    In the window ||x - u|| <= R a positive click gives P^(1/gamma), a negative one P^gamma, with

        gamma = (Gamma - 1) max((dbar - d)^3 / dbar^3, 0) + 1   if the sample has at most 7 clicks,
        gamma = Gamma (1 - r/R) + r/R                           if it has more,

    d = (P_x - P_u)^2, dbar the median of d in the window (of an even number the lower middle one), r = ||x - u||, and
    Gamma such that P_u becomes .99 or .01. R is half the distance to the nearest opposite click, at most 100 pixels.
    Outside the window P stays as it is, to the bit; also wherever gamma is 1.

    At the limits:

    - No clicks, or P zero everywhere (there is no last answer yet): unchanged.
    - P_u already at least .99, or at most .01 for a negative click: Gamma is 1, nothing changes. A click never moves P
      against its sign.
    - P_u exactly 0 or 1, rounded by a sigmoid: taken for the nearest float32 inside (0, 1), so it still gets .99 or .01.
    - dbar = 0, more than half of the window equals P_u: Gamma where d = 0, as for every dbar > 0, unchanged elsewhere.
    - Of several clicks on a pixel the last counts: the click that it withdraws is no opposite click, though it is
      counted among the 7.
    - The nearest opposite click less than 2 pixels away: only u itself changes.
    - A window across the border is cut off there; the median is that of its pixels inside the image.

    Args:
        previous: (B, 1, H, W) float32 in [0, 1], the probability that the network answered before the last click.
        clicks: for each sample all its clicks, oldest first, the last one included; none is allowed.

    Returns:
        (B, 1, H, W) float32 in [0, 1] on the device of `previous`, a new tensor without gradient. On a GPU nothing is
        copied to the host or back.

    Raises:
        ValueError: `clicks` is not as long as the batch, or a click lies outside the image.
    """
    modulated = previous.clone()
    for probability, sample_clicks in zip(modulated[:, 0], clicks, strict=True):
        if sample_clicks:
            _modulate_in_place(probability, sample_clicks)
    return modulated


def _modulate_in_place(probability: Tensor, clicks: Sequence[Click]) -> None:
    """`modulate` for one sample with clicks: (H, W) float32."""
    height, width = probability.shape
    *others, last = standing(clicks, height, width)
    # Pixel distances are roots of integers: ||x - u|| <= R if and only if 4 ||x - u||^2 <= (2R)^2, without rounding.
    opposite = [(c.y - last.y) ** 2 + (c.x - last.x) ** 2 for c in others if c.positive != last.positive]
    diameter_squared = min([*opposite, (2 * MAX_RADIUS_PX) ** 2])
    reach_squared = diameter_squared // 4
    reach = isqrt(reach_squared)
    top, bottom = max(last.y - reach, 0), min(last.y + reach + 1, height)
    left, right = max(last.x - reach, 0), min(last.x + reach + 1, width)

    window = probability[top:bottom, left:right]
    rows = torch.arange(top - last.y, bottom - last.y, device=window.device, dtype=window.dtype)
    columns = torch.arange(left - last.x, right - last.x, device=window.device, dtype=window.dtype)
    distance_squared = rows[:, None] ** 2 + columns**2
    inside = distance_squared <= reach_squared

    logarithm = window.clamp(_LOWEST, _HIGHEST).log()
    at_click = logarithm[last.y - top, last.x - left]
    steepest = (at_click / log(SURE) if last.positive else log(1 - SURE) / at_click).clamp(min=1)
    if len(clicks) <= SIMILARITY_CLICKS:
        difference = (window - window[last.y - top, last.x - left]) ** 2
        # The median by its rank, which the host knows: nanmedian would fetch the number of pixels from the GPU.
        half_widths = np.sqrt(reach_squared - np.arange(top - last.y, bottom - last.y) ** 2).astype(np.int64)
        pixels = np.minimum(half_widths, last.x - left) + np.minimum(half_widths, right - 1 - last.x) + 1
        rank = (int(pixels.sum()) + 1) // 2
        median = difference.masked_fill(~inside, torch.inf).flatten().kthvalue(rank).values
        relative = torch.where(difference == 0, 0.0, difference / median)
        gamma = (steepest - 1) * (1 - relative).clamp(min=0) ** 3 + 1
    else:
        nearness = 1 - (distance_squared * 4 / diameter_squared).sqrt()  # 1 - r/R, exactly 0 at R
        gamma = (steepest - 1) * nearness + 1

    answered = probability.amax() > 0
    power = (logarithm / gamma if last.positive else logarithm * gamma).exp()
    window.copy_(torch.where(inside & (gamma > 1) & answered, power, window))
