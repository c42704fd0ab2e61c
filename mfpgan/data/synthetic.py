"""Drawn shapes on textured ground: a data set that is there at once, for tests and first steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfpgan.types import BoolMask, Image, InputError, Sample

SEEDS = {"train": 0, "val": 1, "test": 2}
_MOST_OBJECTS = 4


class SyntheticDataSet:
    """Ellipses, rectangles and polygons, two to four an image; each image is a function of (seed, index).

    A later shape may cover part of an earlier one; the object is what remains visible.

    Args:
        split: train, val or test: different drawings.
        images: number of images.
        size_px: side of the square images, 32 at least.

    Raises:
        InputError: no such split.
        ValueError: size_px or images too small.
    """

    def __init__(self, split: str = "train", images: int = 64, size_px: int = 128) -> None:
        if split not in SEEDS:
            raise InputError(f"synthetic has no split {split!r}; choose one of {', '.join(SEEDS)}.")
        if size_px < 32 or images < 1:
            raise ValueError(f"expected 32 pixels and one image at least, got {size_px} and {images}")
        self.name = f"synthetic {split}"
        self._seed, self._size_px = SEEDS[split], size_px
        self._objects_of_image: list[list[int]] = []
        self._places: list[tuple[int, int]] = []
        self._last: tuple[int, tuple[Image, NDArray[np.int64]]] | None = None
        for image in range(images):
            count = int(np.random.default_rng([self._seed, image]).integers(2, _MOST_OBJECTS + 1))
            self._objects_of_image.append(list(range(len(self._places), len(self._places) + count)))
            self._places += [(image, number) for number in range(count)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`, with id "IMAGE/K"."""
        image, number = self._places[index]
        photo, labels = self._drawing(image)
        return Sample(f"{image:04d}/{number + 1}", photo.copy(), labels == number + 1)

    def others(self, index: int) -> BoolMask:
        """(H, W) bool: what remains visible of the image's other shapes."""
        image, number = self._places[index]
        _, labels = self._drawing(image)
        together: BoolMask = (labels != 0) & (labels != number + 1)
        return together

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image the indices of its objects."""
        return self._objects_of_image

    def digest(self) -> str:
        """16 hex digits that say which drawings these are."""
        return f"{1:04x}{self._seed:04x}{len(self._objects_of_image):04x}{self._size_px:04x}"

    def _drawing(self, image: int) -> tuple[Image, NDArray[np.int64]]:
        """As `_draw`; the last one is remembered."""
        if self._last is None or self._last[0] != image:
            self._last = image, self._draw(image)
        return self._last[1]

    def _draw(self, image: int) -> tuple[Image, NDArray[np.int64]]:
        """The picture, and (H, W) int64 with 0 for the ground and K for object K."""
        rng = np.random.default_rng([self._seed, image])
        count = int(rng.integers(2, _MOST_OBJECTS + 1))
        size = self._size_px
        picture = _texture(rng, size)
        labels = np.zeros((size, size), np.int64)
        # One shape a quarter of the image and radii below its side: nothing is ever covered completely.
        for number, quarter in enumerate(rng.permutation(4)[:count], start=1):
            centre = (np.array(divmod(int(quarter), 2)) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * size / 2
            shape = _SHAPES[int(rng.integers(len(_SHAPES)))](rng, size, centre)
            picture[shape] = _texture(rng, size)[shape]
            labels[shape] = number
        noisy = picture + rng.normal(0, 4, picture.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8), labels


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """(size, size, 3) float64: a colour with waves in a random direction."""
    colour = rng.uniform(40, 215, 3)
    direction = rng.normal(0, 0.25, 2)
    rows, columns = np.mgrid[:size, :size]
    waves = np.sin(rows * direction[0] + columns * direction[1] + rng.uniform(0, 2 * np.pi))
    textured: NDArray[np.float64] = colour + rng.uniform(5, 25) * waves[:, :, None]
    return textured


def _turned(rng: np.random.Generator, size: int, centre: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Pixel coordinates in a turned frame round `centre`, and two radii of 10 to 22 % of the side."""
    rows, columns = np.mgrid[:size, :size]
    angle = rng.uniform(0, np.pi)
    along = (rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle)
    across = (columns - centre[1]) * np.cos(angle) - (rows - centre[0]) * np.sin(angle)
    return along, across, rng.uniform(0.1, 0.22, 2) * size


def _ellipse(rng: np.random.Generator, size: int, centre: NDArray[np.float64]) -> BoolMask:
    along, across, radii = _turned(rng, size, centre)
    inside: BoolMask = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
    return inside


def _rectangle(rng: np.random.Generator, size: int, centre: NDArray[np.float64]) -> BoolMask:
    along, across, radii = _turned(rng, size, centre)
    inside: BoolMask = (np.abs(along) <= radii[0]) & (np.abs(across) <= radii[1])
    return inside


def _polygon(rng: np.random.Generator, size: int, centre: NDArray[np.float64]) -> BoolMask:
    """Three to six half-planes round the centre, cut off by a circle."""
    along, across, _ = _turned(rng, size, centre)
    inside = np.hypot(along, across) <= 0.24 * size
    sides = int(rng.integers(3, 7))
    for angle in 2 * np.pi * (np.arange(sides) + rng.uniform(-0.2, 0.2, sides)) / sides:
        inside &= along * np.cos(angle) + across * np.sin(angle) <= rng.uniform(0.1, 0.2) * size
    return inside


_SHAPES = (_ellipse, _rectangle, _polygon)
