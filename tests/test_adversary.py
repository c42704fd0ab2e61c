"""Who owns which weights, who takes which gradient, and what each rule does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.discriminator import Judgement, MFPDiscriminator
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.training.adversary import Adversary, NoAdversary
from mfpgan.training.finite import NotFiniteError
from mfpgan.training.health import soften
from mfpgan.training.penalties import feature_matching, gradient_penalty, r1
from mfpgan.training.rules import Rules
from mfpgan.types import Batch

SIDE = 96
MAPS = torch.zeros(2, 2, SIDE, SIDE)
USUAL = Rules(
    lr=2e-4, weight=0.01, warmup=0, ramp=0, balance="fixed", r1=0, r1_every=16, gradient_penalty=0, feature_matching=0,
    augment=0, seed=0,
)  # fmt: skip
PULL = torch.full((2, 1, SIDE, SIDE), 1e-4)


def adversary(
    name: str = "hinge", d_mask: str = "ste", scales: int = 1, spectral: bool = True, **rules: Any
) -> Adversary:
    torch.manual_seed(0)
    presentation = PRESENTATIONS[d_mask]
    discriminator = MFPDiscriminator(0.1, scales=scales, mask_channels=presentation.channels, spectral=spectral)
    return Adversary(discriminator, ADVERSARIAL[name], presentation, replace(USUAL, **rules), bf16=False)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    target = torch.zeros(2, 1, SIDE, SIDE)
    target[:, :, 30:60, 30:60] = 1
    return Batch(("a", "b"), torch.rand(2, 3, SIDE, SIDE), target, torch.ones(2, 1, SIDE, SIDE))


def weights(player: Adversary) -> Tensor:
    return torch.cat([p.detach().flatten() for p in player.discriminator.parameters()])


def push(player: Adversary, batch: Batch, logits: Tensor, step: int = 0) -> Any:
    return player.push(batch, MAPS, logits, step, 2 * step, PULL, lambda gradient: gradient.norm())


KINDS: list[dict[str, Any]] = [
    *({"name": name} for name in ADVERSARIAL),
    *({"d_mask": name} for name in PRESENTATIONS),
    {"scales": 2},
    {"r1": 1.0},
    {"name": "wgan-gp", "gradient_penalty": 10.0, "spectral": False},
    {"feature_matching": 10.0},
    {"augment": 1.0},
    {"balance": "grad"},
    {"name": "relativistic", "r1": 1.0, "augment": 0.5, "scales": 2, "d_mask": "ste-blur", "feature_matching": 1.0},
]
"""Each table's entries and each rule."""


@pytest.fixture(params=KINDS, ids=str)
def player(request: pytest.FixtureRequest) -> Adversary:
    return adversary(**request.param)


def test_an_update_moves_the_discriminator_and_gives_the_generator_no_gradient(player: Adversary, batch: Batch) -> None:
    generator = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Sigmoid())
    prob = generator(batch.image)
    kept = {name: value.clone() for name, value in generator.state_dict().items()}
    before = weights(player)
    walked: list[Tensor] = []
    prob.register_hook(walked.append)
    stats = player.update(batch, MAPS, prob, 0, 0)
    assert not torch.equal(weights(player), before)
    assert all(torch.equal(value, kept[name]) for name, value in generator.state_dict().items())
    assert all(p.grad is None for p in generator.parameters())
    assert walked == [], "its graph is not walked"
    prob.sum().backward()  # and is still there for its own step
    assert stats.keys() >= {"d/loss", "d/real_accuracy", "d/fake_accuracy", "d/real_logit", "d/fake_logit", "d/spread"}
    assert not any(value.requires_grad for value in stats.values())
    assert all(torch.isfinite(value) for value in stats.values())


