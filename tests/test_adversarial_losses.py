"""The two players' formulas against numbers worked out by hand, and what each pair says of itself."""

from __future__ import annotations

from math import log

import pytest
import torch

from mfpgan.losses.adversarial import ADVERSARIAL


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def test_hinge_by_hand() -> None:
    hinge = ADVERSARIAL["hinge"]
    # Real 2 is beyond the margin (0), real .5 lacks .5; fake -3 is beyond (0), fake 1 costs 2: means .25 and 1.
    assert hinge.discriminator(tensor(2, 0.5), tensor(-3, 1)).item() == pytest.approx(0.25 + 1)
    # -(-3 + 1) / 2.
    assert hinge.generator(tensor(2, 0.5), tensor(-3, 1)).item() == pytest.approx(1)


def test_bce_by_hand() -> None:
    bce = ADVERSARIAL["bce"]
    # sigmoid(log 3) = 3/4: -log(3/4) on real, -log(1 - 3/4) on fake.
    assert bce.discriminator(tensor(log(3)), tensor(log(3))).item() == pytest.approx(log(4 / 3) + log(4))
    # Means over patches: real p = 3/4 and 1/2, fake p = 1/4 and 1/2.
    two = bce.discriminator(tensor(log(3), 0), tensor(-log(3), 0))
    assert two.item() == pytest.approx((log(4 / 3) + log(2)) / 2 + (log(4 / 3) + log(2)) / 2)
    # The generator wants p = 1: -log(3/4).
    assert bce.generator(tensor(-9), tensor(log(3))).item() == pytest.approx(log(4 / 3))


def test_least_squares_by_hand() -> None:
    lsgan = ADVERSARIAL["lsgan"]
    # Real 1 and 3 cost 0 and 4, mean 2; fake 0 and -2 cost 0 and 4, mean 2; half of the sum.
    assert lsgan.discriminator(tensor(1, 3), tensor(0, -2)).item() == pytest.approx(2)
    # Real 2 costs 1, fake 3 costs 9: half of 10.
    assert lsgan.discriminator(tensor(2), tensor(3)).item() == pytest.approx(5)
    # (-2 - 1)^2 = 9 and (1 - 1)^2 = 0: mean 4.5, half of it.
    assert lsgan.generator(tensor(7, 7), tensor(-2, 1)).item() == pytest.approx(2.25)


def test_wasserstein_by_hand() -> None:
    wgan = ADVERSARIAL["wgan-gp"]
    # Mean fake (-1 + 4) / 2 = 1.5, mean real (3 + 2) / 2 = 2.5.
    assert wgan.discriminator(tensor(3, 2), tensor(-1, 4)).item() == pytest.approx(-1)
    assert wgan.generator(tensor(3, 2), tensor(-1, 4)).item() == pytest.approx(-1.5)


def test_relativistic_by_hand() -> None:
    relativistic = ADVERSARIAL["relativistic"]
    # Real log 3 above fake: the discriminator pays log(1 + 1/3), the generator log(1 + 3).
    assert relativistic.discriminator(tensor(log(3)), tensor(0)).item() == pytest.approx(log(4 / 3))
    assert relativistic.generator(tensor(log(3)), tensor(0)).item() == pytest.approx(log(4))
    # Patch by patch, not mean against mean: differences 2 log 3 and 0 cost log(10/9) and log 2.
    two = relativistic.discriminator(tensor(log(3), 5), tensor(-log(3), 5))
    assert two.item() == pytest.approx((log(10 / 9) + log(2)) / 2)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_players_pull_in_opposite_directions(name: str) -> None:
    loss = ADVERSARIAL[name]
    # Between 0 and 1, where least squares wants its two answers.
    real, fake = tensor(0.1, 0.8).requires_grad_(), tensor(0.1, 0.8).requires_grad_()
    loss.discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all(), "the discriminator raises its logits on real masks"
    assert (fake.grad > 0).all(), "and lowers them on predicted ones"
    fake.grad = None
    loss.generator(real.detach(), fake).backward()
    assert fake.grad is not None
    assert (fake.grad < 0).all(), "the generator wants them raised"


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_loss_says_truly_whether_the_generator_looks_at_real_logits(name: str) -> None:
    loss, fake = ADVERSARIAL[name], tensor(0.3, -1)
    first, second = (loss.generator(real, fake) for real in (tensor(0, 2), tensor(-1, 4)))
    assert loss.pairs == (first.item() != second.item())


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_discriminator_prefers_real_above_the_boundary_and_fake_below(name: str) -> None:
    loss = ADVERSARIAL[name]
    above, below = (tensor((loss.boundary or 0) + far) for far in (0.4, -0.4))
    right, wrong = loss.discriminator(above, below), loss.discriminator(below, above)
    undecided = loss.discriminator(tensor(loss.boundary or 0), tensor(loss.boundary or 0))
    assert right < undecided < wrong


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_boundary_is_where_equal_answers_cost_least(name: str) -> None:
    loss = ADVERSARIAL[name]
    boundary = 0.0 if loss.boundary is None else loss.boundary
    there = loss.discriminator(tensor(boundary), tensor(boundary)).item()
    beside = [loss.discriminator(tensor(boundary + far), tensor(boundary + far)).item() for far in (-3, 3)]
    if loss.boundary is None:
        assert beside == pytest.approx([there, there]), "only differences mean anything"
    else:
        assert beside[0] == pytest.approx(beside[1]), "the same to either side"
        assert there < beside[0]


@pytest.mark.parametrize("name", ["bce", "relativistic"])
def test_extreme_logits_stay_finite(name: str) -> None:
    loss = ADVERSARIAL[name]
    real, fake = tensor(-200, 200).requires_grad_(), tensor(200, -200).requires_grad_()
    total = loss.discriminator(real, fake) + loss.generator(real, fake)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(logits.grad).all() for logits in (real, fake))
