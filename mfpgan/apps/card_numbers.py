"""The part of a model card that evaluations write."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mfpgan.apps.hub import Trained
from mfpgan.config import WeightsName
from mfpgan.evaluation.report import MODEL, Estimate, InteractiveResult, Report, SingleResult
from mfpgan.types import InputError

SHOWN_CLICKS = (1, 2, 3, 5, 10, 20)


def reports_of(model: Trained, weights: WeightsName) -> list[Report]:
    """The evaluations of these weights that lie in the run's folder, in order of their names."""
    found = []
    for path in sorted(model.folder.glob("eval/*/report.json")) if model.folder else ():
        try:
            report = Report.from_json(path.read_text(encoding="utf-8"))
        except (InputError, OSError, UnicodeDecodeError):
            continue  # of another version, or damaged: no number is better than a wrong one
        if report.step == model.step and _weights_of(path.parent.name, report) == weights:
            found.append(report)
    return found


def _weights_of(folder: str, report: Report) -> str:
    """Which weights `mfpgan.jobs.evaluation.prefix_of` named a report after; words of the data's own name do not count."""
    parts = folder.split("-")
    data = [*re.findall(r"[A-Za-z0-9_.]+", report.data), report.digest[:6]]
    options = parts[len(data) :] if parts[: len(data)] == data else parts[1:]
    return next((word for word in ("best", "ema") if word in options), "last")


def numbers(reports: Sequence[Report], evaluate: str) -> str:
    """Section "Numbers".

    Args:
        evaluate: the command that makes a report.
    """
    if not reports:
        return f"## Numbers\n\nThese weights have not been evaluated. `{evaluate}` does it, on BSDS500 where it is found.\n"
    text = (
        "## Numbers\n\nIn brackets 95 % intervals by bootstrap over images. Of one training run: what another seed would give is no "
        "part of them.\n"
    )
    if any(report.data.startswith("bsds500") for report in reports):
        text += (
            'BSDS500\'s objects are regions that at least half of its annotators agree on. They are not the 100 "Berkeley" objects of '
            "the literature, and the numbers do not compare with published ones.\n"
        )
    for report in reports:
        computed = f"{report.precision} on {report.device}"
        if report.interactive:
            text += f"\n### {report.data}, clicked by a robot\n\n{_interactive(report.interactive, computed)}"
        if report.single:
            text += f"\n### {report.data}, two random clicks\n\n{_single(report.single, computed)}"
    return text


def weaknesses(reports: Sequence[Report], data_name: str, data_digest: str) -> list[str]:
    """What the reports say against the network, a sentence each.

    Args:
        data_name, data_digest: of the training data; "" if unknown.
    """
    sentences = []
    for report in reports:
        if report.digest == data_digest:
            sentences.append(f"It was trained on {report.data}: those numbers say nothing about new photos.")
        elif data_name and report.data.split()[0] == data_name.split(maxsplit=1)[0] != "folder":
            sentences.append(f"{report.data} is of the data set that it was trained on; expect less on other photos.")
        if report.interactive and report.interactive.failures.get("90"):
            result = report.interactive
            share = result.failures["90"] / len(result.rows)
            sentences.append(
                f"On {report.data}, {100 * share:.0f} % of the objects do not reach 90 % IoU in {result.max_clicks} clicks of the robot "
                f"`{result.robot}`."
            )
        scores = report.single.scores["single"] if report.single else {}
        for name, score in scores.items():
            ours, theirs = (one.per_image["iou"].mean for one in (scores[MODEL], score))
            if theirs > ours:
                sentences.append(
                    f"With two random clicks on {report.data}, {name} is better: {theirs:.3f} to {ours:.3f}."
                )
    return list(dict.fromkeys(sentences))


def _interactive(result: InteractiveResult, computed: str) -> str:
    zoom = "with" if result.zoom else "without"
    repeats = f", each played {result.repeats} times" if result.repeats > 1 else ""
    lines = [
        f"{result.objects} objects at their native size{repeats}, robot `{result.robot}`, {result.max_clicks} clicks at most, {zoom} "
        f"zoom; {computed}.\n",
        f"| IoU | clicks to reach it, mean, {result.max_clicks} if never | never reached |",
        "| --- | --- | --- |",
    ]
    for percent, value in result.noc.items():
        share = result.failures[percent] / len(result.rows)
        lines.append(f"| {percent} % (NoC@{percent}) | {interval(value, 2)} | {100 * share:.0f} % |")
    lines += ["", "| clicks | mean IoU | mean boundary IoU |", "| --- | --- | --- |"]
    for click in SHOWN_CLICKS:
        if click <= result.max_clicks:
            iou, boundary = result.iou[click - 1], result.biou[click - 1]
            lines.append(f"| {click} | {interval(iou, 3)} | {interval(boundary, 3)} |")
    return "\n".join(lines) + "\n"


def _single(result: SingleResult, computed: str) -> str:
    lines = [
        f"{len(result.rows)} objects at {result.size}x{result.size} pixels, one positive and one negative click of seed "
        f"{result.seed}, one answer; {computed}.\n",
        "| | IoU, all pixels together | mean IoU by image |",
        "| --- | --- | --- |",
    ]
    for name, score in result.scores["single"].items():
        lines.append(f"| {name} | {score.pooled['iou']:.3f} | {interval(score.per_image['iou'], 3)} |")
    return "\n".join(lines) + "\n"


def interval(value: Estimate, digits: int) -> str:
    """Such as "7.32 [6.62, 8.07]"."""
    return f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
