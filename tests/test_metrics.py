"""Hand-made numbers for every metric, and a boundary IoU that follows its definition pixel by pixel."""

import numpy as np
import pytest

from mfpgan.metrics import (
    METRICS,
    Confusion,
    bootstrap_interval,
    boundary_iou,
    boundary_width,
    confusion,
    failed,
    inner_boundary,
    noc,
)

TARGET = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
PREDICTION = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)
HAND_MADE = Confusion(tp=6, fp=2, fn=4, tn=8)


def brute_boundary(mask, width):
    """Mask pixels with a pixel outside mask or picture within chessboard distance `width`."""
    padded = np.pad(mask, width)
    found = np.zeros_like(mask)
    for y, x in np.ndindex(mask.shape):
        found[y, x] = mask[y, x] and not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return found


def test_confusion_counts():
    assert confusion(PREDICTION, TARGET) == Confusion(tp=2, fp=1, fn=2, tn=3)
    ignore = np.array([[0, 0, 0, 1], [0, 1, 1, 0]], bool)
    assert confusion(PREDICTION, TARGET, ignore) == Confusion(tp=2, fp=0, fn=2, tn=1)


def test_confusions_add_up_and_do_not_concatenate():
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)
    with pytest.raises(TypeError):
        Confusion(1, 2, 3, 4) + 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("dice", 12 / 18), ("iou", 6 / 12), ("precision", 6 / 8), ("recall", 6 / 10), ("accuracy", 14 / 20)],
)
def test_hand_made_numbers(name, value):
    assert METRICS[name](HAND_MADE) == value


@pytest.mark.parametrize("name", METRICS)
def test_empty_cases(name):
    assert METRICS[name](Confusion(0, 0, 0, 9)) == 1.0  # empty on empty is right
    assert METRICS[name](Confusion(0, 0, 0, 0)) == 1.0  # nothing counts
    for wrong in (Confusion(0, 3, 0, 0), Confusion(0, 0, 3, 0)):
        assert METRICS[name](wrong) == 0.0
    assert METRICS[name](Confusion(5, 0, 0, 0)) == 1.0


@pytest.mark.parametrize("function", [confusion, boundary_iou])
def test_wrong_masks_are_refused(function):
    with pytest.raises(ValueError, match=r"prediction must be \(2, 4\) bool"):
        function(PREDICTION[:, :3], TARGET)
    with pytest.raises(ValueError, match="uint8"):
        function(PREDICTION.astype(np.uint8), TARGET)


def test_boundary_width_is_two_percent_of_the_diagonal():
    assert boundary_width(321, 481) == 12  # 578.3 px
    assert boundary_width(3, 4) == 1
    assert boundary_width(300, 400, 0.1) == 50


def test_boundary_of_a_square_is_its_frame():
    mask = np.zeros((10, 10), bool)
    mask[2:9, 1:8] = True
    frame = mask.copy()
    frame[4:7, 3:6] = False
    np.testing.assert_array_equal(inner_boundary(mask, 2), frame)
    full = np.ones((5, 5), bool)
    assert np.count_nonzero(inner_boundary(full, 1)) == 16  # the picture edge is an edge
    assert not inner_boundary(np.zeros((5, 5), bool), 1).any()


@pytest.mark.parametrize("seed", range(40))
def test_boundary_iou_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(2, 40, 2))
    target = rng.random((height, width)) < rng.choice([0.5, 0.98])
    prediction = target ^ (rng.random(target.shape) < 0.05)
    ignore = (rng.random(target.shape) < 0.1) & ~target if rng.random() < 0.5 else None
    ratio = float(rng.choice([0.02, 0.1]))
    band = max(1, round(ratio * (height**2 + width**2) ** 0.5))
    counted = prediction if ignore is None else prediction & ~ignore
    first, second = brute_boundary(counted, band), brute_boundary(target, band)
    union = (first | second).sum()
    expected = (first & second).sum() / union if union else 1.0
    assert boundary_iou(prediction, target, ignore, ratio) == expected


def test_boundary_iou_by_hand():
    target, prediction = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    target[2:7, 2:7] = True  # frame of 16 pixels
    prediction[2:7, 2:6] = True  # frame of 14 pixels; 11 common: 5 left, 3 + 3 above and below
    assert boundary_iou(prediction, target) == 11 / 19
    assert boundary_iou(target, target) == 1.0
    assert boundary_iou(np.zeros_like(target), target) == 0.0
    assert boundary_iou(np.zeros_like(target), np.zeros_like(target)) == 1.0
    ignore = np.zeros_like(target)
    ignore[:, 7:] = True
    assert boundary_iou(target | ignore, target, ignore) == 1.0


def test_noc_and_failures():
    ious = [0.5, 0.86, 0.84, 0.9]
    assert [noc(ious, t, 20) for t in (0.4, 0.85, 0.9, 0.95)] == [1, 2, 4, 20]
    assert [failed(ious, t, 20) for t in (0.85, 0.9, 0.95)] == [False, False, True]
    assert (noc(ious, 0.9, 3), failed(ious, 0.9, 3)) == (3, True)
    late = [0.0] * 19 + [0.9]
    assert (noc(late, 0.9, 20), failed(late, 0.9, 20)) == (20, False)


def test_bootstrap_draws_whole_images():
    values, groups = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert bootstrap_interval(values, groups) == (0.0, 1.0)  # two images: one draw in four is all a, one all b
    low, high = bootstrap_interval(values, range(100))
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015)
    assert high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_bootstrap_weighs_objects_and_repeats_itself():
    assert bootstrap_interval([0.3] * 5, [1, 1, 2, 3, 3]) == pytest.approx((0.3, 0.3))
    rng = np.random.default_rng(0)
    values, groups = rng.random(60).tolist(), rng.integers(0, 12, 60).tolist()
    assert bootstrap_interval(values, groups, seed=3) == bootstrap_interval(values, groups, seed=3)
    low, high = bootstrap_interval(values, groups, seed=3)
    assert low < np.mean(values) < high


def test_bootstrap_equals_a_plain_loop():
    values, groups = [0.1, 0.9, 0.4, 0.6, 0.2], ["x", "y", "x", "z", "z"]
    rng = np.random.default_rng(7)
    members = [[0.1, 0.4], [0.9], [0.6, 0.2]]
    means = [np.mean(np.concatenate([members[i] for i in draw])) for draw in rng.integers(3, size=(500, 3))]
    assert bootstrap_interval(values, groups, samples=500, seed=7) == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_bootstrap_needs_values_and_groups():
    with pytest.raises(ValueError, match="one group for each value"):
        bootstrap_interval([], [])
    with pytest.raises(ValueError, match="2 values, 1 groups"):
        bootstrap_interval([1.0, 2.0], [0])
