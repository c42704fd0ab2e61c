"""From a request that brings the photo and all its clicks to the answer, as annotation tools ask.

Such a tool keeps no session with us: at each click it posts the photo and every click so far. The answer is that of a session in
which the clicks were made one after the other, and a function of the request alone: what others asked before changes how long it
takes, never a bit of it. Known states are found by the photo's digest and the clicks, so that a request that goes on where an
earlier one ended costs one answer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from mfpgan.engine import Engine
from mfpgan.photos import upright_photo
from mfpgan.types import Click, Image, InputError, Probability, quoted
from mfpgan.zoom import View, next_view

MOST_CLICKS = 100
"""Clicks in one request; each may cost an answer."""
KEPT_PIXELS = 2**26
"""Pixels of all photos that are remembered, 3 bytes each here and as many again in the engine. The newest stays in any case."""
KEPT_STATES = 64
"""States that are remembered of one photo. With zoom a state is an answer at the size that the network sees."""


class Photo(NamedTuple):
    """A decoded photo of a request."""

    digest: str
    """Of the file's bytes."""
    rgb: Image
    """(H, W, 3) uint8, upright; not to be written to."""


class Replay:
    """Answers requests with one network, one after the other; any number of threads may ask.

    Args:
        engine: with zoom, for photos of any size.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.answers = 0
        """How often the network was asked."""
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, View | None], _Work] = OrderedDict()

    def photo(self, encoded: bytes, name: str) -> Photo:
        """The photo in a request, decoded unless it is remembered.

        Args:
            encoded: what a file of a photo holds.
            name: how messages call it.

        Raises:
            InputError: no photo, or too large; see `mfpgan.photos.upright_photo`.
        """
        digest = hashlib.sha256(encoded).hexdigest()
        with self._lock:
            known = self._kept.get((digest, None))
        if known is not None:
            return Photo(digest, known.rgb)
        photo = Photo(digest, upright_photo(encoded, name))
        with self._lock:
            self._work(photo, None)
        return photo

    def probability(self, photo: Photo, clicks: Sequence[Click], box: View | None = None) -> Probability:
        """What a session answers to these clicks, one after the other.

        With a box the answer is 0 outside it, and the network is shown only the part of the photo round it, at the first click
        too: the view that zoom takes of a mask that fills the box (`mfpgan.zoom.next_view`). A positive click outside widens the
        box to it. Negative clicks outside what is shown are left out; they take nothing away. Without a positive click the middle
        of the box counts as the first.

        Args:
            clicks: oldest first, in pixels of the photo, inside it.
            box: inside the photo, not empty.

        Returns:
            (H, W) float32 in [0, 1], the caller's own; all 0 without clicks and box.

        Raises:
            InputError: more than MOST_CLICKS clicks.
        """
        if len(clicks) > MOST_CLICKS:
            raise InputError(f"the request has {len(clicks)} clicks, expected at most {MOST_CLICKS}; take some back.")
        if box is None:
            with self._lock:
                return self._answer(photo, None, clicks)
        if not any(click.positive for click in clicks):
            middle = Click((box.top + box.bottom - 1) // 2, (box.left + box.right - 1) // 2, True)
            clicks = (middle, *clicks)
        box = _widened(box, clicks)
        inside = np.zeros(photo.rgb.shape[:2], np.float32)
        inside[box.top : box.bottom, box.left : box.right] = 1
        view = next_view(inside, clicks, None, 0)
        assert view is not None  # a box is not empty
        moved = [
            Click(click.y - view.top, click.x - view.left, click.positive) for click in clicks if view.holds(click)
        ]
        with self._lock:
            shown = self._answer(photo, view, moved)
        inside[view.top : view.bottom, view.left : view.right] *= shown
        return inside

    def _work(self, photo: Photo, view: View | None) -> _Work:
        """What is remembered of (a part of) a photo, now the newest; the lock is held."""
        key = photo.digest, view
        if key not in self._kept:
            rgb = photo.rgb
            if view is not None:
                rgb = rgb[view.top : view.bottom, view.left : view.right].copy()
            self._kept[key] = _Work(rgb)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(work.pixels for work in self._kept.values()) > KEPT_PIXELS:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _answer(self, photo: Photo, view: View | None, clicks: Sequence[Click]) -> Probability:
        """The answer in the view, from the longest beginning of the clicks that is known; the lock is held."""
        work, asked = self._work(photo, view), tuple(clicks)
        known = max((n for n in range(len(asked) + 1) if asked[:n] in work.known), default=-1)
        if known < 0:
            known = 0
            work.keep((), self.engine.start(work.rgb))
        work.known.move_to_end(asked[:known])
        state = work.known[asked[:known]]
        for number in range(known, len(asked)):
            (state,) = self.engine.answer([state], [asked[number]])
            self.answers += 1
            work.keep(asked[: number + 1], state)
        probability: Probability = state.probability
        return probability


class _Work:
    """A photo, or the part of one that a box shows, and the states of those who clicked on it."""

    def __init__(self, rgb: Image) -> None:
        self.rgb = rgb
        self.pixels = rgb.shape[0] * rgb.shape[1]
        self.known: OrderedDict[tuple[Click, ...], Any] = OrderedDict()

    def keep(self, clicks: tuple[Click, ...], state: Any) -> None:
        self.known[clicks] = state
        if len(self.known) > KEPT_STATES:
            self.known.popitem(last=False)


def _widened(box: View, clicks: Sequence[Click]) -> View:
    """The box, made to hold all positive clicks."""
    ys = [box.top, box.bottom - 1, *(click.y for click in clicks if click.positive)]
    xs = [box.left, box.right - 1, *(click.x for click in clicks if click.positive)]
    return View(min(ys), min(xs), max(ys) + 1, max(xs) + 1)


def request_of(body: object, sender: str, keys: str) -> dict[str, Any]:
    """The object of JSON that a tool has posted.

    Args:
        body: its text, or what somebody has read from it already.
        sender: the tool, and
        keys: what it sends, for the messages.

    Raises:
        InputError: it is none.
    """
    if isinstance(body, bytes | bytearray | str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            raise InputError(f"the request is not readable as JSON; send what {sender} sends.") from None
    if not isinstance(body, dict):
        raise InputError(f"expected an object with {keys}, got {quoted(body)}.")
    return body


def number_of(value: object, name: str) -> float:
    """A number of a request.

    Raises:
        InputError: anything else; NaN, infinity and true are no numbers here.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise InputError(f"{name}: expected a number, got {quoted(value)}.")


