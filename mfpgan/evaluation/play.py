"""Games of protocol `interactive`: a robot that clicks on one object until it is content, many games at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

import numpy as np

from mfpgan.data.loader import with_others
from mfpgan.evaluation.report import THRESHOLDS, InteractiveRow
from mfpgan.inference import TorchEngine, TorchState
from mfpgan.metrics import boundary_iou, confusion, iou, noc
from mfpgan.types import THRESHOLD, BoolMask, Click, ClickStrategy, DataSet, Image, Probability, Sample

ROBOT_STREAM = 11
"""Last entry of a seed, beside the streams of training and of the protocol `single`, which ends in 0."""
BATCH_PIXELS = 2**23
"""Pixels that the games of a batch have together, unless a single one has more: 32 of 512x512, 46 of BSDS500's photos.

A forward pass of the U-Net of width 1 without gradient takes 430 bytes a pixel in float32 and 260 in bfloat16 (process
memory on a CPU, 1 and 2 million pixels), so a batch 3.4 GiB and 2.1 GiB on a GPU; on a CPU a pass has fewer pixels
(`mfpgan.inference.CPU_PIXELS`). Photos, masks and answers of a batch, 30 bytes a pixel, are 240 MiB on both: with zoom the
network computes little, but photos of 20 megapixels are large all the same.
"""
WAITING_BATCHES = 4
"""So many batches' games and pixels wait at most for others of their size, so that data of many sizes cannot fill the
memory: 200 MiB of photos and masks."""


class Predictor(Protocol):
    """Whatever answers clicks. A `mfpgan.session.ClickSession` is one; a test's oracle is another."""

    @property
    def forward_seconds(self) -> float:
        """Time spent in the network since the predictor was made; 0.0 if nobody cares."""
        ...

    def set_image(self, image: Image, /) -> None:
        """Start on an image, without clicks."""
        ...

    def click(self, y: int, x: int, positive: bool) -> Probability:
        """Add a click and answer: (H, W) float32 in [0, 1]."""
        ...

    def reset(self) -> None:
        """Take all clicks back; the image stays."""
        ...


@dataclass(slots=True, eq=False)
class Game:
    """One robot and one object, from the empty mask to the last click."""

    number: int
    """Position in the order of the games, which is not the order in which they are played."""
    robot: ClickStrategy
    sample: Sample
    rng: np.random.Generator
    image: int
    """Number of the image in the data set's order."""
    repeat: int
    clicks: list[Click] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    bious: list[float] = field(default_factory=list)
    _mask: BoolMask | None = None
    _turn: list[Click] = field(default_factory=list)
    """Clicks made at one sight of the mask that are not answered yet."""

    def next_click(self, answer: BoolMask | None, max_clicks: int) -> Click | None:
        """Judge the answer to the last click, None before the first, and click again; None if the game is over.

        The clicks of one turn are answered one by one.
        """
        target, ignore = self.sample.target, self.sample.ignore
        if answer is not None:
            self._mask = answer
            self.ious.append(iou(confusion(answer, target, ignore)))
            self.bious.append(boundary_iou(answer, target, ignore))
        if len(self.clicks) == max_clicks:
            return None
        if not self._turn:
            self._turn = list(self.robot(target, self._mask, self.clicks, self.rng, ignore, self.sample.others))
        if not self._turn:
            return None
        self.clicks.append(self._turn.pop(0))
        return self.clicks[-1]

    def row(self, max_clicks: int) -> InteractiveRow:
        """What came of it."""
        missing = max_clicks - len(self.clicks)
        ious, bious = (values + (values[-1:] or [0.0]) * missing for values in (self.ious, self.bious))
        counts = {str(t): noc(ious, t / 100, max_clicks) for t in THRESHOLDS}
        clicks = tuple(self.clicks)
        return InteractiveRow(self.sample.id, self.image, clicks, tuple(ious), tuple(bious), counts, self.repeat)


def all_games(
    data: DataSet, images: Sequence[Sequence[int]], robots: Sequence[tuple[ClickStrategy, int]], *, seed: int
) -> Iterator[Game]:
    """Every object of the images with every robot, each object read once.

    Args:
        images: for each image the indices of its objects.
        robots: who plays, and for which time; the chance of a game is a function of (seed, object, that time) alone.
    """
    uses_others = any(getattr(robot, "uses_others", False) for robot, _ in robots)
    number = 0
    for image, objects in enumerate(images):
        photo: Image | None = None
        for index in objects:
            sample = with_others(data, index) if uses_others else data[index]
            photo = sample.image if photo is None else photo
            sample = replace(sample, image=photo)  # a data set hands out a copy each, games hold one an image
            for robot, repeat in robots:
                rng = np.random.default_rng([seed, index, repeat, ROBOT_STREAM])
                yield Game(number, robot, sample, rng, image, repeat)
                number += 1


