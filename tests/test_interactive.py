"""Protocol `interactive` with predictors whose NoC is known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn

from mfpgan.evaluation.interactive import evaluate_interactive
from mfpgan.session import ClickSession
from mfpgan.types import Click, Sample

SHAPE = (40, 60)


class Memory:
    """Three images with two, one and no object; a gap in the numbering as after filtering."""

    name = "memory"

    def __init__(self, ignore=False):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (*SHAPE, 3), np.uint8) for _ in range(2)]
        boxes = [(0, np.s_[5:15, 5:15]), (0, np.s_[20:38, 30:58]), (1, np.s_[0:30, 0:30])]
        self.samples = []
        for number, (image, box) in enumerate(boxes):
            target, band = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
            target[box] = True
            band[:, -2:] = ~target[:, -2:]
            self.samples.append(Sample(f"{image}/{number}", images[image], target, band if ignore else None))
        self.objects_of_image = [[0, 1], [2]]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def digest(self):
        return "0123456789abcdef"


class Player:
    """A predictor that answers by a rule (clicks so far, target) -> mask, and keeps a diary."""

    forward_seconds = 0.0

    def __init__(self, data, rule):
        self.data, self.rule, self.diary, self.played = data, rule, [], -1

    def set_image(self, rgb):
        self.diary.append("image")

    def reset(self):
        self.diary.append("reset")
        self.clicks, self.played = [], self.played + 1

    def click(self, y, x, positive):
        self.clicks.append(Click(y, x, positive))
        return self.rule(self.clicks, self.data[self.played].target).astype(np.float32)


def oracle(clicks, target):
    return target


def stubborn(clicks, target):
    return np.zeros_like(target)


def patient(clicks, target):
    """Right from the fourth click on."""
    return target & (len(clicks) >= 4)


@pytest.mark.parametrize("ignore", [False, True])
def test_an_oracle_needs_one_click(ignore):
    data = Memory(ignore)
    result = evaluate_interactive(Player(data, oracle), data)
    assert {key: tuple(value) for key, value in result.noc.items()} == dict.fromkeys(
        ("80", "85", "90"), (1.0, 1.0, 1.0)
    )
    assert result.failures == {"80": 0, "85": 0, "90": 0}
    assert [len(row.clicks) for row in result.rows] == [1, 1, 1]
    assert all(row.iou == row.biou == (1.0,) * 20 for row in result.rows)
    assert [value.mean for value in result.iou] == [1.0] * 20


def test_a_stubborn_predictor_gets_twenty_clicks_and_fails():
    data = Memory()
    result = evaluate_interactive(Player(data, stubborn), data)
    assert result.noc["80"] == (20.0, 20.0, 20.0)
    assert result.failures == {"80": 3, "85": 3, "90": 3}
    for row, sample in zip(result.rows, data.samples, strict=True):
        assert len(set(row.clicks)) == 20  # never the same pixel again
        assert all(click.positive and sample.target[click.y, click.x] for click in row.clicks)
        assert row.iou == (0.0,) * 20


def test_late_success_is_no_failure():
    data = Memory()
    result = evaluate_interactive(Player(data, patient), data, max_clicks=4)
    assert result.noc["90"].mean == 4
    assert result.failures["90"] == 0
    assert evaluate_interactive(Player(data, patient), data, max_clicks=3).failures["90"] == 3


def test_the_image_is_set_once_and_objects_are_reset():
    data = Memory()
    player, steps = Player(data, oracle), []
    result = evaluate_interactive(player, data, progress=lambda done, total: steps.append((done, total)))
    assert player.diary == ["image", "reset", "reset", "image", "reset"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [(row.id, row.image) for row in result.rows] == [("0/0", 0), ("0/1", 0), ("1/2", 1)]


def test_limit_counts_images():
    data = Memory()
    assert len(evaluate_interactive(Player(data, oracle), data, limit=1).rows) == 2
    with pytest.raises(ValueError, match="memory: no object"):
        evaluate_interactive(Player(data, oracle), data, limit=0)


def test_objects_are_averaged_and_the_first_click_is_in_the_middle():
    data = Memory()
    result = evaluate_interactive(Player(data, lambda clicks, target: target & (target.sum() > 100)), data)
    assert result.noc["80"].mean == (20 + 1 + 1) / 3
    assert result.iou[0].mean == 2 / 3
    assert result.rows[0].clicks[0] == Click(9, 9, True)  # 5 pixels deep, first of four


def test_surplus_in_the_ignore_band_is_no_error():
    data = Memory(ignore=True)
    everywhere = Player(data, lambda clicks, target: target | (np.arange(SHAPE[1]) >= 58))
    result = evaluate_interactive(everywhere, data)
    assert result.noc["90"].mean == 1
    assert result.biou[0].mean == 1


class Disks(nn.Module):
    """The mask is where the user clicked, grown to squares of 19 pixels."""

    def forward(self, image, maps):
        grown = nn.functional.max_pool2d(maps, 9, 1, 4)
        return 8 * grown[:, :1] - 8 * maps[:, 1:] - 4


def test_a_session_plays_and_time_is_split():
    session = ClickSession(Disks())
    result = evaluate_interactive(session, Memory(), max_clicks=5)
    again = evaluate_interactive(session, Memory(), max_clicks=5)
    assert (result.rows, result.noc, result.iou) == (again.rows, again.noc, again.iou)
    assert 0 < result.forward_seconds_per_click < result.seconds_per_click
    share = 1 - result.forward_seconds_per_click / result.seconds_per_click
    assert result.overhead_share == pytest.approx(share)
    assert result.iou[4].mean > result.iou[0].mean > 0
    assert any(not click.positive for row in result.rows for click in row.clicks)
    assert not torch.is_inference_mode_enabled()
