"""Inference as a person uses it: a photo once, then click after click, for one object after the other.

Nothing here imports torch before a network of torch is asked for: `ClickSession.load("model.onnx")` does without.
"""

from __future__ import annotations

from operator import index
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mfpgan.engine import Engine, State
from mfpgan.photos import as_photo
from mfpgan.types import BoolMask, Click, Image, Probability
from mfpgan.zoom import CROP_PX

if TYPE_CHECKING:
    from os import PathLike

    import torch
    from PIL.Image import Image as PillowImage
    from torch import nn

    from mfpgan.config import WeightsName


class _Object:
    """What a user did for one object: states after no click, one click, two, ..., and which of them is the present one."""

    def __init__(self, first: State) -> None:
        self.states = [first]
        self.at = 0

    @property
    def state(self) -> State:
        return self.states[self.at]

    def follow(self, state: State) -> None:
        self.states[self.at + 1 :] = [state]  # what was undone cannot be redone any more
        self.at += 1


class ClickSession:
    """One person at one photo: `set_image`, then `click`, `undo`, `redo` and `reset` in any order.

        session = ClickSession.load("small")
        session.set_image("photo.jpg")
        session.click(y=120, x=80)                     # (H, W) float32
        session.click(y=30, x=40, positive=False)
        session.mask                                   # (H, W) bool
        session.new_object()                           # the next one; both are in session.label_map

    What a network is shown at each click, and how it is held to its last answer, is told at `mfpgan.inference.TorchEngine`.

    Args:
        network: an `Engine`, or a module that `mfpgan.inference.predict` takes; the other arguments are then those of a
            `TorchEngine` of it, and belong to no `Engine`.
    """

    def __init__(
        self,
        network: Engine | nn.Module,
        device: torch.device | str | None = None,
        precision: str = "fp32",
        zoom: bool = False,
        zoom_px: int = CROP_PX,
    ) -> None:
        if hasattr(network, "answer"):
            engine: Any = network
        else:
            from mfpgan.inference import TorchEngine

            engine = TorchEngine(cast("nn.Module", network), device, precision, zoom, zoom_px)
        self.engine: Engine = engine
        self.seconds = 0.0
        """How long the last click took, from the call to the answer."""
        self._image: Image | None = None
        self._objects: list[_Object] = []
        self._selected = 0

    @classmethod
    def load(
        cls,
        source: str | PathLike[str],
        *,
        device: str = "auto",
        precision: str = "auto",
        weights: WeightsName = "last",
        zoom: bool = True,
    ) -> ClickSession:
        """A session with a trained network, which looks at photos of any size at the size that it was trained at.

        Args:
            source: "small", the model that comes along; the id of a run, or the beginning of one; a checkpoint (`last.pt`); a
                file that `mfpgan export` made (`model.onnx`), for which torch need not be installed; a folder that
                `mfpgan card --hub` made.
            device: auto, cpu, cuda, ...; an ONNX file runs on the CPU.
            precision: auto, fp32, bf16; an ONNX file computes in float32.
            weights: of a run: last, best or ema, see `mfpgan.load_run`.
            zoom: False shows the network whole photos at their own size.

        Raises:
            InputError: nothing of that name, or it cannot be used.
        """
        from mfpgan.apps.loading import load_engine

        return cls(load_engine(source, device=device, precision=precision, weights=weights, zoom=zoom))

    def another(self) -> ClickSession:
        """A session of somebody else with the same network, without an image."""
        return type(self)(self.engine)

    @property
    def forward_seconds(self) -> float:
        """Time that the network has spent on answers, of all sessions that share it."""
        return self.engine.forward_seconds

    def set_image(self, image: Image | str | PathLike[str] | PillowImage, mask: BoolMask | None = None) -> None:
        """Start on a photo, with one object and no click.

        Args:
            image: (H, W, 3) uint8 RGB; or the path of a photo, or a PIL image, turned upright as its EXIF says and as viewers
                show it.
            mask: (H, W) bool, what the first object begins with. Its clicks then correct it.

        Raises:
            ValueError: an array or a mask of another shape or dtype.
            InputError: the photo cannot be read; a mask, and a network without memory, which would not read it.
        """
        rgb = as_photo(image)
        if rgb is image and rgb.flags.writeable:
            rgb = rgb.copy()  # the caller may fill it with the next frame of a film
        state = self._start(rgb, mask)  # first, so that what raises leaves no trace
        self._image, self._objects, self._selected, self.seconds = rgb, [_Object(state)], 0, 0.0

    def click(self, y: int, x: int, positive: bool = True) -> Probability:
        """Add a click to the selected object and answer.

        Args:
            y, x: pixels from the top left of the image.
            positive: True for "this belongs to the object".

        Returns:
            (H, W) float32 in [0, 1] at the size of the image, the caller's own.

        Raises:
            ValueError: no image is set, or the click lies outside it.
        """
        one = self._object()
        begin = perf_counter()
        (state,) = self.engine.answer([one.state], [Click(index(y), index(x), bool(positive))])
        one.follow(state)  # last, so that a click that raises leaves no trace
        answer: Probability = state.probability
        self.seconds = perf_counter() - begin
        return answer

    def undo(self) -> Probability:
        """Take the last click back: the answer before it. Nothing to undo is no error.

        Raises:
            ValueError: no image is set.
        """
        one = self._object()
        one.at = max(one.at - 1, 0)
        return one.state.probability

    def redo(self) -> Probability:
        """The click that was taken back last, again. Nothing to redo, or a click since, is no error.

        Raises:
            ValueError: no image is set.
        """
        one = self._object()
        one.at = min(one.at + 1, len(one.states) - 1)
        return one.state.probability

    def reset(self) -> None:
        """Take all clicks of the selected object back, for good; the image stays, and a mask that it began with."""
        if self._objects:
            self._objects[self._selected] = _Object(self._object().states[0])

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would change anything."""
        return bool(self._objects) and self._object().at > 0

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would change anything."""
        return bool(self._objects) and self._object().at < len(self._object().states) - 1

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8, RGB, as it was given.

        Raises:
            ValueError: no image is set.
        """
        self._object()
        assert self._image is not None
        return self._image

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The selected object's clicks that count now, oldest first."""
        return self._object().state.clicks if self._objects else ()

    @property
    def probability(self) -> Probability:
        """(H, W) float32, the last answer, the caller's own; before the first click all 0, or the mask that it began with.

        Raises:
            ValueError: no image is set.
        """
        return self._object().state.probability

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5; all False before the first click.

        Raises:
            ValueError: no image is set.
        """
        return self._object().state.mask

    @property
    def objects(self) -> int:
        """How many objects there are, those without clicks included."""
        return len(self._objects)

    @property
    def number(self) -> int:
        """The selected object, from 1; 0 without an image."""
        return self._selected + 1 if self._objects else 0

    def new_object(self, mask: BoolMask | None = None) -> int:
        """One more object, which is then the selected one.

        Args:
            mask: (H, W) bool, what it begins with, as in `set_image`.

        Returns:
            Its number, from 1.

        Raises:
            ValueError, InputError: as `set_image`.
        """
        beside = self._object().state
        self._objects.append(_Object(self._start(self.image, mask, beside)))
        self._selected = len(self._objects) - 1
        return self.number

    def select(self, number: int) -> None:
        """Go on with an object.

        Raises:
            ValueError: there is none of that number.
        """
        if not 1 <= index(number) <= self.objects:
            raise ValueError(f"there is no object {number}, expected 1 to {self.objects}; new_object makes one more")
        self._selected = index(number) - 1

    @property
    def masks(self) -> list[BoolMask]:
        """The masks of all objects, each (H, W) bool; where objects overlap, so do they."""
        return [one.state.mask for one in self._objects]

    @property
    def label_map(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """(H, W) uint8, uint16 above 255 objects: 0 is background, k object k; where they overlap the later one is on top.

        Raises:
            ValueError: no image is set.
        """
        labels = np.zeros(self.image.shape[:2], np.uint8 if self.objects <= 255 else np.uint16)
        for number, one in enumerate(self._objects, 1):
            labels[one.state.mask] = number
        return labels

    def _start(self, rgb: Image, mask: BoolMask | None, beside: State | None = None) -> State:
        if mask is not None and (mask.shape != rgb.shape[:2] or mask.dtype != np.bool_):
            raise ValueError(f"mask must be {rgb.shape[:2]} bool like the image, got {mask.shape} {mask.dtype}")
        state: State = self.engine.start(rgb, mask, beside)
        return state

    def _object(self) -> _Object:
        if not self._objects:
            raise ValueError("no image is set; call set_image first")
        return self._objects[self._selected]
