"""Protocol `interactive`, the field's: every object at native size, a robot that clicks the deepest error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import numpy as np

from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.evaluation.report import THRESHOLDS, Estimate, InteractiveResult, InteractiveRow
from mfpgan.metrics import bootstrap_interval, boundary_iou, confusion, failed, iou, noc
from mfpgan.session import THRESHOLD
from mfpgan.types import BoolMask, Click, ClickStrategy, DataSet, Image, Probability, Sample


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


def evaluate_interactive(
    predictor: Predictor,
    data: DataSet,
    *,
    max_clicks: int = 20,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InteractiveResult:
    """Play every object of the data set with the robot and count clicks.

    Args:
        predictor: gets each image once and is reset between its objects.
        data: objects averaged, intervals by bootstrap over images.
        max_clicks: clicks an object, always all of them, unless no error is left before.
        seed: of the bootstrap; the robot uses no chance.
        limit: only the first so many images.
        progress: called as progress(objects done, objects in all) after every object.

    Raises:
        ValueError: there is no object to play.
    """
    robot = STRATEGIES["center"]()
    images = data.objects_of_image[:limit]
    total, rows, seconds, forward = sum(map(len, images)), [], 0.0, predictor.forward_seconds
    if not total:
        raise ValueError(f"{data.name}: no object to evaluate")
    for number, objects in enumerate(images):
        for position, index in enumerate(objects):
            sample = data[index]
            if position == 0:
                predictor.set_image(sample.image)
            predictor.reset()
            start = perf_counter()
            rows.append(_play(predictor, robot, sample, number, max_clicks))
            seconds += perf_counter() - start
            if progress:
                progress(len(rows), total)
    forward = predictor.forward_seconds - forward
    clicks = max(1, sum(len(row.clicks) for row in rows))
    groups = [row.image for row in rows]

    def estimate(values: Sequence[float]) -> Estimate:
        return Estimate(float(np.mean(values)), *bootstrap_interval(values, groups, seed=seed))

    return InteractiveResult(
        max_clicks=max_clicks,
        seed=seed,
        noc={str(t): estimate([row.noc[str(t)] for row in rows]) for t in THRESHOLDS},
        failures={str(t): sum(failed(row.iou, t / 100, max_clicks) for row in rows) for t in THRESHOLDS},
        iou=tuple(estimate(values) for values in zip(*(row.iou for row in rows), strict=True)),
        biou=tuple(estimate(values) for values in zip(*(row.biou for row in rows), strict=True)),
        seconds_per_click=seconds / clicks,
        forward_seconds_per_click=forward / clicks,
        overhead_share=(seconds - forward) / seconds,
        rows=tuple(rows),
    )


def _play(predictor: Predictor, robot: ClickStrategy, sample: Sample, image: int, max_clicks: int) -> InteractiveRow:
    """One object from the empty mask to the last click."""
    target, ignore, rng = sample.target, sample.ignore, np.random.default_rng(0)
    clicks: list[Click] = []
    ious: list[float] = []
    bious: list[float] = []
    mask: BoolMask | None = None
    while len(clicks) < max_clicks and (turn := robot(target, mask, clicks, rng, ignore)):
        for click in turn:
            clicks.append(click)
            mask = predictor.click(click.y, click.x, click.positive) > THRESHOLD
            ious.append(iou(confusion(mask, target, ignore)))
            bious.append(boundary_iou(mask, target, ignore))
    missing = max_clicks - len(clicks)
    ious, bious = ious + ious[-1:] * missing, bious + bious[-1:] * missing
    counts = {str(t): noc(ious, t / 100, max_clicks) for t in THRESHOLDS}
    return InteractiveRow(sample.id, image, tuple(clicks), tuple(ious), tuple(bious), counts)
