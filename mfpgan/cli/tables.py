"""Reports, runs and findings as tables on stdout."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from mfpgan.cli.display import stdout
from mfpgan.tracking import INTERRUPTED
from mfpgan.types import quoted

if TYPE_CHECKING:
    from mfpgan.data.check import CheckReport
    from mfpgan.evaluation.report import Estimate, InteractiveResult, Report, SingleResult
    from mfpgan.tracking import RunRecord

WIDE = 100
"""Columns of the terminal from which the list of runs shows all it has."""
MOST_PROBLEMS = 50
"""Findings printed; the rest is counted."""
WHOLE = re.compile(r"([^-/]+|[^/]+-[0-9a-f]{6})/")
"""Beginning of metrics of the usual protocol on whole data: a data set's name, with its digest if it is not one of ours.
What `jobs.prefix_of` adds to that (another robot, fewer images) is only in the comparison."""
SHOWN_CLICKS = (1, 2, 3, 5, 10, 15, 20)


def show_report(report: Report) -> None:
    """The tables of both protocols."""
    if report.single:
        for part in report.single.scores:
            stdout.print(_single_table(report, report.single, part))
    if report.interactive:
        stdout.print(_interactive_table(report, report.interactive))
        _say_loss(report.interactive)
        stdout.print(_clicks_table(report.interactive))


def _single_table(report: Report, single: SingleResult, part: str) -> Table:
    images = len(single.rows) if part == "single" else int(part.removeprefix("single"))
    table = _table(f"{report.data}: two random clicks (one positive, one negative), {single.size} px, {images} images")
    names = list(next(iter(single.scores[part].values())).pooled)
    for name in ["", *names]:
        table.add_column(WORDS.get(name, name), justify="right" if name else "left")
    table.add_column("IoU by image \\[95 %]", justify="right")
    for name, score in single.scores[part].items():
        table.add_row(name, *(f"{score.pooled[key]:.4f}" for key in names), _interval(score.per_image["iou"], 3))
    return table


def _interactive_table(report: Report, result: InteractiveResult) -> Table:
    table = _table(f"{report.data}: {_conditions(result)}, {result.objects} objects at native size")
    table.add_column("IoU", justify="right")
    table.add_column("NoC, mean clicks \\[95 %]", justify="right")
    if result.spread:
        table.add_column("spread over repeats", justify="right")
    table.add_column("never reached", justify="right")
    for percent, value in result.noc.items():
        cells = [f"{percent} %", _interval(value, 2)]
        if result.spread:
            cells.append(f"±{result.spread[percent]:.3f}")
        failures = result.failures[percent] / result.repeats
        cells.append(f"{failures:.{1 if result.repeats > 1 else 0}f} ({failures / result.objects:.0%})")
        table.add_row(*cells)
    together = f" ({result.batch_size} games together)" if result.batch_size > 1 else ""
    stdout.print(
        f"{result.seconds_per_click:.3f} s a click{together}, {result.overhead_share:.0%} of it outside the network.",
        soft_wrap=True,
    )
    return table


def _conditions(result: InteractiveResult) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items())
    robot = f"robot {result.robot}{f' ({parameters})' if parameters else ''}"
    repeats = f"{result.repeats} repeats" if result.repeats > 1 else ""
    return ", ".join(filter(None, [robot, repeats, "zoom" if result.zoom else "", f"{result.max_clicks} clicks"]))


def _say_loss(result: InteractiveResult) -> None:
    """What the robot costs against clicks in the middle of the error, a sentence a threshold."""
    if result.center is None:
        return
    stdout.print("Against the robot center on the same objects, mean \\[95 % over images]:", soft_wrap=True)
    for percent, loss in result.loss.items():
        words = "as many clicks as"
        if loss.mean:
            word = "more" if loss.mean > 0 else "fewer"
            words = f"{abs(loss.mean):.2f} clicks {word} ({result.loss_percent[percent].mean:+.1f} %) than"
        interval = f"\\[{loss.low:+.2f}, {loss.high:+.2f}]"
        stdout.print(f"  to {percent} % IoU {result.robot} needs {words} center {interval}", soft_wrap=True)
    if any(loss.low <= 0 <= loss.high for loss in result.loss.values()):
        stdout.print("  An interval that holds 0 may be chance.", soft_wrap=True)
    if any(result.center.failures.values()):
        shares = ", ".join(f"{count / result.objects:.0%}" for count in result.center.failures.values())
        stdout.print(f"  Where neither gets there the difference is 0; center never does on {shares}.", soft_wrap=True)


def _clicks_table(result: InteractiveResult) -> Table:
    shown = [click for click in SHOWN_CLICKS if click <= result.max_clicks]
    table = _table("After so many clicks, mean over objects" + (" and repeats" if result.repeats > 1 else ""))
    table.add_column("")
    for click in shown:
        table.add_column(str(click), justify="right")
    curves = {"IoU": result.iou, "boundary IoU": result.biou}
    if result.center:
        center = {"IoU": result.center.iou, "boundary IoU": result.center.biou}
        both = {name: {result.robot: curve, "center": center[name]} for name, curve in curves.items()}
        curves = {f"{name}, {robot}": curve for name, pair in both.items() for robot, curve in pair.items()}
    for name, curve in curves.items():
        table.add_row(name, *(f"{curve[click - 1].mean:.3f}" for click in shown))
    return table


def _interval(value: Estimate, digits: int = 4) -> str:
    return f"{value.mean:.{digits}f} \\[{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _table(title: str) -> Table:
    """An empty table under a line that may be longer than the table."""
    stdout.print()
    stdout.print(escape(title), soft_wrap=True, style="bold")
    return _plain()


def _plain() -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


WORDS = {"dice": "Dice", "iou": "IoU", "val/iou": "val IoU"}
RUN_PARAMETERS = {
    "data_name": "training data", "adv": "adv", "adv_weight": "adv weight", "clicks": "clicks", "memory": "memory",
    "loss": "loss", "width": "width", "size": "size", "total_steps": "steps", "batch_size": "batch", "lr": "lr", "seed": "seed",
    "encoder_start": "encoder from",
}  # fmt: skip
RUN_METRICS = {
    "single20/dice": "Dice, first 20", "single20/iou": "IoU, first 20", "single/dice": "Dice", "single/iou": "IoU", "single/mean_iou": "IoU by image",
    "NoC_80": "NoC 80", "NoC_85": "NoC 85", "NoC_90": "NoC 90", "NoC_90_spread": "NoC 90, spread over repeats",
    "loss_90": "NoC 90, more than center",
}  # fmt: skip
"""End of a metric's name, and what people call it; the beginning is the data set."""


