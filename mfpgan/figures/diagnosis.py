"""What a discriminator has learnt, on one page: its answers to masks, what it dislikes on photos, and where it pushes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mfpgan.figures.charts import new_figure, render
from mfpgan.figures.drawing import EXTRA, FOUND, INK, PAPER
from mfpgan.types import BoolMask, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

WIDTH_IN, ROW_IN, TILE_IN = 9.6, 0.36, 1.36
COLUMNS = 6
DISLIKED = (213, 94, 0)
MORE, LESS = FOUND, (204, 121, 167)
GREY = 150
"""Of the paper behind the colours in the bar: about what a photo is behind them."""
OPAQUE = 0.85
"""Of the strongest colour on a photo."""
PUSH_SIGMA_PX = 1.5
"""Of the pushes' blur: the discriminator's strides leave a grid in its gradient."""
DARK = "#282828"
_DRAWN = "#0072B2"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to one kind of masks, a row of the page."""

    kind: str
    logits: Sequence[float]
    """Mean logit of each image's mask, high for "drawn by people"; at least one."""
    auc: float | None
    """Probability that a drawn mask is rated above one of this kind; None for the drawn ones themselves."""
    paired: float | None
    """Share of the images whose drawn mask is rated above this kind's mask of the same image, ties half; None as above."""
    right_way: tuple[float, float, float] | None
    """Share of wrong pixels that are pushed the right way, mean over images, and its 95 % interval; None without any."""


@dataclass(frozen=True, slots=True)
class Look:
    """One photo with a predicted mask and what the discriminator makes of it.

    Raises:
        ValueError: the arrays differ in size.
    """

    photo: Image
    """(H, W, 3) uint8, RGB."""
    target: BoolMask
    """(H, W) bool."""
    prediction: BoolMask
    """(H, W) bool."""
    logits: NDArray[np.float32]
    """(H, W) float32, low where the mask is disliked."""
    push: NDArray[np.float32]
    """(H, W) float32, positive where the mask should grow, negative where it should shrink, in any unit."""
    caption: str
    """A short line or two above the photo."""

    def __post_init__(self) -> None:
        for name in ("target", "prediction", "logits", "push"):
            shape = getattr(self, name).shape
            if shape != self.photo.shape[:2]:
                raise ValueError(f"{name} must be {self.photo.shape[:2]}, got {shape}")


def diagnosis_page(answers: Sequence[Answers], looks: Sequence[Look], title: str) -> Image:
    """One page about a discriminator.

    Args:
        answers: a row each; the drawn masks first.
        looks: photos side by side, all on one scale of colours; at most 6.
        title: one or more lines; long ones are broken.

    Returns:
        (H, 1248, 3) uint8, RGB.

    Raises:
        ValueError: no row, or not 1 to 6 photos.
    """
    if not answers or not 1 <= len(looks) <= COLUMNS:
        raise ValueError(f"a page needs a row and 1 to {COLUMNS} photos, got {len(answers)} and {len(looks)}")
    heights = [len(answers) * ROW_IN + 1.0, 2 * TILE_IN + 0.95]
    text = "\n".join(fill(line, 105) for line in title.splitlines())
    figure = new_figure(WIDTH_IN, sum(heights) + 0.22 * (1 + text.count("\n")))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.045)
    figure.suptitle(text, x=0.01, ha="left", fontsize=10, fontweight="bold", color=DARK)
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = parts
    left, right = above.subplots(1, 2, sharey=True, width_ratios=(1.35, 1))
    _draw_logits(left, answers)
    _draw_right_way(right, answers)
    _draw_looks(below, looks)
    return render(figure)


def _draw_logits(axes: Axes, answers: Sequence[Answers]) -> None:
    """A box and the single images for each kind, and its AUC beside it."""
    rng = np.random.default_rng(0)  # only parts the dots
    for row, answer in enumerate(answers):
        least, low, middle, high, most = np.quantile(answer.logits, [0, 0.25, 0.5, 0.75, 1])
        axes.plot([least, most], [row, row], color=DARK, lw=1, zorder=2)
        axes.barh(row, high - low, left=low, height=0.6, facecolor="white", edgecolor=DARK, lw=1, zorder=3)
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=DARK, lw=2, zorder=5)
        beside = row + rng.uniform(-0.2, 0.2, len(answer.logits))
        colour = _DRAWN if answer.auc is None else _web(EXTRA)
        axes.scatter(answer.logits, beside, s=11, color=colour, alpha=0.55, lw=0, zorder=4)
        words = "AUC, pairs" if answer.auc is None else f"{answer.auc:.2f}, {answer.paired:.2f}"
        _beside(axes, row, words, "normal" if answer.auc is None else "bold")
    axes.set_yticks(range(len(answers)), [answer.kind for answer in answers], fontsize=9.5)
    axes.set_ylim(len(answers) - 0.45, -0.55)
    axes.locator_params(
        axis="x", nbins=6
    )  # long numbers would touch: an untrained discriminator's differ by thousandths
    axes.set_xlabel('mean logit of an image\'s mask: low "made by a machine", high "drawn"', fontsize=8.5)
    _headline(
        axes,
        "What it says of masks",
        "a drawn mask above one of these: AUC, pairs of one photo",
    )
    _plain(axes)


