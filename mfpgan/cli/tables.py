"""Reports, runs and findings as tables on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from mfpgan.cli.display import stdout

if TYPE_CHECKING:
    from mfpgan.data.check import CheckReport
    from mfpgan.evaluation.report import Estimate, InteractiveResult, Report, SingleResult
    from mfpgan.tracking import RunRecord

MOST_PROBLEMS = 50
"""Findings printed; the rest is counted."""
SHOWN_CLICKS = (1, 2, 3, 5, 10, 15, 20)


def show_report(report: Report) -> None:
    """The tables of both protocols."""
    if report.single:
        for part in report.single.scores:
            stdout.print(_single_table(report, report.single, part))
    if report.interactive:
        stdout.print(_interactive_table(report, report.interactive))
        stdout.print(_clicks_table(report.interactive))


def _single_table(report: Report, single: SingleResult, part: str) -> Table:
    images = len(single.rows) if part == "single" else int(part.removeprefix("single"))
    table = Table(
        title=f"{report.data}: one positive, one negative random click, {single.size} px, {images} images",
        title_justify="left",
    )
    table.add_column("")
    names = list(next(iter(single.scores[part].values())).pooled)
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("mean IoU over images [95 %]", justify="right")
    for name, score in single.scores[part].items():
        table.add_row(name, *(f"{score.pooled[key]:.4f}" for key in names), _interval(score.per_image["iou"]))
    return table


def _interactive_table(report: Report, result: InteractiveResult) -> Table:
    objects = len(result.rows)
    table = Table(
        title=f"{report.data}: robot, {result.max_clicks} clicks, {objects} objects at native size",
        title_justify="left",
    )
    for name in ("IoU", "NoC, mean clicks [95 %]", "never reached"):
        table.add_column(name, justify="right")
    for percent, value in result.noc.items():
        failures = result.failures[percent]
        table.add_row(f"{percent} %", _interval(value, 2), f"{failures} ({failures / objects:.0%})")
    table.caption = f"{result.seconds_per_click:.3f} s a click, {result.overhead_share:.0%} of it outside the network"
    return table


def _clicks_table(result: InteractiveResult) -> Table:
    shown = [click for click in SHOWN_CLICKS if click <= result.max_clicks]
    table = Table(title="After so many clicks, mean over objects", title_justify="left")
    table.add_column("")
    for click in shown:
        table.add_column(str(click), justify="right")
    table.add_row("IoU", *(f"{result.iou[click - 1].mean:.3f}" for click in shown))
    table.add_row("boundary IoU", *(f"{result.biou[click - 1].mean:.3f}" for click in shown))
    return table


def _interval(value: Estimate, digits: int = 4) -> str:
    return f"{value.mean:.{digits}f} \\[{value.low:.{digits}f}, {value.high:.{digits}f}]"


RUN_METRICS = {
    "val/iou": "val IoU", "single20/dice": "Dice, 20 images", "single/dice": "Dice", "single/iou": "IoU",
    "NoC_80": "NoC 80", "NoC_90": "NoC 90",
}  # fmt: skip
"""End of a metric's name, and what its column is called; the beginning is the data set."""


def show_runs(runs: Sequence[RunRecord]) -> None:
    """A row a run: key parameters, and every number of RUN_METRICS that any of them has."""
    if not runs:
        stdout.print("No runs yet; `mfpgan train` makes one.")
        return
    columns = _metric_columns(run.metrics for run in runs)
    table = Table(title=f"{len(runs)} run{'s' if len(runs) > 1 else ''}, newest first" if len(runs) > 1 else None)
    for name in ("run", "name", "started", "status", "data", "adv", "clicks", "width", "steps"):
        table.add_column(name, overflow="fold")
    for title in columns.values():
        table.add_column(title, justify="right", overflow="fold")
    for run in runs:
        parameters = [run.params.get(key, "") for key in ("data_name", "adv", "clicks", "width", "total_steps")]
        numbers = [f"{run.metrics[key]:.3f}" if key in run.metrics else "" for key in columns]
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        table.add_row(run.id[:8], *map(escape, [run.name, started, run.status.lower(), *parameters, *numbers]))
    stdout.print(table)


def _metric_columns(metrics: Iterable[dict[str, float]]) -> dict[str, str]:
    """Metric name to title, data set by data set, in the order of RUN_METRICS."""
    names = sorted({name for one in metrics for name in one})
    columns: dict[str, str] = {}
    for prefix in ["val", *sorted({name.split("/")[0] for name in names} - {"val"})]:
        for end, title in RUN_METRICS.items():
            name = end if prefix == "val" else f"{prefix}/{end}"
            if name in names:
                columns[name] = title if prefix == "val" else f"{prefix} {title}"
    return columns


def show_check(report: CheckReport) -> None:
    """What a data set holds, and what is wrong with it."""
    stdout.print(f"{escape(report.name)}: {report.kind}, {report.images} images, {report.objects} usable objects")
    if report.areas_px:
        table = Table(title="object sizes", title_justify="left")
        table.add_column("")
        quantiles = report.quantiles_px()
        for quantile in quantiles:
            table.add_column(
                "smallest" if quantile == 0 else "largest" if quantile == 1 else f"{quantile:.0%}", justify="right"
            )
        table.add_row("pixels", *(f"{value:.0f}" for value in quantiles.values()))
        table.add_row("share of image", *(f"{value:.2%}" for value in report.quantiles_share().values()))
        stdout.print(table)
    if report.categories:
        most = ", ".join(f"{name} {count}" for name, count in report.categories.most_common(12))
        stdout.print(
            f"{len(report.categories)} categories: {escape(most)}{', ...' if len(report.categories) > 12 else ''}"
        )
    for problem in report.problems[:MOST_PROBLEMS]:
        place = f"{problem.file}{f' ({problem.id})' if problem.id else ''}"
        word = "[bold red]problem[/]" if problem.unusable else "[yellow]hint[/]"
        stdout.print(f"{word} {escape(place)}: {escape(problem.sentence)}", soft_wrap=True)
    if len(report.problems) > MOST_PROBLEMS:
        stdout.print(f"... and {len(report.problems) - MOST_PROBLEMS} more.")
    bad = sum(problem.unusable for problem in report.problems)
    stdout.print(
        "Nothing is unusable." if report.usable else f"{bad} unusable; training would leave them out or stop there."
    )
