"""Validation against a network that answers the disks of the positive clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfpgan.training.validation import TRIPLETS, validate
from mfpgan.types import Batch, ClickEncoding


class Disks(nn.Module):
    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        return 10 * guidance[:, :1] - 5


def strips(count: int) -> Batch:
    """Objects of 11 rows and 22 columns: two disks of radius 5 side by side cover most of one."""
    target = torch.zeros(count, 1, 40, 60)
    target[:, :, 10:21, 20:42] = 1
    valid = torch.ones_like(target)
    valid[:, :, :, 50:] = 0
    return Batch(tuple(map(str, range(count))), torch.rand(count, 3, 40, 60), target, valid)


def test_iou_after_each_click_of_the_robot_by_hand() -> None:
    batches = [strips(3), strips(2)]
    found = validate(Disks(), batches, device=torch.device("cpu"), precision="fp32", max_clicks=3)
    assert found.metrics.keys() == {"val/iou", "val/dice", "val/iou_1", "val/iou_2", "val/iou_3"}
    # The first click is the deepest pixel of the strip: a whole disk of 81 of its 242 pixels.
    assert found.metrics["val/iou_1"] == pytest.approx(81 / 242)
    assert found.metrics["val/iou_1"] < found.metrics["val/iou_2"] <= 162 / 242
    assert len(found.pictures) == 5
    assert found.pictures[0].dtype == np.uint8


def test_validation_is_the_same_whatever_the_batch_size() -> None:
    torch.manual_seed(0)
    whole = strips(8)
    parts = [
        Batch(whole.ids[i : i + 3], whole.image[i : i + 3], whole.target[i : i + 3], whole.valid[i : i + 3])
        for i in (0, 3, 6)
    ]
    first, second = (
        validate(Disks(), batches, device=torch.device("cpu"), precision="fp32", max_clicks=2)
        for batches in ([whole], parts)
    )
    assert first.metrics == pytest.approx(second.metrics)
    assert len(first.pictures) == len(second.pictures) == TRIPLETS
    np.testing.assert_array_equal(first.pictures[3], second.pictures[3])


def test_without_data_there_is_nothing_to_say() -> None:
    found = validate(Disks(), [], device=torch.device("cpu"), precision="fp32", max_clicks=2)
    assert found == ({}, [])


class Invert(nn.Module):
    """The whole photo at the first click, and then the opposite of its last answer; counts the objects it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.click_encoding = ClickEncoding(memory="previous")
        self.shown: list[int] = []

    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        self.shown.append(len(image))
        return 10 - 20 * guidance[:, 2:3].round()


def test_an_object_without_a_new_click_keeps_its_answer() -> None:
    target = torch.ones(2, 1, 40, 60)
    target[1, :, :, 30:] = 0  # the left half: half of the photo is right at first, and half of nothing afterwards
    batch = Batch(("whole", "half"), torch.rand(2, 3, 40, 60), target, torch.ones_like(target))
    network = Invert()
    found = validate(network, [batch], device=torch.device("cpu"), precision="fp32", max_clicks=3)
    # `whole` is right after one click and is not clicked again; `half` is everything, nothing, everything.
    means = [found.metrics[f"val/iou_{number}"] for number in (1, 2, 3)]
    assert means == [(1 + 0.5) / 2, (1 + 0) / 2, (1 + 0.5) / 2]
    assert network.shown == [2, 2, 1, 1], "the two random clicks, then only those who click"
