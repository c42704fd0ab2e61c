"""Plays the user for a training batch: a first turn, then answers of the network and new clicks, without gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfpgan.inference import encoding_of, forward
from mfpgan.types import THRESHOLD, Batch, BoolMask, Click, ClickStrategy

CLICK_STREAM, LENGTH_STREAM = 4, 5
"""Third entry of a seed, beside the loader's streams. Later turns add their number as a fourth, from 1: NumPy pads
seeds with zeros, so 0 would be the stream of the first turn again."""


@dataclass(frozen=True, slots=True)
class Play:
    """Where the users of a batch stand when the network is to learn: it answers `clicks` and has `previous` in mind."""

    turns: list[list[tuple[Click, ...]]]
    """For each sample its turns, oldest first; a turn is the clicks made at one sight of the answer."""
    previous: Tensor | None
    """(B, 1, H, W) float32 on the images' device, the last answer given, 0 where none was; None if nobody was answered.
    The last turn is made at sight of it, unless nothing was wrong with it or, with memory "modulated", it is the first of
    the two passes at the first click, which no user sees."""
    passes: list[int]
    """Forward passes without gradient behind each sample."""

    @property
    def rounds(self) -> list[int]:
        """For each sample the turns after its first, each at sight of an answer."""
        return [len(turns) - 1 for turns in self.turns]

    @property
    def clicks(self) -> list[list[Click]]:
        """For each sample all its clicks, oldest first."""
        return [[click for turn in turns for click in turn] for turns in self.turns]


def first_turns(batch: Batch, strategy: ClickStrategy, *, seed: int, position: int) -> list[tuple[Click, ...]]:
    """The clicks that each user makes before the network has answered.

    Args:
        batch: clicks are drawn on its (augmented) targets, on the CPU.
        position: position in the run of the batch's first sample; the clicks are a function of (seed, position).

    Returns:
        For each sample its clicks, in pixels of the batch's images.
    """
    view = _View.of(batch)
    return [
        view.turn(strategy, item, None, (), [seed, position + item, CLICK_STREAM]) for item in range(len(batch.ids))
    ]


def play(
    batch: Batch,
    image: Tensor,
    strategy: ClickStrategy,
    generator: nn.Module,
    precision: str,
    *,
    seed: int,
    position: int,
) -> Play:
    """Play the users of a batch for as many turns as are drawn for each.

    A sample's number of forward passes before the one it is trained on is uniform from 0 to `strategy.rounds`; with memory
    "modulated" to one more, because the first click is answered twice (see `inference.predict`). So a share of every batch
    has no memory yet, and the network meets its own later masks as often as its first. After each answer (of the second
    pass, at the first click with "modulated") the user clicks again, unless nothing is wrong. Iterative training: Mahadevan
    et al., BMVC 2018; RITM, ICIP 2022, which draws one number for the whole batch.

    Args:
        batch: on the CPU, where the users are.
        image: its images, on the generator's device.
        generator: runs in eval mode without gradient and is left in eval mode; batch norm's statistics stay.
        precision: "fp32" or "bf16".
        position: position in the run of the batch's first sample; the play is a function of (seed, position, weights).

    Returns:
        The play. One copy to the host for each round, of the masks of all samples that go on.
    """
    turns = [[turn] for turn in first_turns(batch, strategy, seed=seed, position=position)]
    twice = encoding_of(generator).memory == "modulated"
    longest = strategy.rounds + twice
    passes = [
        int(np.random.default_rng([seed, position + item, LENGTH_STREAM]).integers(longest + 1)) if longest else 0
        for item in range(len(turns))
    ]
    if not any(passes):
        return Play(turns, None, passes)
    view, previous = _View.of(batch), image.new_zeros(len(turns), 1, *image.shape[-2:])
    for number in range(max(passes)):
        going = [item for item, wanted in enumerate(passes) if wanted > number]
        rows = torch.tensor(going, device=image.device)
        clicks = [[click for turn in turns[item] for click in turn] for item in going]
        prob = forward(generator, image[rows], clicks, precision, previous[rows] if number else None)
        previous[rows] = prob
        if twice and number == 0:
            continue
        masks: NDArray[np.bool_] = (prob[:, 0] > THRESHOLD).cpu().numpy()
        for item, made, mask in zip(going, clicks, masks, strict=True):
            stream = [seed, position + item, CLICK_STREAM, number if twice else number + 1]
            turn = view.turn(strategy, item, mask, made, stream)
            if turn:
                turns[item].append(turn)
    return Play(turns, previous, passes)


@dataclass(frozen=True, slots=True)
class _View:
    """What the users see of a batch, as NumPy."""

    targets: NDArray[np.bool_]
    ignores: NDArray[np.bool_]
    others: NDArray[np.bool_] | None

    @classmethod
    def of(cls, batch: Batch) -> _View:
        others = None if batch.others is None else batch.others.squeeze(1).numpy()
        return cls(batch.target.squeeze(1).bool().numpy(), ~batch.valid.squeeze(1).bool().numpy(), others)

    def turn(
        self,
        strategy: ClickStrategy,
        item: int,
        mask: BoolMask | None,
        clicks: Sequence[Click],
        seed: list[int],
    ) -> tuple[Click, ...]:
        others = None if self.others is None else self.others[item]
        return strategy(self.targets[item], mask, clicks, np.random.default_rng(seed), self.ignores[item], others)
