"""Numbers as pictures: confusion matrix and curves over clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfpgan.metrics import Confusion


def confusion_figure(confusion: Confusion, title: str) -> Image:
    """Confusion matrix of pixels: counts, shares of all pixels, and the share of each true class.

    Args:
        confusion: tp, fp, fn, tn.
        title: one line.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    tp, fp, fn, tn = confusion
    cells = np.array([[tp, fn], [fp, tn]], np.float64)
    # Shade by the share of the true class, not by count: background always outnumbers the object.
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    figure = new_figure(5.2, 4.6)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    names = (("found", "missed"), ("too much", "left alone"))
    for row in range(2):
        for column in range(2):
            count, ink = cells[row, column], "white" if shares[row, column] > 0.6 else "#282828"
            text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
            axes.text(column, row - 0.24, names[row][column], fontsize=10, **text)
            axes.text(column, row - 0.04, f"{count:,.0f}", fontsize=15, fontweight="bold", **text)
            axes.text(column, row + 0.15, f"{count / max(cells.sum(), 1):.1%} of all pixels", fontsize=9, **text)
            kind = ("object", "background")[row]
            axes.text(column, row + 0.29, f"{shares[row, column]:.1%} of the {kind}", fontsize=9, **text)
    axes.set_xticks([0, 1], ["object", "background"])
    axes.set_yticks([0, 1], ["object", "background"], rotation=90, va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=12, pad=10)
    axes.axhline(0.5, color="white", lw=3)
    axes.axvline(0.5, color="white", lw=3)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return render(figure)


def clicks_curve_figure(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], title: str, ylabel: str = "IoU"
) -> Image:
    """Mean after each click with its interval, one line for each model.

    Args:
        curves: {label: [(mean, low, high) after click 1, 2, ...]}, values in [0, 1]; at most 6 models.
        title: one line.
        ylabel: what the values are.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: no curve, more than 6, or an empty one.
    """
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
    markers = "osD^vP"  # lines stay apart in black and white
    if not 1 <= len(curves) <= len(colours) or not all(curves.values()):
        raise ValueError(f"a figure holds 1 to {len(colours)} curves with at least one click, got {len(curves)}")
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    for (label, points), colour, marker in zip(curves.items(), colours, markers, strict=False):
        mean, low, high = np.asarray(points, np.float64).T
        clicks = np.arange(1, len(mean) + 1)
        axes.fill_between(clicks, low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(clicks, mean, color=colour, marker=marker, ms=4, lw=1.8, label=f"{label} ({mean[-1]:.3f})")
    longest = max(len(points) for points in curves.values())
    axes.set_xticks([1, *range(5, longest + 1, 5)] if longest > 8 else range(1, longest + 1))
    axes.set_xlim(0.5, longest + 0.5)
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel("clicks")
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=12, pad=10)
    axes.grid(color="#dddddd", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    low_curves = max(high for points in curves.values() for _, _, high in points) < 0.6
    axes.legend(
        loc="upper left" if low_curves else "lower right",
        frameon=False,
        title="after the last click; band: 95 %",
        title_fontsize=8,
        fontsize=9,
    )
    return render(figure)


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure that belongs to nobody's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure) -> Image:
    figure.canvas.draw()
    pixels: NDArray[np.uint8] = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    return pixels