def test_a_push_leaves_no_trace_in_the_discriminator(player: Adversary, batch: Batch) -> None:
    player.update(batch, MAPS, torch.rand(2, 1, SIDE, SIDE), 0, 0)
    player.optimizer.zero_grad(set_to_none=True)
    before = {key: value.clone() for key, value in player.discriminator.state_dict().items()}
    logits = torch.randn(2, 1, SIDE, SIDE)
    pushed = push(player, batch, logits)
    assert all(p.grad is None for p in player.discriminator.parameters())
    assert all(torch.equal(value, before[key]) for key, value in player.discriminator.state_dict().items())
    assert float(pushed.gradient.abs().sum()) > 0
    assert not pushed.loss.requires_grad
    assert not pushed.gradient.requires_grad
    assert logits.grad is None


@pytest.mark.parametrize("penalty", [r1, gradient_penalty])
def test_a_penalty_leaves_no_gradient(penalty: Any) -> None:
    discriminator = adversary().discriminator
    masks = torch.rand(2, 1, SIDE, SIDE, requires_grad=True)
    value = penalty(discriminator(torch.rand(2, 3, SIDE, SIDE), MAPS, masks).logits, masks)
    assert value.requires_grad, "it has a graph to the weights"
    assert all(p.grad is None for p in [*discriminator.parameters(), masks])


def test_an_update_with_a_penalty_gives_the_masks_no_gradient(batch: Batch) -> None:
    for rules in ({"r1": 1.0}, {"gradient_penalty": 10.0, "spectral": False}):
        player, shown = adversary(**rules), []
        player.discriminator.register_forward_pre_hook(lambda _, inputs, shown=shown: shown.append(inputs[2]))
        prob = torch.rand(2, 1, SIDE, SIDE)
        player.update(batch, MAPS, prob, 0, 0)
        assert shown[0].requires_grad, "the penalty needs the slope there"
        assert shown[0].grad is prob.grad is batch.target.grad is None


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_no_number_is_not_made(where: str, batch: Batch) -> None:
    player = adversary(lr=0.5)
    before = {name: value.clone() for name, value in player.discriminator.state_dict().items() if "weight" in name}
    first = next(player.discriminator.parameters())
    prob = torch.rand(2, 1, SIDE, SIDE)
    if where == "gradient":
        first.register_hook(lambda gradient: gradient * float("inf"))
    else:
        prob[0, 0, 0, 0] = float("nan")
        player = adversary(lr=0.5, d_mask="prob")
    with pytest.raises(
        NotFiniteError, match=rf"the discriminator's {where} became (nan|inf|-inf) at step 8;.* --d-lr \(now 0\.5\)"
    ):
        player.update(batch, MAPS, prob, 7, 14)
    after = {name: value for name, value in player.discriminator.state_dict().items() if name in before}
    originals = [name for name in before if not name.endswith(("_u", "_v"))]
    assert originals
    assert all(torch.equal(before[name], after[name]) for name in originals)
    assert player.optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("d_mask", ["gumbel", "ste"])
def test_a_pictures_chance_is_its_position(d_mask: str, batch: Batch) -> None:
    """Two pictures at position 10 are shown as one at 10 and one at 11 are."""
    prob = torch.rand(2, 1, SIDE, SIDE)

    def shown(pictures: slice, position: int) -> list[Tensor]:
        player, seen = adversary(d_mask=d_mask, augment=1.0), []
        player.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
        part = Batch(batch.ids[pictures], batch.image[pictures], batch.target[pictures], batch.valid[pictures])
        player.update(part, MAPS[pictures], prob[pictures], 3, position)
        logits = torch.zeros(len(part.ids), 1, SIDE, SIDE)
        player.push(part, MAPS[pictures], logits, 3, position, PULL[pictures], lambda gradient: gradient.norm())
        (image, _, masks), (again, _, pushed) = seen
        assert torch.equal(image[: len(part.ids)], again), "moved the same way for both"
        return [again, *masks.chunk(2), pushed]

    whole = shown(slice(0, 2), 10)
    first, second, elsewhere = shown(slice(0, 1), 10), shown(slice(1, 2), 11), shown(slice(1, 2), 12)
    for one, other, both in zip(first, second, whole, strict=True):
        assert torch.equal(torch.cat([one, other]), both)
    assert not torch.equal(second[0], elsewhere[0])


