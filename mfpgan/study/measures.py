"""What evaluations found, lined up: the same objects for every arm and seed, a number for each of every measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpgan.config import ProtocolName
from mfpgan.evaluation.report import MODEL, THRESHOLDS, InteractiveRow, Report
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
    name: str = ""
    """Of its folder below eval/ of a run, where there are others beside it."""


def measures_of(protocol: ProtocolName, max_clicks: int) -> list[Measure]:
    """What a protocol gives, in the order in which it is told."""
    found = []
    if protocol in ("single", "both"):
        found += [Measure(name, True, 3) for name in METRICS]
    if protocol in ("interactive", "both"):
        found += [Measure(f"NoC_{percent}", False, 2) for percent in THRESHOLDS]
        found += [Measure(f"never_{percent}", False, 3) for percent in THRESHOLDS]
        clicks = _clicks(max_clicks)
        found += [Measure(f"{name}@{click}", True, 3) for name in ("IoU", "boundary_IoU") for click in clicks]
    return found


def _clicks(most: int) -> list[int]:
    return [click for click in CLICKS if click <= most]


def line_up(reports: Mapping[str, Sequence[Sequence[Report]]], names: Sequence[str] = ()) -> list[Evaluation]:
    """Reports of all arms as arrays.

    Args:
        reports: {arm: for each seed its reports}, all arms with as many seeds, all seeds with as many reports in one order.
        names: what the evaluations are called, as many; said where one protocol is there twice.

    Raises:
        InputError: evaluations that cannot be compared: other data, objects, clicks, robot, device or number format.
    """
    found: list[tuple[str, Evaluation]] = []
    for number in range(len(next(iter(reports.values()))[0])):
        there = {arm: [seed[number] for seed in seeds] for arm, seeds in reports.items()}
        _check_alike(there)
        first = next(iter(there.values()))[0]
        name = names[number] if names else ""
        if first.single:
            found.append((name, _single(there)))
        if first.interactive:
            found.append((name, _interactive(there)))
    kinds = [one.curves is None for _, one in found]
    return [
        replace(one, title=f"{one.title}, {name}", name=name) if name and kinds.count(kind) > 1 else one
        for (name, one), kind in zip(found, kinds, strict=True)
    ]


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
        measure: np.array(
            [[[METRICS[measure.name](row.confusion[MODEL]) for row in one.rows] for one in seeds] for seeds in results]
        )
        for measure in measures_of("single", 0)
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

    numbers = each(
        lambda row: [
            *(row.noc[str(percent)] for percent in THRESHOLDS),
            *(failed(row.iou, percent / 100, most) for percent in THRESHOLDS),
            *(curve[click - 1] for curve in (row.iou, row.biou) for click in _clicks(most)),
        ]
    )
    values = dict(zip(measures_of("interactive", most), np.moveaxis(numbers, -1, 0), strict=True))
    curves = each(lambda row: row.iou)
    rows, data = results[0][0].rows[::repeats], next(iter(reports.values()))[0].data
    images = tuple(row.image for row in rows)
    title = f"interactive, {data}, {len(rows)} objects in {len(set(images))} images"
    return Evaluation(title, tuple(row.id for row in rows), images, values, curves)
