"""How masks are shown: one contract over the table, and each way by hand."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mfpgan.models.presentation import BLUR_SIGMA_PX, PRESENTATIONS, blur
from mfpgan.types import THRESHOLD

NAMES = pytest.mark.parametrize("name", PRESENTATIONS)


def show(name: str, mask: Tensor, image: Tensor | None = None, seed: int = 0) -> Tensor:
    photo = torch.ones(len(mask), 3, *mask.shape[2:]) if image is None else image
    return PRESENTATIONS[name].show(mask, photo, [torch.Generator().manual_seed(seed)] * len(mask))


def pixels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    """Soft masks and photos, none of their pixels 0 or 1."""
    chance = torch.Generator().manual_seed(5)
    mask, image = torch.rand(2, 1, 20, 30, generator=chance), torch.rand(2, 3, 20, 30, generator=chance)
    return mask * 0.98 + 0.01, image * 0.98 + 0.01


@NAMES
def test_what_is_shown_is_a_picture_of_its_channels(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    mask, image = pictures
    for seen in (mask, (mask > 0.5).float(), torch.ones_like(mask)):
        shown = show(name, seen, image)
        assert shown.shape == (2, PRESENTATIONS[name].channels, 20, 30)
        assert shown.dtype == torch.float32
        assert shown.min() >= 0
        assert shown.max() <= 1 + 1e-6  # a blurred 1 is a sum of rounded weights


@NAMES
def test_more_mask_is_more_in_the_picture_at_every_pixel(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    mask, image = pictures
    mask.requires_grad_()
    show(name, mask, image).sum().backward()
    assert mask.grad is not None
    assert (mask.grad > 0).all()


@NAMES
def test_the_same_chance_shows_the_same_and_nobody_elses_is_touched(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (show(name, *pictures, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name != "gumbel")
    assert torch.equal(torch.random.get_rng_state(), before)


@NAMES
def test_masks_beside_each_other_take_the_same_path(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    mask, image = pictures
    drawn = (mask > 0.5).float()
    together = show(name, torch.cat([drawn, mask]), torch.cat([image] * 2))
    if name != "gumbel":  # which draws for each picture anew
        assert torch.equal(together, torch.cat([show(name, drawn, image), show(name, mask, image)]))
    same = show(name, torch.cat([drawn, drawn]), torch.cat([image] * 2))
    assert torch.equal(same[:2], together[:2])


@pytest.mark.parametrize("name", ["ste", "ste-blur"])
def test_a_soft_mask_is_shown_exactly_as_the_hard_one_behind_it(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    mask, image = pictures
    drawn = (mask > 0.5).float()
    assert torch.equal(show(name, mask, image), show(name, drawn, image))
    assert not torch.equal(show(name, 1 - drawn, image), show(name, drawn, image))


def test_ste_is_hard_at_one_half_and_the_gradient_passes_straight_through() -> None:
    mask = pixels(0.1, 0.5, 0.500001, 0.9).requires_grad_()
    shown = show("ste", mask)
    assert shown.flatten().tolist() == [0, 0, 1, 1], "one half is no object, as everywhere else"
    assert THRESHOLD == 0.5
    (shown * pixels(1, 2, 3, 4)).sum().backward()
    assert mask.grad is not None
    assert mask.grad.flatten().tolist() == [1, 2, 3, 4]


def test_the_gradient_of_ste_blur_is_the_blurred_one() -> None:
    mask = torch.rand(1, 1, 25, 25, requires_grad=True)
    show("ste-blur", mask)[0, 0, 12, 12].backward()
    impulse = torch.zeros(1, 1, 25, 25)
    impulse[0, 0, 12, 12] = 1
    assert mask.grad is not None
    assert torch.allclose(mask.grad, blur(impulse, BLUR_SIGMA_PX))
    assert (mask.grad[0, 0, 6:19, 6:19] > 0).all(), "3 sigma to every side"
    assert mask.grad.count_nonzero() == 13 * 13


def test_prob_and_image_mul_by_hand(pictures: tuple[Tensor, Tensor]) -> None:
    mask, image = pictures
    assert torch.equal(show("prob", mask, image), mask)
    photo = torch.tensor([[0.5, 1.0], [0.25, 0.5], [1.0, 0.0]]).view(1, 3, 1, 2)
    shown = show("image-mul", pixels(0.5, 0.25), photo)
    assert shown[0, :, 0].tolist() == [[0.25, 0.25], [0.125, 0.125], [0.5, 0]]


def test_a_gumbel_draw_is_hard_and_on_average_the_probability() -> None:
    mask = pixels(0.02, 0.3, 0.5, 0.9).expand(4000, 1, 1, 4)
    shown = show("gumbel", mask)
    assert set(shown.unique().tolist()) == {0, 1}
    # The standard error of 4000 draws is .008 at most.
    assert shown.mean((0, 1, 2)).tolist() == pytest.approx([0.02, 0.3, 0.5, 0.9], abs=0.03)


def test_a_gumbel_draw_of_a_drawn_mask_errs_once_in_ten_thousand_pixels() -> None:
    mask = torch.zeros(1, 1, 500, 400)
    mask[:, :, 100:300, 50:250] = 1
    wrong = (show("gumbel", mask) != mask).sum().item()
    assert 5 <= wrong <= 40  # 20 of 200 000 expected


def test_the_gradient_of_gumbel_is_the_soft_draws() -> None:
    # With p = 1/2 and u the chance, the soft draw is u itself: slope u (1 - u) times that of the odds, 1 / (p (1 - p)) = 4.
    mask = pixels(0.5, 0.5, 0.5, 0.5).requires_grad_()
    show("gumbel", mask, seed=7).sum().backward()
    u = torch.rand(4, generator=torch.Generator().manual_seed(7))
    assert mask.grad is not None
    assert mask.grad.flatten().tolist() == pytest.approx((4 * u * (1 - u)).tolist(), rel=1e-4)


def test_blur_by_hand() -> None:
    # sigma 1, cut off at 3: exp(-d^2 / 2) for d = 0..3, divided by their sum over both sides.
    bell = [exp(-(d**2) / 2) for d in range(4)]
    weights = [value / (bell[0] + 2 * sum(bell[1:])) for value in bell]
    impulse = torch.zeros(1, 1, 11, 11)
    impulse[0, 0, 5, 5] = 1
    blurred = blur(impulse, 1.0)[0, 0]
    assert blurred[5, 5].item() == pytest.approx(weights[0] ** 2)
    assert blurred[5, 8].item() == pytest.approx(weights[0] * weights[3])
    assert blurred[3, 4].item() == pytest.approx(weights[2] * weights[1])
    assert blurred[5, 9] == blurred[1, 5] == 0
    assert blurred.sum().item() == pytest.approx(1)
    assert torch.equal(blurred, blurred.flip(0))
    assert torch.equal(blurred, blurred.flip(1))
    # The variance along one axis is sigma^2, but for what was cut off: sum of w d^2 over both sides.
    variance = (blurred.sum(0) * torch.arange(-5.0, 6) ** 2).sum()
    assert variance.item() == pytest.approx(2 * sum(w * d**2 for d, w in enumerate(weights)))
    assert 0.95 < variance < 1


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 99))
def test_blur_is_scipys_and_a_constant_stays(height: int, width: int, sigma: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width), np.float32)
    twin = gaussian_filter(mask, sigma, mode="nearest", truncate=3)
    blurred = blur(torch.from_numpy(mask)[None, None], sigma)
    np.testing.assert_allclose(blurred[0, 0].numpy(), twin, atol=1e-5)
    constant = torch.full((1, 1, height, width), 0.3)
    assert torch.allclose(blur(constant, sigma), constant)
