"""The answer of a study: every arm against the reference, in numbers and in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mfpgan.study.measures import Evaluation, Measure
from mfpgan.study.statistics import Difference, difference, holm

FEWEST_SEEDS = 3
LEVEL = 0.05
"""Of all arms on one measure together."""
SATURATED = 0.8
"""Where so many objects never get there, a number of clicks cannot show much."""
SPOKEN = ("NoC_85", "IoU@5", "iou")
"""Measures that words are made of where nobody asked about one."""
COLUMNS = (
    "evaluation", "measure", "arm", "reference", "seeds", "objects", "images", "arm_mean", "reference_mean", "difference",
    "low", "high", "p_arms", "p", "p_holm", "better", "effect", "seeds_for_effect",
)  # fmt: skip
"""Of the CSV."""


@dataclass(frozen=True)
class Line:
    """One arm against the reference, on one measure of one evaluation."""

    evaluation: Evaluation
    measure: Measure
    arm: str
    reference: str
    arm_mean: float
    reference_mean: float
    found: Difference
    p_holm: float
    """`found.p`, of this evaluation's lines together."""
    p_arms: float
    """`found.p_seeds`, of all arms on this measure together."""
    arms: int
    """That are compared with the reference."""
    effect: float | None
    """The difference that is asked about."""

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        name = f"{self.arm} less {self.reference}, {self._told}: {self.number(self.found.mean, '+')} {self.interval}"
        low, high = self.found.low, self.found.high
        if low > 0 or high < 0:
            good = (low > 0) == self.measure.higher_is_better
            if self.p_arms < LEVEL:
                return f"{name}: {self.arm} is {'better' if good else 'worse'}."
            look = "better" if good else "worse"
            return f"{name}: {self.arm} looks {look} by itself, but that is not certain among {self.arms} arms (Holm: p {self.p_arms:.2f})."
        if self.effect is not None and -self.effect < low and high < self.effect:
            return f"{name}: no difference of {self.effect:g} or more."
        if self.effect is None:
            return f"{name}: no difference can be shown."
        return f"{name}: undecided, {self.effect:g} may be or may not be; {self.advice}."

    @property
    def _told(self) -> str:
        """The measure, and of which evaluation where there are several that have it."""
        return self.measure.name + (self.evaluation.name and f" ({self.evaluation.name})")

    @property
    def advice(self) -> str:
        """What it would take to know the effect that is asked about."""
        assert self.effect is not None
        seeds, needed = len(self.found.by_seed), self.found.seeds_for(self.effect)
        if seeds < 2:
            return "two seeds at least are needed to say how many would do"
        if needed is None:
            return f"more seeds will not give an interval of +-{self.effect:g}, only more images would"
        if needed <= seeds:
            return f"the interval is +-{self.number(self.found.half_width)}"
        return (
            f"about {needed - seeds} more seed{'s' * (needed - seeds > 1)} would give an interval of +-{self.effect:g}"
        )

    @property
    def interval(self) -> str:
        return f"[{self.number(self.found.low, '+')}, {self.number(self.found.high, '+')}]"

    def number(self, value: float, sign: str = "") -> str:
        return f"{round(value, self.measure.digits) + 0.0:{sign}.{self.measure.digits}f}"  # never -0.00