class Table(Protocol):
    """Where games are played."""

    def group(self, height: int, width: int) -> Hashable:
        """Games at images of equal groups may sit here together."""
        ...

    def pixels(self, height: int, width: int) -> int:
        """What a game at such an image counts for in a batch whose memory is bounded."""
        ...

    def seat(self, games: Sequence[Game]) -> None:
        """These games are played next, from their beginning."""
        ...

    def answer(self, games: Sequence[Game], clicks: Sequence[Click]) -> list[BoolMask]:
        """The masks, (H, W) bool, after one more click in each of some of the games."""
        ...


class OneByOne:
    """A table for one game, with a predictor that knows no more than one user."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._image: int | None = None

    def group(self, height: int, width: int) -> Hashable:
        """All alike: nobody waits."""
        return None

    def pixels(self, height: int, width: int) -> int:
        """The photo's."""
        return height * width

    def seat(self, games: Sequence[Game]) -> None:
        """The predictor gets each image once."""
        (game,) = games
        if game.image != self._image:
            self.predictor.set_image(game.sample.image)
            self._image = game.image
        self.predictor.reset()

    def answer(self, games: Sequence[Game], clicks: Sequence[Click]) -> list[BoolMask]:
        """One click."""
        return [self.predictor.click(*click) > THRESHOLD for click in clicks]


class Together:
    """A table for games that make their k-th click together, as a batch for the network."""

    def __init__(self, engine: TorchEngine) -> None:
        self.engine = engine
        self._states: dict[int, TorchState] = {}

    def group(self, height: int, width: int) -> Hashable:
        """By the size at which the network computes."""
        return self.engine.group(height, width)

    def pixels(self, height: int, width: int) -> int:
        """The network's or, if that looks at less than the photo, the photo's."""
        return max(self.engine.pixels(height, width), height * width)

    def seat(self, games: Sequence[Game]) -> None:
        """Every image goes to the device once."""
        self._states = {}  # gives their memory back before more is taken
        photos = {game.image: game.sample.image for game in games}
        states = {image: self.engine.start(photo) for image, photo in photos.items()}
        self._states = {game.number: states[game.image] for game in games}

    def answer(self, games: Sequence[Game], clicks: Sequence[Click]) -> list[BoolMask]:
        """A click in each."""
        states = self.engine.answer([self._states[game.number] for game in games], clicks)
        self._states.update(zip((game.number for game in games), states, strict=True))
        return [state.mask for state in states]


def batches(games: Iterator[Game], size: int, pixels: int, table: Table) -> Iterator[list[Game]]:
    """The games that may sit together in batches, each game once, in the order in which the batches are full.

    Args:
        size: most games in a batch.
        pixels: most pixels in a batch, as the table counts them; a game with more is a batch of its own.

    When `WAITING_BATCHES` times as many games or pixels wait for others, the fullest batches go as they are.
    """

    def fullness(some: Iterable[Game]) -> float:
        counts = [table.pixels(*game.sample.target.shape) for game in some]
        return max(len(counts) / size, sum(counts) / pixels)

    waiting: dict[Hashable, list[Game]] = {}
    for game in games:
        key = table.group(*game.sample.target.shape)
        if key in waiting and fullness([*waiting[key], game]) > 1:
            yield waiting.pop(key)
        waiting.setdefault(key, []).append(game)
        if fullness(waiting[key]) >= 1:
            yield waiting.pop(key)
        while fullness(chain.from_iterable(waiting.values())) >= WAITING_BATCHES:
            yield waiting.pop(max(waiting, key=lambda key: fullness(waiting[key])))
    yield from waiting.values()


def play(table: Table, games: Sequence[Game], max_clicks: int, pool: Executor) -> Iterator[Game]:
    """Play the games that are seated. They make their k-th click together; robots and metrics work in the pool.

    Yields:
        Each game when it is over: its robot is content, or has clicked `max_clicks` times.
    """
    going: Sequence[Game] = games
    answers: Sequence[BoolMask | None] = [None] * len(games)
    while going:
        turns = list(zip(going, pool.map(Game.next_click, going, answers, [max_clicks] * len(going)), strict=True))
        yield from (game for game, click in turns if click is None)
        going = [game for game, click in turns if click is not None]
        if going:
            answers = table.answer(going, [click for _, click in turns if click is not None])
