"""Pictures of what a model does: masks with their errors, confusion matrices, curves over clicks. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Click, Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mfpgan.metrics import Confusion

# Okabe and Ito's palette: told apart by people with any common colour vision, and of different lightness.
FOUND = (86, 180, 233)
MISSED = (240, 228, 66)
EXTRA = (213, 94, 0)
POSITIVE = (0, 158, 115)
NEGATIVE = (204, 51, 17)
INK, PAPER = (40, 40, 40), (255, 255, 255)
GAP_PX = 6
CAPTION_PX = 20


def draw_triplet(
    image: Image, clicks: Sequence[Click], target: BoolMask, prediction: BoolMask, ignore: BoolMask | None = None
) -> Image:
    """Photo with clicks, truth, and prediction with its errors, side by side under thin captions.

    Args:
        image: (H, W, 3) uint8, RGB.
        clicks: in pixels of the image; green disks with a plus, red disks with a minus.
        target: (H, W) bool.
        prediction: (H, W) bool; what it found is blue, what it missed yellow, what is too much orange.
        ignore: (H, W) bool or None; no error is shown there.

    Returns:
        (20 + H, 3 W + 12, 3) uint8, RGB: the caption strip is 20 pixels high, the two gaps are 6 wide.

    Raises:
        ValueError: the masks are not (H, W) bool.
    """
    for name, mask in (("target", target), ("prediction", prediction), ("ignore", ignore)):
        if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != np.bool_):
            raise ValueError(f"{name} must be {image.shape[:2]} bool, got {mask.shape} {mask.dtype}")
    counts = np.True_ if ignore is None else ~ignore
    photo = image.copy()
    for click in clicks:
        _draw_click(photo, click)
    truth = _outline(_tint(_dim(image, target), target, FOUND, 0.35), target)
    answer = _dim(image, target | prediction)
    answer = _tint(answer, target & prediction, FOUND, 0.35)
    answer = _tint(answer, target & ~prediction & counts, MISSED, 0.6)
    answer = _tint(answer, prediction & ~target & counts, EXTRA, 0.6)
    answer = _outline(answer, prediction)
    width = image.shape[1]
    panels = (
        (photo, [("image and clicks", None)]),
        (truth, [("truth", None)]),
        (answer, [("found", FOUND), ("missed", MISSED), ("too much", EXTRA)]),
    )
    gap = np.full((CAPTION_PX + image.shape[0], GAP_PX, 3), PAPER, np.uint8)
    columns = [np.concatenate([_caption(words, width), panel]) for panel, words in panels]
    return np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)


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
    figure = _figure(5.2, 4.6)
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
    return _render(figure)


def clicks_curve_figure(
    curves: dict[str, Sequence[tuple[float, float, float]]], title: str, ylabel: str = "IoU"
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
    figure = _figure(6.4, 4.2)
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
    return _render(figure)


def _dim(image: Image, keep: BoolMask) -> Image:
    """The photo, paler and greyer outside the part that is talked about."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.where(keep[..., None], image, grey // 2 + 110).astype(np.uint8)


def _tint(image: Image, mask: BoolMask, colour: tuple[int, int, int], strength: float) -> Image:
    mixed = image * (1 - strength) + np.array(colour) * strength
    return np.where(mask[..., None], np.rint(mixed), image).astype(np.uint8)


def _outline(image: Image, mask: BoolMask) -> Image:
    """A thin white line along the mask's edge, with a soft shadow: visible on any photo, and small parts stay free."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    shadow = cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, 3).view(np.bool_)
    drawn = np.ascontiguousarray(_tint(image, shadow, INK, 0.5))
    cv2.drawContours(drawn, contours, -1, PAPER, 1)
    return drawn


def _draw_click(image: Image, click: Click) -> None:
    """A disk with sign, white rim and thin dark outer line, in place; its size follows the picture."""
    radius = float(np.clip(np.hypot(*image.shape[:2]) / 75, 5, 40))
    shift, centre = 4, (click.x * 16, click.y * 16)  # cv2 takes sixteenths of a pixel

    def disk(size: float, colour: tuple[int, int, int]) -> None:
        cv2.circle(image, centre, round(size * 16), colour, -1, cv2.LINE_AA, shift)

    disk(radius * 1.40, INK)
    disk(radius * 1.28, PAPER)
    disk(radius, POSITIVE if click.positive else NEGATIVE)
    arm, half = round(radius * 0.58 * 16), round(radius * 0.14 * 16)
    bars = [(arm, half), (half, arm)] if click.positive else [(arm, half)]
    for x, y in bars:
        corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)], np.int32) + np.array(centre, np.int32)
        cv2.fillConvexPoly(image, corners, PAPER, cv2.LINE_AA, shift)


def _caption(words: Sequence[tuple[str, tuple[int, int, int] | None]], width: int) -> Image:
    """(20, width, 3) uint8: words on white, those with a colour behind a swatch of it; what does not fit is cut."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    strip = Pillow.new("RGB", (width, CAPTION_PX), PAPER)
    draw, font, x = ImageDraw.Draw(strip), ImageFont.load_default(12), 1.0
    for word, colour in words:
        if colour is not None:
            draw.rectangle((x, 6, x + 8, 14), fill=colour, outline=INK)
            x += 12
        draw.text((x, CAPTION_PX / 2), word, fill=INK, font=font, anchor="lm")
        x += draw.textlength(word, font=font) + 9
    return np.asarray(strip).copy()


def _figure(width_in: float, height_in: float) -> Figure:
    """A figure that belongs to nobody's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _render(figure: Figure) -> Image:
    figure.canvas.draw()
    pixels: NDArray[np.uint8] = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
    return pixels
