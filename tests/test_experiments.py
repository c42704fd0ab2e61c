"""What the experiments make of their numbers, by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))

import weight_sweep
from cell import origins

from mfpgan.figures.sweep import SweepPoint, sweep_figure


def test_the_interval_is_students() -> None:
    # Mean 2, standard deviation 1, t of 2 degrees of freedom 4.3027: 2 -+ 4.3027 / sqrt(3).
    assert weight_sweep.t_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert weight_sweep.t_interval(np.array([1.0])) == (1.0, 1.0)
    assert weight_sweep.t_interval(np.zeros(3)) == (0.0, 0.0)


def test_the_sweeps_table_by_hand() -> None:
    """Three seeds, two objects; IoU of an arm is its number in tenths, of the last half of that, +-.01 by seed."""
    arms = list(weight_sweep.ARMS)
    values = np.ones((len(arms), 3, 2, 4))
    for number in range(len(arms)):
        base = number / 10 if number < len(arms) - 1 else 0.4
        values[number, :, :, 0] = base + (np.array([-0.01, 0, 0.01]) * (number > 0))[:, None]
    values[1, :, :, 2] = [1.0, 100.0]  # the median of ratios, 50.5
    text, points = weight_sweep.summary(values, 2.0)
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines() if line[:2] == "| "}
    assert rows["0"][:2] == ["0.000", ""]
    half = 4.3027 * 0.01 / np.sqrt(3)
    assert rows["0.01"][:2] == ["0.200", f"+0.200 [{0.2 - half:+.3f}, {0.2 + half:+.3f}]"]
    assert rows["0.003"][4] == "50.500"
    # .4 - .5 beside pos_weight 2, and that less .4 - 0 beside 5; with both gains' seeds the noise of the first cancels.
    assert rows["0.1 - 0, beside pos_weight 2"][1].startswith("-0.100 [-0.100, -0.100]")
    assert rows["the same, beside 2 less beside 5"][1].startswith("-0.500 [")
    assert len(points) == 4 * (len(arms) - 1)
    assert {point.setting for point in points} == set(arms[1:])


def test_the_sweeps_figure_has_a_panel_a_measure() -> None:
    points = [SweepPoint(measure, "0.1", 0.1, -0.1, 0.3, [0.0, 0.2]) for measure in ("IoU", "size")]
    one, two = (sweep_figure(points[:count], "weight") for count in (1, 2))
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
    assert (two != 255).any()


def test_a_table_says_with_which_code_its_runs_were_made(tmp_path: Path) -> None:
    for name, text in (("a", '{"commit": "0123456789", "modified": false}'), ("b", '{"commit": "89abcdef", "modified": true}'), ("c", "{}")):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "environment.json").write_text(text)
    assert origins(tmp_path / name for name in "aab") == "Made with commit 0123456, 89abcde with changes."
    assert origins([tmp_path / "c"]) == "Made with commit unknown."
