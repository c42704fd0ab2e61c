"""The nouns that every part of mfpgan speaks: clicks, samples, batches, and the protocols of the swappable parts."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch costs a second and a half; the command line answers --help without it
    import torch

BoolMask = NDArray[np.bool_]
"""(H, W) bool."""
Image = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""
Probability = NDArray[np.float32]
"""(H, W) float32 in [0, 1]."""


THRESHOLD = 0.5
"""A pixel belongs to the mask if its probability is above this. MFP's; RITM takes .49."""


class InputError(ValueError):
    """What a user handed in cannot be used. The message is one sentence: what came, what was expected, what to do.

    The command line prints it on stderr and exits with code 2; a traceback never reaches the user.
    """


NO_MEMORY = (
    "this network has no memory and would not see the mask that you start from; use one trained with --memory previous or "
    "modulated, or start without a mask."
)

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80


def quoted(value: object) -> str:
    """A value out of somebody's file for a message: printable and short, however large, deep or strange it is.

    Printable, because a terminal obeys what it is shown; and a YAML of ten lines can hold a value of a billion characters.
    """
    try:
        text = _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a {type(value).__name__} with a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:96]} ..."


def reason_of(error: BaseException, without: str = "") -> str:
    """What another library says of a file, for a message in brackets: one line, printable, 200 characters at most.

    Args:
        without: text that the message says already, such as the file's path.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in str(error).replace(without, ""))
    line = " ".join(text.split()) or type(error).__name__
    return f"{line[:196].rstrip()} ..." if len(line) > 200 else line.rstrip(".:")


class Click(NamedTuple):
    """One click of the user, in pixels from the top left of the image it belongs to."""

    y: int
    x: int
    positive: bool
    """True: "this belongs to the object"; False: "this does not"."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One object in one image: what a data set hands out, untouched by any policy.

    Raises:
        ValueError: a field has another shape or dtype than written here, or the object is empty.
    """

    id: str
    """Unique in its data set: "IMAGE/OBJECT"."""
    image: Image
    """(H, W, 3) uint8, RGB."""
    target: BoolMask
    """(H, W) bool, True on the object; at least one pixel is."""
    ignore: BoolMask | None = None
    """(H, W) bool, True where nobody knows and nothing is counted; never True on the object."""
    others: BoolMask | None = None
    """(H, W) bool, True on the image's other annotated objects, never on this one; None if nobody looked them up."""

    def __post_init__(self) -> None:
        shape = self.image.shape[:2]
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{self.id}: image must be (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")
        for name, mask in (("target", self.target), ("ignore", self.ignore), ("others", self.others)):
            if mask is not None and (mask.shape != shape or mask.dtype != np.bool_):
                raise ValueError(f"{self.id}: {name} must be {shape} bool, got {mask.shape} {mask.dtype}")
        if not self.target.any():
            raise ValueError(f"{self.id}: the object has no pixel")
        if self.ignore is not None and (self.ignore & self.target).any():
            raise ValueError(f"{self.id}: the ignore band covers part of the object")
        if self.others is not None and (self.others & self.target).any():
            raise ValueError(f"{self.id}: the other objects cover part of the object")


class Skipped(NamedTuple):
    """A training image that was to be read and could not be; another one took its place."""

    image: int
    """Index into `objects_of_image` of the training data."""
    sentence: str
    """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of equal size, ready for the networks.

    Raises:
        ValueError: the fields disagree in shape or are not float32.
    """

    ids: tuple[str, ...]
    image: torch.Tensor
    """(B, 3, H, W) float32 in [0, 1], RGB; the generator normalises, callers never do."""
    target: torch.Tensor
    """(B, 1, H, W) float32, 0 or 1."""
    valid: torch.Tensor
    """(B, 1, H, W) float32, 1 where the pixel counts, 0 in an ignore band or outside the photo."""
    others: torch.Tensor | None = None
    """(B, 1, H, W) bool on the CPU, True on the images' other objects; None if nobody looked them up. For the simulated
    user only: it stays on the CPU, where that user is."""
    skipped: tuple[Skipped, ...] = ()
    """What could not be read on the way to this batch."""

    def __post_init__(self) -> None:
        count, (height, width) = len(self.ids), self.image.shape[-2:]
        for name, channels in (("image", 3), ("target", 1), ("valid", 1)):
            tensor = getattr(self, name)
            if tuple(tensor.shape) != (count, channels, height, width) or not tensor.is_floating_point():
                raise ValueError(
                    f"batch {name} must be ({count}, {channels}, {height}, {width}) float, "
                    f"got {tuple(tensor.shape)} {tensor.dtype}"
                )
        others = self.others
        if others is not None and (tuple(others.shape) != (count, 1, height, width) or others.is_floating_point()):
            raise ValueError(
                f"batch others must be ({count}, 1, {height}, {width}) bool, got {tuple(others.shape)} {others.dtype}"
            )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; the loader's pinning thread looks for this method."""
        return replace(
            self,
            image=self.image.pin_memory(),
            target=self.target.pin_memory(),
            valid=self.valid.pin_memory(),
        )  # fmt: skip

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            target=self.target.to(device, non_blocking=True),
            valid=self.valid.to(device, non_blocking=True),
        )


