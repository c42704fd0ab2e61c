"""A folder with images/ and masks/: what most annotation tools can export.

images/NAME.jpg (or .png, .bmp, .webp, .tif) goes with masks/NAME.png, or with masks/NAME_1.png, masks/NAME_2.png, ... where
objects overlap. In a mask 0 is background and every other value is one object, so 0/1, 0/255 and label maps all work.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpgan.data.facts import Facts
from mfpgan.data.parts import Parts
from mfpgan.data.problem import Problem, stop_at_first
from mfpgan.photos import PHOTO_SUFFIXES, LastPhoto, read_mask
from mfpgan.types import BoolMask, Image, InputError, Sample


@dataclass(slots=True)
class FolderImage:
    """A photo with its masks."""

    photo: Path
    masks: list[Path] = field(default_factory=list)
    """One label map, or several files in the order of their numbers."""


@dataclass(frozen=True, slots=True)
class _Labels:
    """What opening remembers of a mask file."""

    values: tuple[int, ...]
    """Values that occur, background included, rising."""
    counts: tuple[int, ...]
    """Pixels of each."""
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Cover:
    """All mask files of an image together."""

    image: int
    """Index into `FolderDataSet.images`."""
    objects: NDArray[np.uint16]
    """(H, W) uint16: how many objects cover the pixel, one a file at most."""
    ignore: BoolMask
    """(H, W) bool: the ignore bands of all files."""


class FolderDataSet:
    """Objects of a masks folder, photos in name order, objects by mask file and then by value.

    Args:
        root: folder with images/ and masks/.
        split: with images/SPLIT/ and masks/SPLIT/, or SPLIT/images/ and SPLIT/masks/; None if there are no parts.
        ignore_value: mask value from 1 to 255 of pixels that do not count for any object of the image.
        progress: called with (masks done, masks in all).

    Raises:
        InputError: no such folders, two photos of one name, or a mask that cannot be read or is in colour.
    """

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        ignore_value: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name = f"folder {root.resolve().name}{f' {split}' if split else ''}"
        self.ignore_value = ignore_value
        self.images, self.problems = pair_up(*find_folders(root, split))
        stop_at_first(self.problems)
        masks = [mask for image in self.images for mask in image.masks]
        labels: list[_Labels] = []
        # Reading is decoding and waiting for the disk, both outside Python's lock.
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as readers:
            for done, found in enumerate(readers.map(_read_labels, masks), start=1):
                labels.append(found)
                if progress is not None:
                    progress(done, len(masks))
        content = hashlib.sha256(f"ignore {ignore_value}".encode())
        self._places: list[tuple[int, int, int, int]] = []
        self._objects_of_image: list[list[int]] = []
        areas: list[int] = []
        remaining = iter(labels)
        for number, image in enumerate(self.images):
            first = len(self._places)
            for file, mask in enumerate(image.masks):
                found = next(remaining)
                content.update(mask.name.encode() + b"/" + found.digest)
                for value, count in zip(found.values, found.counts, strict=True):
                    if value not in (0, ignore_value):
                        areas.append(count)
                        self._places.append((number, file, value, len(self._places) - first + 1))
            if len(self._places) > first:
                self._objects_of_image.append(list(range(first, len(self._places))))
        self._area_px = np.array(areas, np.float32)
        self._digest = content.hexdigest()[:16]
        self._photo = LastPhoto()
        # The objects of an image are mostly read in a row, and its other objects right after one of them.
        self._last_labels: tuple[Path, NDArray[np.uint8]] | None = None
        self._last_cover: _Cover | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`; its id is "NAME/K" with K counting the objects of photo NAME from 1.

        Raises:
            InputError: photo or mask cannot be read, or they differ in size.
        """
        return self.parts(index).whole()

    def parts(self, index: int) -> Parts:
        """Object number `index`, its photo not decoded yet; raises InputError as `[index]` does."""
        number, file, value, count = self._places[index]
        image = self.images[number]
        labels = self._labels(image.masks[file])
        target: BoolMask = labels == value
        if not target.any():
            raise InputError(f"{image.masks[file]}: the value {value} has vanished since opening; start again.")
        ignore: BoolMask | None = None
        if self.ignore_value is not None:
            ignore = self._cover(number, file).ignore & ~target

        def photo(reduction: int) -> Image:
            size = labels.shape[0], labels.shape[1]
            return self._photo.look(image.photo, size, f"masks/{image.masks[file].name}", reduction)

        return Parts(f"{image.photo.stem}/{count}", target, ignore, photo)

    def facts(self) -> Facts:
        """Pixels of every object, counted when the folder was opened."""
        return Facts(self._area_px, np.full(len(self), -1, np.int32))

    def others(self, index: int) -> BoolMask:
        """(H, W) bool: the other values of the object's mask file and all values of the image's other files.

        Raises:
            InputError: a mask cannot be read, or the masks of the image differ in size.
        """
        number, file, value, _ = self._places[index]
        target = self._labels(self.images[number].masks[file]) == value
        together: BoolMask = self._cover(number, file).objects > target
        return together

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image that has any, the indices of its objects."""
        return self._objects_of_image

    def digest(self) -> str:
        """16 hex digits of the names and bytes of all masks and of the ignore value."""
        return self._digest

    def _labels(self, path: Path) -> NDArray[np.uint8]:
        """(H, W) uint8 of a mask file."""
        if self._last_labels is None or self._last_labels[0] != path:
            self._last_labels = path, read_mask(path)
        return self._last_labels[1]

    def _cover(self, number: int, file: int) -> _Cover:
        """Of image `number`; every mask file is read once, and file number `file` not again if it was the last."""
        if self._last_cover is None or self._last_cover.image != number:
            masks = self.images[number].masks
            first = self._labels(masks[file])
            objects, ignore = np.zeros(first.shape, np.uint16), np.zeros(first.shape, np.bool_)
            for path in masks:
                labels = first if path == masks[file] else read_mask(path)
                if labels.shape != first.shape:
                    raise InputError(
                        f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, unlike the other masks of the photo."
                    )
                band = np.zeros_like(ignore) if self.ignore_value is None else labels == self.ignore_value
                objects += (labels != 0) & ~band
                ignore |= band
            self._last_cover = _Cover(number, objects, ignore)
        return self._last_cover


def is_masks_folder(root: Path) -> bool:
    """True if `root`, or a part of it (train, val, ...), has images/ and masks/."""
    if not root.is_dir():
        return False
    return any((folder / "images").is_dir() and (folder / "masks").is_dir() for folder in (root, *root.iterdir()))


def has_split(root: Path, split: str) -> bool:
    """True if the folder has a part of that name."""
    return any(photos.is_dir() and masks.is_dir() for photos, masks in _places(root, split))


def _places(root: Path, split: str | None) -> list[tuple[Path, Path]]:
    """Where the photos and the masks of a part may lie."""
    if split is None:
        return [(root / "images", root / "masks")]
    return [(root / "images" / split, root / "masks" / split), (root / split / "images", root / split / "masks")]


def find_folders(root: Path, split: str | None) -> tuple[Path, Path]:
    """The folders of photos and of masks; InputError if they are not there."""
    for photos, masks in _places(root, split):
        if photos.is_dir() and masks.is_dir():
            parts = [folder.name for folder in sorted(photos.iterdir()) if (masks / folder.name).is_dir()]
            if parts and split is None and not _files(photos, PHOTO_SUFFIXES):
                raise InputError(f"{root}: its photos are in parts; name one with --split: {', '.join(parts)}.")
            return photos, masks
    part = f" for split {split!r}" if split else ""
    hint = (
        "leave out --split or make images/SPLIT/ and masks/SPLIT/"
        if split
        else "name a part with --split or the folder above"
    )
    raise InputError(f"{root}: no images/ and masks/{part}; {hint}.")


def pair_up(photo_folder: Path, mask_folder: Path) -> tuple[list[FolderImage], list[Problem]]:
    """Photos in name order with their masks, and what did not find a partner (those photos are left out).

    A mask belongs to the photo of exactly its name; only without one is NAME_1 the first mask of photo NAME.
    """
    problems: list[Problem] = []
    images: dict[str, FolderImage] = {}
    for photo in _files(photo_folder, PHOTO_SUFFIXES):
        if photo.stem in images:
            sentence = f"two photos of one name, the other is {images[photo.stem].photo.name}; rename one of them."
            problems.append(Problem(str(photo), "", sentence, "stop"))
        else:
            images[photo.stem] = FolderImage(photo)
    numbered: dict[str, list[tuple[int, Path]]] = {}
    for mask in _files(mask_folder, frozenset({".png"})):
        name, _, number = mask.stem.rpartition("_")
        if mask.stem in images:
            images[mask.stem].masks.append(mask)
        elif name in images and number.isdecimal():
            numbered.setdefault(name, []).append((int(number), mask))
        else:
            problems.append(Problem(str(mask), "", "no photo of that name in images/; it is left out.", "hint"))
    for name, files in numbered.items():
        if images[name].masks:
            sentence = f"left out, because {name}.png is the mask of that photo; keep one of the two ways."
            problems += [Problem(str(mask), "", sentence, "hint") for _, mask in sorted(files)]
        else:
            images[name].masks = [mask for _, mask in sorted(files)]
    for image in images.values():
        if not image.masks:
            problems.append(Problem(str(image.photo), "", "no mask of that name in masks/; it is left out.", "hint"))
    return [image for image in images.values() if image.masks], problems


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files of these kinds in name order, without hidden ones such as macOS's ._NAME.png."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def _read_labels(path: Path) -> _Labels:
    counts = np.bincount(read_mask(path).ravel(), minlength=256)
    occurring = np.flatnonzero(counts)
    return _Labels(
        tuple(occurring.tolist()), tuple(counts[occurring].tolist()), hashlib.sha256(path.read_bytes()).digest()
    )
