"""Protocol `interactive`, the field's: every object at native size, a robot that clicks the deepest error.

Another robot plays beside it, as often as asked: what is lost when clicks are not perfect (RClicks, NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass
from itertools import chain
from operator import itemgetter
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mfpgan import distributed
from mfpgan.clicks.center import Center
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.data.loader import usable_cores
from mfpgan.evaluation.play import BATCH_PIXELS, OneByOne, Predictor, Table, Together, all_games, batches, play
from mfpgan.evaluation.report import THRESHOLDS, Estimate, InteractiveResult, InteractiveRow, RobotScore
from mfpgan.inference import TorchEngine
from mfpgan.metrics import bootstrap_interval, failed
from mfpgan.types import ClickStrategy, DataSet

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
    batch_size: int = 1,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InteractiveResult:
    """Play every object of the data set with the robot and count clicks.

    Several processes share out the batches, which are those of one process, so that the rows are too; each returns all. Every
    one reads all objects, because only their sizes say which are played together.

    Args:
        predictor: gets each image once and is reset before every game; with a batch size above 1 a `ClickSession`, whose
            own image and clicks stay.
        data: objects averaged, intervals by bootstrap over images.
        robot: any click strategy; in a batch called by several threads at once, so it keeps nothing between calls. Another
            one than `center` is compared with `center`, who plays every object once too.
        repeats: times that the robot plays every object. Its chance is a function of (seed, object, repeat) alone.
        max_clicks: clicks a game, always all of them, unless no error is left before.
        seed: of the robot's chance and of the bootstrap.
        limit: only the first so many images.
        batch_size: so many games at most, at images that the network computes at the same size, make their k-th click
            together; fewer at large images, see `BATCH_PIXELS`. The rows are those of 1, one game after the other, as far as
            the network's answers are: in a batch its sums run in another order.
        threads: of the robots and of the metrics in a batch; left out, one a core: OpenCV and NumPy release Python's lock
            meanwhile. Changes nothing but the time.
        progress: called as progress(games of the robot done, objects x repeats) after every game of the robot. Those of
            other processes count as done when it is their turn.

    Raises:
        ValueError: there is no object to play, or the predictor cannot play several games at once.
        InputError: an object cannot be read.
    """
    images = data.objects_of_image[:limit]
    total = repeats * sum(map(len, images))
    if not total:
        raise ValueError(f"{data.name}: no object to evaluate")
    beside = not isinstance(robot, Center)
    robots: list[tuple[ClickStrategy, int]] = [(robot, repeat) for repeat in range(repeats)]
    if beside:
        robots.insert(0, (CENTER, 0))
    table = _table(predictor, batch_size)
    games = all_games(data, images, robots, seed=seed)
    before = predictor.forward_seconds

    def played_here() -> _Played:
        rows: list[tuple[int, bool, InteractiveRow]] = []
        done, seconds = 0, 0.0
        with ThreadPoolExecutor(min(batch_size, threads or usable_cores())) as pool:
            for turn, batch in enumerate(batches(games, batch_size, BATCH_PIXELS, table)):
                if not distributed.takes(turn):
                    done += sum(game.robot is robot for game in batch)
                    if progress:
                        progress(done, total)
                    continue
                table.seat(batch)
                start = perf_counter()
                for game in play(table, batch, max_clicks, pool):
                    rows.append((game.number, game.robot is robot, game.row(max_clicks)))
                    done += game.robot is robot
                    if progress and game.robot is robot:
                        progress(done, total)
                seconds += perf_counter() - start
        return _Played(rows, seconds, predictor.forward_seconds - before)

    everywhere = distributed.told(distributed.together(played_here))
    played = sorted(chain.from_iterable(part.rows for part in everywhere), key=itemgetter(0))
    seconds, forward = (sum(times) for times in zip(*(part[1:] for part in everywhere), strict=True))
    rows = [row for _, is_robot, row in played if is_robot]
    center_rows = [row for _, is_robot, row in played if not is_robot]
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
        batch_size=batch_size,
        noc_by_repeat=by_repeat,
        spread={percent: float(np.std(values, ddof=1)) for percent, values in by_repeat.items()},
        center=center,
        loss=loss,
        loss_percent=loss_percent,
    )


class _Played(NamedTuple):
    """What one process has played."""

    rows: list[tuple[int, bool, InteractiveRow]]
    """Number of the game, whether it was the robot's and not center's, and what came of it."""
    seconds: float
    """Of play; those of several processes add up, so that a click costs what it costs in one."""
    forward_seconds: float


def _table(predictor: Predictor, batch_size: int) -> Table:
    if batch_size == 1:
        return OneByOne(predictor)
    engine = getattr(predictor, "engine", None)
    if not isinstance(engine, TorchEngine):
        raise ValueError(f"{type(predictor).__name__} plays one game at a time; use batch_size=1, got {batch_size}")
    return Together(engine)


def robot_parameters(robot: ClickStrategy) -> dict[str, Any]:
    """The parameters of a robot that count in an evaluation, with their values: all but `rounds`, which is training's."""
    values: dict[str, Any] = asdict(robot) if is_dataclass(robot) else {}
    return {name: value for name, value in values.items() if name != "rounds"}


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
