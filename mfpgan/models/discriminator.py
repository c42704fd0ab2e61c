"""The critic: a 70x70 PatchGAN that sees photo, clicks and mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class MFPDiscriminator(nn.Module):
    """Says for every overlapping 70x70 patch whether the mask on it was drawn by people or by the generator.

    PatchGAN after Isola et al., CVPR 2017 (C64-C128-C256-C512), with spectral norm (Miyato et al., ICLR 2018) on every
    convolution instead of batch norm: batch statistics would tell real from fake by themselves.

    Args:
        width: factor on the channel counts, above 0; 1 means 64 filters in the first layer.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        filters = max(4, round(64 * width))
        layers: list[nn.Module] = []
        inputs = 3 + 2 + 1
        for factor, stride in ((1, 2), (2, 2), (4, 2), (8, 1)):
            layers += [
                spectral_norm(nn.Conv2d(inputs, filters * factor, 4, stride=stride, padding=1)),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            inputs = filters * factor
        layers.append(spectral_norm(nn.Conv2d(inputs, 1, 4, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor, click_maps: Tensor, mask: Tensor) -> Tensor:
        """Logits, high for "drawn by people".

        Args:
            image: (B, 3, H, W) float in [0, 1]; H and W at least 32.
            click_maps: (B, 2, H, W) float in [0, 1].
            mask: (B, 1, H, W) float in [0, 1].

        Returns:
            (B, 1, H // 8 - 2, W // 8 - 2) float logits, one a patch.
        """
        # Everything in [-1, 1]: the photo would otherwise have a mean that the first layer has to learn away.
        seen = torch.cat([image * 2 - 1, click_maps, mask * 2 - 1], 1)
        logits: Tensor = self.layers(seen)
        return logits
