"""The user in training, played against networks whose answers a reader can compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.session import ClickSession
from mfpgan.training import pictures
from mfpgan.training.simulate import CLICK_STREAM, Play, first_turns, play
from mfpgan.types import Batch, Click, ClickEncoding

COUNT, SIZE = 12, 40


def batch_of(count: int = COUNT) -> Batch:
    rng, target = np.random.default_rng(0), np.zeros((count, 1, SIZE, SIZE), np.float32)
    for mask in target[:, 0]:
        top, left = rng.integers(0, 20, 2)
        mask[top : top + rng.integers(5, 20), left : left + rng.integers(5, 20)] = 1
    image = torch.from_numpy(rng.random((count, 3, SIZE, SIZE), np.float32))
    return Batch(tuple(map(str, range(count))), image, torch.from_numpy(target), torch.ones(count, 1, SIZE, SIZE))


class Grow(nn.Module):
    """Answers the disks of positive clicks and, with memory, what it answered before; counts images."""

    def __init__(self, memory: str = "none") -> None:
        super().__init__()
        self.click_encoding = ClickEncoding(memory=memory)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm2d(1)
        self.images: list[int] = []
        self.inputs: list[Tensor] = []

    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not self.training
        self.images.append(len(image))
        self.inputs.append(guidance.clone())
        mask = guidance[:, :1]
        if guidance.shape[1] > 2:
            mask = torch.maximum(mask, (guidance[:, 2:3] > 0.5).float())
        return self.norm(10 * mask - 5)


class Scripted:
    """Clicks the pixels (0, 0), (0, 1), ... and remembers what it saw."""

    rounds = 3

    def __init__(self) -> None:
        self.seen: list[tuple[int, Any]] = []

    def __call__(
        self, target: Any, prediction: Any, clicks: Sequence[Click], rng: Any, ignore: Any = None, others: Any = None
    ) -> tuple[Click, ...]:
        self.seen.append((len(clicks), prediction))
        return (Click(0, len(clicks), True),)


def test_without_rounds_nothing_runs_and_nobody_is_answered() -> None:
    batch, network = batch_of(), Grow()
    played = play(batch, batch.image, STRATEGIES["random"](), network, "fp32", seed=3, position=40)
    assert network.images == []
    assert played.previous is None
    assert played.passes == played.rounds == [0] * COUNT
    turns = first_turns(batch, STRATEGIES["random"](), seed=3, position=40)
    assert played.turns == [[turn] for turn in turns]


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_only_samples_that_go_on_are_answered(memory: str) -> None:
    batch, network, user = batch_of(120), Grow(memory), Scripted()
    played = play(batch, batch.image, user, network, "fp32", seed=0, position=0)
    longest = 4 if memory == "modulated" else 3
    counts = [played.passes.count(number) for number in range(longest + 1)]
    assert sum(counts) == 120
    assert min(counts) >= 10  # 24 or 30 expected of each length
    assert network.images == [sum(counts[number:]) for number in range(1, longest + 1)]
    for turns, passes, rounds in zip(played.turns, played.passes, played.rounds, strict=True):
        answered = max(passes - 1, 0) if memory == "modulated" else passes  # the first click is answered twice
        assert turns == [(Click(0, number, True),) for number in range(answered + 1)]
        assert rounds == answered
    assert network.norm.running_mean is not None
    assert not network.norm.running_mean.any()  # eval mode: statistics stay


@pytest.mark.parametrize("memory", ["previous", "modulated"])
def test_the_network_learns_from_what_a_session_would_show_it(memory: str) -> None:
    batch, network = batch_of(), Grow(memory)
    played = play(batch, batch.image, STRATEGIES["adaptive"](rounds=3), network, "fp32", seed=1, position=0)
    assert played.previous is not None
    assert len({len(clicks) for clicks in played.clicks}) >= 3
    for item, (clicks, passes) in enumerate(zip(played.clicks, played.passes, strict=True)):
        before = played.previous[item, 0].numpy()
        if passes == 0:
            assert not before.any()
            continue
        session = ClickSession(Grow("none"))  # without memory here: Grow's own answer is the disks of all clicks
        session.set_image(np.zeros((SIZE, SIZE, 3), np.uint8))
        for click in clicks if memory == "modulated" and passes == 1 else clicks[:-1]:
            session.click(*click)
        np.testing.assert_array_equal(before > 0.5, session.mask)


def test_a_user_sees_the_last_answer_and_all_clicks() -> None:
    batch, user = batch_of(1), Scripted()
    position = next(
        p for p in range(99) if play(batch, batch.image, Scripted(), Grow(), "fp32", seed=0, position=p).rounds == [3]
    )
    play(batch, batch.image, user, Grow(), "fp32", seed=0, position=position)
    assert [count for count, _ in user.seen] == [0, 1, 2, 3]
    assert user.seen[0][1] is None
    for count, prediction in user.seen[1:]:
        assert prediction[0, : count + 5].all()  # the disks of radius 5 round (0, 0) to (0, count - 1)
        assert not prediction[0, count + 5 :].any()


def test_a_play_is_a_function_of_seed_and_position_and_not_of_the_batch() -> None:
    batch, strategy = batch_of(), STRATEGIES["mixed"](rounds=3)
    whole = play(batch, batch.image, strategy, Grow("previous"), "fp32", seed=7, position=100)
    for item in (0, 5, 11):
        part = np.s_[item : item + 1]
        single = Batch(batch.ids[part], batch.image[part], batch.target[part], batch.valid[part])
        alone = play(single, single.image, strategy, Grow("previous"), "fp32", seed=7, position=100 + item)
        assert alone.turns == [whole.turns[item]]
        if alone.previous is not None:
            assert whole.previous is not None
            assert torch.equal(alone.previous[0], whole.previous[item])
    other = play(batch, batch.image, strategy, Grow("previous"), "fp32", seed=8, position=100)
    assert other.turns != whole.turns


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_every_turn_has_a_chance_of_its_own(memory: str) -> None:
    """NumPy pads seeds with zeros: a fourth entry of 0 would give the stream of the first turn again."""
    drawn: dict[int, set[float]] = {}

    class Draw(Scripted):
        def __call__(self, *arguments: Any) -> tuple[Click, ...]:
            drawn.setdefault(len(arguments[2]), set()).add(arguments[3].random())
            return super().__call__(*arguments)

    batch = batch_of()
    play(batch, batch.image, Draw(), Grow(memory), "fp32", seed=2, position=10)
    assert drawn.keys() == {0, 1, 2, 3}
    assert len(drawn[0]) == COUNT
    assert sum(map(len, drawn.values())) == len(set.union(*drawn.values()))
    for turn in range(1, 4):  # the turn's number, whatever passes lie behind it
        expected = {np.random.default_rng([2, 10 + item, CLICK_STREAM, turn]).random() for item in range(COUNT)}
        assert drawn[turn] <= expected


def test_users_see_the_other_objects() -> None:
    batch = batch_of(2)
    others = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    others[0, 0, 39, 39] = True
    batch = Batch(batch.ids, batch.image, batch.target, batch.valid, others)
    seen = []

    class Look(Scripted):
        def __call__(self, *arguments: Any) -> tuple[Click, ...]:
            seen.append(arguments[5])
            return (Click(0, 0, True),)

    first_turns(batch, Look(), seed=0, position=0)
    assert [mask.sum() for mask in seen] == [1, 0]
    assert seen[0][39, 39]


def test_masks_come_to_the_host_once_a_round_and_clicks_go_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cpu", "to", "numpy", "item", "tolist", "__array__", "__bool__", "__int__", "__float__", "__index__"]
    counts = dict.fromkeys(names, 0)
    for name in names:
        original = getattr(Tensor, name)

        def counted(self: Tensor, *arguments: Any, _name: str = name, _original: Any = original, **named: Any) -> Any:
            counts[_name] += 1
            return _original(self, *arguments, **named)

        monkeypatch.setattr(Tensor, name, counted)
    batch, network = batch_of(), Grow("modulated")
    played = play(batch, batch.image, STRATEGIES["mixed"](rounds=3), network, "fp32", seed=1, position=0)
    passes = max(played.passes)
    assert passes == len(network.images) == 4
    copies = passes - 1  # the first answer is read by nobody
    looks = 4  # targets and ignores as NumPy, for the first turns and for the later ones
    assert counts == dict.fromkeys(counts, 0) | {"cpu": copies, "numpy": copies + looks, "to": passes}


def test_the_sheet_of_clicks_counts_turns_and_not_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []
    monkeypatch.setattr(
        pictures, "contact_sheet", lambda tiles, columns, title: captions.extend(tile.caption for tile in tiles)
    )
    batch, plus = batch_of(3), Click(20, 20, True)
    # With modulated memory: not answered; answered in the first of the two passes; answered, with a turn after it.
    played = Play([[(plus, plus)], [(plus,)], [(plus,), (plus, plus)]], batch.target, [0, 1, 2])
    pictures.clicks_sheet(batch, played, "title")
    assert played.rounds == [0, 0, 1]
    assert captions == [
        "2 clicks in 1 turn, no answer yet",
        "1 click in 1 turn, IoU 1.00",
        "3 clicks in 2 turns, IoU 1.00",
    ]