def _draw_right_way(axes: Axes, answers: Sequence[Answers]) -> None:
    """A bar from chance to the share for each kind, with its interval."""
    for row, answer in enumerate(answers):
        if answer.right_way is None:
            axes.text(0.5, row, "  no wrong pixel", va="center", fontsize=8.5, color="#777777")
            continue
        mean, low, high = answer.right_way
        axes.barh(row, mean - 0.5, left=0.5, height=0.56, color=_web(MORE), zorder=2)
        axes.plot([low, high], [row, row], color=DARK, lw=1.4, marker="|", ms=7, zorder=3)
        _beside(axes, row, f"{mean:.2f} [{low:.2f}, {high:.2f}]")
    axes.axvline(0.5, color=DARK, lw=1, ls="--", zorder=1)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 5), ["0", ".25", ".5\nchance", ".75", "1"])
    _headline(axes, "Share of wrong pixels that it pushes the right way", "mean over images, with 95 % interval")
    _plain(axes)


def _draw_looks(figure: SubFigure, looks: Sequence[Look]) -> None:
    """Two rows of photos, dislikes over pushes, with their scales at the right."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.lines import Line2D

    low, high = np.quantile([look.logits for look in looks], [0.01, 0.99])
    scale = Normalize(float(low), max(float(high), float(low) + 1e-6))
    axes = figure.subplots(2, COLUMNS + 1, squeeze=False, width_ratios=(*[1] * COLUMNS, 0.07))
    for panel in axes[:, :COLUMNS].flat:
        panel.set_axis_off()
    for look, (upper, lower) in zip(looks, axes.T[:COLUMNS], strict=False):
        grey = _grey(look.photo)
        upper.imshow(_coloured(grey, 1 - np.asarray(scale(look.logits)), DISLIKED))
        smooth = cv2.GaussianBlur(look.push, (0, 0), PUSH_SIGMA_PX)
        # Each photo has its own unit: how strong a push is depends on the loss, where it points does not.
        strength = smooth / max(float(np.quantile(np.abs(smooth), 0.99)), 1e-12)
        lower.imshow(_coloured(_coloured(grey, strength, MORE), -strength, LESS))
        for panel in (upper, lower):
            _outline(panel, look.target, PAPER, INK)
            _outline(panel, look.prediction, INK, PAPER)
        upper.set_title(look.caption, fontsize=8, pad=3)  # a title's width, unlike a text's, does not part the photos
    dislike = ListedColormap(_ramp(DISLIKED)[::-1] / 255)
    bar = figure.colorbar(ScalarMappable(scale, dislike), cax=axes[0, COLUMNS], extend="both", extendfrac=0.03)
    bar.ax.tick_params(labelsize=8)
    push = ListedColormap(np.concatenate([_ramp(LESS)[::-1], _ramp(MORE)]) / 255)
    bar = figure.colorbar(ScalarMappable(Normalize(-1, 1), push), cax=axes[1, COLUMNS])
    bar.set_ticks([-1, 0, 1], labels=["less", "0", "more"], fontsize=8)
    for row, words in enumerate(("dislikes: patch logits", "pushes: object")):
        axes[row, 0].text(
            -0.06, 0.5, words, transform=axes[row, 0].transAxes, rotation=90, ha="right", va="center", fontsize=8.5
        )
    figure.legend(
        handles=[
            Line2D([], [], color=DARK, lw=1.4, label="predicted mask"),
            Line2D([], [], color="white", lw=1.4, label="drawn mask", path_effects=_halo(INK)),
        ],
        loc="upper right", ncols=2, frameon=False, fontsize=8.5, borderaxespad=0.1,
    )  # fmt: skip
    figure.suptitle(
        "What it dislikes of predicted masks, and where it pushes them (each photo in its own unit)",
        x=0.01,
        ha="left",
        fontsize=10,
    )


def _grey(photo: Image) -> Image:
    """Without its own colours, so that those on it mean something."""
    grey: Image = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return grey


def _coloured(photo: Image, level: NDArray[Any], colour: tuple[int, int, int]) -> Image:
    """The photo under a colour as strong as the (H, W) levels; at 0 and below there is none, at 1 and above the strongest."""
    share = OPAQUE * np.clip(level, 0, 1)[..., None]
    mixed: Image = np.rint(photo * (1 - share) + np.array(colour) * share).astype(np.uint8)
    return mixed


def _ramp(colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """(128, 3) in [0, 255]: what `_coloured` makes of mid grey, from level 0 to 1."""
    share = OPAQUE * np.linspace(0, 1, 128)[:, None]
    ramp: NDArray[np.float64] = GREY * (1 - share) + np.array(colour) * share
    return ramp


def _outline(axes: Axes, mask: BoolMask, colour: tuple[int, int, int], halo: tuple[int, int, int]) -> None:
    """The mask's edge; as a contour of matplotlib it is equally wide on small and on large photos."""
    if mask.any() and not mask.all():
        lines = axes.contour(mask, levels=[0.5], colors=[_web(colour)], linewidths=1.2)
        lines.set_path_effects(_halo(halo))


def _halo(colour: tuple[int, int, int]) -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=2.4, foreground=_web(colour), alpha=0.6), Normal()]


def _beside(axes: Axes, row: int, words: str, weight: str = "normal") -> None:
    """Words at the right of a row."""
    axes.annotate(
        words, (1, row), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=9, fontweight=weight, color=DARK,
    )  # fmt: skip


def _headline(axes: Axes, title: str, words: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, pad=20)
    axes.annotate(words, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=8.5)


def _plain(axes: Axes) -> None:
    axes.grid(axis="x", color="#dddddd", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, axis="x")
    axes.tick_params(length=0, axis="y")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _web(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
