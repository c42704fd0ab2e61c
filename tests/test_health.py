"""Numbers about the discriminator by hand, and when the watchdog speaks."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mfpgan.models.discriminator import MFPDiscriminator
from mfpgan.training.alarms import PATIENCE, WINDOW, Watchdog
from mfpgan.training.health import accuracies, auc, differing, soften, undecided


def pixels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_auc_by_hand() -> None:
    assert auc([2, 3], [0, 1]) == 1
    assert auc([0, 1], [2, 3]) == 0
    assert auc([1, 1], [1]) == 0.5
    # 1 is above 0 and below 2: 1; each 2 is above 0 and ties with 2: 1.5; 4 of 6 pairs.
    assert auc([1, 2, 2], [0, 2]) == pytest.approx(4 / 6)


values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8)


@given(values, values)
def test_auc_counts_pairs(higher: list[float], lower: list[float]) -> None:
    wins = sum((one > other) + 0.5 * (one == other) for one in higher for other in lower)
    assert auc(higher, lower) == pytest.approx(wins / (len(higher) * len(lower)))


def test_undecided_by_hand() -> None:
    prob = pixels(0.05, 0.2, 0.85, 0.95, 0.5, 0.0)
    # .2, .85 and .5 of six; with .5 and 0 in the ignore band two of four.
    assert undecided(prob, torch.ones_like(prob)).item() == pytest.approx(3 / 6)
    assert undecided(prob, pixels(1, 1, 1, 1, 0, 0)).item() == pytest.approx(2 / 4)
    assert undecided(prob, torch.zeros_like(prob)).item() == 0


def test_accuracies_by_hand() -> None:
    real, fake = torch.tensor([4, 2, 0, 0.8]), torch.tensor([1.3, -1, 0.2, -0.2])

    def both(boundary: float | None, *counts: float) -> list[float]:
        counted = torch.tensor(counts or (1.0, 1, 1, 1))
        return [share.item() for share in accuracies(real, fake, counted, boundary)]

    assert both(0.0) == [3.5 / 4, 2 / 4], "a logit on the boundary is half right"
    assert both(0.5) == [3 / 4, 3 / 4]
    assert both(0.0, 0, 0, 1, 1) == [1.5 / 2, 1 / 2], "only patches that count"
    assert both(0.0, 0, 0, 0, 0) == [0.5, 0.5], "nothing to tell apart"
    # Only differences mean anything: 4 > 1.3, 2 > -1, 0 < .2, .8 > -.2.
    assert both(None) == [3 / 4, 3 / 4]


def test_who_is_right_about_every_pair_is_right_whatever_the_photo_adds() -> None:
    real, fake = torch.tensor([6.0, -4.0]), torch.tensor([4.0, -6.0])
    assert accuracies(real, fake, torch.ones(2), None) == (1.0, 1.0)


@pytest.mark.parametrize("side", [96, 140, 256])
def test_patches_differ_where_the_masks_do(side: int) -> None:
    """A wrong square of 8 pixels touches the one or two cells, 8 pixels apart, over which it lies."""
    real = torch.zeros(1, 1, side, side)
    fake = real.clone()
    fake[..., 40:48, 40:48] = 1
    answer = MFPDiscriminator(0.1, scales=1)(torch.zeros(1, 3, side, side), torch.zeros(1, 2, side, side), real)
    cells = differing(real, fake, answer.logits).view(answer.logits[0].shape[-2:])
    rows, columns = torch.nonzero(cells, as_tuple=True)
    if side % 8 == 0:
        assert (rows.tolist(), columns.tolist()) == ([4], [4]), "the fifth logit stands over pixels 40 to 47"
    assert 1 <= len(rows) <= 4
    assert differing(real, fake * 0.04, answer.logits).sum() == 0
    everywhere = differing(real, 1 - real, answer.logits)
    assert everywhere.sum() == answer.logits[0].numel()
    two = MFPDiscriminator(0.1, scales=2)(
        torch.zeros(1, 3, 256, 256), torch.zeros(1, 2, 256, 256), torch.zeros(1, 1, 256, 256)
    )
    wide = torch.zeros(1, 1, 256, 256)
    wide[..., 80:96, 80:96] = 1  # the fifth cell of 16 pixels
    both = differing(torch.zeros_like(wide), wide, two.logits).split([grid.numel() for grid in two.logits])
    assert [torch.nonzero(cells).numel() for cells in both] == [4, 1]


def test_a_softened_edge_stays_on_its_side_of_one_half() -> None:
    for edge in range(1, 40):
        mask = torch.zeros(1, 1, 40, 40)
        mask[:, :, :, :edge] = 1
        for drawn in (mask, 1 - mask, mask.transpose(2, 3)):
            soft = soften(drawn)
            assert torch.equal((soft > 0.5).float(), drawn)
            assert soft.min() >= 0.05 - 1e-6
            assert soft.max() <= 0.95 + 1e-6
            assert 0.15 < undecided(soft, torch.ones_like(soft)) * 40 < 8, "a band of some pixels along the edge"


def test_softening_keeps_thin_parts_and_corners() -> None:
    drawn = torch.zeros(1, 1, 30, 30)
    drawn[:, :, 5:25, 5:7] = drawn[:, :, 10:12, 5:25] = drawn[:, :, 20, 20] = 1
    soft = soften(drawn)
    assert torch.equal((soft > 0.5).float(), drawn)
    assert (soft[drawn > 0].min(), soft[drawn == 0].max()) == (pytest.approx(0.55), pytest.approx(0.45))


def test_softened_plains_by_hand() -> None:
    assert torch.allclose(soften(torch.zeros(1, 1, 9, 9)), torch.tensor(0.05))
    assert torch.allclose(soften(torch.ones(1, 1, 9, 9)), torch.tensor(0.95))


HEALTHY = {"d/real_accuracy": 0.7, "d/fake_accuracy": 0.8, "d/spread": 0.5, "d/gap": 0.4}
WINS = {"d/real_accuracy": 0.99, "d/fake_accuracy": 1.0, "d/spread": 3.0, "d/gap": 5.0}
DEAD = {"d/real_accuracy": 1.0, "d/fake_accuracy": 0.0, "d/spread": 1e-4, "d/gap": 1e-4}
QUIET = [""] * WINDOW


def looks(watchdog: Watchdog, metrics: dict[str, float], times: int = WINDOW) -> list[str]:
    return [watchdog.look(metrics) for _ in range(times)]


def test_the_watchdog_is_silent_about_a_healthy_discriminator_and_about_none() -> None:
    watchdog = Watchdog()
    assert looks(watchdog, HEALTHY | {"d/softness_auc": 0.85}, 3 * WINDOW) == QUIET * 3
    assert watchdog.level == 0
    assert looks(Watchdog(), {"train/seg": 1.0, "val/iou": 0.5}, 3 * WINDOW) == QUIET * 3


def test_the_watchdog_says_once_that_it_wins_and_again_after_it_recovered() -> None:
    watchdog = Watchdog()
    assert looks(watchdog, WINS, WINDOW - 1) == QUIET[1:], "not before the window is full"
    assert watchdog.level == 0
    words = watchdog.look(WINS)
    assert words.startswith("The discriminator wins")
    assert "99.0% of real and 100.0% of predicted" in words
    assert watchdog.level == 1
    assert looks(watchdog, WINS) == QUIET
    assert watchdog.level == 1
    assert watchdog.look({"train/seg": 1.0}) == "", "steps without the discriminator are passed over"
    assert watchdog.level == 1
    # One log of ten at .7: (9 * .99 + .7) / 10 = .961 is below .98.
    assert watchdog.look(HEALTHY) == ""
    assert watchdog.level == 0
    assert looks(watchdog, WINS, WINDOW - 1) == QUIET[1:]
    assert watchdog.look(WINS).startswith("The discriminator wins")


def test_who_is_right_on_one_side_only_does_not_win() -> None:
    for side in ("d/real_accuracy", "d/fake_accuracy"):
        assert looks(Watchdog(), WINS | {side: 0.9}, 2 * WINDOW) == QUIET * 2


def test_the_watchdog_says_that_it_is_dead() -> None:
    watchdog = Watchdog()
    *before, words = looks(watchdog, DEAD)
    assert before == QUIET[1:]
    assert words.startswith("The discriminator is dead")
    assert watchdog.level == -1
    assert looks(watchdog, DEAD) == QUIET
    for name in ("d/spread", "d/gap"):
        assert looks(Watchdog(), DEAD | {name: 0.01}, 2 * WINDOW) == QUIET * 2
    assert looks(Watchdog(), DEAD | {"d/gap": -0.01}) == QUIET, "a gap the wrong way round is a gap"


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        ({}, True),
        ({"d/gap": 0.02}, True),  # 4 % of the spread
        ({"d/gap": 0.03}, False),
        ({"d/gap": -0.3}, True),  # the wrong way round says nothing about drawn masks either
        ({"d/real_accuracy": 0.6, "d/fake_accuracy": 0.46}, False),  # .53
        ({"d/real_accuracy": 1.0, "d/fake_accuracy": 0.03}, True),  # says real to everything
    ],
    ids=str,
)
def test_who_does_not_see_the_mask_is_dead_after_a_while(changes: dict[str, float], speaks: bool) -> None:
    """Its logits differ from photo to photo, but not with the mask."""
    blind = {"d/real_accuracy": 0.5, "d/fake_accuracy": 0.5, "d/spread": 0.5, "d/gap": 0.0} | changes
    watchdog = Watchdog()
    *before, words = looks(watchdog, blind, PATIENCE)
    assert not any(before), "it has some time to learn"
    assert words.startswith("The discriminator is dead") == speaks
    assert ("no better than a guess" in words) == speaks
    assert watchdog.level == (-1 if speaks else 0)


def test_the_watchdog_says_that_it_judges_softness() -> None:
    watchdog = Watchdog()
    soft = {"val/iou": 0.5, "d/softness_auc": 0.95}
    words = watchdog.look(soft)
    assert words.startswith("The discriminator judges softness")
    assert "AUC 0.95" in words
    assert watchdog.level == 0.5
    assert watchdog.look(HEALTHY) == ""
    assert watchdog.level == 0.5, "the last probe holds until the next"
    assert watchdog.look(soft | {"d/softness_auc": 0.99}) == ""
    assert watchdog.look({"d/softness_auc": 0.6}) == ""
    assert watchdog.level == 0
    assert watchdog.look(soft)


def test_winning_goes_before_softness_and_each_sentence_is_one_line() -> None:
    watchdog = Watchdog()
    soft = {"d/softness_auc": 0.95}
    assert watchdog.look(soft)
    *_, words = looks(watchdog, WINS)
    assert words.startswith("The discriminator wins")
    assert "\n" not in words
    assert watchdog.level == 1


def test_an_alarm_that_lasts_is_not_repeated_when_another_comes_and_goes() -> None:
    watchdog = Watchdog()
    soft = {"d/softness_auc": 0.95}
    assert "softness" in watchdog.look(HEALTHY | soft)
    words = [word for word in looks(watchdog, WINS, 2 * WINDOW) if word]
    assert len(words) == 1
    assert "wins" in words[0]
    assert watchdog.level == 1
    assert not any(looks(watchdog, HEALTHY, 2 * WINDOW))
    assert watchdog.level == 0.5


def test_logs_without_a_patch_that_differs_are_passed_over() -> None:
    nothing = {"d/real_accuracy": 0.5, "d/fake_accuracy": 0.5, "d/spread": 0.5, "d/gap": 0.0, "d/differing": 0.0}
    watchdog = Watchdog()
    assert not any(looks(watchdog, nothing, 2 * PATIENCE))
    assert looks(watchdog, WINS, WINDOW - 1) == QUIET[1:]
    assert watchdog.look(nothing) == ""
    assert watchdog.look(WINS).startswith("The discriminator wins")


def test_numbers_that_are_none_are_no_life() -> None:
    *_, words = looks(Watchdog(), HEALTHY | {"d/spread": float("nan"), "d/gap": float("nan")})
    assert words.startswith("The discriminator is dead")


@pytest.mark.parametrize("cut", [1, 5, WINDOW, 13, 25])
def test_the_watchdog_goes_on_where_it_stopped(cut: int) -> None:
    looked = [HEALTHY | {"d/softness_auc": 0.95}] + [WINS] * 14 + [HEALTHY] * 3 + [WINS] * 12
    whole, first, second = Watchdog(), Watchdog(), Watchdog()
    expected = [(whole.look(metrics), whole.level) for metrics in looked]
    assert sum(bool(words) for words, _ in expected) == 3, "softness, and twice that it wins"
    for metrics in looked[:cut]:
        first.look(metrics)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [(second.look(metrics), second.level) for metrics in looked[cut:]] == expected[cut:]


def test_a_discriminator_that_prefers_softness_judges_it_too() -> None:
    assert "AUC 0.02" in Watchdog().look(HEALTHY | {"d/softness_auc": 0.02})