def test_every_rule_goes_on_where_it_stopped(player: Adversary, batch: Batch) -> None:
    prob, logits = torch.rand(2, 1, SIDE, SIDE), torch.randn(2, 1, SIDE, SIDE)
    first, second = _copy(player), _copy(player)

    def play(one: Adversary, steps: range) -> Any:
        for step in steps:
            one.update(batch, MAPS, prob, step, 2 * step)
            pushed = push(one, batch, logits, step)
        return pushed

    whole = play(player, range(4))
    play(first, range(2))
    second.load_state_dict(first.state_dict())
    parts = play(second, range(2, 4))
    assert torch.equal(weights(player), weights(second))
    assert torch.equal(whole.gradient, parts.gradient)


def _copy(player: Adversary) -> Adversary:
    """Another adversary with the same rules and other weights."""
    first = next(iter(player.discriminator.scales.children()))
    spectral = any("parametrizations" in name for name, _ in first.named_parameters())
    name = next(name for name, loss in ADVERSARIAL.items() if loss is player.loss)
    d_mask = next(name for name, shown in PRESENTATIONS.items() if shown is player.presentation)
    rules = {name: getattr(player.rules, name) for name in Rules.__slots__}
    copy = adversary(name, d_mask, len(player.discriminator.scales), spectral, **rules)
    copy.load_state_dict(player.state_dict())
    return copy


@contextmanager
def every_saved_tensor_is_used() -> Iterator[None]:
    """No step builds a graph that nobody walks: what autograd keeps is fetched again."""
    kept: list[int] = []
    fetched: list[int] = []

    def keep(tensor: Tensor) -> tuple[int, Tensor]:
        kept.append(len(kept))
        return kept[-1], tensor

    def fetch(packed: tuple[int, Tensor]) -> Tensor:
        fetched.append(packed[0])
        return packed[1]

    with torch.autograd.graph.saved_tensors_hooks(keep, fetch):
        yield
    assert kept
    assert sorted(set(kept) - set(fetched)) == []


def test_every_saved_tensor_is_used(player: Adversary, batch: Batch) -> None:
    with every_saved_tensor_is_used():
        for step in range(2):  # with and without lazy R1
            player.update(batch, MAPS, torch.rand(2, 1, SIDE, SIDE), step, 2 * step)
            push(player, batch, torch.randn(2, 1, SIDE, SIDE), step)


def test_without_weight_the_generators_side_is_not_computed(batch: Batch) -> None:
    for rules in ({"weight": 0.0}, {"warmup": 5}):
        player = adversary(**rules)
        player.discriminator.register_forward_hook(lambda *_: pytest.fail("the discriminator was asked"))
        pushed = push(player, batch, torch.zeros(2, 1, SIDE, SIDE))
        assert float(pushed.loss) == float(pushed.gradient) == 0


def test_the_push_is_the_gradient_of_the_weighted_loss(batch: Batch) -> None:
    player = adversary("bce", "prob", weight=0.5)
    logits = torch.randn(2, 1, SIDE, SIDE)
    pushed = push(player, batch, logits)
    leaf = logits.clone().requires_grad_()
    player.discriminator.eval()
    fake = player.discriminator(batch.image, MAPS, leaf.sigmoid()).logits[0]
    loss = 0.5 * torch.nn.functional.softplus(-fake).mean()
    loss.backward()
    assert pushed.loss.item() == pytest.approx(loss.item())
    assert torch.allclose(pushed.gradient, leaf.grad, atol=1e-8)
    ratio = pushed.gradient.norm() / PULL.norm()
    assert pushed.stats["train/gradient_ratio"].item() == pytest.approx(ratio.item(), rel=1e-4)


def test_the_weight_warms_up_and_ramps() -> None:
    rules = replace(USUAL, weight=0.4, warmup=2, ramp=4)
    assert [rules.weight_at(step) for step in range(8)] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert [replace(USUAL, weight=0.4, warmup=1).weight_at(step) for step in range(3)] == pytest.approx([0, 0.4, 0.4])