EncodingName = Literal["disk", "gaussian", "distance"]
MemoryName = Literal["none", "previous", "modulated"]


@dataclass(frozen=True, slots=True)
class ClickEncoding:
    """How clicks and the last answer reach the network as channels beside the photo's three."""

    shape: EncodingName = "disk"
    """What a click draws, see `mfpgan.clicks.encoding.draw_clicks`."""
    radius: float = 5.0
    """Its size in pixels."""
    memory: MemoryName = "none"
    """What the network sees of its own last answer: nothing, the probability, or also the modulated one."""

    @property
    def channels(self) -> int:
        """2 click maps, and 1 more for the previous probability, 2 more for that and the modulated one."""
        return {"none": 2, "previous": 3, "modulated": 4}[self.memory]


class ClickStrategy(Protocol):
    """A user: looks at the truth and at the present mask, and clicks. Training and benchmark share this one type.

    A user who wants `others` in training says so with a class attribute `uses_others = True`: looking them up costs time.
    """

    @property
    def rounds(self) -> int:
        """Most times that this user answers the network in training; how often is drawn for each sample. 0: never."""
        ...

    def __call__(
        self,
        target: BoolMask,
        prediction: BoolMask | None,
        clicks: Sequence[Click],
        rng: np.random.Generator,
        ignore: BoolMask | None = None,
        others: BoolMask | None = None,
    ) -> tuple[Click, ...]:
        """The new clicks of one turn.

        Args:
            target: (H, W) bool, the object the user has in mind.
            prediction: (H, W) bool, the present mask, or None before the first answer (counts as empty).
            clicks: all clicks made so far on this object, oldest first.
            rng: the only source of chance.
            ignore: (H, W) bool, pixels where no click lands and no error counts.
            others: (H, W) bool, the other objects of the image, if they are known.

        Returns:
            New clicks, or an empty tuple if nothing is left to correct.
        """
        ...


class DataSet(Protocol):
    """Objects in images. Only reads: `[i]` gives the same sample every time; cropping and clicks come later.

    Two methods are optional: `parts` (mfpgan.data.parts) saves decoding, `facts` (mfpgan.data.facts) lets objects be chosen.
    """

    name: str
    """What it is, for people: "lvis instances_train", "bsds500 test"."""

    def __len__(self) -> int:
        """Number of objects."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`; raises InputError naming the file when photo or annotation cannot be read."""
        ...

    def others(self, index: int) -> BoolMask:
        """(H, W) bool, True where any other object of the image lies, also where it covers object `index`.

        Not part of `[index]`, because looking them up costs time and only simulated users ask for them. Reads no photo;
        cheapest right after `[index]`. Crowds and ignore bands are no objects. Raises InputError like `[index]`.
        """
        ...

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image, in the set's order, the indices of its objects; images without an object are left out."""
        ...

    def digest(self) -> str:
        """16 hex digits that change when the annotations do (not the photos); recorded with every run."""
        ...
