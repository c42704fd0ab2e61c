"""The line that people see while they wait."""

from __future__ import annotations

import pytest

from mfpgan.cli import display


def test_a_number_is_shown_until_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(display, "say", lines.append)
    monkeypatch.setattr(display, "PLAIN_SECONDS", 0.0)
    watch = display.Watch("train")
    watch.update(1, 4, {"train/seg": 0.5, "val/iou": 0.25, "train/lr": 1e-3})
    watch.update(2, 4, {"train/seg": 0.125})
    watch.update(3, 4)
    shown = ["loss 0.5  val IoU 0.25", "loss 0.125  val IoU 0.25", "loss 0.125  val IoU 0.25"]
    assert [line.split("  ", 1)[1].rsplit("  ", 1)[0] for line in lines] == shown
    watch.rename("evaluate")
    watch.update(1, 4)
    assert "loss" not in lines[-1]


def test_the_discriminators_health_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(display, "say", lines.append)
    names = [name for name in display.SHOWN if name.startswith("d/") or name == "train/gradient_ratio"]
    display.Watch("train").update(4, 4, dict.fromkeys(names, 0.75))
    (line,) = lines
    assert "D right on real 0.75  on fake 0.75  logit real 0.75  fake 0.75" in line
    assert "adv/seg gradient 0.75" in line
    assert "softness AUC 0.75" in line
