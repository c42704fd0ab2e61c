"""Protocol `interactive`, the field's: every object at native size, a robot that clicks the deepest error.

Another robot plays beside it, as often as asked: what is lost when clicks are not perfect (RClicks, NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from mfpgan.clicks.center import Center
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.data.loader import with_others
from mfpgan.evaluation.report import THRESHOLDS, Estimate, InteractiveResult, InteractiveRow, RobotScore
from mfpgan.metrics import bootstrap_interval, boundary_iou, confusion, failed, iou, noc
from mfpgan.session import THRESHOLD
from mfpgan.types import BoolMask, Click, ClickStrategy, DataSet, Image, Probability, Sample

ROBOT_STREAM = 11
"""Last entry of a seed, beside the streams of training and of the protocol `single`, which ends in 0."""


class Predictor(Protocol):
    """Whatever answers clicks. `ClickSession` is one; a test's oracle is another."""

    forward_seconds: float
    """Time spent in the network since the predictor was made; 0.0 if nobody cares."""

    def set_image(self, rgb: Image) -> None:
        """Start on an image, without clicks."""
        ...

    def click(self, y: int, x: int, positive: bool) -> Probability:
        """Add a click and answer: (H, W) float32 in [0, 1]."""
        ...

    def reset(self) -> None:
        """Take all clicks back; the image stays."""
        ...


CENTER = Center()
"""The robot of the field's tables; any other is compared with it."""


