"""A study's answer: reports lined up by hand-made rows, words, tables and pictures."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfpgan.evaluation.report import Estimate, InteractiveResult, InteractiveRow, Report, SingleResult, SingleRow
from mfpgan.metrics import Confusion, noc
from mfpgan.study.answer import COLUMNS, answer, as_csv, markdown
from mfpgan.study.measures import line_up
from mfpgan.study.report import compared, read_reports, write_report
from mfpgan.study.sheets import changed_most
from mfpgan.types import Click, InputError

CLICKS = (Click(1, 2, True), Click(3, 4, False), Click(5, 6, True))
NOTHING = Estimate(0, 0, 0)


def report(ious: list[tuple[float, ...]], overlap: int = 50, name: str = "ab" * 16) -> Report:
    """Two objects an image; IoU after three clicks. In protocol `single` one image, of which `overlap` of 100 pixels are found."""
    rows = tuple(
        InteractiveRow(f"{n // 2}/{n}", n // 2, CLICKS, iou, iou, {str(t): noc(iou, t / 100, 3) for t in (80, 85, 90)})
        for n, iou in enumerate(ious)
    )
    game = InteractiveResult(
        3, 0, {"80": NOTHING, "85": NOTHING, "90": NOTHING}, {}, (NOTHING,) * 3, (NOTHING,) * 3, 1, 1, 0, rows
    )
    found = SingleRow("0", 0, CLICKS[:2], {"model": Confusion(overlap, 0, 100 - overlap, 900)})
    return Report(name, 9, "fp32", "cpu", "pears test", "00ff", SingleResult(256, 0, {}, (found,)), game)


LOW, HIGH = (0.1, 0.4, 0.7), (0.5, 0.8, 0.9)


def test_reports_become_arrays() -> None:
    """Two arms, two seeds, two objects of one image."""
    reports = {"off": [[report([LOW, LOW])], [report([LOW, HIGH])]], "hinge": [[report([HIGH, HIGH], 80)]] * 2}
    single, game = line_up(reports)
    assert single.title == "single, pears test, 1 images with one object each"
    assert game.title == "interactive, pears test, 2 objects in 1 images"
    assert {measure.name: values.tolist() for measure, values in game.values.items()} == {
        "NoC_80": [[[3, 3], [3, 2]], [[2, 2], [2, 2]]],
        "NoC_85": [[[3, 3], [3, 3]], [[3, 3], [3, 3]]],
        "NoC_90": [[[3, 3], [3, 3]], [[3, 3], [3, 3]]],
        "never_90": [[[1, 1], [1, 0]], [[0, 0], [0, 0]]],
        "never_80": [[[1, 1], [1, 0]], [[0, 0], [0, 0]]],
        "never_85": [[[1, 1], [1, 0]], [[0, 0], [0, 0]]],
        "IoU@1": [[[0.1, 0.1], [0.1, 0.5]], [[0.5, 0.5], [0.5, 0.5]]],
        "IoU@3": [[[0.7, 0.7], [0.7, 0.9]], [[0.9, 0.9], [0.9, 0.9]]],
        "boundary_IoU@1": [[[0.1, 0.1], [0.1, 0.5]], [[0.5, 0.5], [0.5, 0.5]]],
        "boundary_IoU@3": [[[0.7, 0.7], [0.7, 0.9]], [[0.9, 0.9], [0.9, 0.9]]],
    }
    assert {measure.name for measure in game.values if not measure.higher_is_better} == {
        "NoC_80",
        "NoC_85",
        "NoC_90",
        "never_80",
        "never_85",
        "never_90",
    }
    assert game.curves is not None
    assert game.curves.shape == (2, 2, 2, 3)
    iou = next(values for measure, values in single.values.items() if measure.name == "iou")
    assert iou.tolist() == [[[0.5], [0.5]], [[0.8], [0.8]]]


def test_repeats_of_an_object_are_averaged() -> None:
    one = report([LOW, HIGH])
    assert one.interactive is not None
    rows = tuple(replace(row, id="0/0", repeat=number) for number, row in enumerate(one.interactive.rows))
    twice = replace(one, interactive=replace(one.interactive, rows=rows, repeats=2))
    game = line_up({"a": [[twice]], "b": [[twice]]})[1]
    assert game.objects == ("0/0",)
    assert {m.name: v[0, 0].tolist() for m, v in game.values.items() if m.name in ("NoC_80", "IoU@1")} == {
        "NoC_80": [2.5],
        "IoU@1": [0.3],
    }


def test_two_evaluations_of_one_protocol_are_told_apart() -> None:
    pair = [report([LOW, LOW]), report([LOW, HIGH])]
    found = line_up({"a": [pair], "b": [pair]}, ["pears-zoom", "pears"])
    assert [one.title.split(", ")[-1] for one in found] == ["pears-zoom", "pears-zoom", "pears", "pears"]
    answered = compared({"a": [pair], "b": [pair]}, {"NoC_85": 1}, ["pears-zoom", "pears"])
    assert [sentence.split(":")[0] for sentence in answered.verdicts] == [
        "b less a, NoC_85 (pears-zoom)", "b less a, NoC_85 (pears)",
    ]  # fmt: skip
    assert [one.name for one in line_up({"a": [pair[:1]], "b": [pair[:1]]}, ["pears"])] == ["", ""]


def spoilt(kind: str) -> Report:
    one = report([LOW, LOW], name="cd" * 16)
    game, single = one.interactive, one.single
    assert game is not None
    assert single is not None
    return {
        "data set": lambda: replace(one, digest="ff00"),
        "number format": lambda: replace(one, precision="bf16"),
        "kind of device": lambda: replace(one, device="cuda:0"),
        "protocol": lambda: replace(one, single=None),
        "size": lambda: replace(one, single=replace(single, size=128)),
        "choice of clicks": lambda: replace(one, single=replace(single, rows=())),
        "robot": lambda: replace(one, interactive=replace(game, robot="human")),
        "number of clicks": lambda: replace(one, interactive=replace(game, max_clicks=2)),
        "number of repeats": lambda: replace(one, interactive=replace(game, repeats=2)),
        "seed of the robot": lambda: replace(one, interactive=replace(game, seed=1)),
        "zoom": lambda: replace(one, interactive=replace(game, zoom=True)),
        "choice of objects": lambda: replace(one, interactive=replace(game, rows=game.rows[:1])),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    ["data set", "number format", "kind of device", "protocol", "size", "choice of clicks", "robot", "number of clicks",
     "number of repeats", "seed of the robot", "zoom", "choice of objects"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(kind: str) -> None:
    with pytest.raises(
        InputError, match=rf"^run cdcdcdcd \(b, 1\. seed\) was evaluated with another {kind} than run abababab"
    ):
        line_up({"a": [[report([LOW, LOW])]], "b": [[spoilt(kind)]]})


def study(effect: float, seeds: int = 3, images: int = 40) -> dict[str, list[list[Report]]]:
    """IoU of the arm is higher by `effect` on every object, with noise of .02."""
    rng = np.random.default_rng(0)

    def of(shift: float) -> Report:
        return report([tuple((0.4 + shift + 0.02 * rng.normal(size=3)).tolist()) for _ in range(2 * images)])

    return {"off": [[of(0)] for _ in range(seeds)], "hinge": [[of(effect)] for _ in range(seeds)]}


def verdict(effect: float, asked: float | None, seeds: int = 3) -> str:
    found = compared(study(effect, seeds), {} if asked is None else {"IoU@1": asked})
    return next(sentence for sentence in found.verdicts if "IoU@1" in sentence) if asked else " ".join(found.verdicts)


def test_verdicts_in_words() -> None:
    assert verdict(0.1, 0.05).endswith(": hinge is better.")
    assert verdict(-0.1, 0.05).endswith(": hinge is worse.")
    assert verdict(0, 0.05).endswith(": no difference of 0.05 or more.")
    assert "undecided, 0.0001 may be or may not be; " in verdict(0, 0.0001)
    assert verdict(0, 0.0001, seeds=1).endswith("two seeds at least are needed to say how many would do.")
    assert "NoC_85: +0.00 [+0.00, +0.00]: no difference can be shown." in verdict(0, None)


def test_warnings() -> None:
    few = compared(study(0, seeds=1), {"IoU@1": 0.0001}).warnings
    assert few[0] == "1 seed: the intervals say nothing of other seeds; train 3 or more of each arm."
    assert "is wider than the effect asked about, 0.0001" in few[1]
    assert compared(study(0, seeds=2), {}).warnings[0].startswith("2 seeds: the intervals are wide;")
    saturated = compared(study(0), {"NoC_85": 0.5}).warnings
    assert saturated == [
        "NoC_85: with every arm 100% of the objects or more never get to 85 % and count as the last click, so it can hardly show "
        "a difference; look at IoU after each click."
    ]
    assert compared(study(0), {"IoU@1": 0.2}).warnings == []


def test_an_effect_of_an_unknown_measure() -> None:
    with pytest.raises(InputError, match="effect NoC_99: no such measure, expected one of IoU@1, IoU@3, NoC_80"):
        compared(study(0), {"NoC_99": 1})


def test_p_is_corrected_over_a_table() -> None:
    """Holm: the smallest of n times n; here of 2 arms times 10 measures in the second table."""
    reports = study(0.1) | {"bce": study(0.05)["hinge"]}
    found = answer(line_up(reports), list(reports), {})
    lines = [line for line in found.lines if line.evaluation is found.evaluations[1]]
    assert len(lines) == 20
    smallest = min(lines, key=lambda line: line.found.p)
    assert smallest.p_holm == pytest.approx(20 * smallest.found.p)
    assert all(line.p_holm >= line.found.p for line in lines)


def test_markdown_and_csv_hold_the_numbers() -> None:
    found = compared(study(0.1), {"IoU@1": 0.05})
    lines = {(line.measure.name, line.arm): line for line in found.lines}
    one = lines["IoU@1", "hinge"]
    row = next(row for row in markdown(found).splitlines() if row.startswith("| IoU@1 "))
    assert row.split(" | ")[1:5] == [
        f"{one.reference_mean:.3f}",
        "hinge",
        f"{one.arm_mean:.3f}",
        f"{one.found.mean:+.3f} {one.interval}",
    ]
    assert one.number(-0.0001, "+") == "+0.000"
    table = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(found.lines)
    there = next(line for line in table if line["measure"] == "IoU@1")
    assert [float(there[name]) for name in ("difference", "low", "high", "effect")] == [
        one.found.mean,
        one.found.low,
        one.found.high,
        0.05,
    ]


def test_files_of_a_report(tmp_path: Path) -> None:
    paths = write_report(compared(study(0.1), {}), tmp_path, "pears", "Are they?")
    assert [path.name for path in paths] == ["report.md", "results.csv", "forest.png", "clicks.png", "objects.png"]
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# pears\n\nAre they?\n\n- ")
    for path in paths[2:]:
        assert f"({path.name})" in text
        assert np.asarray(Image.open(path)).std() > 5, "something is drawn"


def test_reports_that_are_missing_or_none(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("{}")
    for name, said in (("none.json", "none.json: not readable"), ("text.json", "text.json: not an evaluation report")):
        with pytest.raises(InputError, match=said):
            read_reports({"a": [[tmp_path / name]]})


def test_objects_that_change_most() -> None:
    curves = np.zeros((2, 1, 4, 2))
    curves[1, 0, :, 0] = [0.2, -0.4, 0.6, 0]
    assert changed_most(curves, 1, 2) == ([2, 0], [1, 3])
