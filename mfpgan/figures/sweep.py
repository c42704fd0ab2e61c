"""Differences to a reference over the settings of a sweep, with intervals and seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mfpgan.figures.charts import new_figure, render
from mfpgan.types import Image


class SweepPoint(NamedTuple):
    """One measure at one setting."""

    measure: str
    setting: str
    mean: float
    """Difference to the reference."""
    low: float
    high: float
    """Its interval."""
    seeds: Sequence[float]
    """The difference of each seed."""


def sweep_figure(points: Sequence[SweepPoint], xlabel: str) -> Image:
    """A panel for each measure: mean difference with its interval at each setting, seeds as small dots, zero as a line.

    Args:
        points: measures and settings in the order in which they are drawn.
        xlabel: what the settings are.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    measures = list(dict.fromkeys(point.measure for point in points))
    settings = list(dict.fromkeys(point.setting for point in points))
    figure = new_figure(max(3.3, 0.68 * len(settings)) * len(measures), 3.4)  # or the names of settings would touch
    for number, measure in enumerate(measures):
        axes = figure.add_subplot(1, len(measures), number + 1)
        axes.axhline(0, color="#999999", lw=1)
        for point in points:
            if point.measure != measure:
                continue
            place = settings.index(point.setting)
            axes.plot([place, place], [point.low, point.high], color="#0072B2", lw=2.2, solid_capstyle="round")
            axes.plot(place, point.mean, "o", color="#0072B2", ms=6)
            axes.plot([place + 0.18] * len(point.seeds), point.seeds, ".", color="#D55E00", ms=5)
        axes.set_xticks(range(len(settings)), [re.sub(",? ", "\n", setting) for setting in settings], fontsize=7)
        axes.set_xlim(-0.5, len(settings) - 0.4)
        axes.set_xlabel(xlabel)
        axes.set_title(measure, fontsize=11)
        axes.grid(axis="y", color="#dddddd", lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if not number:
            axes.set_ylabel("difference to weight 0\nblue: mean and 95 %, orange: seeds", fontsize=9)
    return render(figure)
