"""What an evaluation found: a row an object, aggregates with intervals, JSON in and out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from mfpgan.metrics import Confusion
from mfpgan.types import Click, InputError

THRESHOLDS = (80, 85, 90)
"""IoU in percent that NoC counts clicks to."""
MODEL = "model"
"""Key of the evaluated network among the reference rows of `SingleResult.scores`."""


class Estimate(NamedTuple):
    """A mean with its 95 % bootstrap interval over images."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SingleRow:
    """One object of protocol `single`: everything in pixels of the resized picture."""

    id: str
    image: int
    """Number of the image in the data set's order."""
    clicks: tuple[Click, ...]
    confusion: dict[str, Confusion]
    """For the model and each reference, its pixels on this object."""


@dataclass(frozen=True, slots=True)
class SingleScore:
    """One model or reference on a set of objects."""

    confusion: Confusion
    """Pooled over all pixels of all objects."""
    pooled: dict[str, float]
    """METRICS of the pooled confusion."""
    per_image: dict[str, Estimate]
    """Each of METRICS, averaged over images."""


@dataclass(frozen=True, slots=True)
class SingleResult:
    """Protocol `single`: two random clicks, one answer."""

    size: int
    """Side of the resized pictures, in pixels."""
    seed: int
    scores: dict[str, dict[str, SingleScore]]
    """{"single20": first 20 images (if there are as many), "single": all} -> {"model", references} -> score."""
    rows: tuple[SingleRow, ...]


@dataclass(frozen=True, slots=True)
class InteractiveRow:
    """One object of protocol `interactive`, at its native size, played once."""

    id: str
    image: int
    """Number of the image in the data set's order."""
    clicks: tuple[Click, ...]
    """Those the robot made; fewer than asked for if no error was left."""
    iou: tuple[float, ...]
    """IoU after click 1 to `max_clicks`; the last value is repeated once no error is left."""
    biou: tuple[float, ...]
    """Boundary IoU, likewise."""
    noc: dict[str, int]
    """{"80": clicks to IoU .80, ...}, `max_clicks` if never."""
    repeat: int = 0
    """0 for the first time that the robot plays the object, 1 for the second, ..."""


@dataclass(frozen=True, slots=True)
class RobotScore:
    """What one robot achieved on a set of objects."""

    noc: dict[str, Estimate]
    """{"80": mean number of clicks to IoU .80, ...}."""
    failures: dict[str, int]
    """{"80": rows that never reach IoU .80, ...}."""
    iou: tuple[Estimate, ...]
    """Mean IoU after click 1 to `max_clicks`."""
    biou: tuple[Estimate, ...]
    """Mean boundary IoU, likewise."""
    rows: tuple[InteractiveRow, ...]