def evaluate_interactive(
    predictor: Predictor,
    data: DataSet,
    *,
    robot: ClickStrategy = CENTER,
    repeats: int = 1,
    max_clicks: int = 20,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InteractiveResult:
    """Play every object of the data set with the robot and count clicks.

    Args:
        predictor: gets each image once and is reset before every game.
        data: objects averaged, intervals by bootstrap over images.
        robot: any click strategy. Another one than `center` is compared with `center`, who plays every object once too.
        repeats: times that the robot plays every object. Its chance is a function of (seed, object, repeat) alone.
        max_clicks: clicks a game, always all of them, unless no error is left before.
        seed: of the robot's chance and of the bootstrap.
        limit: only the first so many images.
        progress: called as progress(games of the robot done, objects x repeats) after every game of the robot.

    Raises:
        ValueError: there is no object to play.
    """
    images = data.objects_of_image[:limit]
    total = repeats * sum(map(len, images))
    if not total:
        raise ValueError(f"{data.name}: no object to evaluate")
    beside = not isinstance(robot, Center)
    uses_others = getattr(robot, "uses_others", False)
    games: list[tuple[ClickStrategy, int]] = [(robot, repeat) for repeat in range(repeats)]
    if beside:
        games.insert(0, (CENTER, 0))
    rows: list[InteractiveRow] = []
    center_rows: list[InteractiveRow] = []
    seconds, forward = 0.0, predictor.forward_seconds
    for number, objects in enumerate(images):
        for position, index in enumerate(objects):
            sample = with_others(data, index) if uses_others else data[index]
            if position == 0:
                predictor.set_image(sample.image)
            for player, repeat in games:
                predictor.reset()
                start = perf_counter()
                rng = np.random.default_rng([seed, index, repeat, ROBOT_STREAM])
                row = _play(predictor, player, sample, rng, max_clicks, image=number, repeat=repeat)
                seconds += perf_counter() - start
                if player is not robot:
                    center_rows.append(row)
                    continue
                rows.append(row)
                if progress:
                    progress(len(rows), total)
    forward = predictor.forward_seconds - forward
    clicks = max(1, sum(len(row.clicks) for row in rows + center_rows))
    score = _score(rows, max_clicks, seed)
    center = _score(center_rows, max_clicks, seed) if beside else None
    loss, loss_percent = _loss(score, center, repeats, seed) if center else ({}, {})
    by_repeat = _noc_by_repeat(rows, repeats) if repeats > 1 else {}
    return InteractiveResult(
        max_clicks=max_clicks,
        seed=seed,
        noc=score.noc,
        failures=score.failures,
        iou=score.iou,
        biou=score.biou,
        seconds_per_click=seconds / clicks,
        forward_seconds_per_click=forward / clicks,
        overhead_share=(seconds - forward) / seconds,
        rows=score.rows,
        robot=next((name for name, kind in STRATEGIES.items() if type(robot) is kind), type(robot).__name__),
        parameters=robot_parameters(robot),
        repeats=repeats,
        noc_by_repeat=by_repeat,
        spread={percent: float(np.std(values, ddof=1)) for percent, values in by_repeat.items()},
        center=center,
        loss=loss,
        loss_percent=loss_percent,
    )


def robot_parameters(robot: ClickStrategy) -> dict[str, Any]:
    """The parameters of a robot that count in an evaluation, with their values: all but `rounds`, which is training's."""
    values: dict[str, Any] = asdict(robot) if is_dataclass(robot) else {}
    return {name: value for name, value in values.items() if name != "rounds"}


def _play(
    predictor: Predictor,
    robot: ClickStrategy,
    sample: Sample,
    rng: np.random.Generator,
    max_clicks: int,
    *,
    image: int,
    repeat: int,
) -> InteractiveRow:
    """One object from the empty mask to the last click. The clicks of one turn are answered one by one."""
    target, ignore = sample.target, sample.ignore
    clicks: list[Click] = []
    ious: list[float] = []
    bious: list[float] = []
    mask: BoolMask | None = None
    while len(clicks) < max_clicks and (turn := robot(target, mask, clicks, rng, ignore, sample.others)):
        for click in turn[: max_clicks - len(clicks)]:
            clicks.append(click)
            mask = predictor.click(click.y, click.x, click.positive) > THRESHOLD
            ious.append(iou(confusion(mask, target, ignore)))
            bious.append(boundary_iou(mask, target, ignore))
    missing = max_clicks - len(clicks)
    ious, bious = ious + (ious[-1:] or [0.0]) * missing, bious + (bious[-1:] or [0.0]) * missing
    counts = {str(t): noc(ious, t / 100, max_clicks) for t in THRESHOLDS}
    return InteractiveRow(sample.id, image, tuple(clicks), tuple(ious), tuple(bious), counts, repeat)


def _score(rows: Sequence[InteractiveRow], max_clicks: int, seed: int) -> RobotScore:
    """Means over rows; images are drawn again with all repeats of all their objects."""
    groups = [row.image for row in rows]
    return RobotScore(
        noc={str(t): _estimate([row.noc[str(t)] for row in rows], groups, seed) for t in THRESHOLDS},
        failures={str(t): sum(failed(row.iou, t / 100, max_clicks) for row in rows) for t in THRESHOLDS},
        iou=tuple(_estimate(values, groups, seed) for values in zip(*(row.iou for row in rows), strict=True)),
        biou=tuple(_estimate(values, groups, seed) for values in zip(*(row.biou for row in rows), strict=True)),
        rows=tuple(rows),
    )


def _loss(
    score: RobotScore, center: RobotScore, repeats: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Clicks more than center, and the same in percent of center's."""
    # Every object has equally many rows, so a difference a row gives the same mean as one an object, and the same interval.
    groups = [row.image for row in score.rows]
    loss: dict[str, Estimate] = {}
    in_percent: dict[str, Estimate] = {}
    for percent, whole in center.noc.items():
        changes = [row.noc[percent] - center.rows[i // repeats].noc[percent] for i, row in enumerate(score.rows)]
        loss[percent] = _estimate(changes, groups, seed)
        in_percent[percent] = Estimate(*(100 * value / whole.mean for value in loss[percent]))
    return loss, in_percent


def _noc_by_repeat(rows: Sequence[InteractiveRow], repeats: int) -> dict[str, tuple[float, ...]]:
    return {
        str(t): tuple(float(np.mean([row.noc[str(t)] for row in rows[repeat::repeats]])) for repeat in range(repeats))
        for t in THRESHOLDS
    }


def _estimate(values: Sequence[float], groups: Sequence[int], seed: int) -> Estimate:
    return Estimate(float(np.mean(values)), *bootstrap_interval(values, groups, seed=seed))
