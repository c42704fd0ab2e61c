"""Clicks that are all known beforehand, on any number of photos: `mfpgan predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from mfpgan.apps.click_file import PhotoClicks
from mfpgan.apps.output import Objects, Output
from mfpgan.engine import Engine, State
from mfpgan.photos import read_mask, upright_photo
from mfpgan.types import BoolMask, Click, Image, InputError

BATCH_PIXELS = 2**23
"""Pixels that the photos of a batch have together, each object counted, unless a single one has more: what an open photo and
its answers take, 30 bytes a pixel, is then 240 MiB. As `mfpgan.evaluation.play` has it; that needs torch, and an ONNX file does not."""


@dataclass(slots=True)
class Answered:
    """What came of it."""

    photos: int = 0
    clicks: int = 0
    seconds: float = 0.0
    """From the clicks to the answers; without reading photos and writing files."""


@dataclass(slots=True, eq=False)
class _Photo:
    """A photo that is open: until its last object is answered."""

    number: int
    objects: Objects


@dataclass(slots=True, eq=False)
class _Object:
    """One object of it, before its first click."""

    photo: _Photo
    clicks: Sequence[Click]
    state: State
    last: bool
    """Whether no other object of the photo follows."""


def predict(
    engine: Engine,
    output: Output,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> Answered:
    """Answer all clicks, many objects at once, and write the files.

    Each object is answered as in a `ClickSession` of its own; in a batch the network's sums run in another order.

    Args:
        engine: from `mfpgan.apps.loading.load_engine`.
        output: what is answered, and where it goes.
        tell: gets a sentence about each photo that could not be answered, and about what a format could not hold. The
            other photos are answered all the same.
        progress: called as progress(photos done, photos).

    Raises:
        InputError: no photo could be answered.
    """
    return _Work(engine, output, tell, progress).run()


class _Work:
    def __init__(
        self, engine: Engine, output: Output, tell: Callable[[str], None], progress: Callable[[int, int], None] | None
    ) -> None:
        self.engine, self.output, self.tell, self.progress = engine, output, tell, progress
        self.answered = Answered()
        self.problems: list[str] = []

    def run(self) -> Answered:
        for batch in _batches(self._objects(), self._pixels):
            self._answer(batch)
        if not self.answered.photos:
            several = len(self.problems) > 1
            raise InputError(
                f"none of the {len(self.problems)} photos could be answered." if several else self.problems[0]
            )
        self.output.finish()
        return self.answered

    def _objects(self) -> Iterator[_Object]:
        """Photos are opened one by one, as somebody asks for their objects."""
        for number, entry in enumerate(self.output.photos):
            try:
                yield from self._open(number, entry)
            except InputError as error:  # its last object never comes, so nothing of it is written
                self.problems.append(_printable(str(error)))
                if len(self.output.photos) > 1:
                    self.tell(self.problems[-1])
                self._count()

    def _open(self, number: int, entry: PhotoClicks) -> Iterator[_Object]:
        rgb = upright_photo(entry.photo, entry.where)
        for one in entry.objects:
            _must_lie_inside(one.clicks, rgb, entry.where)
        photo = _Photo(number, self.output.objects_of(number, rgb))
        start: State | None = None  # of all that begin without a mask: the photo goes to the device once
        for place, one in enumerate(entry.objects, 1):
            if one.mask is None:
                state = start = start or self.engine.start(rgb)
            else:
                state = self._start_with(one.mask, rgb, entry.where)
            yield _Object(photo, one.clicks, state, place == len(entry.objects))

    def _start_with(self, path: Path, rgb: Image, where: str) -> State:
        mask = read_mask(path) > 0
        if mask.shape != rgb.shape[:2]:
            raise InputError(
                f"{where}: the mask {path} is {_size(mask)} pixels, but the photo is {_size(rgb)}; use a mask of this photo."
            )
        try:
            state: State = self.engine.start(rgb, mask)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return state

    def _pixels(self, one: _Object) -> int:
        """What it takes: the photo, or, if that is more, what the network looks at."""
        return max(one.photo.objects.labels.size, self.engine.zoom_px**2)

    def _answer(self, batch: Sequence[_Object]) -> None:
        """They make their k-th click together."""
        states = [one.state for one in batch]
        begin = perf_counter()
        for turn in range(max(len(one.clicks) for one in batch)):
            going = [number for number, one in enumerate(batch) if turn < len(one.clicks)]
            answers = self.engine.answer(
                [states[number] for number in going], [batch[number].clicks[turn] for number in going]
            )
            for number, state in zip(going, answers, strict=True):
                states[number] = state
            self.answered.clicks += len(going)
        self.answered.seconds += perf_counter() - begin
        for one, state in zip(batch, states, strict=True):
            one.photo.objects.add(state.mask)
            if one.last:
                for note in self.output.write(one.photo.number, one.photo.objects):
                    self.tell(_printable(note))
                self.answered.photos += 1
                self._count()

    def _count(self) -> None:
        if self.progress:
            self.progress(self.answered.photos + len(self.problems), len(self.output.photos))


def _batches(objects: Iterator[_Object], pixels_of: Callable[[_Object], int]) -> Iterator[list[_Object]]:
    """As many in a row as have `BATCH_PIXELS` together, at least one."""
    batch: list[_Object] = []
    pixels = 0
    for one in objects:
        if batch and pixels + pixels_of(one) > BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
        batch.append(one)
        pixels += pixels_of(one)
    if batch:
        yield batch


def _must_lie_inside(clicks: Sequence[Click], rgb: Image, where: str) -> None:
    height, width = rgb.shape[:2]
    for y, x, _ in clicks:
        if not (y < height and x < width):
            raise InputError(
                f"{where}: the click at x={x}, y={y} lies outside the photo of {_size(rgb)} pixels; x comes first and goes from 0 at "
                f"the left to {width - 1}, y from 0 at the top to {height - 1}."
            )


def _size(picture: Image | BoolMask) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _printable(text: str) -> str:
    """Names of files may hold what a terminal obeys."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
