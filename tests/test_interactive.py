"""Protocol `interactive` with predictors and robots whose NoC is known beforehand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from mfpgan.clicks.center import Center
from mfpgan.clicks.random import Random
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.evaluation.interactive import evaluate_interactive, robot_parameters
from mfpgan.evaluation.report import Report
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

    def others(self, index):
        return self.samples[1 - index].target if index < 2 else np.zeros(SHAPE, bool)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def digest(self):
        return "0123456789abcdef"


class Player:
    """A predictor that answers by a rule (clicks so far, target) -> mask, and keeps a diary; `games` an object."""

    forward_seconds = 0.0

    def __init__(self, data, rule, games=1):
        self.data, self.rule, self.games, self.diary, self.played = data, rule, games, [], -1

    def set_image(self, rgb):
        self.diary.append("image")

    def reset(self):
        self.diary.append("reset")
        self.clicks, self.played = [], self.played + 1

    def click(self, y, x, positive):
        self.clicks.append(Click(y, x, positive))
        return self.rule(self.clicks, self.data[self.played // self.games].target).astype(np.float32)


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


class Robot:
    """What every robot of these tests shares: one click of `center`'s, changed."""

    rounds = 0

    def center(self, target, mask, clicks, ignore):
        return Center()(target, mask, clicks, None, ignore)


@dataclass(frozen=True)
class Same(Robot):
    """Clicks like center."""

    def __call__(self, target, mask, clicks, rng, ignore=None, others=None):
        return self.center(target, mask, clicks, ignore)


@dataclass(frozen=True)
class Wasteful(Robot):
    """Its first `wasted` clicks have the wrong sign."""

    wasted: int = 1

    def __call__(self, target, mask, clicks, rng, ignore=None, others=None):
        turn = self.center(target, mask, clicks, ignore)
        return (
            tuple(Click(click.y, click.x, not click.positive) for click in turn) if len(clicks) < self.wasted else turn
        )


@dataclass(frozen=True)
class Lucky(Robot):
    """Clicks anywhere, one in three positive."""

    def __call__(self, target, mask, clicks, rng, ignore=None, others=None):
        y, x = (int(value) for value in rng.integers((0, 0), SHAPE))
        return (Click(y, x, bool(rng.random() < 1 / 3)),)


@dataclass(frozen=True)
class Lazy(Robot):
    """Never clicks."""

    def __call__(self, target, mask, clicks, rng, ignore=None, others=None):
        return ()


@dataclass(frozen=True)
class Eager(Robot):
    """Seven clicks a turn."""

    def __call__(self, target, mask, clicks, rng, ignore=None, others=None):
        return (self.center(target, None, (), ignore)[0],) * 7


def third_positive(clicks, target):
    """Right from the third positive click on."""
    return target & (sum(click.positive for click in clicks) >= 3)


def test_a_robot_like_center_loses_nothing():
    data = Memory()
    result = evaluate_interactive(Player(data, third_positive, games=2), data, robot=Same())
    assert result.noc["90"] == result.center.noc["90"] == (3.0, 3.0, 3.0)
    assert result.loss == result.loss_percent == dict.fromkeys(("80", "85", "90"), (0.0, 0.0, 0.0))
    assert result.rows == result.center.rows
    assert result.iou == result.center.iou


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_wasted_click_is_a_loss_of_one(repeats):
    data = Memory()
    player = Player(data, third_positive, games=1 + repeats)
    result = evaluate_interactive(player, data, robot=Wasteful(), repeats=repeats)
    assert result.noc["90"] == (4.0, 4.0, 4.0)
    assert result.center.noc["90"] == (3.0, 3.0, 3.0)
    assert result.loss["90"] == (1.0, 1.0, 1.0)
    assert result.loss_percent["90"] == pytest.approx((100 / 3,) * 3)
    assert [value.mean for value in result.iou[:5]] == [0, 0, 0, 1, 1]
    assert [value.mean for value in result.center.iou[:5]] == [0, 0, 1, 1, 1]


def test_the_loss_is_paired_object_by_object_and_its_interval_is_over_images():
    data = Memory()

    def rule(clicks, target):  # the objects of image 0 forgive a negative click, the one of image 1 takes it as final
        small = target.sum() < 900
        return target & (small or all(click.positive for click in clicks))

    result = evaluate_interactive(Player(data, rule, games=2), data, robot=Wasteful())
    assert [row.noc["90"] for row in result.center.rows] == [1, 1, 1]
    assert [row.noc["90"] for row in result.rows] == [1, 1, 20]
    assert result.loss["90"] == (19 / 3, 0.0, 19.0)
    assert result.loss_percent["90"] == pytest.approx((1900 / 3, 0.0, 1900.0))
    assert (result.failures["90"], result.center.failures["90"]) == (1, 0)


def test_center_is_played_alone_once_and_has_no_loss():
    data = Memory()
    result = evaluate_interactive(Player(data, oracle), data, robot=STRATEGIES["center"](rounds=0))
    assert (result.robot, result.parameters, result.repeats) == ("center", {}, 1)
    assert result.center is None
    assert result.loss == result.loss_percent == result.spread == result.noc_by_repeat == {}
    assert result.rows == evaluate_interactive(Player(data, oracle), data).rows


