"""Protocol `single` on a data set of five small pictures."""

import numpy as np
import pytest
import torch
from torch import nn

from mfpgan.evaluation import references
from mfpgan.evaluation.references import REFERENCES, grabcut
from mfpgan.evaluation.single import SIZE_PX, answer, evaluate_single, single_case
from mfpgan.metrics import Confusion, confusion
from mfpgan.types import Click, Sample

cv2_grabcut = references.cv2.grabCut


class Memory:
    """Bright squares on dark noise; a second, smaller object in every image that the protocol must not look at."""

    name = "memory"

    def __init__(self, images=5):
        self.samples = []
        for number in range(images):
            rng = np.random.default_rng(number)
            image = rng.integers(0, 60, (48, 64, 3), np.uint8)
            target, other = np.zeros((48, 64), bool), np.zeros((48, 64), bool)
            target[8:32, 16 : 32 + 4 * (number % 4)] = other[:2, :2] = True
            image[target] += np.uint8(180)
            self.samples += [Sample(f"{number}/0", image, target), Sample(f"{number}/1", image, other)]
        self.objects_of_image = [(2 * number, 2 * number + 1) for number in range(images)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def digest(self):
        return "0123456789abcdef"


class Bright(nn.Module):
    """Right on these pictures: object where the image is bright."""

    def __init__(self):
        super().__init__()
        self.sizes, self.maps = [], []

    def forward(self, image, maps):
        self.sizes.append(tuple(image.shape))
        self.maps.append(maps)
        return image.mean(1, keepdim=True) * 100 - 48


class Nothing(nn.Module):
    def forward(self, image, maps):
        return torch.full_like(image[:, :1], -9)


def test_the_right_network_scores_one_and_sees_batches_of_four():
    generator = Bright()
    result = evaluate_single(generator, Memory())
    assert generator.sizes == [(4, 3, 256, 256), (1, 3, 256, 256)]
    score = result.scores["single"]["model"]
    assert score.pooled["iou"] > 0.97  # the edges are interpolated
    assert score.pooled["accuracy"] > 0.99
    assert score.per_image["dice"].low <= score.per_image["dice"].mean <= score.per_image["dice"].high
    assert [row.id for row in result.rows] == ["0/0", "1/0", "2/0", "3/0", "4/0"]
    assert not generator.training


def test_the_network_gets_the_clicks_of_the_report():
    generator = Bright()
    result = evaluate_single(generator, Memory(3))
    for row, maps in zip(result.rows, generator.maps[0], strict=True):
        positive, negative = row.clicks
        assert (positive.positive, negative.positive) == (True, False)
        assert maps[0, positive.y, positive.x] == maps[1, negative.y, negative.x] == 1


def test_pooled_numbers_are_the_sum_of_the_rows():
    result = evaluate_single(Nothing(), Memory())
    pooled = result.scores["single"]["model"].confusion
    assert pooled == sum((row.confusion["model"] for row in result.rows), Confusion(0, 0, 0, 0))
    assert sum(pooled) == 5 * SIZE_PX**2
    assert result.scores["single"]["model"] == result.scores["single"]["background"]
    assert result.scores["single"]["background"].pooled["recall"] == 0
    assert result.scores["single"]["background"].pooled["accuracy"] == pooled.tn / sum(pooled)


def test_the_first_twenty_are_scored_apart(monkeypatch):
    monkeypatch.setattr("mfpgan.evaluation.single.REFERENCES", {"background": REFERENCES["background"]})
    steps = []
    result = evaluate_single(Nothing(), Memory(22), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(4, 22), (8, 22), (12, 22), (16, 22), (20, 22), (22, 22)]
    assert list(result.scores) == ["single20", "single"]
    assert sum(result.scores["single20"]["model"].confusion) == 20 * SIZE_PX**2
    assert list(evaluate_single(Nothing(), Memory(22), limit=19).scores) == ["single"]


def test_clicks_depend_on_seed_and_image_alone():
    data = Memory()
    assert single_case(data, 3).clicks == single_case(data, 3).clicks
    assert single_case(data, 3, seed=1).clicks != single_case(data, 3).clicks
    result = evaluate_single(Nothing(), data, limit=2)
    assert result.rows[1].clicks == single_case(data, 1).clicks
    assert result == evaluate_single(Nothing(), data, limit=2)  # GrabCut in threads is no source of chance


def test_the_answer_to_one_case_is_the_one_that_was_scored():
    data = Memory(2)
    row = evaluate_single(Bright(), data).rows[1]
    case = single_case(data, 1)
    assert confusion(answer(Bright(), case), case.target) == row.confusion["model"]


def test_grabcut_finds_a_bright_square_the_same_way_each_time():
    case = single_case(Memory(), 0)
    worked_out = grabcut.__wrapped__  # type: ignore[attr-defined]
    answer = worked_out(case.image, case.clicks)
    assert confusion(answer, case.target).fn < 0.05 * case.target.sum()
    assert answer.dtype == np.bool_
    np.testing.assert_array_equal(answer, worked_out(case.image, case.clicks))


def test_grabcut_is_worked_out_once_and_what_is_damaged_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MFPGAN_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(references.cv2, "grabCut", lambda *_: made.append(1) or cv2_grabcut(*_))
    first, second = single_case(Memory(), 0), single_case(Memory(), 1)
    answer = grabcut(first.image, first.clicks)
    np.testing.assert_array_equal(answer, grabcut(first.image, first.clicks))
    assert len(made) == 1
    grabcut(first.image, second.clicks)
    grabcut(second.image, first.clicks)
    assert len(made) == 3, "another photo, other clicks"
    for number, spoil in enumerate((lambda content: content[:-9], lambda content: b"x" + content[1:], lambda _: b"")):
        for path in tmp_path.rglob("references/*/*"):
            path.write_bytes(spoil(path.read_bytes()))
        np.testing.assert_array_equal(answer, grabcut(first.image, first.clicks))
        assert len(made) == 4 + number
    monkeypatch.setenv("MFPGAN_CACHE", "/dev/null/nowhere")
    np.testing.assert_array_equal(answer, grabcut(first.image, first.clicks))


@pytest.mark.parametrize("name", REFERENCES)
def test_references_take_any_clicks_and_leave_the_image_alone(name):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    before = image.copy()
    for clicks in ((), (Click(3, 3, True),), (Click(3, 3, False),), (Click(19, 29, True), Click(0, 0, False))):
        assert REFERENCES[name](image, clicks).shape == (20, 30)
    np.testing.assert_array_equal(image, before)


def test_an_empty_data_set_is_an_error():
    with pytest.raises(ValueError, match="memory: no object"):
        evaluate_single(Nothing(), Memory(0))
