"""What a person sees of a training batch: the simulated users at work."""

from __future__ import annotations

import numpy as np

from mfpgan.figures import Tile, contact_sheet
from mfpgan.metrics import confusion, iou
from mfpgan.training.simulate import Play
from mfpgan.types import THRESHOLD, Batch, Image

MOST_TILES, COLUMNS = 8, 4


def photo_of(batch: Batch, item: int) -> Image:
    """(H, W, 3) uint8, RGB."""
    photo: Image = (batch.image[item].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return photo


def clicks_sheet(batch: Batch, played: Play, title: str) -> Image:
    """The first samples of a batch with their clicks, turn by turn, over the last answer given.

    Args:
        batch: on the CPU.
        played: its users.
        title: one line.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    tiles = []
    for item in range(min(len(batch.ids), MOST_TILES)):
        target, ignore = batch.target[item, 0].numpy() > 0, batch.valid[item, 0].numpy() == 0
        turns, clicks = played.turns[item], len(played.clicks[item])
        words = f"{clicks} click{'s' * (clicks != 1)} in {len(turns)} turn{'s' * (len(turns) != 1)}"
        seen = None
        if played.previous is None or not played.passes[item]:
            words += ", no answer yet"
        else:
            seen = (played.previous[item, 0] > THRESHOLD).cpu().numpy()
            words += f", IoU {iou(confusion(seen, target, ignore)):.2f}"
        tiles.append(
            Tile(
                image=photo_of(batch, item),
                clicks=played.clicks[item],
                turns=[number for number, turn in enumerate(turns, start=1) for _ in turn],
                target=target,
                prediction=seen,
                ignore=ignore,
                caption=words,
            )
        )
    return contact_sheet(tiles, COLUMNS, title)