@dataclass(frozen=True)
class Answer:
    """All lines of a study."""

    arms: tuple[str, ...]
    """The reference first."""
    seeds: int
    evaluations: tuple[Evaluation, ...]
    lines: tuple[Line, ...]

    @property
    def warnings(self) -> list[str]:
        """What weakens the answer."""
        sentences = []
        if self.seeds < FEWEST_SEEDS:
            what = "say nothing of other seeds" if self.seeds == 1 else "are wide"
            sentences.append(
                f"{self.seeds} seed{'s' * (self.seeds > 1)}: the intervals {what}; train {FEWEST_SEEDS} or more of each arm."
            )
        for line in self.lines:
            if line.effect is not None and line.found.half_width > line.effect:
                sentences.append(
                    f"{line.arm}, {line._told}: the interval of +-{line.number(line.found.half_width)} is wider than the "
                    f"effect asked about, {line.effect:g}; {line.advice}."
                )
        return sentences + [_saturated(evaluation, measure) for evaluation, measure in self._hopeless()]

    def _hopeless(self) -> list[tuple[Evaluation, Measure]]:
        """Numbers of clicks that are spoken of, to an IoU that most objects never reach with any arm."""
        spoken = {line.measure.name for line in self._spoken}
        return [
            (evaluation, measure)
            for evaluation in self.evaluations
            for measure, values in evaluation.values.items()
            if measure.name.startswith("never_")
            and measure.name.replace("never", "NoC") in spoken
            and values.mean((1, 2)).min() > SATURATED
        ]

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each arm on the measures asked about; on SPOKEN where nobody asked."""
        return [line.verdict for line in self._spoken]

    @property
    def _spoken(self) -> list[Line]:
        asked = [line for line in self.lines if line.effect is not None]
        return asked or [line for line in self.lines if line.measure.name in SPOKEN]


def answer(evaluations: Sequence[Evaluation], arms: Sequence[str], effects: Mapping[str, float]) -> Answer:
    """Compare all arms with the first.

    Args:
        evaluations: their arrays hold `arms` in this order.
        effects: {name of a measure: the difference that is asked about}.
    """
    lines: list[Line] = []
    for evaluation in evaluations:
        found = [
            (measure, number, difference(
                values[number], values[0], evaluation.images, higher_is_better=measure.higher_is_better
            ))
            for measure, values in evaluation.values.items()
            for number in range(1, len(arms))
        ]  # fmt: skip
        adjusted = holm([one.p for _, _, one in found])
        others = len(arms) - 1
        of_arms = [
            p
            for start in range(0, len(found), others)
            for p in holm([one.p_seeds for _, _, one in found[start : start + others]])
        ]
        for (measure, number, one), p, p_arms in zip(found, adjusted, of_arms, strict=True):
            means = evaluation.values[measure].mean((1, 2))
            effect = effects.get(measure.name)
            lines.append(Line(
                evaluation, measure, arms[number], arms[0], float(means[number]), float(means[0]), one, p, p_arms, others, effect
            ))  # fmt: skip
    seeds = next(iter(evaluations[0].values.values())).shape[1]
    return Answer(tuple(arms), seeds, tuple(evaluations), tuple(lines))


def markdown(found: Answer) -> str:
    """Verdicts, warnings, and a table for each evaluation."""
    parts = ["\n".join(f"- {sentence}" for sentence in found.verdicts)]
    if found.warnings:
        parts.append("\n".join(f"- **Careful:** {sentence}" for sentence in found.warnings))
    for evaluation in found.evaluations:
        rows = [
            f"| {evaluation.title}, {found.seeds} seed{'s' * (found.seeds > 1)} | {found.arms[0]} | arm | | difference [95 %] | "
            "p, these networks | better |",
            "| --- | ---: | --- | ---: | --- | ---: | ---: |",
        ]
        rows += [
            f"| {line.measure.name} | {line.number(line.reference_mean)} | {line.arm} | {line.number(line.arm_mean)} | "
            f"{line.number(line.found.mean, '+')} {line.interval} | {_p(line.p_holm)} | {line.found.better:.0%} |"
            for line in found.lines
            if line.evaluation is evaluation
        ]
        parts.append("\n".join(rows))
    parts.append(
        "Difference: arm less reference, mean over objects and seeds; interval over images (bootstrap) and seeds (Student's t), each "
        "by itself; the sentences above say better or worse only where that holds for all arms together (Holm). p: Wilcoxon's "
        "signed-rank test of these very networks on the images, with Holm's correction over a table; other seeds are no part of it, so "
        "it says nothing of training again. better: share of objects and seeds where the arm is better, ties half. NoC counts down, never_85 is the share of objects "
        "that never get to 85 %."
    )
    return "\n\n".join(parts)


def as_csv(found: Answer) -> str:
    """A line for each arm and measure, at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in found.lines:
        one = line.found
        needed = "" if line.effect is None else one.seeds_for(line.effect)
        writer.writerow([
            line.evaluation.title, line.measure.name, line.arm, line.reference, found.seeds, len(line.evaluation.objects),
            len(set(line.evaluation.images)), line.arm_mean, line.reference_mean, one.mean, one.low, one.high, line.p_arms, one.p,
            line.p_holm, one.better, "" if line.effect is None else line.effect, "" if needed is None else needed,
        ])  # fmt: skip
    return text.getvalue()


def means_with_intervals(evaluation: Evaluation, arm: int) -> list[tuple[float, float, float]]:
    """(mean, low, high) of IoU after each click, over images and seeds."""
    assert evaluation.curves is not None
    curve = evaluation.curves[arm]
    nothing = np.zeros(curve.shape[:2])
    found = [difference(curve[..., click], nothing, evaluation.images) for click in range(curve.shape[2])]
    return [(one.mean, max(0.0, one.low), min(1.0, one.high)) for one in found]


def _saturated(evaluation: Evaluation, never: Measure) -> str:
    percent, share = never.name.removeprefix("never_"), evaluation.values[never].mean((1, 2)).min()
    return (
        f"NoC_{percent}: with every arm {share:.0%} of the objects or more never get to {percent} % and count as the last click, so it "
        "can hardly show a difference; look at IoU after each click."
    )


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
