"""The segmenter: a U-Net over torchvision's ResNet-34 that reads a photo, click maps, and its own last answer."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet34_Weights
from torchvision.models.resnet import BasicBlock

from mfpgan.files import read_weights
from mfpgan.types import ClickEncoding, InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDE = 32
"""The deepest features are this much smaller than the image."""


class _Encoder(nn.Module):
    """ResNet-34 without its head; module names are torchvision's, so its state dicts load."""

    def __init__(self, in_channels: int, planes: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(planes[0], planes[0], blocks=3, stride=1)
        self.layer2 = _stage(planes[0], planes[1], blocks=4, stride=2)
        self.layer3 = _stage(planes[1], planes[2], blocks=6, stride=2)
        self.layer4 = _stage(planes[2], planes[3], blocks=3, stride=2)
        for module in self.modules():  # as torchvision starts a ResNet
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's size."""
        features = [self.relu(self.bn1(self.conv1(x)))]
        features.append(self.layer1(self.maxpool(features[-1])))
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def _stage(inputs: int, planes: int, *, blocks: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or inputs != planes:
        downsample = nn.Sequential(_Projection(inputs, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes))
    return nn.Sequential(
        BasicBlock(inputs, planes, stride, downsample), *(BasicBlock(planes, planes) for _ in range(blocks - 1))
    )


class _Projection(nn.Conv2d):
    """A 1x1 convolution with a stride and no bias, as one without a stride over the pixels that it reads.

    The same sums. oneDNN's own strided one writes past its workspace in the backward pass where it reads 8 channels or
    fewer (its issue 6035, in torch 2.14.1 on x86): narrow networks died by a signal in the middle of training.
    """

    def forward(self, x: Tensor) -> Tensor:
        down, right = self.stride
        return functional.conv2d(x[..., ::down, ::right], self.weight)


class _UpBlock(nn.Module):
    """Doubles the size, joins the encoder's features of that size, and convolves twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs + skip, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        joined: Tensor = self.convolutions(x if skip is None else torch.cat([x, skip], 1))
        return joined


class MFPResNetUNet(nn.Module):
    """Photo and click maps to a mask: ResNet-34 encoder, U-Net decoder with skips, one channel of logits.

    Input channels: RGB, positive and negative click map, and what `click_encoding.memory` adds: none (5 in all), the
    previous probability (6), that and the modulated one (7). The photo is normalised here with ImageNet's mean and
    deviation. Encoder after He et al., CVPR 2016; decoder after Ronneberger et al., MICCAI 2015, with the channels
    (256, 128, 64, 32, 16) customary for this pair; 24.4 M parameters at width 1.

    Args:
        width: factor on all channel counts, above 0; 1 is ResNet-34.
        click_encoding: how clicks and memory become channels; whoever feeds the network reads it here, so that a trained
            network is always fed as it was in training.
    """

    mean: Tensor
    std: Tensor
    stride = STRIDE
    """Inputs are padded to multiples of this; `mfpgan.inference.canvas` counts on it."""

    def __init__(self, width: float = 1.0, click_encoding: ClickEncoding = ClickEncoding()) -> None:  # noqa: B008 frozen
        super().__init__()
        self.click_encoding = click_encoding
        planes = tuple(_scaled(channels, width) for channels in (64, 128, 256, 512))
        outputs = tuple(_scaled(channels, width) for channels in (256, 128, 64, 32, 16))
        self.encoder = _Encoder(3 + click_encoding.channels, planes)
        inputs = (planes[3], *outputs[:-1])
        skips = (planes[2], planes[1], planes[0], planes[0], 0)
        self.decoder = nn.ModuleList(_UpBlock(*channels) for channels in zip(inputs, skips, outputs, strict=True))
        self.head = nn.Conv2d(outputs[-1], 1, 3, padding=1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        """Logits of the mask.

        Args:
            image: (B, 3, H, W) float in [0, 1], RGB, any H and W.
            guidance: (B, 2, 3 or 4, H, W) float in [0, 1]: positive and negative click map, then the memory's channels,
                as `mfpgan.clicks.guidance.encode` makes them.

        Returns:
            (B, 1, H, W) float logits; probability > .5 where they are positive.
        """
        height, width = image.shape[-2:]
        x = torch.cat([(image - self.mean) / self.std, guidance], 1)
        # Zeros after the normalisation are the mean colour: what the convolutions pad with anyway.
        x = functional.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        *skips, x = self.encoder(x)
        for block in self.decoder:
            x = block(x, skips.pop() if skips else None)
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]

    def load_encoder(self, state: dict[str, Tensor], origin: str) -> None:
        """Take a ResNet-34's weights: RGB filters as they are, the other channels keep their random start.

        Args:
            state: torchvision's names; a head (`fc.*`) is passed over.
            origin: where it came from, for the error.

        Raises:
            InputError: names or shapes are not those of a ResNet-34 of this width.
        """
        own = self.encoder.state_dict()
        given = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
        first = given.get("conv1.weight")
        if isinstance(first, Tensor) and first.ndim == 4 and first.shape[1] == 3:
            widened = own["conv1.weight"].clone()
            if first.shape[0] == widened.shape[0] and first.shape[2:] == widened.shape[2:]:
                widened[:, :3] = first
                given["conv1.weight"] = widened
        wrong = sorted(own.keys() ^ given.keys()) or [
            name for name, tensor in given.items() if tensor.shape != own[name].shape
        ]
        if wrong:
            raise InputError(
                f"{origin}: these are not the weights of a ResNet-34 at this width (first difference: {wrong[0]}); "
                "use a torchvision resnet34 state dict with --width 1, or --encoder-weights none."
            )
        self.encoder.load_state_dict(given)


def _scaled(channels: int, width: float) -> int:
    return max(4, round(channels * width))


def encoder_state(source: str) -> tuple[dict[str, Tensor] | None, str]:
    """The encoder's start that `--encoder-weights` asks for.

    Args:
        source: "none", "imagenet" (torchvision's IMAGENET1K_V1, downloaded once), "auto" (imagenet if it can be had,
            otherwise none), or the path of a file with a state dict (torch.save or safetensors).

    Returns:
        The state dict, or None for a random start; and a line that says what was taken.

    Raises:
        InputError: imagenet cannot be had, or the file cannot be read.
    """
    if source == "none":
        return None, "none"
    if source in ("imagenet", "auto"):
        try:
            state = ResNet34_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError
            if source == "auto":
                return None, f"none (ImageNet weights could not be had: {_reason(error)})"
            raise InputError(
                f"--encoder-weights imagenet: torchvision's ResNet-34 weights could not be downloaded ({_reason(error)}); "
                "use --encoder-weights FILE with a local copy, none to start from scratch, or auto."
            ) from None
        return dict(state), "imagenet (torchvision ResNet34_Weights.IMAGENET1K_V1)"
    state = read_weights(
        Path(source), "a file saved by torch.save(resnet34.state_dict()); or use auto, imagenet or none"
    )
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"--encoder-weights {source}: the file holds no plain state dict; save model.state_dict().")
    return state, f"file {Path(source).name}"


def _reason(error: Exception) -> str:
    text = str(getattr(error, "reason", None) or error).strip() or type(error).__name__
    return shorten(text, 120, placeholder=" ...").rstrip(".")
