"""Validation against a network that answers the disks of the positive clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfpgan.training.validation import TRIPLETS, validate
from mfpgan.types import Batch


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
