"""The network answers clicks: of a batch, of many users at once, and of the part of a photo that a zoom looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mfpgan.clicks.encoding import last_answer_counts, positive_stands
from mfpgan.clicks.guidance import encode
from mfpgan.crop import crop, in_unit_range, paste
from mfpgan.devices import stored_in
from mfpgan.types import NO_MEMORY, THRESHOLD, BoolMask, Click, ClickEncoding, Image, InputError, Probability
from mfpgan.zoom import CROP_PX, SKIP_CLICKS, View, clicks_in, crop_size, next_view

CPU_PIXELS = 2**19
"""Pixels that the pictures of one forward pass of `predict_each` have together on a CPU, unless a single one has more.

Milliseconds a picture, U-Net of width 1 in bfloat16 on one thread: at 161x241 pixels 103 alone, 69 by four, 66 by eight and 67
by 16; at 321x481 pixels 459 alone, 384 by two, 470 by four, 435 by eight. A layer's output above 32 MiB is fetched from the
system and given back each time by glibc's malloc, which costs as much as a larger batch brings.
"""


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
    height, width = image.shape[-2:]
    with torch.inference_mode():
        guidance = encode(encoding_of(generator), clicks, previous, height=height, width=width, device=image.device)
        prob = _run(generator, image, guidance, precision)
        for number, image_clicks in enumerate(clicks):
            _hold(prob[number], image_clicks, None if previous is None else previous[number])
        return prob


def _run(generator: nn.Module, image: Tensor, guidance: Tensor, precision: str) -> Tensor:
    """(B, 1, H, W) float32, what the network itself says to a batch and its guidance; to be called in inference mode."""
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
    generator.eval()
    with torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = generator(image, guidance)
    return logits.float().sigmoid()


def _hold(prob: Tensor, clicks: Sequence[Click], previous: Tensor | None) -> None:
    """Hold one answer, (..., 1, H, W), to the one before it while clicks only take away; in place."""
    if not positive_stands(clicks, prob.shape[-2], prob.shape[-1]):
        prob.copy_(torch.zeros_like(prob) if previous is None else torch.minimum(prob, previous))


def encoding_of(generator: nn.Module) -> ClickEncoding:
    """How the generator wants to be fed; see `predict`."""
    return getattr(generator, "click_encoding", ClickEncoding())


class Shown(NamedTuple):
    """What a network is shown of one user's work, at any size: `predict_each` answers many."""

    image: Tensor
    """(1, 3, h, w) float32 in [0, 1], RGB."""
    clicks: Sequence[Click]
    """Oldest first, in pixels of that image."""
    previous: Tensor | None
    """(1, 1, h, w) float32 in [0, 1], the answer before the newest click; None: that is a first click."""


def canvas(generator: nn.Module, height: int, width: int) -> tuple[int, int]:
    """(height, width) that the network computes a picture at. Pictures of one canvas can be seen in one forward pass.

    A generator whose attribute `stride` is above 1 pads its input to multiples of it, the photo by its `mean` and the
    guidance by 0; padded so beforehand, the picture gets the same answer. One without computes at the picture's size.
    """
    stride: int = getattr(generator, "stride", 1)
    return height + -height % stride, width + -width % stride


def predict_each(generator: nn.Module, shown: Sequence[Shown], precision: str = "fp32") -> list[Tensor]:
    """`predict` for pictures of any sizes and users at different clicks, in as few forward passes as their sizes allow;
    on a CPU with at most `CPU_PIXELS` in each.

    Args:
        generator, precision: as in `predict`.

    Returns:
        For each (1, 1, h, w) float32: what `predict` answers to it alone, up to the order of sums in the network.
    """
    answers: dict[int, Tensor] = {}
    for members in _passes(generator, shown):
        group = [shown[number] for number in members]
        if encoding_of(generator).memory == "modulated":
            fresh = [place for place, one in enumerate(group) if one.previous is None]
            for place, first in zip(fresh, _forward_each(generator, [group[i] for i in fresh], precision), strict=True):
                group[place] = group[place]._replace(previous=first)
        answers.update(zip(members, _forward_each(generator, group, precision), strict=True))
    return [answers[number] for number in range(len(shown))]


