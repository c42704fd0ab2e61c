"""Augmentation of what the discriminator sees: photo, clicks and mask move together, real and predicted alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FARTHEST = 1 / 8
"""Shift, as a share of the side."""


class Move(NamedTuple):
    """One picture's move. Only whole pixels go elsewhere: nothing is resampled, so a hard mask stays hard."""

    turns: int
    """Quarter turns; only 0 or 2 in pictures that are not square."""
    mirrored: bool
    down: int
    right: int
    """Shift in pixels; what comes in is 0, in the mask as well as in the photo."""


STILL = Move(0, False, 0, 0)


def draw_move(rng: np.random.Generator, height: int, width: int, probability: float) -> Move:
    """A picture's move, with the given probability; otherwise it stays.

    Args:
        probability: in [0, 1].
    """
    if rng.random() >= probability:
        return STILL
    down, right = int(height * FARTHEST), int(width * FARTHEST)
    return Move(
        turns=int(rng.integers(4)) if height == width else 2 * int(rng.integers(2)),
        mirrored=bool(rng.integers(2)),
        down=int(rng.integers(-down, down + 1)),
        right=int(rng.integers(-right, right + 1)),
    )


def apply_moves(pictures: Tensor, moves: Sequence[Move]) -> Tensor:
    """Pictures after their moves; the gradient finds its way back.

    Args:
        pictures: (B, C, H, W).
        moves: B moves.
    """
    if all(move == STILL for move in moves):
        return pictures
    return torch.stack([_moved(picture, move) for picture, move in zip(pictures, moves, strict=True)])


def _moved(picture: Tensor, move: Move) -> Tensor:
    if move == STILL:
        return picture
    turned = torch.rot90(picture, move.turns, (1, 2))
    turned = turned.flip(2) if move.mirrored else turned
    height, width = picture.shape[1:]
    to_y, from_y = _overlap(move.down, height)
    to_x, from_x = _overlap(move.right, width)
    shifted = torch.zeros_like(picture)
    shifted[:, to_y, to_x] = turned[:, from_y, from_x]
    return shifted


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """Where the pixels go along one axis, and where they come from."""
    return slice(max(0, shift), side + min(0, shift)), slice(max(0, -shift), side - max(0, shift))
