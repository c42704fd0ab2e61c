"""Inference as a person uses it: the image once, then click after click."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mfpgan.clicks.encoding import standing
from mfpgan.clicks.guidance import encode
from mfpgan.types import BoolMask, Click, ClickEncoding, Image, Probability
from mfpgan.zoom import CROP_PX, View, clicks_in, crop, next_view, paste

THRESHOLD = 0.5
"""A pixel belongs to the mask if its probability is above this."""


def predict(
    generator: nn.Module,
    image: Tensor,
    clicks: Sequence[Sequence[Click]],
    precision: str = "fp32",
    previous: Tensor | None = None,
) -> Tensor:
    """The answer to the clicks of a batch of images.

    The generator is put into eval mode and stays there; whoever trains next sets train mode.

    With memory "modulated" and no previous answer the network runs twice, as MFP does at the first click: the first
    answer is modulated and read again.

    Args:
        generator: called with (image (B, 3, H, W), guidance (B, C, H, W)), gives logits (B, 1, H, W). Its attribute
            `click_encoding` says what the guidance holds; a module without one gets disks and no memory.
        image: (B, 3, H, W) float32 in [0, 1], RGB, on the generator's device.
        clicks: for each image its clicks, oldest first, in pixels of that image.
        precision: "fp32", or "bf16" for autocast.
        previous: (B, 1, H, W) float32 in [0, 1] on the image's device, the answer before the newest clicks; only read
            by a generator with memory. None at the first click.

    Returns:
        (B, 1, H, W) float32 probabilities on the image's device. Where no positive click stands (of several on a pixel
        the last), clicks can only take away: the answer is nowhere above `previous`, and empty without one, so negative
        clicks alone on a fresh image give an empty mask.

    Raises:
        ValueError: a click lies outside the image, or the precision is another word.
    """
    if previous is None and encoding_of(generator).memory == "modulated":
        previous = forward(generator, image, clicks, precision, None)
    return forward(generator, image, clicks, precision, previous)


def forward(
    generator: nn.Module, image: Tensor, clicks: Sequence[Sequence[Click]], precision: str, previous: Tensor | None
) -> Tensor:
    """One forward pass of `predict`, without gradient; arguments as there."""
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
    height, width = image.shape[-2:]
    generator.eval()
    autocast = torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode():
        guidance = encode(encoding_of(generator), clicks, previous, height=height, width=width, device=image.device)
        with autocast:
            logits: Tensor = generator(image, guidance)
        prob = logits.float().sigmoid()
        for number, image_clicks in enumerate(clicks):
            if not _positive_stands(image_clicks, image):
                prob[number] = 0 if previous is None else torch.minimum(prob[number], previous[number])
        return prob


def _positive_stands(clicks: Sequence[Click], image: Tensor) -> bool:
    """Whether a click says what belongs to the object and is not withdrawn; image: (B, 3, H, W)."""
    height, width = image.shape[-2:]
    return any(click.positive for click in standing(clicks, height, width))


def encoding_of(generator: nn.Module) -> ClickEncoding:
    """How the generator wants to be fed; see `predict`."""
    return getattr(generator, "click_encoding", ClickEncoding())


class _Answer(NamedTuple):
    """One click and what it led to."""

    click: Click
    prob: Tensor
    """(1, 1, H, W) float32 on the session's device."""
    view: View | None
    """What the network looked at; None: the whole photo."""


class ClickSession:
    """One user at one image: `set_image`, then `click`, `undo` and `reset` in any order.

    The network is shown its last answer, and is held to it while clicks only take away, from the second click on if a
    positive click stands before and with the newest. Otherwise the newest is a first click (see `predict`): no earlier
    click has said what the object is, or the only one that did is withdrawn.

    Args:
        generator: as in `predict`; moved to `device`.
        device: where the network runs, by default where the generator is; pictures and masks of the interface are NumPy arrays.
        precision: "fp32", or "bf16" for autocast.
        zoom: the network sees everything at one size: the whole photo at the first click, then the part round the last
            mask (RITM's zoom-in, see `mfpgan.zoom`). A click outside that part, which can only be a negative one, leaves
            the answer as it is: the network would not see it.
        zoom_px: longer side of what the network then sees; best the size it was trained at, its config's `size`.
    """

    def __init__(
        self,
        generator: nn.Module,
        device: torch.device | str | None = None,
        precision: str = "fp32",
        zoom: bool = False,
        zoom_px: int = CROP_PX,
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
        if device is None:
            parameter = next(generator.parameters(), None)
            device = "cpu" if parameter is None else parameter.device
        self.device = torch.device(device)
        self.generator = generator.to(self.device)
        self.precision = precision
        self.zoom = zoom
        self.zoom_px = zoom_px
        self.forward_seconds = 0.0
        """Time spent in the network so far, the way of the mask back to the CPU included."""
        self._image: Tensor | None = None
        self._answers: list[_Answer] = []

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
        answer = self._answer(click)
        self._answers.append(answer)  # last, so that a click that raises leaves no trace
        return self._numpy(answer.prob)

    def undo(self) -> Probability:
        """Take the last click back: the answer before it, all 0 if there was none. Nothing to undo is no error.

        Raises:
            ValueError: no image is set.
        """
        image = self._known_image()
        self._answers = self._answers[:-1]
        if self._answers:
            return self._numpy(self._answers[-1].prob)
        return np.zeros(tuple(image.shape[-2:]), np.float32)

    def reset(self) -> None:
        """Take all clicks back; the image stays."""
        self._answers = []

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks that count now, oldest first."""
        return tuple(answer.click for answer in self._answers)

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5; all False before the first click.

        Raises:
            ValueError: no image is set.
        """
        image = self._known_image()
        if self._answers:
            return self._numpy(self._answers[-1].prob) > THRESHOLD
        return np.zeros(tuple(image.shape[-2:]), np.bool_)

    def _known_image(self) -> Tensor:
        if self._image is None:
            raise ValueError("no image is set; call set_image first")
        return self._image

    def _answer(self, click: Click) -> _Answer:
        image, clicks = self._known_image(), [*self.clicks, click]
        start = perf_counter()
        previous, view = self._remembered(image, clicks), None
        if previous is not None and self.zoom:
            view = next_view(self._numpy(previous), clicks, self._answers[-1].view)
        if not self.zoom:
            prob = predict(self.generator, image, [clicks], self.precision, previous)
        elif previous is not None and view is not None and not view.holds(click):
            prob = previous
        else:
            height, width = image.shape[-2:]
            look = view or View(0, 0, height, width)
            near = crop(image, look, self.zoom_px)
            before = None if previous is None else crop(previous, look, self.zoom_px)
            near_prob = predict(self.generator, near, [clicks_in(clicks, look, self.zoom_px)], self.precision, before)
            prob = paste(near_prob, look, height, width)
        if prob.is_cuda:
            torch.cuda.synchronize(prob.device)
        self.forward_seconds += perf_counter() - start
        return _Answer(click, prob, view)

    def _remembered(self, image: Tensor, clicks: Sequence[Click]) -> Tensor | None:
        """The last answer, (1, 1, H, W); None where the newest of the clicks counts as the first, see the class."""
        if _positive_stands(clicks[:-1], image) and _positive_stands(clicks, image):
            return self._answers[-1].prob
        return None

    @staticmethod
    def _numpy(prob: Tensor) -> Probability:
        array: Probability = prob[0, 0].cpu().numpy().copy()  # the caller may draw on it
        return array
