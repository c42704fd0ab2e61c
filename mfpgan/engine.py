"""What answers clicks, whatever computes it: the two protocols between a session and a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mfpgan.types import BoolMask, Click, Image, Probability


class State(Protocol):
    """How far one user has come at one object of one image. It does not change: the next click makes the next state."""

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Oldest first."""
        ...

    @property
    def probability(self) -> Probability:
        """(H, W) float32, the caller's own; before the first click all 0, or the mask that the user began with."""
        ...

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5."""
        ...


class Engine(Protocol):
    """A network that answers the clicks of any number of users: `mfpgan.inference.TorchEngine`, `mfpgan.apps.onnx.engine.OnnxEngine`."""

    name: str
    """What people call it: "small", a run's id, a file's name."""
    zoom_px: int
    """Longer side in pixels of what the network sees, where it looks closely."""
    forward_seconds: float
    """Time spent on answers so far."""

    def start(self, rgb: Image, mask: BoolMask | None = None, beside: Any = None) -> Any:
        """A user's `State` at an image (H, W, 3) uint8 without clicks, on request with a mask (H, W) bool to begin with.
        With a state at the same image `beside` it, both share what the engine keeps of the image.

        Raises:
            InputError: a mask, and a network without memory, which would not read it.
        """
        ...

    def answer(self, states: Sequence[Any], clicks: Sequence[Click]) -> list[Any]:
        """The next click of several users, a `State` for each, as if each were alone. What they had stays as it is.

        Raises:
            ValueError: a click lies outside its image.
        """
        ...
