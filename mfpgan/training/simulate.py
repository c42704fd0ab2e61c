"""Plays the user for a training batch."""

from __future__ import annotations

import numpy as np

from mfpgan.types import Batch, Click, ClickStrategy

CLICK_STREAM = 4
"""Third entry of the seed, beside the loader's streams."""


def first_turn(batch: Batch, strategy: ClickStrategy, *, seed: int, position: int) -> list[tuple[Click, ...]]:
    """The clicks a user makes before the network has answered.

    Args:
        batch: on the CPU; clicks are drawn on the augmented targets.
        position: position in the run of the batch's first sample; the clicks are a function of (seed, position).

    Returns:
        For each sample its clicks, in pixels of the batch's images.
    """
    targets = batch.target.squeeze(1).bool().numpy()
    ignores = ~batch.valid.squeeze(1).bool().numpy()
    return [
        strategy(target, None, (), np.random.default_rng([seed, position + offset, CLICK_STREAM]), ignore)
        for offset, (target, ignore) in enumerate(zip(targets, ignores, strict=True))
    ]
