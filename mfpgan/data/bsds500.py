"""BSDS500: photos that several people divided into regions, and the objects that they agree on.

These consensus objects are not the 100 "Berkeley" objects of the literature; say so wherever numbers stand.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mfpgan.data.consensus import CONSENSUS_VERSION, consensus_objects
from mfpgan.data.facts import Facts
from mfpgan.data.mask_cache import PackedMasks, load_masks, store_masks
from mfpgan.data.mat_file import read_cells
from mfpgan.photos import MAX_PIXELS, LastPhoto
from mfpgan.types import BoolMask, InputError, Sample, quoted, reason_of

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""
_LEVELS = (
    ".",
    "data",
    "BSDS500/data",
    "bsds500/BSDS500/data",
    "bsds500/data",
    "bsds500",
    "BSDS500",
    "BSR/BSDS500/data",
)


class Bsds500DataSet:
    """Consensus objects of one split, photos in file-name order; the first object of an image is its principal one.

    The objects are worked out once (some seconds) and kept in the user's cache folder.

    Args:
        root: the folder with `groundTruth/` and `images/`, or one a few levels above it.
        split: train, val or test.
        progress: told how far the first opening is.

    Raises:
        InputError: the folder is no BSDS500, lacks the split, or a .mat file cannot be read.
    """

    def __init__(self, root: Path, split: str = "test", progress: Progress | None = None) -> None:
        found = find_bsds500(root)
        if found is None:
            raise InputError(
                f"{root}: no BSDS500 (no groundTruth/ and images/ in it); give the folder that holds BSDS500."
            )
        self.root = found
        self.split = split
        self.name = f"bsds500 {split}"
        self.truths = truth_files(found, split)
        self._photo = LastPhoto()
        self._digest = _digest(self.truths)
        key = f"bsds500-{split}-{self._digest}"
        masks = load_masks(key, len(self.truths))
        if masks is None:
            total = len(self.truths)
            masks = PackedMasks.pack(_consensus_of_file(path, progress, i, total) for i, path in enumerate(self.truths))
            store_masks(key, masks)
        self._masks = masks
        counts = [int(count) for count in masks.shapes[:, 0]]
        self._places = [(image, number) for image, count in enumerate(counts) for number in range(count)]
        self._objects_of_image: list[list[int]] = [[] for _ in counts]
        for index, (image, _) in enumerate(self._places):
            self._objects_of_image[image].append(index)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`; its id is "NAME/K" with K = 1 for the principal object of photo NAME.

        Raises:
            InputError: the photo is missing, damaged or of another size than its segmentations.
        """
        image, number = self._places[index]
        target = self._masks.mask(image, number)
        path = self.photo_path(image)
        photo = self._photo.read(path, (target.shape[0], target.shape[1]), self.truths[image].name)
        return Sample(f"{path.stem}/{number + 1}", photo, target)

    def facts(self) -> Facts:
        """Pixels of every object; there are no categories."""
        areas = [self._masks.mask(*place).sum() for place in self._places]
        return Facts(np.array(areas, np.float32), np.full(len(self), -1, np.int32))

    def others(self, index: int) -> BoolMask:
        """(H, W) bool: the photo's other consensus objects; they may overlap object `index` or contain it."""
        image, number = self._places[index]
        count, height, width = (int(value) for value in self._masks.shapes[image])
        together = np.zeros((height, width), np.bool_)
        for other in range(count):
            if other != number:
                together |= self._masks.mask(image, other)
        return together

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image that has any, the indices of its objects, the principal one first."""
        return [objects for objects in self._objects_of_image if objects]

    def digest(self) -> str:
        """16 hex digits of the annotation files and of the consensus rule's version."""
        return self._digest

    def photo_path(self, image: int) -> Path:
        """The photo of image number `image`; it may be missing."""
        return self.root / "images" / self.split / f"{self.truths[image].stem}.jpg"


def find_bsds500(folder: Path) -> Path | None:
    """The folder with `groundTruth/` and `images/`: `folder` or a usual place some levels below; None if there is none."""
    for level in _LEVELS:
        if (folder / level / "groundTruth").is_dir() and (folder / level / "images").is_dir():
            return folder / level
    return None


def read_segmentations(path: Path) -> list[NDArray[np.int64]]:
    """One (H, W) int64 label map an annotator, in the file's order.

    Raises:
        InputError: no .mat file of BSDS500, or label maps that are empty, too large, of different sizes, or of something else
            than whole numbers.
    """
    try:
        found = read_cells(path.read_bytes(), "groundTruth", "Segmentation")
        with np.errstate(invalid="ignore"):  # of what is no number, which the next line refuses
            maps = [labels.astype(np.int64) for labels in found]
        if not all((whole == labels).all() for whole, labels in zip(maps, found, strict=True)):
            raise ValueError("its labels are no whole numbers")
    except (OSError, ValueError, zlib.error) as error:
        reason = reason_of(error, without=str(path))
        raise InputError(f"{path}: not readable as BSDS500 ground truth ({reason}); fetch the file again.") from None
    shapes = {labels.shape for labels in maps}
    if len(shapes) != 1 or maps[0].ndim != 2 or not 0 < maps[0].size <= MAX_PIXELS:
        raise InputError(
            f"{path}: expected label maps of one size, got {quoted(sorted(shapes))}; fetch the file again."
        )
    return maps


def write_png(root: Path, out: Path, split: str = "test", progress: Progress | None = None) -> tuple[int, int]:
    """Write a split as a folder of images/ and masks/ that the folder reader reads back object by object.

    Photos are copied byte for byte; NAME_1.png, NAME_2.png, ... hold 0 and 255, one object each, because objects
    overlap. Nothing stands at `out` before all is written.

    Returns:
        Number of images and of objects written.

    Raises:
        InputError: `root` is no BSDS500, a photo is missing or `out` is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: already there and not empty; name a new folder.")
    data = Bsds500DataSet(root, split, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.resolve().parent))
    try:
        scratch.chmod(0o755)
        (scratch / "images").mkdir()
        (scratch / "masks").mkdir()
        for objects in data.objects_of_image:
            for index in objects:
                sample = data[index]
                name, number = sample.id.split("/")
                mask = PillowImage.fromarray(sample.target.astype(np.uint8) * 255)
                mask.save(scratch / "masks" / f"{name}_{number}.png", optimize=True)
            source = data.photo_path(data.truths.index(data.root / "groundTruth" / split / f"{name}.mat"))
            shutil.copyfile(source, scratch / "images" / source.name)
        scratch.replace(out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return len(data.objects_of_image), len(data)


def truth_files(root: Path, split: str) -> list[Path]:
    """The .mat files of a split in name order; InputError if there are none."""
    files = sorted((root / "groundTruth" / split).glob("*.mat"))
    if not files:
        there = ", ".join(sorted(folder.name for folder in (root / "groundTruth").iterdir() if folder.is_dir()))
        raise InputError(f"{root}: BSDS500 has no split {split!r} with .mat files; there are: {there or 'none'}.")
    return files


def _digest(truths: Sequence[Path]) -> str:
    content = hashlib.sha256(f"consensus {CONSENSUS_VERSION}".encode())
    for path in truths:
        content.update(path.name.encode())
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:16]


def _consensus_of_file(
    path: Path, progress: Progress | None, done: int, total: int
) -> tuple[tuple[int, int], list[BoolMask]]:
    """Size and objects of one photo."""
    segmentations = read_segmentations(path)
    objects = consensus_objects(segmentations)
    if progress is not None:
        progress(done + 1, total)
    height, width = segmentations[0].shape
    return (height, width), objects
