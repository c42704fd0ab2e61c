"""Who has which session, what their page has to know of it, and how much all of them may keep."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpgan.apps.web.models import Borrowed, Models
from mfpgan.session import ClickSession
from mfpgan.types import THRESHOLD, BoolMask, Click, Image, InputError, Probability

MOST_PEOPLE = 64
MOST_BYTES = 2 * 2**30
"""Of the photos and answers that all sessions keep together, as `Person.bytes` counts them."""
MOST_OBJECTS = 100
MOST_CLICKS = 200
"""Of one object."""
SHOWN_PIXELS = 4_000_000
"""Of larger photos a page shows the masks at fewer pixels: each step-th row and column. Files have all of them."""


class Gone(InputError):
    """The server knows no such session, or no longer."""


@dataclass
class _Object:
    """What is known of one object without asking its session."""

    given: BoolMask | None
    """(H, W) bool, what it began with."""
    shown: BoolMask
    """(h, w) bool, its mask as the page shows it."""
    pixels: int = 0
    """Of its mask, in the photo."""
    clicks: tuple[Click, ...] = ()
    """Those that count now."""
    answers: int = 0
    """That the session keeps, those that were undone included."""


class Person:
    """One tab of a browser: a `ClickSession`, and what its page shows. Not for several threads at once.

    Args:
        key: of the network that the person begins with.

    Raises:
        InputError: as `Models.engine`.
    """

    def __init__(self, models: Models, key: str) -> None:
        self._models = models
        self.engine = Borrowed(models, key)
        self.session = ClickSession(self.engine)
        self.photos = 0
        """How many were opened."""
        self.step = 1
        """Of the rows and columns that the page shows."""
        self._objects: list[_Object] = []

    @property
    def bytes(self) -> int:
        """About how many this person keeps: the photo twice, in NumPy's order and in the network's; masks that objects began
        with; answers, each at the size that the network sees; what is shown."""
        if not self._objects:
            return 0
        height, width = self.session.image.shape[:2]
        masks = sum(5 * height * width for one in self._objects if one.given is not None)
        answers = 4 * self.engine.zoom_px**2 * sum(one.answers for one in self._objects)
        shown = sum(one.shown.nbytes for one in self._objects)
        return int(6 * height * width + masks + answers + shown)

    @property
    def opened(self) -> ClickSession:
        """The session; raises InputError as long as no photo was opened."""
        self._size()
        return self.session

    @property
    def all_clicks(self) -> list[Click]:
        """Those of all objects that count now."""
        return [click for one in self._objects for click in one.clicks]

    def open(self, photo: Image, mask: BoolMask | None = None) -> dict[str, Any]:
        """Begin with a photo (H, W, 3) uint8, on request with a mask (H, W) bool.

        Returns:
            The `state`, as all that follows.
        """
        self.session.set_image(photo, mask)
        self.step = max(ceil(sqrt(photo.shape[0] * photo.shape[1] / SHOWN_PIXELS)), 1)
        self.photos += 1
        self._objects = [_Object(mask, np.zeros((0, 0), np.bool_))]
        return self._after(self.session.probability)

    def click(self, click: Click) -> dict[str, Any]:
        """Answer a click.

        Raises:
            InputError: it lies outside the photo, or the object has as many as it may have.
        """
        height, width = self._size()
        if not (0 <= click.y < height and 0 <= click.x < width):
            raise InputError(
                f"a click at y={click.y}, x={click.x} lies outside the photo of {width}x{height} pixels; click inside."
            )
        if len(self.session.clicks) >= MOST_CLICKS:
            raise InputError(f"this object has {MOST_CLICKS} clicks, which is all it may have; undo some or reset it.")
        answer = self.session.click(*click)
        self._object.answers = len(self.session.clicks)  # what could be redone is gone
        return self._after(answer)

    def undo(self) -> dict[str, Any]:
        """Take the last click back; nothing to undo is no error."""
        return self._after(self.opened.undo())

    def redo(self) -> dict[str, Any]:
        """The click that was taken back last, again; nothing to redo is no error."""
        return self._after(self.opened.redo())

    def reset(self) -> dict[str, Any]:
        """Take all clicks of the selected object back, for good."""
        self.opened.reset()
        self._object.answers = 0
        return self._after(self.session.probability)

    def select(self, number: int) -> dict[str, Any]:
        """Go on with an object; raises InputError if there is none of that number."""
        self._size()
        if not 1 <= number <= len(self._objects):
            raise InputError(f"there is no object {number}; choose one of the list.")
        self.session.select(number)
        return self.state()

    def new_object(self, mask: BoolMask | None = None) -> dict[str, Any]:
        """One more object, which is then the selected one. One that begins with a mask (H, W) bool takes the place of the
        first if nothing has been done yet.

        Raises:
            InputError: there are as many as there may be, the mask has another size, or the network would not read it.
        """
        height, width = self._size()
        if mask is not None and mask.shape != (height, width):
            raise InputError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]} pixels but the photo {width}x{height}; take the mask of "
                "this photo."
            )
        if mask is not None and len(self._objects) == 1 and not self._object.answers and self._object.given is None:
            self.session.set_image(self.session.image, mask)
            self._objects = [_Object(mask, mask)]
            return self._after(self.session.probability)
        if len(self._objects) >= MOST_OBJECTS:
            raise InputError(f"there are {MOST_OBJECTS} objects, which is all there may be; open the photo again.")
        if mask is not None and self.bytes + 5 * height * width > MOST_BYTES:
            raise InputError("the masks of this photo take all the memory that one person may have; open it again.")
        self.session.new_object(mask)
        self._objects.append(_Object(mask, np.zeros((0, 0), np.bool_)))
        return self._after(self.session.probability)

    def change_model(self, key: str) -> dict[str, Any]:
        """The same clicks on the same photo, answered by another network; what was undone is forgotten.

        Raises:
            InputError: as `Models.engine`, or an object began with a mask that the network would not read. All stays as it was.
        """
        other = Person(self._models, key)
        seconds = 0.0
        for place, one in enumerate(self._objects):
            if place:
                other.new_object(one.given)
            else:
                other.open(self.session.image, one.given)
            for click in one.clicks:
                seconds += other.click(click)["network_ms"] / 1000
        if self._objects:
            other.session.select(self.session.number)
        self.engine, self.session, self._objects = other.engine, other.session, other._objects
        return self.state(seconds)

    def probability(self) -> NDArray[np.uint8]:
        """(h, w) of the selected object as the page shows it, 255 for 1."""
        shown: NDArray[np.uint8] = np.rint(self.reduced(self.opened.probability) * 255).astype(np.uint8)
        return shown

    def state(self, network_seconds: float = 0.0) -> dict[str, Any]:
        """What the page has to know, as plain types; without a photo only the model.

        "runs" are the shown pixels row by row, as pairs of a length and a label: 0 is background, k object k; where objects
        overlap the later one is on top.

        Args:
            network_seconds: how long the network took for what led here.
        """
        if not self._objects:
            return {"model": self.engine.key, "objects": []}
        session, (height, width) = self.session, self._size()
        return {
            "model": self.engine.key,
            "photo": self.photos,
            "height": height,
            "width": width,
            "step": self.step,
            "number": session.number,
            "objects": [{"clicks": len(one.clicks), "pixels": one.pixels} for one in self._objects],
            "clicks": [[click.y, click.x, int(click.positive)] for click in session.clicks],
            "can_undo": session.can_undo,
            "can_redo": session.can_redo,
            "network_ms": round(1000 * network_seconds, 2),
            "runs": _runs([one.shown for one in self._objects]),
        }

    def reduced(self, plane: NDArray[Any]) -> NDArray[Any]:
        """(H, W) at the rows and columns that the page shows, the middle ones of each step."""
        if self.step == 1:
            return plane
        rows, columns = (np.minimum(np.arange(0, side, self.step) + self.step // 2, side - 1) for side in plane.shape)
        reduced: NDArray[Any] = plane[rows][:, columns]
        return reduced

    @property
    def _object(self) -> _Object:
        return self._objects[self.session.number - 1]

    def _after(self, answer: Probability) -> dict[str, Any]:
        """The state, when the selected object has got an answer (H, W)."""
        mask, one = answer > THRESHOLD, self._object
        one.pixels, one.shown, one.clicks = int(np.count_nonzero(mask)), self.reduced(mask), self.session.clicks
        seconds, self.engine.forward_seconds = self.engine.forward_seconds, 0.0
        return self.state(seconds)

    def _size(self) -> tuple[int, int]:
        if not self._objects:
            raise InputError("there is no photo yet; open one first.")
        height, width = self.session.image.shape[:2]
        return height, width


class People:
    """All sessions. Whoever has been idle longest is forgotten first, when there are too many or they keep too much.

    Args:
        most: sessions at once.
        most_bytes: that all keep together. A single one may keep more: photos, masks and clicks have limits of their own.
    """

    def __init__(self, most: int = MOST_PEOPLE, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._people)

    def join(self, person: Person) -> str:
        """Somebody new; the name of the session, which nobody can guess."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._people) >= self._most:
                self._people.popitem(last=False)
            self._people[name] = person
        return name

    def find(self, name: str) -> Person:
        """Whose session it is.

        Raises:
            Gone: nobody's.
        """
        with self._lock:
            if name not in self._people:
                raise Gone(
                    "this session is over, others needed its place or the server began anew; open the photo again."
                )
            self._people.move_to_end(name)
            return self._people[name]

    def leave(self, name: str) -> None:
        """Somebody closed the tab."""
        with self._lock:
            self._people.pop(name, None)

    def make_room(self) -> None:
        """Forget idle sessions while all keep more than they may; never the one that was used last."""
        with self._lock:
            kept = sum(person.bytes for person in self._people.values())
            while kept > self._most_bytes and len(self._people) > 1:
                kept -= self._people.popitem(last=False)[1].bytes


def _runs(masks: list[BoolMask]) -> list[int]:
    """Pairs of a length and a label, see `Person.state`."""
    labels = np.zeros(masks[0].shape, np.uint8)
    for number, mask in enumerate(masks, 1):
        labels[mask] = number
    flat = labels.ravel()
    starts = np.r_[0, np.flatnonzero(flat[1:] != flat[:-1]) + 1]
    pairs = np.stack([np.diff(starts, append=len(flat)), flat[starts]], 1)
    runs: list[int] = pairs.ravel().tolist()
    return runs