def show_runs(runs: Sequence[RunRecord]) -> None:
    """A row a run: what it is and how far it got, with the Dice and NoC of the data sets it was evaluated on."""
    if not runs:
        stdout.print("No runs yet; `mfpgan train` makes one.")
        return
    metrics = {
        name: title.replace(" ", "\n", 1)
        for name, title in _metric_titles(runs).items()
        if name.endswith(("val/iou", "single/dice", "NoC_90")) and WHOLE.match(name)
    }
    table = _plain()
    parameters = {"adv": "adv", "clicks": "clicks", "data": "data_name", "steps": "total_steps"}
    if stdout.width < WIDE:
        del parameters["data"], parameters["clicks"]
    for name in ("run", "name", "started", "status", *parameters):
        foldable = name in ("name", "data")
        table.add_column(name, no_wrap=not foldable, overflow="fold", min_width=6 if foldable else None)
    for title in metrics.values():
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs:
        values = [escape(run.params.get(key, "")) for key in parameters.values()]
        numbers = [_number(run, name, 3) for name in metrics]
        table.add_row(run.id[:8], escape(run.name), _started(run)[5:], _status(run), *values, *numbers)
    stdout.print(table)


def hints(runs: Sequence[RunRecord]) -> list[str]:
    """Sentences about runs that did not end, and what to do."""
    sentences = []
    interrupted = [run for run in runs if run.status == INTERRUPTED]
    resumable = [run for run in interrupted if run.has_checkpoint]
    if resumable:
        shown = ", ".join(run.id[:8] for run in resumable[:5]) + (", ..." if len(resumable) > 5 else "")
        sentences.append(
            f"Interrupted runs go on from their last checkpoint with: mfpgan train --resume ID   (ID: {shown})"
        )
    if len(resumable) < len(interrupted):
        sentences.append(f"{len(interrupted) - len(resumable)} interrupted before the first checkpoint: start anew.")
    hosts = sorted({run.host for run in runs if _is_elsewhere(run)})
    if hosts:
        sentences.append(f"Whether a run on {', '.join(hosts)} still runs can only be seen there.")
    return sentences


