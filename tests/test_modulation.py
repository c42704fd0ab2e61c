"""MFP's modulation against numbers worked out by hand and against its formulas, pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from mfpgan.clicks.modulation import modulate
from mfpgan.types import Click


def modulate_one(probability, clicks):
    return modulate(torch.as_tensor(np.asarray(probability, np.float32))[None, None], [clicks])[0, 0].numpy()


def twin(probability, clicks):
    """The formulas of the paper in float64, one pixel after the other."""
    height, width = probability.shape
    prob = probability.astype(np.float64)
    result = prob.copy()
    if not clicks or not prob.any():
        return result
    u = clicks[-1]
    opposite = []
    for i, click in enumerate(clicks):
        withdrawn = any((later.y, later.x) == (click.y, click.x) for later in clicks[i + 1 :])
        if click.positive != u.positive and not withdrawn:
            opposite.append(math.hypot(click.y - u.y, click.x - u.x) / 2)
    radius = min([100.0, *opposite])
    window = [
        (y, x) for y in range(height) for x in range(width) if math.hypot(y - u.y, x - u.x) <= radius * (1 + 1e-12)
    ]

    def inner(p):
        return min(max(p, 2.0**-126), 1 - 2.0**-24)

    p_u = inner(prob[u.y, u.x])
    steepest = max(math.log(p_u) / math.log(0.99) if u.positive else math.log(0.01) / math.log(p_u), 1.0)
    d = {pixel: (prob[pixel] - prob[u.y, u.x]) ** 2 for pixel in window}
    d_bar = sorted(d.values())[(len(window) - 1) // 2]
    for y, x in window:
        if len(clicks) > 7:
            share = math.hypot(y - u.y, x - u.x) / radius
            gamma = steepest * (1 - share) + share
        elif d[y, x] == 0:
            gamma = steepest
        else:
            gamma = (steepest - 1) * max((d_bar - d[y, x]) ** 3 / d_bar**3, 0) + 1 if d_bar else 1.0
        if gamma > 1 + 1e-9:
            result[y, x] = inner(prob[y, x]) ** (1 / gamma if u.positive else gamma)
    return result


def test_the_first_seven_clicks_correct_what_resembles_the_clicked_pixel():
    # P_u = .1 and a negative click: Gamma = ln .01 / ln .1 = 2. The positive click is 2 pixels away: R = 1, five pixels.
    # Their d: .0025 above, .01 left, 0 at u, .04 right, .09 below; the median is .01.
    # Above: gamma = (2 - 1) (1 - .0025/.01)^3 + 1 = 1.421875. Left: gamma = 1. The others are farther than the median.
    prob = [[0.1, 0.15, 0.1, 0.1], [0.2, 0.1, 0.3, 0.1], [0.1, 0.4, 0.1, 0.1]]
    wanted = [[0.1, 0.15**1.421875, 0.1, 0.1], [0.2, 0.01, 0.3, 0.1], [0.1, 0.4, 0.1, 0.1]]
    result = modulate_one(prob, [Click(1, 3, True), Click(1, 1, False)])
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-6)


def test_a_positive_click_raises_by_the_root():
    # P_u = .99^2: Gamma = 2. d: (.0199)^2 right, 0 at u, (.4801)^2 left; the median is the right one's, gamma = 1 there.
    prob = [[0.7, 0.5, 0.9801, 1.0, 0.6]]
    result = modulate_one(prob, [Click(0, 0, False), Click(0, 2, True)])
    np.testing.assert_allclose(result, [[0.7, 0.5, 0.99, 1.0, 0.6]], rtol=0, atol=1e-6)
    # Both neighbours equal u: d = 0 in the whole window, and it rises as one.
    flat = modulate_one([[0.9801] * 3 + [0.2] * 2], [Click(0, 3, False), Click(0, 1, True)])
    np.testing.assert_allclose(flat, [[0.99, 0.99, 0.99, 0.2, 0.2]], rtol=0, atol=1e-6)


def test_later_clicks_correct_what_is_near():
    # Eight clicks. Gamma = 2, R = 2: gamma = 2 (1 - r/2) + r/2 = 2 - r/2, so 1.5 beside u and 1 at the edge.
    prob = [[0.5, 0.5, 0.9801, 0.5, 0.5, 0.5, 0.5]]
    clicks = [Click(0, 6, False)] * 7 + [Click(0, 2, True)]
    side = 0.5 ** (1 / 1.5)
    wanted = [[0.5, side, 0.99, side, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(modulate_one(prob, clicks), wanted, rtol=0, atol=1e-6)
    # Seven: all four neighbours are equally unlike u and together the median, so only u moves.
    wanted = [[0.5, 0.5, 0.99, 0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(modulate_one(prob, clicks[1:]), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_formulas(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 40, 2))
    prob = rng.beta(0.3, 0.3, (height, width)).astype(np.float32)
    if seed % 4 == 0:  # plateaus, as a saturated network makes them
        prob = np.float32([0, 0.02, 0.5, 0.995, 1])[rng.integers(5, size=(height, width))]
    clicks = [
        Click(int(rng.integers(height)), int(rng.integers(width)), bool(rng.integers(2)))
        for _ in range(int(rng.integers(0, 12)))
    ]
    np.testing.assert_allclose(modulate_one(prob, clicks), twin(prob, clicks), rtol=0, atol=1e-5)


@pytest.mark.parametrize("others", [0, 6, 7])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("value", [0.0, 1e-40, 1e-12, 0.005, 0.3, 0.5, 0.98, 1 - 1e-6, 1 - 2.0**-24, 1.0])
def test_the_clicked_pixel_becomes_sure(value, positive, others):
    prob = np.random.default_rng(3).random((50, 60), np.float32)
    prob[20, 30] = value
    result = modulate_one(prob, [Click(1, 1, positive)] * others + [Click(20, 30, positive)])
    wanted = max(np.float32(value), 0.99) if positive else min(np.float32(value), 0.01)
    assert result[20, 30] == pytest.approx(wanted, abs=1e-5)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert ((result >= prob) if positive else (result <= prob)).all()


@pytest.mark.parametrize("count", [1, 8])
def test_a_sure_pixel_is_left_as_it_is(count):
    prob = np.random.default_rng(4).random((30, 30), np.float32)
    prob[10, 10], prob[20, 20] = 0.995, 0.005
    np.testing.assert_array_equal(modulate_one(prob, [Click(10, 10, True)] * count), prob)
    np.testing.assert_array_equal(modulate_one(prob, [Click(20, 20, False)] * count), prob)


def test_no_clicks_and_no_answer_change_nothing():
    prob = np.random.default_rng(5).random((30, 30), np.float32)
    np.testing.assert_array_equal(modulate_one(prob, []), prob)
    for positive in (True, False):
        for count in (1, 8):
            assert not modulate_one(np.zeros((30, 30)), [Click(10, 10, positive)] * count).any()
    assert modulate(torch.zeros(0, 1, 4, 4), []).shape == (0, 1, 4, 4)


def test_a_flat_window_moves_as_one():
    prob = np.full((40, 50), 0.3)
    prob[0, 0] = 0.31  # the median of d stays 0; whatever differs stays
    for positive, sure in ((True, 0.99), (False, 0.01)):
        wanted = np.full((40, 50), sure)
        wanted[0, 0] = 0.31
        np.testing.assert_allclose(modulate_one(prob, [Click(20, 20, positive)]), wanted, rtol=0, atol=1e-5)


def test_the_window_ends_half_way_to_the_nearest_opposite_click_or_at_100():
    prob = np.full((11, 231), 0.3)
    u = Click(5, 5, True)

    def farthest(*clicks):
        changed = modulate_one(prob, [*clicks, u])[5] != np.float32(0.3)
        return int(np.flatnonzero(changed).max()) - 5

    assert farthest() == 100
    assert farthest(Click(5, 230, False)) == 100  # half of 225 is more
    assert farthest(Click(5, 25, True)) == 100  # the same sign
    assert farthest(Click(5, 25, False)) == 10
    assert farthest(Click(5, 26, False)) == 10
    assert farthest(Click(5, 27, False), Click(5, 90, False)) == 11
    assert farthest(Click(5, 6, False)) == 0  # only the clicked pixel


def test_an_opposite_click_beside_the_last_leaves_only_the_clicked_pixel():
    prob = np.random.default_rng(6).random((9, 9), np.float32) * 0.9
    for opposite in (Click(4, 5, False), Click(5, 5, False)):
        result = modulate_one(prob, [opposite, Click(4, 4, True)])
        assert np.argwhere(result != prob).tolist() == [[4, 4]]
        assert result[4, 4] == pytest.approx(0.99, abs=1e-5)


def test_a_withdrawn_click_is_no_opposite_click_but_counts_among_the_seven():
    prob = np.random.default_rng(7).random((60, 60), np.float32)
    u, before = Click(30, 30, True), Click(30, 30, False)
    np.testing.assert_array_equal(modulate_one(prob, [before, u]), modulate_one(prob, [u]))
    late = [Click(31, 30, False), Click(31, 30, True)]
    np.testing.assert_array_equal(modulate_one(prob, [*late, u]), modulate_one(prob, [u]))
    assert (modulate_one(prob, [before] * 7 + [u]) != modulate_one(prob, [before] * 6 + [u])).any()


def test_a_batch_equals_its_samples_and_the_input_stays():
    rng = np.random.default_rng(8)
    prob = torch.from_numpy(rng.random((5, 1, 30, 40), np.float32)).requires_grad_()
    before = prob.detach().clone()
    clicks = [
        [Click(int(rng.integers(30)), int(rng.integers(40)), bool(rng.integers(2))) for _ in range(count)]
        for count in (0, 1, 3, 7, 8)
    ]
    result = modulate(prob, clicks)
    assert not result.requires_grad
    assert torch.equal(prob, before)
    for i in range(5):
        assert torch.equal(result[i : i + 1], modulate(prob[i : i + 1], clicks[i : i + 1]))
    assert torch.equal(result[0], before[0])
    assert all((result[i] != before[i]).any() for i in range(1, 5))


def test_clicks_that_do_not_fit_are_an_error():
    prob = torch.full((1, 1, 8, 9), 0.5)
    with pytest.raises(ValueError, match="y=0, x=-1 lies outside the image of height 8 and width 9"):
        modulate(prob, [[Click(0, -1, True)]])
    with pytest.raises(ValueError, match="zip"):
        modulate(prob, [])


def test_nothing_is_read_back_from_the_device():
    prob = torch.empty(3, 1, 30, 40, device="meta")  # holds no numbers: whatever asks for one raises
    with pytest.raises((RuntimeError, NotImplementedError)):
        prob.amax().item()
    clicks = [[], [Click(3, 4, True)], [Click(5, 6, False)] * 8]
    assert modulate(prob, clicks).shape == (3, 1, 30, 40)