def _passes(generator: nn.Module, shown: Sequence[Shown]) -> Iterator[list[int]]:
    """Numbers of the pictures that go through the network together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, one in enumerate(shown):
        groups.setdefault(canvas(generator, *one.image.shape[-2:]), []).append(number)
    for (height, width), members in groups.items():
        on_cpu = shown[members[0]].image.device.type == "cpu"
        most = max(CPU_PIXELS // (height * width), 1) if on_cpu else len(members)
        for start in range(0, len(members), most):
            yield members[start : start + most]


def _forward_each(generator: nn.Module, group: Sequence[Shown], precision: str) -> list[Tensor]:
    """One forward pass of `predict_each` over pictures of one canvas."""
    if not group:
        return []
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, one in enumerate(group):
        sizes.setdefault((one.image.shape[-2], one.image.shape[-1]), []).append(number)
    height, width = (max(side) for side in zip(*sizes, strict=True))
    encoding, like = encoding_of(generator), group[0].image
    with torch.inference_mode():
        image = like.new_empty(len(group), 3, height, width)
        if len(sizes) > 1:  # only a generator with a stride, see `canvas`
            image.copy_(torch.as_tensor(generator.mean))
        guidance = like.new_zeros(len(group), encoding.channels, height, width)
        for (h, w), members in sizes.items():
            some = [group[number] for number in members]
            # No previous answer is one of all 0, to the network as to `_hold`.
            previous = [like.new_zeros(1, 1, h, w) if one.previous is None else one.previous for one in some]
            image[members, :, :h, :w] = torch.cat([one.image for one in some])
            guidance[members, :, :h, :w] = encode(
                encoding, [one.clicks for one in some], torch.cat(previous), height=h, width=w, device=like.device
            )
        prob = _run(generator, image, guidance, precision)
        answers = []
        for number, one in enumerate(group):
            h, w = one.image.shape[-2:]
            # A copy: kept as a part of the batch, one answer would keep the whole batch in memory.
            answer = prob[number : number + 1, :, :h, :w].clone()
            _hold(answer, one.clicks, one.previous)
            answers.append(answer)
        return answers


@dataclass(frozen=True, slots=True)
class TorchState:
    """How far one user has come at one image. It does not change: the next click makes the next state.

    What the network said stays at the size at which it said it, and is put into its place in the photo when somebody asks:
    twenty answers to a photo of 24 megapixels would be 2 GB otherwise.
    """

    image: Tensor
    """(1, 3, H, W) uint8, RGB, on the network's device."""
    clicks: tuple[Click, ...] = ()
    """Oldest first."""
    answer: Tensor | None = None
    """(1, 1, h, w) float32 on the network's device, what it said of `place`; None before the first click."""
    place: View | None = None
    """Where in the photo the answer lies; None: it is one of the whole photo, at the photo's size."""
    view: View | None = None
    """What the network looked at last, for `next_view`; None: the whole photo."""
    given: bool = False
    """Whether the user began with a mask, which is the answer before the first click."""

    @property
    def prob(self) -> Tensor | None:
        """(1, 1, H, W) float32 on the network's device, the answer to these clicks; None before the first."""
        if self.answer is None or self.place is None:
            return self.answer
        return paste(self.answer, self.place, *self.image.shape[-2:])

    @property
    def probability(self) -> Probability:
        """(H, W) float32, the caller's own; all 0 before the first click."""
        prob = self.prob
        if prob is None:
            return np.zeros(tuple(self.image.shape[-2:]), np.float32)
        array: Probability = prob[0, 0].cpu().numpy()
        return array.copy() if self.place is None else array  # the caller may draw on it

    @property
    def mask(self) -> BoolMask:
        """(H, W) bool, probability > 0.5; all False before the first click."""
        prob = self.prob
        if prob is None:
            return np.zeros(tuple(self.image.shape[-2:]), np.bool_)
        mask: BoolMask = (prob[0, 0] > THRESHOLD).cpu().numpy()
        return mask


