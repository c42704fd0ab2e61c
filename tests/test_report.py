"""The report survives JSON and gives trackers the names that others rely on."""

import json
from dataclasses import replace

import pytest

from mfpgan.cli import tables
from mfpgan.evaluation import record
from mfpgan.evaluation.report import (
    Estimate,
    InteractiveResult,
    InteractiveRow,
    Report,
    RobotScore,
    SingleResult,
    SingleRow,
    SingleScore,
)
from mfpgan.metrics import METRICS, Confusion
from mfpgan.types import Click, InputError


def score(counts):
    values = {name: function(counts) for name, function in METRICS.items()}
    return SingleScore(counts, values, {name: Estimate(value / 2, 0.0, 1.0) for name, value in values.items()})


def report(
    data: str, digest: str, single: SingleResult | None = None, interactive: InteractiveResult | None = None
) -> Report:
    return Report("f" * 32, 900, "fp32", "cpu", data, digest, single, interactive)


def full_report(iou=0.1 + 0.2):
    clicks = (Click(3, 4, True), Click(5, 6, False))
    model, empty = Confusion(6, 2, 4, 8), Confusion(0, 0, 10, 10)
    rows = (SingleRow("1/0", 0, clicks, {"model": model, "background": empty}),)
    scores = {"single20": {"model": score(model), "background": score(empty)}}
    played = InteractiveRow("1/0", 0, clicks, (0.5, iou), (0.25, 0.5), {"80": 2, "85": 2, "90": 2})
    estimates = (Estimate(0.5, 0.4, 0.6), Estimate(iou, 0.0, 1.0))
    noc = {"80": Estimate(2.0, 2.0, 2.0), "85": Estimate(2.0, 2.0, 2.0), "90": Estimate(1.5, 1.0, 2.0)}
    interactive = InteractiveResult(
        2, 0, noc, {"80": 1, "85": 1, "90": 1}, estimates, (*estimates,), 0.02, 0.015, 0.25, (played,)
    )
    return report("bsds500 test", "0123456789abcdef", SingleResult(256, 0, scores, rows), interactive)


def human_report():
    """Two repeats of a robot that needs 1 and 2 clicks where center needs one and a half on average."""
    one = full_report()
    played = one.interactive
    again = replace(played.rows[0], repeat=1, noc={"80": 1, "85": 1, "90": 1})
    noc = {percent: Estimate(1.5, 1.0, 2.0) for percent in played.noc}
    return replace(
        one,
        single=None,
        interactive=replace(
            played,
            noc=noc,
            failures={"80": 1, "85": 1, "90": 0},
            rows=(*played.rows, again),
            robot="human",
            parameters={"jitter": 0.1},
            repeats=2,
            noc_by_repeat=dict.fromkeys(noc, (2.0, 1.0)),
            spread=dict.fromkeys(noc, 0.5**0.5),
            center=RobotScore(played.noc, played.failures, played.biou, played.biou, played.rows),
            loss={"80": Estimate(-0.5, -1.0, 0.0), "85": Estimate(1.25, 1.0, 1.5), "90": Estimate(0.0, 0.0, 0.0)},
            loss_percent={
                "80": Estimate(-25.0, -50.0, 0.0), "85": Estimate(62.5, 50.0, 75.0), "90": Estimate(0.0, 0.0, 0.0)
            },
        ),
    )  # fmt: skip


@pytest.mark.parametrize("original", [full_report(), human_report(), report("ünïcode", "0" * 16)])
def test_json_and_back(original):
    text = original.to_json()
    again = Report.from_json(text)
    assert again == original
    assert again.to_json() == text


def test_types_survive_and_json_is_plain():
    report = Report.from_json(full_report().to_json())
    assert isinstance(report.single.rows[0].clicks[0], Click)
    assert isinstance(report.single.rows[0].confusion["model"], Confusion)
    assert isinstance(report.interactive.noc["90"], Estimate)
    plain = json.loads(full_report().to_json())
    assert plain["interactive"]["rows"][0]["iou"] == [0.5, 0.1 + 0.2]
    assert plain["single"]["rows"][0]["clicks"] == [[3, 4, True], [5, 6, False]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_nan_gets_out(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        full_report(value).to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "text: Invalid JSON"), ("[]", "text"), ('{"data": "a", "digest": 3, "step": 1}', "digest|run_id")],
)
def test_a_wrong_file_is_one_sentence(text, words):
    with pytest.raises(InputError, match=words) as caught:
        Report.from_json(text)
    assert "\n" not in str(caught.value)


def test_metric_names():
    metrics = full_report().metrics("bsds500")
    assert metrics["bsds500/single20/dice"] == 12 / 18
    assert metrics["bsds500/single20/mean_dice"] == 6 / 18
    assert metrics["bsds500/single20/background/iou"] == 0
    assert (metrics["bsds500/NoC_90_low"], metrics["bsds500/NoC_90_high"]) == (1.0, 2.0)
    assert metrics["bsds500/NoC_90"] == 1.5
    assert metrics["bsds500/failures_85"] == 1.0
    assert metrics["bsds500/overhead_share"] == 0.25
    assert all(type(value) is float for value in metrics.values())
    assert not any("@" in name or "=" in name for name in metrics)  # MLflow refuses them