def _status(run: RunRecord) -> str:
    return f"running on {escape(run.host)}?" if _is_elsewhere(run) else run.status.lower()


def _is_elsewhere(run: RunRecord) -> bool:
    return run.status == "RUNNING" and run.host not in ("", platform.node())


def compare_runs(runs: Sequence[RunRecord]) -> None:
    """A column a run: its parameters, and below them every number that any of them has."""
    table = _plain()
    table.add_column("run")
    for run in runs:
        table.add_column(run.id[:8], justify="right", overflow="fold")
    table.add_row("name", *(escape(run.name) for run in runs))
    table.add_row("started", *map(_started, runs))
    table.add_row("status", *map(_status, runs))
    for key, title in RUN_PARAMETERS.items():
        table.add_row(title, *(escape(run.params.get(key, "")) for run in runs))
    table.add_section()
    for name, title in _metric_titles(runs).items():
        table.add_row(title, *(_number(run, name) + _interval_of(run, name) for run in runs))
    stdout.print(table)


def _metric_titles(runs: Sequence[RunRecord]) -> dict[str, str]:
    """Metric name to title, data set by data set, in the order of RUN_METRICS; only those that some run has."""
    names = {name for run in runs for name in run.metrics}
    prefixes = sorted({name.split("/")[0] for name in names} - {"val", "train", "d"})
    titles = {"val/iou": "val IoU", "val/dice": "val Dice"}
    titles |= {f"{prefix}/{end}": f"{prefix} {title}" for prefix in prefixes for end, title in RUN_METRICS.items()}
    return {name: title for name, title in titles.items() if name in names}


def _number(run: RunRecord, name: str, digits: int = 4) -> str:
    return f"{run.metrics[name]:.{2 if _counts_clicks(name) else digits}f}" if name in run.metrics else ""


def _counts_clicks(name: str) -> bool:
    return "/NoC_" in name or "/loss_" in name


def _interval_of(run: RunRecord, name: str) -> str:
    """The 95 % interval behind a number, where one was logged."""
    ends = [run.metrics.get(f"{name}_{end}") for end in ("low", "high")]
    digits = 2 if _counts_clicks(name) else 4
    low, high = ends
    return "" if low is None or high is None else f" \\[{low:.{digits}f}, {high:.{digits}f}]"


def _started(run: RunRecord) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))


def show_check(report: CheckReport) -> None:
    """What a data set holds, and what is wrong with it."""
    stdout.print(f"{escape(report.name)}: {report.kind}, {report.images} images, {report.objects} usable objects")
    if report.areas_px:
        table = _table("Object sizes")
        table.add_column("")
        quantiles = report.quantiles_px()
        for quantile in quantiles:
            table.add_column(
                "smallest" if quantile == 0 else "largest" if quantile == 1 else f"{quantile:.0%}", justify="right"
            )
        table.add_row("pixels", *(f"{value:.0f}" for value in quantiles.values()))
        table.add_row("% of image", *(f"{100 * value:.2f}" for value in report.quantiles_share().values()))
        stdout.print(table)
    if report.categories:
        common = report.categories.most_common(12)
        most = ", ".join(f"{name if name.isprintable() else quoted(name)} {count}" for name, count in common)
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
