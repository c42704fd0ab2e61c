"""What an evaluation found: a row an object, aggregates with intervals, JSON in and out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

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
    """One object of protocol `interactive`, at its native size."""

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


@dataclass(frozen=True, slots=True)
class InteractiveResult:
    """Protocol `interactive`: the robot clicks until `max_clicks`."""

    max_clicks: int
    seed: int
    noc: dict[str, Estimate]
    """{"80": mean number of clicks to IoU .80, ...}."""
    failures: dict[str, int]
    """{"80": objects that never reach IoU .80, ...}."""
    iou: tuple[Estimate, ...]
    """Mean IoU after click 1 to `max_clicks`."""
    biou: tuple[Estimate, ...]
    """Mean boundary IoU, likewise."""
    seconds_per_click: float
    """Robot, network and metrics together; reading photos is not counted."""
    forward_seconds_per_click: float
    """The network alone."""
    overhead_share: float
    """Time outside the network / all time."""
    rows: tuple[InteractiveRow, ...]


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
        and _high), PREFIX/failures_90, PREFIX/seconds_per_click and so on.
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
            flat |= {f"{prefix}/failures_{percent}": float(count) for percent, count in result.failures.items()}
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