def test_curves():
    assert full_report(0.9).curves("bsds500") == {"bsds500/iou": [0.5, 0.9], "bsds500/biou": [0.5, 0.9]}
    assert report("a", "b").curves("x") == report("a", "b").metrics("x") == {}


def test_metrics_of_another_robot():
    metrics = human_report().metrics("bsds500-human")
    assert metrics["bsds500-human/NoC_90"] == 1.5
    assert metrics["bsds500-human/NoC_90_spread"] == 0.5**0.5
    assert metrics["bsds500-human/failures_85"] == 0.5, "one failure in two repeats"
    assert metrics["bsds500-human/center/NoC_90"] == full_report().interactive.noc["90"].mean
    assert [metrics[f"bsds500-human/loss_85{end}"] for end in ("", "_low", "_high")] == [1.25, 1.0, 1.5]
    assert [metrics[f"bsds500-human/loss_percent_85{end}"] for end in ("", "_low", "_high")] == [62.5, 50.0, 75.0]
    alone = full_report().metrics("bsds500")
    assert not [name for name in alone if "loss" in name or "spread" in name or "center" in name]


def test_a_report_from_before_there_were_other_robots_is_read():
    plain = json.loads(full_report().to_json())
    for name in ("robot", "parameters", "repeats", "zoom", "noc_by_repeat", "spread", "center", "loss", "loss_percent"):
        del plain["interactive"][name]
    for row in plain["interactive"]["rows"]:
        del row["repeat"]
    assert Report.from_json(json.dumps(plain)) == full_report()


class Pictures:
    """A run that keeps the curves of its figures."""

    def __init__(self):
        self.names, self.curves = [], None

    def log(self, metrics, step):
        pass

    def image(self, name, image, step):
        self.names.append(name)

    def draw(self, curves, title):
        self.curves = curves


def test_the_figure_shows_the_robot_and_center(monkeypatch):
    run = Pictures()
    monkeypatch.setattr(record, "clicks_curve_figure", run.draw)
    report = human_report()
    record.record_report(report, run, "bsds500-human", generator=None, data=None)
    assert run.names == ["bsds500-human_clicks"]
    assert run.curves == {"robot human": report.interactive.iou, "robot center": report.interactive.center.iou}
    record.record_report(replace(full_report(), single=None), run, "bsds500", generator=None, data=None)
    assert list(run.curves) == ["IoU", "boundary IoU"]


def printed(report, monkeypatch, capsys, width=80):
    monkeypatch.setattr(tables.stdout, "width", width)
    tables.show_report(report)
    return capsys.readouterr().out


def test_the_loss_is_said_in_words(monkeypatch, capsys):
    lines = printed(human_report(), monkeypatch, capsys).splitlines()
    assert lines[1] == "bsds500 test: robot human (jitter 0.1), 2 repeats, 2 clicks, 1 objects at native size"
    assert "  to 80 % IoU human needs 0.50 clicks fewer (-25.0 %) than center [-1.00, +0.00]" in lines
    assert "  to 85 % IoU human needs 1.25 clicks more (+62.5 %) than center [+1.00, +1.50]" in lines
    assert "  to 90 % IoU human needs as many clicks as center [+0.00, +0.00]" in lines
    assert "  An interval that holds 0 may be chance." in lines
    assert "  Where neither gets there the difference is 0; center never does on 100%, 100%, 100%." in lines
    assert [line.split()[-3:] for line in lines if line.startswith(" 80 %")] == [["±0.707", "0.5", "(50%)"]]
    assert any(line.split()[:2] == ["IoU,", "center"] for line in lines)


def test_the_robot_center_is_compared_with_nobody(monkeypatch, capsys):
    text = printed(full_report(), monkeypatch, capsys)
    assert "bsds500 test: robot center, 2 clicks, 1 objects at native size" in text
    assert "Against" not in text
    assert "spread" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_no_table_is_cut(width, monkeypatch, capsys):
    text = printed(human_report(), monkeypatch, capsys, width)
    assert "…" not in text
    assert "spread over repeats  never reached" in text


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("bsds500/NoC_90", True), ("val/iou", True), ("folder-photos-3f2a81/single/dice", True),
        ("folder-human-3f2a81/NoC_90", True), ("bsds500-human/NoC_90", False), ("bsds500-zoom/NoC_90", False),
        ("bsds500-human-10repeats/NoC_90", False), ("bsds500-first50/NoC_90", False), ("bsds500-5clicks/NoC_90", False),
        ("bsds500-seed123456/NoC_90", False), ("folder-photos-3f2a81-human/NoC_90", False),
    ],
)  # fmt: skip
def test_the_list_of_runs_shows_the_usual_protocol_on_whole_data(name, whole):
    assert bool(tables.WHOLE.match(name)) == whole
