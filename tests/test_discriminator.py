"""MFPDiscriminator: 70x70 patches at one scale or two, spectral norm, and only what it is allowed to see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mfpgan.models.discriminator import ARCHITECTURES, INPUTS, VIEW_PX, Judgement, MFPDiscriminator


def side_seen(judgement: Judgement, mask: Tensor, scale: int) -> list[int]:
    """Height and width of the pixels that a middle logit depends on."""
    judgement.logits[scale][0, 0, 7, 7].backward()
    assert mask.grad is not None
    seen = mask.grad[0, 0].nonzero()
    sides: list[int] = (seen.max(0).values - seen.min(0).values + 1).tolist()
    return sides


def test_one_logit_sees_70_by_70_pixels() -> None:
    discriminator = MFPDiscriminator(width=0.1).eval()
    mask = torch.rand(1, 1, 128, 128, requires_grad=True)
    judgement = discriminator(torch.rand(1, 3, 128, 128), torch.zeros(1, 2, 128, 128), mask)
    assert [logits.shape for logits in judgement.logits] == [(1, 1, 14, 14)]
    assert side_seen(judgement, mask, 0) == [70, 70] == [VIEW_PX] * 2


def test_the_second_scale_sees_140_by_140_pixels() -> None:
    discriminator = MFPDiscriminator(width=0.1, scales=ARCHITECTURES["multiscale"]).eval()
    mask = torch.rand(1, 1, 256, 256, requires_grad=True)
    judgement = discriminator(torch.rand(1, 3, 256, 256), torch.zeros(1, 2, 256, 256), mask)
    assert [logits.shape for logits in judgement.logits] == [(1, 1, 30, 30), (1, 1, 14, 14)]
    assert side_seen(judgement, mask, 1) == [140, 140]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_scale_is_a_network_of_its_own_with_four_features(name: str) -> None:
    discriminator = MFPDiscriminator(width=0.1, scales=ARCHITECTURES[name])
    judgement = discriminator(torch.rand(2, 3, 96, 96), torch.zeros(2, 2, 96, 96), torch.zeros(2, 1, 96, 96))
    # Halves of 96, or of 48 at the second scale, then one pixel less at the stride of 1.
    sides = [48, 24, 12, 11, 24, 12, 6, 5][: 4 * ARCHITECTURES[name]]
    assert [feature.shape[2:] for feature in judgement.features] == [(side, side) for side in sides]
    weights = {id(weight) for scale in discriminator.scales for weight in scale.parameters()}
    assert len(weights) == 5 * 2 * ARCHITECTURES[name], "five convolutions, weight and bias each, none shared"


def test_filters_double_up_to_the_most_and_follow_the_width() -> None:
    for width, filters in ((1.0, [48, 96, 192, 256, 1]), (0.25, [12, 24, 48, 64, 1])):
        discriminator = MFPDiscriminator(width, spectral=False)
        convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
        assert [convolution.out_channels for convolution in convolutions] == filters


def test_every_convolution_is_spectrally_normalised_and_no_batch_norm_is_there() -> None:
    discriminator = MFPDiscriminator(width=0.25)
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 5
    assert all(parametrize.is_parametrized(convolution, "weight") for convolution in convolutions)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())
    x = torch.rand(1, 3, 96, 96), torch.zeros(1, 2, 96, 96), torch.zeros(1, 1, 96, 96)
    for _ in range(30):
        discriminator(*x)
    largest = torch.linalg.matrix_norm(convolutions[1].weight.flatten(1), ord=2)
    assert 0.95 < largest.item() < 1.05


def test_without_spectral_norm_the_weights_are_plain() -> None:
    discriminator = MFPDiscriminator(width=0.1, scales=2, spectral=False)
    assert not any(parametrize.is_parametrized(module) for module in discriminator.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())


@pytest.mark.parametrize("name", INPUTS)
def test_it_sees_what_it_is_allowed_to_and_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    sees = INPUTS[name]
    discriminator = MFPDiscriminator(width=0.1, scales=2, sees=sees).eval()
    image, clicks, mask = torch.rand(1, 3, 96, 96), torch.zeros(1, 2, 96, 96), torch.zeros(1, 1, 96, 96)

    def changed(*other: Tensor) -> list[bool]:
        pairs = zip(discriminator(image, clicks, mask).logits, discriminator(*other).logits, strict=True)
        return [not torch.equal(before, after) for before, after in pairs]

    assert ("-".join([*sees, "mask"])) == name
    assert changed(1 - image, clicks, mask) == ["image" in sees] * 2
    assert changed(image, clicks + 1, mask) == ["clicks" in sees] * 2
    assert changed(image, clicks, mask + 1) == [True] * 2


def test_middle_grey_is_nothing_and_click_maps_are_not_shifted() -> None:
    # Photo and mask .5 and no click are 0 everywhere: the first layer answers its bias, here -1, leaking to -.2.
    discriminator = MFPDiscriminator(width=0.1, mask_channels=3, spectral=False)
    first = discriminator.scales[0][0][0]
    nn.init.constant_(first.bias, -1)
    grey = torch.full((1, 3, 32, 32), 0.5)
    features = discriminator(grey, torch.zeros(1, 2, 32, 32), grey).features
    assert torch.allclose(features[0], torch.tensor(-0.2))


def test_the_score_by_hand() -> None:
    # First image: (1 + 3) / 2 = 2 at the first scale and 4 at the second; the other: (0 - 2) / 2 = -1, and 1.
    first = torch.tensor([1.0, 3, 0, -2]).view(2, 1, 1, 2)
    second = torch.tensor([4.0, 1]).view(2, 1, 1, 1)
    assert Judgement([first, second], []).score().tolist() == [3, 0]
    assert Judgement([first], []).score().tolist() == [2, -1]
