"""MFPDiscriminator: 70x70 patches, spectral norm, three things in view."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from mfpgan.models.discriminator import MFPDiscriminator


def test_one_logit_sees_70_by_70_pixels() -> None:
    discriminator = MFPDiscriminator(width=0.1).eval()
    mask = torch.rand(1, 1, 128, 128, requires_grad=True)
    logits = discriminator(torch.rand(1, 3, 128, 128), torch.zeros(1, 2, 128, 128), mask)
    assert logits.shape == (1, 1, 14, 14)
    logits[0, 0, 7, 7].backward()
    seen = mask.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]


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


def test_photo_clicks_and_mask_all_matter() -> None:
    torch.manual_seed(0)
    discriminator = MFPDiscriminator(width=0.25).eval()
    image, clicks, mask = torch.rand(1, 3, 96, 96), torch.zeros(1, 2, 96, 96), torch.zeros(1, 1, 96, 96)
    base = discriminator(image, clicks, mask)
    assert not torch.equal(discriminator(1 - image, clicks, mask), base)
    assert not torch.equal(discriminator(image, clicks + 1, mask), base)
    assert not torch.equal(discriminator(image, clicks, mask + 1), base)
