"""What evaluations found, lined up: the same objects for every arm and seed, a number for each of every measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.evaluation.report import MODEL, InteractiveRow, Report
from mfpgan.metrics import METRICS, failed
from mfpgan.types import InputError

CLICKS = (1, 3, 5, 10, 20)
"""After which IoU is compared."""


class Measure(NamedTuple):
    """What is compared."""

    name: str
    """As in MLflow where it has one: NoC_85, IoU@5, boundary_IoU@5, never_85, dice."""
    higher_is_better: bool
    digits: int
    """After the point, where people read it."""


@dataclass(frozen=True)
class Evaluation:
    """One protocol on one data set: all arms and seeds on the same objects."""

    title: str
    """For people: "interactive, bsds500 test, 311 objects"."""
    objects: tuple[str, ...]
    images: tuple[int, ...]
    """For each object, its image's number in the data set."""
    values: dict[Measure, NDArray[np.float64]]
    """{measure: (arms, seeds, objects)}."""
    curves: NDArray[np.float64] | None
    """(arms, seeds, objects, clicks) IoU after each click; None in protocol `single`."""


def line_up(reports: Mapping[str, Sequence[Sequence[Report]]]) -> list[Evaluation]:
    """Reports of all arms as arrays.

    Args:
        reports: {arm: for each seed its reports}, all arms with as many seeds, all seeds with as many reports in one order.

    Raises:
        InputError: evaluations that cannot be compared: other data, objects, clicks, robot, device or number format.
    """
    evaluations = []
    for number in range(len(next(iter(reports.values()))[0])):
        there = {arm: [seed[number] for seed in seeds] for arm, seeds in reports.items()}
        _check_alike(there)
        first = next(iter(there.values()))[0]
        if first.single:
            evaluations.append(_single(there))
        if first.interactive:
            evaluations.append(_interactive(there))
    return evaluations


def _check_alike(reports: Mapping[str, Sequence[Report]]) -> None:
    flat = [(arm, number, report) for arm, seeds in reports.items() for number, report in enumerate(seeds)]
    wanted = _question(flat[0][2])
    for arm, number, report in flat[1:]:
        for what, value in _question(report).items():
            if value != wanted[what]:
                shown = f" ({value} and {wanted[what]})" if isinstance(value, str | int | bool) else ""
                raise InputError(
                    f"run {report.run_id[:8]} ({arm}, {number + 1}. seed) was evaluated with another {what} than run "
                    f"{flat[0][2].run_id[:8]} ({flat[0][0]}){shown}; evaluate them alike."
                )


def _question(report: Report) -> dict[str, object]:
    """What must be equal for answers to be compared."""
    question: dict[str, object] = {
        "data set": f"{report.data} {report.digest}",
        "number format": report.precision,
        "kind of device": report.device.split(":")[0],
        "protocol": f"{'single' * bool(report.single)} {'interactive' * bool(report.interactive)}",
    }
    if single := report.single:
        question |= {
            "size": single.size,
            "choice of clicks": [(row.id, row.clicks) for row in single.rows],
        }
    if game := report.interactive:
        question |= {
            "robot": f"{game.robot} {game.parameters}",
            "number of clicks": game.max_clicks,
            "number of repeats": game.repeats,
            "seed of the robot": game.seed,
            "zoom": game.zoom,
            "choice of objects": [(row.id, row.repeat) for row in game.rows],
        }
    return question


def _single(reports: Mapping[str, Sequence[Report]]) -> Evaluation:
    results = [[report.single for report in seeds if report.single] for seeds in reports.values()]
    rows = results[0][0].rows
    values = {
        Measure(name, True, 3): np.array(
            [[[metric(row.confusion[MODEL]) for row in one.rows] for one in seeds] for seeds in results]
        )
        for name, metric in METRICS.items()
    }
    data = next(iter(reports.values()))[0].data
    return Evaluation(
        f"single, {data}, {len(rows)} images with one object each",
        tuple(row.id for row in rows), tuple(row.image for row in rows), values, None,
    )  # fmt: skip


def _interactive(reports: Mapping[str, Sequence[Report]]) -> Evaluation:
    results = [[report.interactive for report in seeds if report.interactive] for seeds in reports.values()]
    most, repeats = results[0][0].max_clicks, results[0][0].repeats

    def each(number: Callable[[InteractiveRow], Any]) -> NDArray[np.float64]:
        """(arms, seeds, objects, ...): of each object the mean over repeats."""
        found = np.array([[[number(row) for row in one.rows] for one in seeds] for seeds in results], np.float64)
        mean: NDArray[np.float64] = found.reshape(*found.shape[:2], -1, repeats, *found.shape[3:]).mean(3)
        return mean

    percents = tuple(results[0][0].noc)
    clicks = each(lambda row: [row.noc[percent] for percent in percents])
    never = each(lambda row: [failed(row.iou, int(percent) / 100, most) for percent in percents])
    values = {Measure(f"NoC_{percent}", False, 2): clicks[..., place] for place, percent in enumerate(percents)}
    values |= {Measure(f"never_{percent}", False, 3): never[..., place] for place, percent in enumerate(percents)}
    curves = each(lambda row: row.iou)
    for name, curve in (("IoU", curves), ("boundary_IoU", each(lambda row: row.biou))):
        for click in CLICKS:
            if click <= most:
                values[Measure(f"{name}@{click}", True, 3)] = curve[..., click - 1]
    rows, data = results[0][0].rows[::repeats], next(iter(reports.values()))[0].data
    images = tuple(row.image for row in rows)
    title = f"interactive, {data}, {len(rows)} objects in {len(set(images))} images"
    return Evaluation(title, tuple(row.id for row in rows), images, values, curves)