def test_before_the_warmup_ends_it_is_quiet(batch: Batch) -> None:
    player, quiet = adversary(warmup=3), NoAdversary()
    prob, logits = torch.rand(2, 1, SIDE, SIDE), torch.randn(2, 1, SIDE, SIDE)
    before = weights(player)
    assert player.update(batch, MAPS, prob, 2, 4) == quiet.update(batch, MAPS, prob, 2, 4) == {}
    assert quiet.push(batch, MAPS, logits, 2, 4, PULL, torch.norm) == push(player, batch, logits, 2)
    assert torch.equal(weights(player), before)
    assert player.update(batch, MAPS, prob, 3, 6)


def test_balance_makes_the_push_a_share_of_the_pull(batch: Batch) -> None:
    player, logits = adversary(balance="grad", weight=0.1), torch.randn(2, 1, SIDE, SIDE)
    first = push(player, batch, logits)
    assert first.gradient.norm().item() == pytest.approx(0.1 * PULL.norm().item(), rel=1e-4)
    assert first.stats["train/gradient_ratio"].item() == pytest.approx(0.1, rel=1e-4)
    # A pull ten times as strong moves its smoothed norm by a tenth of the way: 1 + .1 * 9.
    second = player.push(batch, MAPS, logits, 0, 0, 10 * PULL, lambda gradient: gradient.norm())
    assert (second.gradient.norm() / first.gradient.norm()).item() == pytest.approx(1.9, rel=1e-4)
    # Where the adversary has no gradient, its weight is held below 1e4.
    still = adversary(balance="grad", weight=1.0)
    third = still.push(batch, MAPS, logits, 0, 0, PULL, lambda gradient: gradient.norm() * 1e-9 + (gradient is PULL))
    assert third.stats["train/adv_weight"].item() == 1e4


@pytest.mark.parametrize("d_mask", PRESENTATIONS)
def test_masks_are_empty_where_pixels_do_not_count(d_mask: str, batch: Batch) -> None:
    valid = torch.ones(2, 1, SIDE, SIDE)
    valid[:, :, :40] = 0
    hidden = replace(batch, valid=valid)
    player = adversary(d_mask=d_mask, weight=1.0)
    logits = torch.randn(2, 1, SIDE, SIDE)
    other = torch.where(valid > 0, logits, -logits)
    assert torch.equal(push(player, hidden, logits).gradient, push(player, hidden, other).gradient)
    assert float(push(player, hidden, logits).gradient[:, :, :40].abs().sum()) == 0


def test_moves_are_the_same_for_photo_clicks_and_masks(batch: Batch) -> None:
    player = adversary(augment=1.0)
    seen: list[tuple[Tensor, ...]] = []
    player.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    marked = replace(batch, image=batch.target.expand(-1, 3, -1, -1).contiguous())
    player.update(marked, batch.target.expand(-1, 2, -1, -1).contiguous(), batch.target, 3, 6)
    ((image, maps, masks),) = seen
    assert torch.equal(image[:, :1], masks)
    assert torch.equal(maps[:, 1:], masks)
    assert torch.equal(masks[:2], masks[2:])
    assert not torch.equal(masks[:2], batch.target)


