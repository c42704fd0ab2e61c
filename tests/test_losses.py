"""Formulas against numbers worked out by hand, and one contract test over each table."""

from __future__ import annotations

from math import log

import pytest
import torch

from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.losses.segmentation import SEGMENTATION, bce


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_weighted_bce_by_hand() -> None:
    # p = 1/2 everywhere: object pixels cost 5 log 2, the others log 2; mean of one and three.
    value = bce(tensor(0, 0, 0, 0), tensor(1, 0, 0, 0), tensor(1, 1, 1, 1), pos_weight=5)
    assert value.item() == pytest.approx((5 + 3) / 4 * log(2))
    # logit log 3 is p = 3/4.
    assert bce(tensor(log(3)), tensor(1), tensor(1), pos_weight=5).item() == pytest.approx(5 * log(4 / 3))
    assert bce(tensor(log(3)), tensor(0), tensor(1), pos_weight=5).item() == pytest.approx(log(4))


def test_weighted_bce_is_torchs_own_where_everything_counts() -> None:
    logits, target = torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.7).float()
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))(logits, target)
    assert torch.allclose(bce(logits, target, torch.ones_like(target), pos_weight=5), expected)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_pixels_that_do_not_count_change_nothing_and_get_no_gradient(name: str) -> None:
    logits = tensor(0.3, -2, 5).requires_grad_()
    loss = SEGMENTATION[name](logits, tensor(1, 0, 0), tensor(1, 1, 0), pos_weight=5)
    loss.backward()
    assert loss.item() == pytest.approx(
        SEGMENTATION[name](tensor(0.3, -2), tensor(1, 0), tensor(1, 1), pos_weight=5).item()
    )
    assert logits.grad is not None
    assert logits.grad.flatten()[2] == 0
    assert torch.isfinite(SEGMENTATION[name](tensor(1), tensor(1), tensor(0), pos_weight=5))


@pytest.mark.parametrize("name", SEGMENTATION)
def test_the_right_answer_costs_less(name: str) -> None:
    target, valid = tensor(1, 0), tensor(1, 1)
    right = SEGMENTATION[name](tensor(4, -4), target, valid, pos_weight=5)
    assert 0 <= right < SEGMENTATION[name](tensor(-4, 4), target, valid, pos_weight=5)


def test_hinge_by_hand() -> None:
    hinge = ADVERSARIAL["hinge"]
    # Real 2 is beyond the margin (0), real .5 lacks .5; fake -3 is beyond (0), fake 1 costs 2: means .25 and 1.
    assert hinge.discriminator(tensor(2, 0.5), tensor(-3, 1)).item() == pytest.approx(0.25 + 1)
    assert hinge.generator(tensor(-3, 1)).item() == pytest.approx(1)


def test_bce_by_hand() -> None:
    loss = ADVERSARIAL["bce"]
    # sigmoid(log 3) = 3/4: -log(3/4) on real, -log(1 - 3/4) on fake.
    assert loss.discriminator(tensor(log(3)), tensor(log(3))).item() == pytest.approx(log(4 / 3) + log(4))
    assert loss.generator(tensor(log(3))).item() == pytest.approx(log(4 / 3))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_players_pull_in_opposite_directions(name: str) -> None:
    loss = ADVERSARIAL[name]
    real, fake = tensor(0.1, -0.2).requires_grad_(), tensor(0.1, -0.2).requires_grad_()
    loss.discriminator(real, fake).backward()
    assert (real.grad < 0).all(), "the discriminator raises its logits on real masks"
    assert (fake.grad > 0).all(), "and lowers them on predicted ones"
    fake.grad = None
    loss.generator(fake).backward()
    assert (fake.grad < 0).all(), "the generator wants them raised"
