"""The report survives JSON and gives trackers the names that others rely on."""

import json

import pytest

from mfpgan.evaluation.report import (
    Estimate,
    InteractiveResult,
    InteractiveRow,
    Report,
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


@pytest.mark.parametrize("original", [full_report(), report("ünïcode", "0" * 16)])
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
