"""An exported network answers clicks, where torch is not installed: NumPy and onnxruntime, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mfpgan.apps.onnx.facts import OUTPUT, Facts
from mfpgan.apps.onnx.numpy_twins import crop, in_unit_range, modulate, paste
from mfpgan.clicks.encoding import draw_clicks, last_answer_counts, positive_stands
from mfpgan.types import NO_MEMORY, THRESHOLD, BoolMask, Click, Image, InputError, Probability, reason_of
from mfpgan.zoom import SKIP_CLICKS, View, clicks_in, next_view


@dataclass(frozen=True, slots=True)
class OnnxState:
    """How far one user has come at one image; the fields are those of `mfpgan.inference.TorchState`, as NumPy arrays."""

    image: Image
    clicks: tuple[Click, ...] = ()
    """Oldest first."""
    answer: Probability | None = None
    """(h, w) float32, what the network said of `place`; None before the first click."""
    place: View | None = None
    """Where in the photo the answer lies; None: it is one of the whole photo, at the photo's size."""
    view: View | None = None
    """What the network looked at last; None: the whole photo."""
    given: bool = False
    """Whether the user began with a mask, which is the answer before the first click."""

    @property
    def last(self) -> Probability | None:
        """(H, W) float32, not to be written to; None before the first answer."""
        if self.answer is None or self.place is None:
            return self.answer
        return paste(self.answer, self.place, *self.image.shape[:2])

    @property
    def probability(self) -> Probability:
        """(H, W) float32, the caller's own; all 0 before the first click."""
        last = self.last
        return np.zeros(self.image.shape[:2], np.float32) if last is None else last.copy()

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5; all False before the first click."""
        last = self.last
        return np.zeros(self.image.shape[:2], np.bool_) if last is None else last > THRESHOLD


class OnnxEngine:
    """A file of `mfpgan export` that answers clicks; what it is shown, and how it is held to its last answer, is told at
    `mfpgan.inference.TorchEngine`.

    Args:
        path: the file.
        zoom: as there, at the size that the network was trained at.

    Raises:
        InputError: onnxruntime is not installed; the file is missing, damaged, or no network of mfpgan.
    """

    def __init__(self, path: Path, zoom: bool = True) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError(f"{path}: an ONNX file needs onnxruntime; pip install 'mfpgan[onnx]'.") from None
        if not path.is_file():
            raise InputError(f"{path}: there is no such file, expected one that `mfpgan export` made.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong is said below
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # two networks share a machine's cores
        try:
            self._network = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            metadata = self._network.get_modelmeta().custom_metadata_map
        except Exception as error:  # onnxruntime has a class of its own for each thing that may be wrong
            raise InputError(f"{path}: not readable as an ONNX file ({reason_of(error, without=str(path))}).") from None
        self.facts = Facts.from_metadata(metadata, str(path))
        self.name = path.name
        self.zoom = zoom
        self.zoom_px = self.facts.size
        self.forward_seconds = 0.0
        self._inputs = {one.name for one in self._network.get_inputs()}

    def start(self, rgb: Image, mask: BoolMask | None = None, beside: OnnxState | None = None) -> OnnxState:
        """A user at an image (H, W, 3) uint8, without clicks; with a mask (H, W) bool to begin with. The image is not copied.

        Raises:
            InputError: a mask, and a network without memory, which would not read it.
        """
        if mask is None:
            return OnnxState(rgb)
        if self.facts.memory == "none":
            raise InputError(NO_MEMORY)
        return OnnxState(rgb, answer=mask.astype(np.float32), given=True)

    def answer(self, states: Sequence[OnnxState], clicks: Sequence[Click]) -> list[OnnxState]:
        """The next click of several users, one after the other.

        Raises:
            ValueError: a click lies outside its image.
        """
        begin = perf_counter()
        following = [self._next(state, click) for state, click in zip(states, clicks, strict=True)]
        self.forward_seconds += perf_counter() - begin
        return following

    def _next(self, state: OnnxState, click: Click) -> OnnxState:
        clicks = (*state.clicks, click)
        height, width = state.image.shape[:2]
        previous = state.last if last_answer_counts(clicks, state.given, height, width) else None
        after = replace(state, clicks=clicks)
        if not self.zoom:
            return replace(after, answer=self._held(in_unit_range(state.image), clicks, previous), place=None)
        view = None
        if previous is not None:
            view = next_view(previous, clicks, state.view, 0 if state.given else SKIP_CLICKS)
        after = replace(after, view=view)
        if view is not None and not view.holds(click):
            return after  # the network would not see it
        shown = view or View(0, 0, height, width)
        last = None if previous is None else crop(previous, shown, self.zoom_px)
        near = crop(state.image, shown, self.zoom_px)
        return replace(after, answer=self._held(near, clicks_in(clicks, shown, self.zoom_px), last), place=shown)

    def _held(self, image: Any, clicks: Sequence[Click], previous: Probability | None) -> Probability:
        """The answer to a picture (h, w, 3) float32; a first one is looked at twice by a network with modulated memory."""
        if previous is None and self.facts.memory == "modulated":
            previous = self._hold(self._forward(image, clicks, None), clicks, None)
        return self._hold(self._forward(image, clicks, previous), clicks, previous)

    def _forward(self, image: Any, clicks: Sequence[Click], previous: Probability | None) -> Probability:
        height, width = image.shape[:2]
        last = np.zeros((height, width), np.float32) if previous is None else previous
        given = {
            "image": image.transpose(2, 0, 1)[None],
            "clicks": draw_clicks(clicks, height, width, self.facts.click_shape, self.facts.click_radius)[None],
            "previous": last[None, None],
            "has_previous": np.array([previous is not None], np.float32),
            "modulated": modulate(last, clicks)[None, None],
        }
        fed = {name: np.ascontiguousarray(value) for name, value in given.items() if name in self._inputs}
        answer: Probability = self._network.run([OUTPUT], fed)[0][0, 0]
        return answer

    @staticmethod
    def _hold(answer: Probability, clicks: Sequence[Click], previous: Probability | None) -> Probability:
        """While clicks only take away, nothing is above the answer before them."""
        if positive_stands(clicks, *answer.shape):
            return answer
        return np.zeros_like(answer) if previous is None else np.minimum(answer, previous)