class TorchEngine:
    """A network of torch that answers the clicks of any number of users, each at an image of their own.

    The network is shown its last answer, and is held to it while clicks only take away, from the second click on if a
    positive click stands before and with the newest. Otherwise the newest is a first click (see `predict`): no earlier
    click has said what the object is, or the only one that did is withdrawn. A mask that the user began with says it too.

    Args:
        generator: as in `predict`; moved to `device`. With bf16 its weights are taken as they are now, see
            `mfpgan.devices.stored_in`.
        device: where the network runs, by default where the generator is; pictures and masks of the interface are NumPy arrays.
        precision: "fp32", or "bf16" for autocast.
        zoom: the network sees everything at one size: the whole photo at the first click, then the part round the last
            mask (RITM's zoom-in, see `mfpgan.zoom`). A click outside that part, which can only be a negative one, leaves
            the answer as it is: the network would not see it.
        zoom_px: longer side of what the network then sees; best the size it was trained at, its config's `size`.
        name: what people call it.
    """

    def __init__(
        self,
        generator: nn.Module,
        device: torch.device | str | None = None,
        precision: str = "fp32",
        zoom: bool = False,
        zoom_px: int = CROP_PX,
        name: str = "network",
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
        if device is None:
            parameter = next(generator.parameters(), None)
            device = "cpu" if parameter is None else parameter.device
        self.device = torch.device(device)
        self.generator = stored_in(generator.to(self.device), precision)
        self.precision = precision
        self.zoom = zoom
        self.zoom_px = zoom_px
        self.name = name
        self.forward_seconds = 0.0
        """Time spent on answers so far: the network, what it is shown, and waiting for the device."""

    def start(self, rgb: Image, mask: BoolMask | None = None, beside: TorchState | None = None) -> TorchState:
        """A user at an image, without clicks.

        Args:
            rgb: (H, W, 3) uint8, RGB.
            mask: (H, W) bool, what the user begins with; None: nothing.
            beside: a state at the same image, which then is on the device once for both.

        Raises:
            InputError: a mask, and a network without memory, which would not read it.
        """
        if beside is None:
            planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]).to(self.device)
        else:
            planes = beside.image
        if mask is None:
            return TorchState(planes)
        if encoding_of(self.generator).memory == "none":
            raise InputError(NO_MEMORY)
        answer = torch.from_numpy(np.ascontiguousarray(mask)).to(self.device).float()[None, None]
        return TorchState(planes, answer=answer, given=True)

    def group(self, height: int, width: int) -> tuple[int, int]:
        """Users at images of equal groups get their first answers in one forward pass; later ones too without zoom."""
        shown = crop_size(View(0, 0, height, width), self.zoom_px) if self.zoom else (height, width)
        return canvas(self.generator, *shown)

    def pixels(self, height: int, width: int) -> int:
        """Most pixels that the network computes for one answer to a user at such an image. With zoom a view may be square."""
        rows, columns = canvas(self.generator, *((self.zoom_px,) * 2 if self.zoom else (height, width)))
        return rows * columns

    def answer(self, states: Sequence[TorchState], clicks: Sequence[Click]) -> list[TorchState]:
        """The next click of several users at once, each answered as if alone.

        Args:
            states: from `start`, or from here.
            clicks: one for each, in pixels of its image.

        Returns:
            The users' next states, equal to those that they would have had alone up to the order of sums in the network.

        Raises:
            ValueError: a click lies outside its image.
        """
        begin = perf_counter()
        following = [self._follow(state, click) for state, click in zip(states, clicks, strict=True)]
        shown = {number: one for number, (_, one) in enumerate(following) if one is not None}
        answers = dict(zip(shown, predict_each(self.generator, list(shown.values()), self.precision), strict=True))
        result = []
        for number, (before, _) in enumerate(following):
            state = before
            if number in answers:  # what the network would not see leaves the answer as it is
                height, width = state.image.shape[-2:]
                place = (state.view or View(0, 0, height, width)) if self.zoom else None
                state = replace(state, answer=answers[number], place=place)
            result.append(state)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.forward_seconds += perf_counter() - begin
        return result

    def _follow(self, state: TorchState, click: Click) -> tuple[TorchState, Shown | None]:
        """The state after a click, still with the answer before it; and what the network has to be shown, if anything."""
        clicks = (*state.clicks, click)
        height, width = state.image.shape[-2:]
        previous = state.prob if last_answer_counts(clicks, state.given, height, width) else None
        after = replace(state, clicks=clicks)
        if not self.zoom:
            return after, Shown(in_unit_range(state.image), clicks, previous)
        view = None
        if previous is not None:
            skip = 0 if state.given else SKIP_CLICKS
            view = next_view(previous[0, 0].cpu().numpy(), clicks, state.view, skip)
        after = replace(after, view=view)
        if view is not None and not view.holds(click):
            return after, None
        shown = view or View(0, 0, height, width)
        near = crop(state.image, shown, self.zoom_px)
        last = None if previous is None else crop(previous, shown, self.zoom_px)
        return after, Shown(near, clicks_in(clicks, shown, self.zoom_px), last)
