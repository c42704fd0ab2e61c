"""The clicks that a simulated user makes on training samples, seen before anything is trained."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mfpgan.config import TrainConfig
from mfpgan.data import Progress
from mfpgan.data.loader import Positions
from mfpgan.data.order import Order
from mfpgan.evaluation.references import grabcut
from mfpgan.figures import Tile, contact_sheet
from mfpgan.files import write_atomically
from mfpgan.metrics import confusion, iou
from mfpgan.training.simulate import CLICK_STREAM
from mfpgan.types import BoolMask, Click, ClickStrategy, DataSet, Image, InputError, Sample

LONGEST_ID = 16


class Turn(NamedTuple):
    """One turn of a user."""

    seen: BoolMask | None
    """(H, W) bool, the mask that was looked at; None in the first turn."""
    clicks: tuple[Click, ...]
    """The answer to it, in pixels of the sample."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Training samples and the turns of their users."""

    title: str
    samples: list[Sample]
    turns: list[list[Turn]]
    """For each sample its turns; the same number for all."""

    def sheet(self) -> Image:
        """(H, W, 3) uint8, RGB: for each sample its turns side by side, each as the user saw it and with the clicks so
        far."""
        rounds, count = len(self.turns[0]), len(self.samples)
        tiles = [tile for sample, turns in zip(self.samples, self.turns, strict=True) for tile in _tiles(sample, turns)]
        beside = min(count, max(1, round(sqrt(count / rounds * 4 / 3))))  # about 4:3
        return contact_sheet(tiles, beside * rounds, self.title)

    def summary(self) -> str:
        """One line: samples, clicks of each, share of positive ones, turns."""
        clicks = [click for turns in self.turns for turn in turns for click in turn.clicks]
        positive = sum(click.positive for click in clicks) / max(1, len(clicks))
        return (
            f"{len(self.samples)} samples, {len(clicks) / len(self.samples):.1f} clicks each, {positive:.0%} positive, "
            f"turns: {len(self.turns[0])}"
        )


def preview(data: DataSet, config: TrainConfig, count: int, rounds: int | None, progress: Progress | None) -> Preview:
    """The first samples of a training run with this config, and the clicks of its simulated user.

    Samples, augmentation and first clicks are those of the run with the same seed and size whose validation data is left
    to its default (another choice of it may hold out other photos). There is no network: from the second turn on the user
    answers, with the chance that training gives that turn, what OpenCV's GrabCut makes of the clicks so far, and every
    sample gets all the turns, where training draws a number of them.

    Args:
        config: of its data fields only the order of the objects is looked at.
        count: samples.
        rounds: turns after the first; None: the strategy's own number.
        progress: called with (done, all).

    Raises:
        InputError: one photo or annotation after the other cannot be read.
    """
    strategy = config.strategy()
    rounds = strategy.rounds if rounds is None else rounds
    order = Order(data, config.seed, config.objects_per_image, config.repeat_threshold)
    positions = Positions(data, order, config.seed, config.size, others=True)
    samples, turns = [], []
    for position in range(count):
        drawn = positions[position]
        sample = drawn.sample
        if sample is None:
            raise drawn.error()
        samples.append(sample)
        turns.append(_play(sample, strategy, rounds, [config.seed, position, CLICK_STREAM]))
        if progress:
            progress(position + 1, count)
    return Preview(_title(config.clicks, strategy, rounds, data, config.seed), samples, turns)


def _play(sample: Sample, strategy: ClickStrategy, rounds: int, seed: list[int]) -> list[Turn]:
    """The turns of one user, with the chance that training gives them."""
    turns: list[Turn] = []
    clicks: list[Click] = []
    for number in range(rounds + 1):
        seen = grabcut(sample.image, clicks) if number else None
        rng = np.random.default_rng([*seed, number] if number else seed)
        turn = strategy(sample.target, seen, tuple(clicks), rng, sample.ignore, sample.others)
        turns.append(Turn(seen, turn))
        clicks += turn
    return turns


def _tiles(sample: Sample, turns: list[Turn]) -> list[Tile]:
    tiles: list[Tile] = []
    clicks: list[Click] = []
    numbers: list[int] = []
    name = sample.id if len(sample.id) <= LONGEST_ID else f"...{sample.id[3 - LONGEST_ID :]}"
    for number, turn in enumerate(turns, 1):
        clicks += turn.clicks
        numbers += [number] * len(turn.clicks)
        positive = sum(click.positive for click in turn.clicks)
        signs = [f"+{positive}"] * (positive > 0) + [f"-{len(turn.clicks) - positive}"] * (positive < len(turn.clicks))
        words = f"{name}  {f'turn {number}: ' if len(turns) > 1 else ''}{' '.join(signs) or 'no click'}"
        if turn.seen is not None:
            words += f", IoU {iou(confusion(turn.seen, sample.target, sample.ignore)):.2f}"
        tiles.append(Tile(sample.image, tuple(clicks), tuple(numbers), sample.target, turn.seen, sample.ignore, words))
    return tiles


def _title(name: str, strategy: ClickStrategy, rounds: int, data: DataSet, seed: int) -> str:
    chosen: Any = strategy  # a dataclass, as all in STRATEGIES
    parameters = ", ".join(
        f"{field.name} {getattr(chosen, field.name)}" for field in fields(chosen) if field.name != "rounds"
    )
    start = f"Clicks {name} ({parameters})" if parameters else f"Clicks {name}"
    start += f" on {data.name}, seed {seed}. "
    if not rounds:
        return f"{start}The first turn, before any answer."
    return (
        f"{start}From left to right what the user saw, and the clicks so far. "
        "No network is here: the answer between turns is GrabCut's."
    )


def check_png(path: Path) -> None:
    """Before any work: can a PNG be written there?

    Raises:
        InputError: another kind of file, a folder, or in a folder that does not exist.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"--out {path}: only PNG is written, expected a name that ends in .png.")
    if not path.parent.is_dir():
        raise InputError(f"--out {path}: there is no folder {path.parent}; make it first or name another.")
    if path.is_dir():
        raise InputError(f"--out {path}: this is a folder, expected the name of a file.")


def write_png(path: Path, image: Image) -> None:
    """Write (H, W, 3) uint8 pixels as PNG; an older file is replaced at once."""
    from PIL import Image as Pillow

    png = io.BytesIO()
    Pillow.fromarray(image).save(png, "PNG")
    write_atomically(path, png.getbuffer())
