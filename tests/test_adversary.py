"""Who owns which weights, and what each player is shown."""

from __future__ import annotations

import pytest
import torch

from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.discriminator import MFPDiscriminator
from mfpgan.training.adversary import Adversary, NoAdversary, show
from mfpgan.types import Batch


def adversary(name: str = "hinge", warmup: int = 0, weight: float = 0.01) -> Adversary:
    torch.manual_seed(0)
    return Adversary(
        MFPDiscriminator(width=0.1), ADVERSARIAL[name], weight=weight, lr=2e-4, warmup=warmup, bf16=False
    )  # fmt: skip


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    target = torch.zeros(2, 1, 96, 96)
    target[:, :, 30:60, 30:60] = 1
    return Batch(("a", "b"), torch.rand(2, 3, 96, 96), target, torch.ones(2, 1, 96, 96))


MAPS = torch.zeros(2, 2, 96, 96)


def weights(player: Adversary) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in player.discriminator.parameters()])


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_an_update_moves_the_discriminator_and_gives_the_generator_no_gradient(name: str, batch: Batch) -> None:
    player = adversary(name)
    logits = torch.zeros(2, 1, 96, 96, requires_grad=True)
    before = weights(player)
    stats = player.update(batch, MAPS, logits.sigmoid(), 0)
    assert not torch.equal(weights(player), before)
    assert logits.grad is None
    assert stats.keys() == {"d/loss", "d/real_accuracy", "d/fake_accuracy", "d/real_logit", "d/fake_logit"}
    assert not any(value.requires_grad for value in stats.values())


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_penalty_leaves_no_trace_in_the_discriminator(name: str, batch: Batch) -> None:
    player = adversary(name)
    player.update(batch, MAPS, torch.rand(2, 1, 96, 96), 0)
    player.optimizer.zero_grad(set_to_none=True)
    before = {key: value.clone() for key, value in player.discriminator.state_dict().items()}
    logits = torch.randn(2, 1, 96, 96, requires_grad=True)
    player.penalty(batch, MAPS, logits.sigmoid(), 0).backward()
    assert all(p.grad is None for p in player.discriminator.parameters())
    assert all(torch.equal(value, before[key]) for key, value in player.discriminator.state_dict().items())
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0


def test_the_penalty_is_the_weighted_loss(batch: Batch) -> None:
    prob = torch.rand(2, 1, 96, 96)
    one, ten = adversary(weight=1), adversary(weight=10)
    assert torch.allclose(10 * one.penalty(batch, MAPS, prob, 0), ten.penalty(batch, MAPS, prob, 0))


def test_masks_are_shown_hard_and_the_gradient_passes_straight_through() -> None:
    prob = torch.tensor([0.1, 0.5, 0.500001, 0.9], requires_grad=True)
    valid = torch.tensor([1.0, 1.0, 1.0, 0.0])
    shown = show(prob, valid)
    assert shown.tolist() == [0, 0, 1, 0]
    (shown * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert prob.grad is not None
    assert prob.grad.tolist() == [1, 2, 3, 0]


def test_a_perfect_prediction_is_shown_exactly_as_the_truth(batch: Batch) -> None:
    soft = batch.target * 0.6 + 0.2
    assert torch.equal(show(soft, batch.valid), show(batch.target, batch.valid))


def test_it_learns_to_tell_masks_apart(batch: Batch) -> None:
    player = adversary()
    wrong = torch.rand(2, 1, 96, 96)
    stats = {}
    for step in range(60):
        stats = player.update(batch, MAPS, wrong, step)
    assert stats["d/real_accuracy"] > 0.9
    assert stats["d/fake_accuracy"] > 0.9


def test_before_the_warmup_ends_it_is_quiet(batch: Batch) -> None:
    player, quiet = adversary(warmup=3), NoAdversary()
    prob = torch.rand(2, 1, 96, 96)
    before = weights(player)
    assert player.update(batch, MAPS, prob, 2) == quiet.update(batch, MAPS, prob, 2) == {}
    assert float(player.penalty(batch, MAPS, prob, 2)) == float(quiet.penalty(batch, MAPS, prob, 2)) == 0
    assert torch.equal(weights(player), before)
    assert player.update(batch, MAPS, prob, 3)


def test_state_goes_on_where_it_stopped(batch: Batch) -> None:
    whole, first, second = adversary(), adversary(), adversary()
    prob = torch.rand(2, 1, 96, 96)
    for step in range(4):
        whole.update(batch, MAPS, prob, step)
    for step in range(2):
        first.update(batch, MAPS, prob, step)
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.update(batch, MAPS, prob, step)
    assert torch.equal(weights(whole), weights(second))
