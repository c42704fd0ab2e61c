"""Segmentation losses against numbers worked out by hand, and one contract test over their table."""

from __future__ import annotations

from math import log

import pytest
import torch

from mfpgan.losses.segmentation import SEGMENTATION, bce, bce_dice, normalized_focal


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


def test_normalized_focal_loss_by_hand() -> None:
    # Two object pixels, p = 3/4 and 1/4: weights (1/4)^2 and (3/4)^2 with mean 10/32, so scaled to 1/5 and 9/5.
    value = normalized_focal(tensor(log(3), -log(3)), tensor(1, 1), tensor(1, 1), pos_weight=5)
    assert value.item() == pytest.approx(0.5 * (log(4 / 3) / 5 + log(4) * 9 / 5) / 2)
    # Equally wrong pixels: the scale undoes the focus, half of the cross-entropy is left.
    assert normalized_focal(tensor(0, 0), tensor(1, 0), tensor(1, 1), pos_weight=5).item() == pytest.approx(log(2) / 2)


def test_normalized_focal_loss_scales_each_image_by_itself() -> None:
    logits, target = torch.randn(3, 1, 6, 6), (torch.rand(3, 1, 6, 6) > 0.5).float()
    valid = (torch.rand(3, 1, 6, 6) > 0.2).float()
    alone = [
        normalized_focal(logits[i : i + 1], target[i : i + 1], valid[i : i + 1], pos_weight=1).item() for i in range(3)
    ]
    assert normalized_focal(logits, target, valid, pos_weight=1).item() == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_the_scale_of_the_normalized_focal_loss_passes_no_gradient() -> None:
    logits = tensor(log(3), -log(3)).requires_grad_()
    normalized_focal(logits, tensor(1, 1), tensor(1, 1), pos_weight=1).backward()
    # d/dx of -(1 - p)^2 log p is (1 - p)^2 (2 p log p - (1 - p)); the scale of the mean weight 10/32 is 3.2.
    slopes = [(1 - p) ** 2 * (2 * p * log(p) - (1 - p)) * 3.2 * 0.5 / 2 for p in (0.75, 0.25)]
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx(slopes, rel=1e-5)


def test_bce_dice_by_hand() -> None:
    # p = 1/2 on four pixels, two of the object: (2 * 1 + 1) / (2 + 2 + 1) = 3/5.
    value = bce_dice(tensor(0, 0, 0, 0), tensor(1, 1, 0, 0), tensor(1, 1, 1, 1), pos_weight=1)
    assert value.item() == pytest.approx(log(2) + 2 / 5)
    # An image without object, answered with an empty mask, costs nothing.
    assert bce_dice(tensor(-50, -50), tensor(0, 0), tensor(1, 1), pos_weight=1).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["nfl", "bce-dice"])
def test_extreme_logits_stay_finite(name: str) -> None:
    logits = tensor(200, -200, 200, -200).requires_grad_()
    loss = SEGMENTATION[name](logits, tensor(1, 0, 0, 1), tensor(1, 1, 1, 1), pos_weight=5)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


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
