"""Arms against a reference: differences with their intervals, and object by object."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.figures.charts import new_figure, render
from mfpgan.types import Image

INTERVAL, SEED, GRID = "#0072B2", "#D55E00", "#dddddd"


class ForestRow(NamedTuple):
    """An arm on one measure."""

    arm: str
    mean: float
    """Difference to the reference."""
    low: float
    high: float
    """Its interval."""
    seeds: Sequence[float]
    """The difference of each seed."""


class ForestPanel(NamedTuple):
    """A measure."""

    title: str
    rows: Sequence[ForestRow]
    effect: float | None = None
    """Differences smaller than this one are shaded: nobody asked about them."""
    higher_is_better: bool = True


def forest_figure(panels: Sequence[ForestPanel], title: str) -> Image:
    """Differences to the reference, an arm a row, a measure a panel: blue dots with 95 % intervals, seeds in orange.

    Args:
        panels: all with the same arms.
        title: one line.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    arms = [row.arm for row in panels[0].rows]
    figure = new_figure(1.1 + 3.1 * across, 0.7 + down * (0.95 + 0.36 * len(arms)))
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(down, across, number + 1)
        if panel.effect is not None:
            axes.axvspan(-panel.effect, panel.effect, color="#eeeeee", lw=0)
        axes.axvline(0, color="#888888", lw=1)
        for place, row in enumerate(panel.rows):
            axes.plot([row.low, row.high], [place, place], color=INTERVAL, lw=2.4, solid_capstyle="round")
            axes.plot(row.mean, place, "o", color=INTERVAL, ms=6)
            axes.plot(row.seeds, [place + 0.27] * len(row.seeds), ".", color=SEED, ms=5)
        axes.set_yticks(range(len(arms)), arms if number % across == 0 else [""] * len(arms), fontsize=9)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        better = "right" if panel.higher_is_better else "left"
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(f"difference (better: {better})", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{fill(title, 20 + 40 * across)}\nblue: mean and 95 % interval, orange: seeds", fontsize=11)
    return render(figure)


def scatter_figure(
    reference: NDArray[np.float64], arms: dict[str, NDArray[np.float64]], name: str, title: str, measure: str
) -> Image:
    """Each object as a dot, the reference across and an arm upwards; above the line the arm's number is higher.

    Args:
        reference: (objects,) float64 in [0, 1].
        arms: {name: the same objects}.
        name: of the reference.
        title: one line.
        measure: what the numbers are.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    across = min(3, len(arms))
    down = -(-len(arms) // across)
    figure = new_figure(0.5 + 3.1 * across, 0.6 + 3.2 * down)
    for number, (arm, values) in enumerate(arms.items()):
        axes = figure.add_subplot(down, across, number + 1, aspect="equal")
        axes.plot([0, 1], [0, 1], color="#888888", lw=1)
        axes.plot(reference, values, ".", color=INTERVAL, ms=4, alpha=0.5, mew=0)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"{name}", fontsize=9)
        axes.set_ylabel(arm, fontsize=9)
        axes.set_title(
            f"{arm}: higher {np.mean(values > reference):.0%}, lower {np.mean(values < reference):.0%}", fontsize=9
        )
        axes.tick_params(labelsize=8)
        axes.grid(color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{fill(title, 20 + 30 * across)}\n{measure} of each object, mean over seeds", fontsize=11)
    return render(figure)
