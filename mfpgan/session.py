"""Inference as a person uses it: the image once, then click after click."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from time import perf_counter

import numpy as np
import torch
from torch import nn

from mfpgan.clicks.encoding import click_maps
from mfpgan.types import BoolMask, Click, Image, Probability

THRESHOLD = 0.5
"""A pixel belongs to the mask if its probability is above this."""


def predict(
    generator: nn.Module, image: torch.Tensor, clicks: Sequence[Sequence[Click]], precision: str = "fp32"
) -> torch.Tensor:
    """One forward pass for a batch of images and their clicks.

    The generator is put into eval mode and stays there; whoever trains next sets train mode.

    Args:
        generator: called with (image (B, 3, H, W), click maps (B, 2, H, W)), gives logits (B, 1, H, W).
        image: (B, 3, H, W) float32 in [0, 1], RGB, on the generator's device.
        clicks: for each image its clicks, in pixels of that image.
        precision: "fp32", or "bf16" for autocast.

    Returns:
        (B, 1, H, W) float32 probabilities on the image's device.

    Raises:
        ValueError: a click lies outside the image, or the precision is another word.
    """
    return _forward(generator, image, click_maps(clicks, image.shape[-2], image.shape[-1]), precision)


def _forward(generator: nn.Module, image: torch.Tensor, maps: torch.Tensor, precision: str) -> torch.Tensor:
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
    generator.eval()
    autocast = torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), autocast:
        logits: torch.Tensor = generator(image, maps.to(image.device))
        return logits.float().sigmoid()


class ClickSession:
    """One user at one image: `set_image`, then `click`, `undo` and `reset` in any order.

    Args:
        generator: as in `predict`; moved to `device`.
        device: where the network runs, by default where the generator is; pictures and masks of the interface are NumPy arrays.
        precision: "fp32", or "bf16" for autocast.
    """

    def __init__(self, generator: nn.Module, device: torch.device | str | None = None, precision: str = "fp32") -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
        if device is None:
            parameter = next(generator.parameters(), None)
            device = "cpu" if parameter is None else parameter.device
        self.device = torch.device(device)
        self.generator = generator.to(self.device)
        self.precision = precision
        self.forward_seconds = 0.0
        """Time spent in the network so far, the way of the mask back to the CPU included."""
        self._image: torch.Tensor | None = None
        self._clicks: list[Click] = []
        self._prob: Probability = np.zeros((0, 0), np.float32)

    def set_image(self, rgb: Image) -> None:
        """Start on an image, without clicks.

        Args:
            rgb: (H, W, 3) uint8, RGB.

        Raises:
            ValueError: another shape or dtype.
        """
        if not isinstance(rgb, np.ndarray):
            raise ValueError(
                f"image must be a NumPy array, got {type(rgb).__name__}; np.asarray makes one of a PIL image"
            )
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
            raise ValueError(f"image must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])
        self._image = planes.to(self.device).float() / 255
        self.reset()

    def click(self, y: int, x: int, positive: bool) -> Probability:
        """Add a click and answer.

        Args:
            y, x: pixels from the top left of the image.
            positive: True for "this belongs to the object".

        Returns:
            (H, W) float32 in [0, 1] at the size of the image.

        Raises:
            ValueError: no image is set, or the click lies outside it.
        """
        click = Click(index(y), index(x), bool(positive))
        self._prob = self._answer([*self._clicks, click])
        self._clicks.append(click)  # last, so that a click that raises leaves no trace
        return self._prob

    def undo(self) -> Probability:
        """Take the last click back and answer to those that are left: all 0 if none is. Nothing to undo is no error.

        Raises:
            ValueError: no image is set.
        """
        left = self._clicks[:-1]
        self._prob = self._answer(left)
        self._clicks = left
        return self._prob

    def reset(self) -> None:
        """Take all clicks back; the image stays."""
        self._clicks = []
        self._prob = self._answer([]) if self._image is not None else np.zeros((0, 0), np.float32)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks that count now, oldest first."""
        return tuple(self._clicks)

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5; all False before the first click.

        Raises:
            ValueError: no image is set.
        """
        if self._image is None:
            raise ValueError("no image is set; call set_image first")
        return self._prob > THRESHOLD

    def _answer(self, clicks: list[Click]) -> Probability:
        if self._image is None:
            raise ValueError("no image is set; call set_image first")
        height, width = self._image.shape[-2:]
        if not clicks:
            return np.zeros((height, width), np.float32)
        maps = click_maps([clicks], height, width)
        start = perf_counter()
        answer: Probability = _forward(self.generator, self._image, maps, self.precision)[0, 0].cpu().numpy()
        self.forward_seconds += perf_counter() - start
        return answer