def test_repeats_without_chance_have_no_spread():
    data = Memory()
    once = evaluate_interactive(Player(data, third_positive), data)
    result = evaluate_interactive(Player(data, third_positive, games=4), data, repeats=4)
    assert result.spread == {"80": 0.0, "85": 0.0, "90": 0.0}
    assert result.noc_by_repeat["80"] == (3.0,) * 4
    assert (result.noc, result.iou, result.biou) == (once.noc, once.iou, once.biou)
    assert result.failures == {"80": 0, "85": 0, "90": 0}
    assert [(row.id, row.repeat) for row in result.rows[:5]] == [*(("0/0", number) for number in range(4)), ("0/1", 0)]
    assert (len(result.rows), result.objects) == (12, 3)


def hit(clicks, target):
    """Right as soon as a positive click lies on the object."""
    return target & any(click.positive and target[click.y, click.x] for click in clicks)


def test_the_spread_is_that_of_the_means_of_the_repeats():
    data = Memory()
    result = evaluate_interactive(Player(data, hit, games=6), data, robot=Lucky(), repeats=5)
    clicks = np.array([row.noc["90"] for row in result.rows]).reshape(3, 5)  # object, repeat
    assert result.noc_by_repeat["90"] == tuple(clicks.mean(0))
    assert result.spread["90"] == pytest.approx(np.sqrt(((clicks.mean(0) - clicks.mean()) ** 2).sum() / 4))
    assert result.spread["90"] > 0
    assert result.noc["90"].mean == pytest.approx(clicks.mean())
    assert result.loss["90"].mean == pytest.approx((clicks.mean(1) - 1).mean())
    assert result.failures["90"] == sum(row.iou[-1] == 0 for row in result.rows)


def luck(data=None, **arguments):
    data = data or Memory()
    games = 1 + arguments.get("repeats", 1)
    return evaluate_interactive(Player(data, hit, games), data, robot=Lucky(), **arguments)


def test_chance_is_a_function_of_seed_object_and_repeat():
    result = luck(repeats=3, seed=5)
    timeless = {"seconds_per_click": 0.0, "forward_seconds_per_click": 0.0, "overhead_share": 0.0}
    assert replace(result, **timeless) == replace(luck(repeats=3, seed=5), **timeless)
    clicks = [row.clicks for row in result.rows]
    assert len(set(clicks)) == 9, "every object and every repeat has luck of its own"
    assert [row.clicks for row in luck(repeats=3, seed=6).rows] != clicks
    assert [row.clicks for row in luck(repeats=1, seed=5).rows] == clicks[::3], "more repeats leave the first alone"
    assert [row.clicks for row in luck(repeats=3, seed=5, limit=1).rows] == clicks[:6]


def test_the_robot_draws_from_a_stream_of_its_own():
    def first(*stream):
        y, x = np.random.default_rng(stream).integers((0, 0), SHAPE)
        return y, x

    (click,) = luck(seed=5, limit=1).rows[1].clicks[:1]
    assert (click.y, click.x) == first(5, 1, 0, 11)
    assert (click.y, click.x) != first(5, 1), "which is the protocol `single`'s"


def test_the_image_is_set_once_for_all_repeats():
    data, steps = Memory(), []
    player = Player(data, oracle, games=3)
    arguments = {"robot": Same(), "repeats": 2, "progress": lambda done, total: steps.append((done, total))}
    evaluate_interactive(player, data, **arguments)
    assert player.diary == ["image", *["reset"] * 6, "image", *["reset"] * 3]
    assert steps == [(done, 6) for done in range(1, 7)], "objects x repeats; center's games are no steps"


def test_clicks_of_one_turn_are_answered_one_by_one_and_never_too_many():
    data = Memory()
    result = evaluate_interactive(Player(data, stubborn, games=2), data, robot=Eager(), max_clicks=10)
    assert all(len(row.clicks) == len(row.iou) == 10 for row in result.rows)
    result = evaluate_interactive(Player(data, patient, games=2), data, robot=Eager(), max_clicks=10)
    assert result.noc["90"].mean == 4
    two = evaluate_interactive(Player(data, oracle, games=2), data, robot=Random())
    assert [click.positive for click in two.rows[0].clicks] == [True, False]


def test_who_never_clicks_has_the_empty_mask():
    data = Memory()
    result = evaluate_interactive(Player(data, oracle, games=2), data, robot=Lazy())
    assert all(row.iou == row.biou == (0.0,) * 20 and row.clicks == () for row in result.rows)
    assert result.loss["90"] == (19.0, 19.0, 19.0)


def test_a_result_names_its_robot():
    data = Memory()
    named = evaluate_interactive(Player(data, oracle, games=2), data, robot=STRATEGIES["adaptive"](spread=0.25))
    assert (named.robot, named.parameters) == ("adaptive", {"spread": 0.25})
    assert robot_parameters(Wasteful(4)) == {"wasted": 4}


def test_a_report_with_repeats_survives_json():
    report = Report("f" * 32, 1, "fp32", "cpu", "memory", "0" * 16, None, luck(repeats=3))
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_plays(name):
    data = Memory(ignore=True)
    games = 1 if name == "center" else 2
    result = evaluate_interactive(Player(data, patient, games), data, robot=STRATEGIES[name](), max_clicks=6)
    assert result.robot == name
    assert all(1 <= len(row.clicks) <= 6 for row in result.rows)


def test_a_robot_that_clicks_on_other_objects_is_shown_them():
    seen = []

    class Look:
        uses_others = True
        rounds = 0

        def __call__(self, target, prediction, clicks, rng, ignore=None, others=None):
            seen.append(others)
            return ()

    data = Memory()
    evaluate_interactive(Player(data, oracle, games=2), data, robot=Look(), max_clicks=2)
    np.testing.assert_array_equal(seen[0], data.samples[1].target)
    assert not seen[2].any()
