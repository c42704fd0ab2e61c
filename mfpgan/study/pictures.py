"""The answer of a study as pictures."""

from __future__ import annotations

from collections.abc import Sequence

from mfpgan.figures import clicks_curve_figure
from mfpgan.figures.comparison import ForestPanel, ForestRow, forest_figure, scatter_figure
from mfpgan.study.answer import Answer, Line, means_with_intervals
from mfpgan.types import Image

MOST_CURVES = 6
FOREST = ("NoC_85", "NoC_90", "IoU@1", "IoU@5", "IoU@20", "boundary_IoU@20")
"""Measures of protocol `interactive` that are drawn beside those asked about; of `single` it is IoU and Dice."""
FOREST_SINGLE = ("iou", "dice")
AT_CLICK = 5
"""After which objects are compared one by one."""


def pictures(found: Answer, title: str) -> dict[str, Image]:
    """{file name without suffix: (H, W, 3) uint8}: "forest", and of each evaluation with clicks "clicks" and "objects"."""
    drawn = {"forest": forest_figure(_panels(found), f"{title}: difference to {found.arms[0]}")}
    games = [evaluation for evaluation in found.evaluations if evaluation.curves is not None]
    for number, evaluation in enumerate(games):
        suffix = "" if len(games) == 1 else f"_{number + 1}"
        curves = {
            arm: means_with_intervals(evaluation, place) for place, arm in enumerate(found.arms[:MOST_CURVES])
        }  # more curves than that cannot be told apart
        drawn[f"clicks{suffix}"] = clicks_curve_figure(curves, f"{title}: IoU after each click")
        assert evaluation.curves is not None
        click = min(AT_CLICK, evaluation.curves.shape[-1])
        values = evaluation.curves[..., click - 1].mean(1)
        arms = {arm: values[place] for place, arm in enumerate(found.arms) if place}
        drawn[f"objects{suffix}"] = scatter_figure(values[0], arms, found.arms[0], title, f"IoU after {click} clicks")
    return drawn


def _panels(found: Answer) -> list[ForestPanel]:
    panels = []
    for evaluation in found.evaluations:
        lines = [line for line in found.lines if line.evaluation is evaluation]
        usual = FOREST_SINGLE if evaluation.curves is None else FOREST
        kind = evaluation.title.split(",")[0]
        for measure in evaluation.values:
            there = [line for line in lines if line.measure == measure]
            if measure.name in usual or there[0].effect is not None:
                panels.append(
                    ForestPanel(f"{measure.name} ({kind})", _rows(there), there[0].effect, measure.higher_is_better)
                )
    return panels


def _rows(lines: Sequence[Line]) -> list[ForestRow]:
    return [ForestRow(line.arm, line.found.mean, line.found.low, line.found.high, line.found.by_seed) for line in lines]
