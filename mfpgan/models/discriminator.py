"""The critic: a 70x70 PatchGAN that sees photo, clicks and mask, at one scale or two."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

VIEW_PX = 70
"""Side of the patch that a logit sees, at full scale."""
ARCHITECTURES = {"patch": 1, "multiscale": 2}
"""Number of scales, each half as large as the one before."""
INPUTS = {
    "image-clicks-mask": ("image", "clicks"),
    "image-mask": ("image",),
    "clicks-mask": ("clicks",),
    "mask": (),
}
"""What is seen beside the mask."""
FILTERS, MOST_FILTERS = 48, 256
"""Of the first layer, doubled from layer to layer up to the most. With the usual 64 and 512
a step at 256 px, batch 4, took 1.89 times the baseline's on a CPU; with these it takes 1.48 times."""
_CHANNELS = {"image": 3, "clicks": 2}


class Judgement(NamedTuple):
    """What a discriminator says."""

    logits: list[Tensor]
    """For each scale (B, 1, H', W') float logits, one a patch, high for "drawn by people"."""
    features: list[Tensor]
    """What its inner layers answered, all scales: (B, C, H'', W'') each."""

    def score(self) -> Tensor:
        """(B,): the mean logit of each image, over patches and then over scales."""
        return torch.stack([logits.mean((1, 2, 3)) for logits in self.logits]).mean(0)


class MFPDiscriminator(nn.Module):
    """Says for every overlapping 70x70 patch whether the mask on it was drawn by people or by the generator.

    PatchGAN after Isola et al., CVPR 2017 (theirs is C64-C128-C256-C512, this C48-C96-C192-C256), with spectral norm
    (Miyato et al., ICLR 2018) on every convolution instead of batch norm: batch statistics would tell real from fake by
    themselves. Several scales after Wang et al., pix2pixHD, CVPR 2018: equal networks on pictures averaged down by 2, so
    that the second sees 140x140 pixels.

    Args:
        width: factor on the channel counts, above 0; 1 means 48 filters in the first layer.
        scales: at least 1.
        sees: of "image" and "clicks", what is seen beside the mask.
        mask_channels: of the mask as it is presented.
        spectral: normalise every convolution.
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        scales: int = 1,
        sees: tuple[str, ...] = ("image", "clicks"),
        mask_channels: int = 1,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.sees = sees
        channels = mask_channels + sum(_CHANNELS[name] for name in sees)
        self.scales = nn.ModuleList(_patches(channels, width, spectral) for _ in range(scales))

    def forward(self, image: Tensor, click_maps: Tensor, mask: Tensor) -> Judgement:
        """Judge masks.

        Args:
            image: (B, 3, H, W) float in [0, 1]; H and W at least 32 at the smallest scale.
            click_maps: (B, 2, H, W) float in [0, 1].
            mask: (B, mask_channels, H, W) float in [0, 1].

        Returns:
            Logits (B, 1, H // 8 - 2, W // 8 - 2) for the first scale, and the features.
        """
        # Photo and mask in [-1, 1]: they would otherwise have a mean that the first layer has to learn away.
        parts = {"image": image * 2 - 1, "clicks": click_maps}
        seen = torch.cat([*(parts[name] for name in self.sees), mask * 2 - 1], 1)
        judgement = Judgement([], [])
        for number, network in enumerate(self.scales):
            x = functional.avg_pool2d(seen, 2**number) if number else seen
            *inner, last = network.children()
            for layer in inner:
                x = layer(x)
                judgement.features.append(x)
            judgement.logits.append(last(x))
        return judgement


def _patches(channels: int, width: float, spectral: bool) -> nn.Sequential:
    """Four blocks and the layer of logits; each block's answer is a feature."""

    def convolution(inputs: int, outputs: int, stride: int) -> nn.Module:
        plain = nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1)
        return spectral_norm(plain) if spectral else plain

    layers: list[nn.Module] = []
    for factor, stride in ((1, 2), (2, 2), (4, 2), (8, 1)):
        filters = max(4, round(min(FILTERS * factor, MOST_FILTERS) * width))
        layers.append(nn.Sequential(convolution(channels, filters, stride), nn.LeakyReLU(0.2, inplace=True)))
        channels = filters
    return nn.Sequential(*layers, convolution(channels, 1, 1))