@dataclass(frozen=True, slots=True)
class InteractiveResult:
    """Protocol `interactive`: the robot clicks until `max_clicks`. Means are over objects and repeats.

    What has a default is not in reports from before there was a choice; they read as what they are.
    """

    max_clicks: int
    seed: int
    noc: dict[str, Estimate]
    """{"80": mean number of clicks to IoU .80, ...}."""
    failures: dict[str, int]
    """{"80": rows that never reach IoU .80, ...}; an object counts as often as it was played."""
    iou: tuple[Estimate, ...]
    """Mean IoU after click 1 to `max_clicks`."""
    biou: tuple[Estimate, ...]
    """Mean boundary IoU, likewise."""
    seconds_per_click: float
    """Time that passed / clicks made, by `center` too: robot, network and metrics; reading photos is not counted. In
    batches many clicks share that time, so it is less than what a user would wait for one."""
    forward_seconds_per_click: float
    """Of it the network, with what it is shown."""
    overhead_share: float
    """Time outside the network / all time. In batches the robots work in threads, but never while the network does, so the
    two add up to all."""
    rows: tuple[InteractiveRow, ...]
    """The robot's: object after object, the repeats of an object one after the other."""
    robot: str = "center"
    """Name of the click strategy that played."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Its parameters, the default ones too."""
    repeats: int = 1
    """Times that it played every object."""
    batch_size: int = 1
    """So many games at most were played together."""
    zoom: bool = False
    """The predictor looked closely at the part round the last mask."""
    noc_by_repeat: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """{"80": mean over objects in the first repeat, in the second, ...}; {} with one repeat."""
    spread: dict[str, float] = field(default_factory=dict)
    """{"80": standard deviation of `noc_by_repeat`, with n - 1 below, ...}: luck of the robot on these very objects, while
    the intervals say what other images would change. {} with one repeat: undefined."""
    center: RobotScore | None = None
    """The robot `center` on the same objects, once each; None where it is the robot itself."""
    loss: dict[str, Estimate] = field(default_factory=dict)
    """{"80": clicks to IoU .80 more than `center`, ...}: for each object its mean over repeats less center's number, then
    the mean over objects. Where both fail the difference is 0, so many failures make the loss look small."""
    loss_percent: dict[str, Estimate] = field(default_factory=dict)
    """The same in percent of center's mean, which the interval takes as known."""

    @property
    def objects(self) -> int:
        """Number of different objects played."""
        return len(self.rows) // self.repeats


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation of one checkpoint on one data set."""

    run_id: str
    step: int
    """Training steps behind the evaluated checkpoint."""
    precision: str
    """fp32 or bf16."""
    device: str
    data: str
    """Name of the data set, for people."""
    digest: str
    """Digest of its annotations."""
    single: SingleResult | None = None
    interactive: InteractiveResult | None = None

    def to_json(self) -> str:
        """Strict JSON on one line.

        Raises:
            ValueError: a number is not finite.
        """
        return json.dumps(_adapter().dump_python(self), allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote, equal to the last bit.

        Raises:
            InputError: the text is no JSON or no report; names the first wrong field.
        """
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "text"
            raise InputError(f"not an evaluation report ({place}: {first['msg']}); expected Report.to_json.") from None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Flat numbers for a tracker, such as "bsds500/NoC_90" with prefix "bsds500".

        Of `single`: PREFIX/single20/dice (pooled pixels), PREFIX/single20/mean_dice (mean over images, with _low and
        _high) and, for the references, PREFIX/single20/grabcut/iou and /dice. Of `interactive`: PREFIX/NoC_90 (with _low
        and _high, and _spread over repeats), PREFIX/failures_90 (per repeat), PREFIX/seconds_per_click and so on; with
        another robot than center PREFIX/loss_90 and PREFIX/loss_percent_90 (with _low and _high) and PREFIX/center/NoC_90.
        """
        flat: dict[str, float] = {}
        for part, scores in (self.single.scores if self.single else {}).items():
            for name, score in scores.items():
                if name == MODEL:
                    flat |= {f"{prefix}/{part}/{metric}": value for metric, value in score.pooled.items()}
                    for metric in ("iou", "dice"):
                        flat |= _with_interval(f"{prefix}/{part}/mean_{metric}", score.per_image[metric])
                else:
                    flat |= {f"{prefix}/{part}/{name}/{metric}": score.pooled[metric] for metric in ("iou", "dice")}
        if self.interactive:
            result = self.interactive
            for percent, value in result.noc.items():
                flat |= _with_interval(f"{prefix}/NoC_{percent}", value)
            flat |= {f"{prefix}/NoC_{percent}_spread": value for percent, value in result.spread.items()}
            flat |= {
                f"{prefix}/failures_{percent}": count / result.repeats for percent, count in result.failures.items()
            }
            if result.center:
                for percent, value in result.center.noc.items():
                    flat |= _with_interval(f"{prefix}/center/NoC_{percent}", value)
                    flat |= _with_interval(f"{prefix}/loss_{percent}", result.loss[percent])
                    flat |= _with_interval(f"{prefix}/loss_percent_{percent}", result.loss_percent[percent])
            flat[f"{prefix}/seconds_per_click"] = result.seconds_per_click
            flat[f"{prefix}/forward_seconds_per_click"] = result.forward_seconds_per_click
            flat[f"{prefix}/overhead_share"] = result.overhead_share
        return flat

    def curves(self, prefix: str) -> dict[str, list[float]]:
        """Means by click for a tracker: {"bsds500/iou": [after click 1, 2, ...], "bsds500/biou": [...]}."""
        if self.interactive is None:
            return {}
        return {
            f"{prefix}/iou": [value.mean for value in self.interactive.iou],
            f"{prefix}/biou": [value.mean for value in self.interactive.biou],
        }


def _with_interval(name: str, value: Estimate) -> dict[str, float]:
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
