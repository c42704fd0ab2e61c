"""Puts a report where people look: numbers, curves and pictures of a run."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from mfpgan.data.subset import spread
from mfpgan.evaluation.report import MODEL, InteractiveResult, Report
from mfpgan.evaluation.single import SingleCase, answer, single_case
from mfpgan.figures import clicks_curve_figure, confusion_figure, draw_triplet
from mfpgan.tracking import Run
from mfpgan.types import BoolMask, DataSet, Image

TRIPLETS = 12
"""Objects of protocol `single` drawn, spread over the data set."""


def record_report(report: Report, run: Run, prefix: str, *, generator: nn.Module, data: DataSet) -> None:
    """Log a report into a run: metrics at the checkpoint's step, curves whose step is the click, figures.

    Args:
        prefix: in front of every name, for example "bsds500".
        generator, data: what was evaluated; the triplets are drawn from them.
    """
    run.log(report.metrics(prefix), report.step)
    curves = report.curves(prefix)
    for click in range(1, report.interactive.max_clicks + 1 if report.interactive else 1):
        run.log({name: values[click - 1] for name, values in curves.items()}, click)
    if report.single:
        for part, scores in report.single.scores.items():
            title = f"{report.data}, {part.replace('single20', 'first 20 images').replace('single', 'all images')}"
            run.image(f"{prefix}_confusion_{part}", confusion_figure(scores[MODEL].confusion, title), report.step)
        for number, (case, mask) in enumerate(_drawn(report, generator, data)):
            run.image(
                f"{prefix}_triplet_{number:02}",
                draw_triplet(case.image, case.clicks, case.target, mask, case.ignore),
                report.step,
            )
    if report.interactive:
        run.image(f"{prefix}_clicks", _curves_figure(report.interactive, report.data), report.step)


def _curves_figure(result: InteractiveResult, data: str) -> Image:
    """IoU after each click; of the robot and of `center` where they are two, otherwise with the boundary's IoU."""
    if result.center is None:
        return clicks_curve_figure({"IoU": result.iou, "boundary IoU": result.biou}, data)
    return clicks_curve_figure({f"robot {result.robot}": result.iou, "robot center": result.center.iou}, data)


def _drawn(report: Report, generator: nn.Module, data: DataSet) -> Iterator[tuple[SingleCase, BoolMask]]:
    assert report.single is not None
    for number in spread(len(report.single.rows), TRIPLETS):
        case = single_case(data, number, report.single.seed)
        yield case, answer(generator, case, report.precision)