class Slope(nn.Module):
    """One logit for each 2x2 patch: the mask's mean there times a slope."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, mask: Tensor) -> list[Tensor]:
        return [self.slope * nn.functional.avg_pool2d(mask, 2)]


def test_penalties_by_hand() -> None:
    masks = torch.rand(2, 1, 4, 4, requires_grad=True)
    # Each of the 16 pixels moves its patch's logit by 3/4; squared 9/16, 4 pixels a patch: 9/4.
    assert r1(Slope(3.0)(masks), masks).item() == pytest.approx(9 / 4)
    # The score is the mean of 4 logits: every pixel moves it by 3/16, the length is 4 * 3/16 = 3/4, (3/4 - 1)^2 = 1/16.
    assert gradient_penalty(Slope(3.0)(masks), masks).item() == pytest.approx(1 / 16)
    real, fake = [torch.zeros(1, 2), torch.ones(3)], [torch.full((1, 2), 2.0), torch.ones(3)]
    assert feature_matching(real, fake).item() == 1.0


def test_r1_of_overlapping_patches_by_hand() -> None:
    """Two patches of two pixels that share the middle one: slopes 1/2, 1, 1/2, squared 1/4 + 1 + 1/4, by 2 patches .75."""
    masks = torch.rand(1, 1, 1, 3, requires_grad=True)
    logits = nn.functional.avg_pool2d(masks, (1, 2), stride=1)
    assert r1([logits], masks).item() == pytest.approx(0.75)
    # With slopes of opposite sign the middle one cancels: (1/4 + 0 + 1/4) / 2.
    assert r1([logits * torch.tensor([1.0, -1.0])], masks).item() == pytest.approx(0.25)


def test_penalties_reach_the_discriminator() -> None:
    masks, network = torch.rand(2, 1, 4, 4, requires_grad=True), Slope(3.0)
    r1(network(masks), masks).backward()
    assert network.slope.grad.item() == pytest.approx(1.5)  # d/ds of s^2 / 4


def test_lazy_r1_takes_its_turns(batch: Batch) -> None:
    player = adversary(r1=1.0, r1_every=3, warmup=1)
    prob = torch.rand(2, 1, SIDE, SIDE)
    turns = ["d/r1" in player.update(batch, MAPS, prob, step, 2 * step) for step in range(8)]
    assert turns == [False, True, False, False, True, False, False, True]
    group = player.optimizer.param_groups[0]
    assert group["lr"] == 2e-4  # the one step holds R1 too, so nothing is to be corrected
    assert group["betas"] == (0.0, 0.9)


def test_one_backward_an_update(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    backward = Tensor.backward
    monkeypatch.setattr(Tensor, "backward", lambda self, *a, **k: (calls.append(1), backward(self, *a, **k))[1])
    forwards: list[int] = []
    for rules in ({"r1": 1.0}, {"gradient_penalty": 10.0, "spectral": False}):
        player = adversary(**rules)
        player.discriminator.register_forward_hook(lambda *_: forwards.append(1))
        player.update(batch, MAPS, torch.rand(2, 1, SIDE, SIDE), 0, 0)
    assert len(calls) == len(forwards) == 2


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_it_learns_to_tell_masks_apart(name: str, batch: Batch) -> None:
    player = adversary(name)
    wrong = torch.rand(2, 1, SIDE, SIDE)
    stats = {}
    for step in range(60):
        stats = player.update(batch, MAPS, wrong, step, 2 * step)
    assert min(stats["d/real_accuracy"], stats["d/fake_accuracy"]) > 0.9
    assert stats["d/differing"] == 1.0
    assert stats["d/gap"] == stats["d/real_logit"] - stats["d/fake_logit"]


def test_the_probe_asks_about_softness_alone(batch: Batch) -> None:
    # Through ste a softened mask is the mask; shown as it is, a network that likes soft edges sees them.
    class LikesHalf(nn.Module):
        def forward(self, image: Tensor, maps: Tensor, mask: Tensor) -> Judgement:
            return Judgement([((mask - 0.5).abs() < 0.4).float()], [])

    for d_mask, expected in (("ste", 0.5), ("prob", 0.0)):
        player = adversary(d_mask=d_mask)
        player.discriminator = LikesHalf()  # type: ignore[assignment]
        assert player.probe(lambda: [(batch, MAPS)]) == ({"d/softness_auc": expected} if d_mask == "prob" else {})
        scores = [player.judge(batch, MAPS, mask).score() for mask in (batch.target, soften(batch.target))]
        assert torch.equal(*scores) == (d_mask == "ste"), "which is why a hard presentation is not asked"
    assert player.probe(lambda: []) == {}
