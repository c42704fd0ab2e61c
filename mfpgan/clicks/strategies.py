"""Simulated users. Training plays them, the benchmark's robot is one of them; a new one is a function and a table line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mfpgan.clicks.error_regions import deepest, errors
from mfpgan.types import BoolMask, Click, ClickStrategy


def random(
    target: BoolMask,
    prediction: BoolMask | None,
    clicks: Sequence[Click],
    rng: np.random.Generator,
    ignore: BoolMask | None = None,
) -> tuple[Click, ...]:
    """The seed's user: clicks anywhere, with equal chance for every pixel.

    The first turn (no clicks yet) does not look at the prediction: one positive click on the object and one negative
    on the background, both outside the ignore band; whichever of the two has no pixel is left out. Every later turn
    is one click on a pixel that is wrong and not clicked yet: positive where the object was missed, negative where
    the mask is too much; () when there is none. Arguments as in `ClickStrategy`.
    """
    if not clicks:
        background = ~target if ignore is None else ~(target | ignore)
        wanted = target if ignore is None else target & ~ignore
        turn = ((_uniform(wanted, rng), True), (_uniform(background, rng), False))
        return tuple(Click(*pixel, positive) for pixel, positive in turn if pixel is not None)
    missed, extra = errors(target, prediction, ignore)
    wrong = missed | extra
    for click in clicks:
        wrong[click.y, click.x] = False
    pixel = _uniform(wrong, rng)
    return () if pixel is None else (Click(*pixel, bool(missed[pixel])),)


def center(
    target: BoolMask,
    prediction: BoolMask | None,
    clicks: Sequence[Click],
    rng: np.random.Generator,
    ignore: BoolMask | None = None,
) -> tuple[Click, ...]:
    """The field's robot (RITM, isegm/inference/clicker.py): one click in the middle of the deepest error.

    Positive if and only if the missed part is strictly deeper than the surplus; depths are compared after the clicked
    pixels were taken out. No chance is used; () when no wrong pixel is left unclicked. Arguments as in `ClickStrategy`.
    """
    missed, extra = errors(target, prediction, ignore)
    missed_depth, missed_y, missed_x = deepest(missed, clicks)
    extra_depth, extra_y, extra_x = deepest(extra, clicks)
    if missed_depth > extra_depth:
        return (Click(missed_y, missed_x, True),)
    return (Click(extra_y, extra_x, False),) if extra_depth else ()


def _uniform(mask: BoolMask, rng: np.random.Generator) -> tuple[int, int] | None:
    """(y, x) of a pixel of the mask, all equally likely; None, and no draw, if the mask is empty."""
    inside = np.flatnonzero(mask)
    if not inside.size:
        return None
    y, x = divmod(int(inside[rng.integers(inside.size)]), mask.shape[1])
    return y, x


STRATEGIES: dict[str, ClickStrategy] = {"random": random, "center": center}