def pixel_at(x: float, y: float, photo: Photo, name: str) -> tuple[int, int]:
    """(y, x) of the pixel that a place of a request lies on.

    Pixel 3 is from 3 to below 4. Tools let people click half a pixel outside, and 100 % of the width is the outer edge of the
    last pixel: up to a pixel outside the photo counts as its rim.

    Args:
        x, y: in pixels from the photo's top left corner.
        name: how messages call the place.

    Raises:
        InputError: further outside.
    """
    height, width = photo.rgb.shape[:2]
    row, column = math.floor(y), math.floor(x)
    if not (-1 <= row <= height and -1 <= column <= width):
        raise InputError(
            f"{name}: x={x:g}, y={y:g} lies outside the image of width {width} and height {height}; send places inside it."
        )
    return min(max(row, 0), height - 1), min(max(column, 0), width - 1)


def box_at(first: tuple[float, float], second: tuple[float, float], photo: Photo, name: str) -> View:
    """The pixels that a box of a request touches, at least one: from 3 to 5 are pixels 3 and 4, from 3.5 to 5.1 also pixel 5.

    Args:
        first, second: (x, y) in pixels of opposite corners, in any order.

    Raises:
        InputError: as `pixel_at`.
    """
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(first, second, strict=True))
    first_row, first_column = pixel_at(left, top, photo, name)
    last_row, last_column = pixel_at(max(left, math.ceil(right) - 1), max(top, math.ceil(bottom) - 1), photo, name)
    return View(first_row, first_column, last_row + 1, last_column + 1)
