"""The objects on which an arm gains and loses most, as contact sheets: the same clicks, both networks' masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mfpgan import build
from mfpgan.config import WeightsName
from mfpgan.devices import pick_device
from mfpgan.evaluation.report import InteractiveRow, Report
from mfpgan.figures import Tile, contact_sheet
from mfpgan.session import ClickSession
from mfpgan.types import THRESHOLD, DataSet, Image, Sample

OBJECTS = 6
"""Of a sheet."""


def changed_most(curves: NDArray[np.float64], arm: int, count: int = OBJECTS) -> tuple[list[int], list[int]]:
    """(best, worst) objects for an arm, by IoU averaged over clicks and seeds less the reference's, most changed first.

    Args:
        curves: (arms, seeds, objects, clicks) IoU.
    """
    change = (curves[arm] - curves[0]).mean((0, 2))
    order = np.argsort(change, kind="stable")
    return order[::-1][:count].tolist(), order[:count].tolist()


def sheet(
    folders: tuple[Path, Path], reports: tuple[Report, Report], names: tuple[str, str], weights: WeightsName,
    data: DataSet, objects: Sequence[int], click: int, title: str,
) -> Image:  # fmt: skip
    """Each object twice, side by side: the reference's mask after some clicks of its own game, and the arm's.

    Args:
        folders: of the two runs, the reference first.
        reports: their evaluations.
        names: of the two arms.
        weights: that were evaluated.
        data: what was evaluated.
        objects: their numbers among the report's objects.
        click: after which the masks are drawn.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    device = pick_device("auto")
    sessions = [_session(folder, report, weights, device) for folder, report in zip(folders, reports, strict=True)]
    tiles = []
    for number in objects:
        for session, report, name in zip(sessions, reports, names, strict=True):
            assert report.interactive is not None
            row = report.interactive.rows[:: report.interactive.repeats][number]
            tiles.append(_tile(session, _sample(data, row), row, click, name))
    height, width = (max(tile.image.shape[axis] for tile in tiles) for axis in (0, 1))
    return contact_sheet([_framed(tile, height, width) for tile in tiles], 4, title)


def _session(folder: Path, report: Report, weights: WeightsName, device: torch.device) -> ClickSession:
    """As the report's game was played."""
    assert report.interactive is not None
    generator, config, _ = build.load_generator(folder, device, weights)
    return ClickSession(generator, device, report.precision, report.interactive.zoom, config.size)


def _sample(data: DataSet, row: InteractiveRow) -> Sample:
    return next(sample for sample in map(data.__getitem__, data.objects_of_image[row.image]) if sample.id == row.id)


def _tile(session: ClickSession, sample: Sample, row: InteractiveRow, click: int, name: str) -> Tile:
    clicks = row.clicks[:click]
    session.set_image(sample.image)
    for one in clicks:
        prob = session.click(one.y, one.x, one.positive)
    caption = f"{name}: IoU {row.iou[len(clicks) - 1]:.2f}"
    turns = range(1, len(clicks) + 1)
    return Tile(sample.image, clicks, turns, sample.target, prob > THRESHOLD, sample.ignore, caption)


def _framed(tile: Tile, height: int, width: int) -> Tile:
    """On a white field of that size."""
    below, beside = height - tile.image.shape[0], width - tile.image.shape[1]
    if not below and not beside:
        return tile

    def grown(mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        return None if mask is None else np.pad(mask, ((0, below), (0, beside)))

    target, prediction = grown(tile.target), grown(tile.prediction)
    assert target is not None
    image = np.pad(tile.image, ((0, below), (0, beside), (0, 0)), constant_values=255)
    return Tile(image, tile.clicks, tile.turns, target, prediction, grown(tile.ignore), tile.caption)
