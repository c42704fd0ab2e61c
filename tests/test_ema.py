"""The running mean of the generator's weights, on networks of one weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mfpgan.models.generator import MFPResNetUNet
from mfpgan.training.ema import averaged_state, running_mean


class OneWeight(nn.Module):
    def __init__(self, value: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(value)]))
        self.register_buffer("mean", torch.tensor([value + 100.0]))
        self.register_buffer("count", torch.tensor(value))

    def set(self, value: int) -> None:
        self.load_state_dict(OneWeight(value).state_dict())


def test_the_running_mean_by_hand() -> None:
    network = OneWeight(1)
    average = running_mean(network, 0.75)
    assert average is not None

    def held() -> list[float]:
        state = averaged_state(average.state_dict())
        return [state["weight"].item(), state["mean"].item()]

    network.set(2)
    average.update_parameters(network)
    assert held() == [2, 102], "the first time it takes them as they are"
    network.set(6)
    average.update_parameters(network)
    # 3/4 * 2 + 1/4 * 6, and the statistics in the same way: 3/4 * 102 + 1/4 * 106.
    assert held() == [3, 103]
    assert network.weight.item() == 6, "the network itself is not touched"


def test_integers_stay_integers() -> None:
    network = OneWeight(4)
    average = running_mean(network, 0.5)
    assert average is not None
    average.update_parameters(network)
    network.set(8)
    average.update_parameters(network)
    count = averaged_state(average.state_dict())["count"]
    assert count.dtype == torch.int64
    assert count.item() == 6


def test_decay_0_keeps_none() -> None:
    assert running_mean(OneWeight(1), 0.0) is None


def test_the_mean_goes_on_where_it_stopped() -> None:
    network = OneWeight(2)
    whole, first, second = (running_mean(network, 0.75) for _ in range(3))
    assert whole is not None
    assert first is not None
    assert second is not None
    for average in (whole, first):
        average.update_parameters(network)
    second.load_state_dict(first.state_dict())
    network.set(6)
    for average in (whole, second):
        average.update_parameters(network)
    assert second.module.weight.item() == whole.module.weight.item() == 3


def test_the_averaged_state_is_the_generators() -> None:
    torch.manual_seed(0)
    generator = MFPResNetUNet(0.1)
    average = running_mean(generator, 0.9)
    assert average is not None
    old = generator.head.weight.detach().clone()
    average.update_parameters(generator)
    with torch.no_grad():
        generator.head.weight += 1
    average.update_parameters(generator)
    state = averaged_state(average.state_dict())
    assert state.keys() == generator.state_dict().keys()
    other = MFPResNetUNet(0.1)
    other.load_state_dict(state)
    assert torch.allclose(other.head.weight, old + 0.1)
    assert other.head.weight.flatten()[0].item() == pytest.approx(average.module.head.weight.flatten()[0].item())
