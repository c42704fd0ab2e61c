"""Where `mfpgan predict` writes what: planned before the first click is answered, and never onto something that is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpgan.apps.click_file import PhotoClicks
from mfpgan.files import write_atomically
from mfpgan.types import BoolMask, Image, InputError
from mfpgan.version import __version__

FORMATS = {
    "mask": "PNG, 255 on the objects",
    "labels": "PNG, k on object k",
    "rle": "COCO JSON with run lengths",
    "polygons": "COCO JSON with outlines",
}
"""Name -> what it is. Of the first two every photo has a file of its own; the others are one file for all photos."""
_SUFFIX = {"mask": ".png", "labels": ".png", "rle": ".json", "polygons": ".json"}


class Objects:
    """The masks of a photo's objects, put together as they come: all at once might be too many for the memory."""

    def __init__(self, rgb: Image, count: int, kind: str) -> None:
        self.rgb = rgb
        self.kind = kind
        self.labels: NDArray[np.uint8] | NDArray[np.uint16]
        """(H, W), 0 for none and k for object k; where they overlap the later one is on top."""
        self.labels = np.zeros(rgb.shape[:2], np.uint8 if count <= 255 else np.uint16)
        self.annotations: list[dict[str, Any]] = []
        """As COCO has them, one an object, where the format is COCO's; without ids."""
        self.holes = 0
        """So many are filled, because COCO's polygons know none."""
        self.empty = 0
        """So many objects have no pixel."""

    def add(self, mask: BoolMask) -> None:
        """The next object."""
        number = 1 + len(self.annotations)
        self.labels[mask] = number
        self.empty += not mask.any()
        self.annotations.append(self._annotation(mask))

    def _annotation(self, mask: BoolMask) -> dict[str, Any]:
        if self.kind not in ("rle", "polygons"):
            return {}
        from mfpgan.apps import formats

        if self.kind == "rle":
            return formats.coco_annotation(mask, formats.coco_rle(mask))
        outlines, filled = formats.polygons_and_holes(mask)
        self.holes += filled
        return formats.coco_annotation(mask, outlines)


class Output:
    """The files that are written.

    Args:
        photos: what is answered.
        out: as `--out`: a .png for one photo's mask, a .json for COCO's formats, or a folder for a PNG a photo.
        kind: of `FORMATS`; left out, `rle` for a .json and `mask` for all else.
        overlay: as `--overlay`: a .png for one photo, or a folder.
        reads: the file of clicks, if there is one.

    Raises:
        InputError: format, number of photos and names do not go together; or something would be written onto what is read,
            or twice.
    """

    def __init__(
        self,
        photos: Sequence[PhotoClicks],
        out: Path,
        kind: str | None = None,
        overlay: Path | None = None,
        reads: Path | None = None,
    ) -> None:
        self.photos = photos
        self.out = out
        self.kind = kind or ("rle" if out.suffix.lower() == ".json" else "mask")
        self._masks: list[Path] = []
        if _SUFFIX[self.kind] == ".png":
            self._masks = _pictures("--out", out, photos)
        elif out.suffix.lower() != ".json" or out.is_dir():
            raise InputError(
                f"--out {out}: format {self.kind} is one file for all photos; give it a name that ends in .json."
            )
        self._overlays = [] if overlay is None else _pictures("--overlay", overlay, photos)
        self._content: dict[str, Any] = {
            "info": {"description": f"mfpgan {__version__} predict"},
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "object"}],
        }
        self._refuse_collisions(reads)

    def objects_of(self, photo: int, rgb: Image) -> Objects:
        """For the masks of a photo."""
        return Objects(rgb, len(self.photos[photo].objects), self.kind)

    def write(self, photo: int, objects: Objects) -> list[str]:
        """The files of a photo, or its part of the file for all.

        Returns:
            What the format could not hold, in sentences.
        """
        from mfpgan.apps import formats

        where = self.photos[photo].where
        if self._masks:
            labels = self.kind == "labels"
            png = formats.png_of_labels(objects.labels) if labels else formats.png_of_mask(objects.labels > 0)
            write_atomically(self._masks[photo], png)
        else:
            self._add(photo, objects)
        if self._overlays:
            clicks = [click for one in self.photos[photo].objects for click in one.clicks]
            picture = formats.overlay(objects.rgb, objects.labels, clicks)
            write_atomically(self._overlays[photo], formats.png_of(picture))
        notes = []
        if objects.empty:
            left_out = "; COCO's polygons have no place for that, and it is left out" if self.kind == "polygons" else ""
            count = len(objects.annotations)
            which = "the mask has" if count == 1 else f"{objects.empty} of {count} masks have"
            notes.append(f"{where}: {which} no pixel{left_out}.")
        if objects.holes:
            notes.append(
                f"{where}: {objects.holes} holes are filled, because COCO's polygons know none; --format rle keeps them."
            )
        return notes

    def finish(self) -> None:
        """The file for all photos, if the format is such a one."""
        if not self._masks:
            write_atomically(self.out, json.dumps(self._content).encode())

    def _add(self, photo: int, objects: Objects) -> None:
        images, annotations = self._content["images"], self._content["annotations"]
        height, width = objects.labels.shape
        number = len(images) + 1
        images.append({"id": number, "file_name": self.photos[photo].name, "height": height, "width": width})
        for place, annotation in enumerate(objects.annotations, 1):
            if annotation["segmentation"]:  # pycocotools stumbles over a list without a polygon
                ids = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "object": place}
                annotations.append(ids | annotation)

    def _refuse_collisions(self, reads: Path | None) -> None:
        inputs = [photo.photo for photo in self.photos]
        inputs += [one.mask for photo in self.photos for one in photo.objects if one.mask]
        known = {key for path in [*inputs, *([reads] if reads else [])] for key in _keys(path)}
        written: set[Path] = set()
        for path in [*(self._masks or [self.out]), *self._overlays]:
            if known & _keys(path):
                raise InputError(
                    f"{path}: this is read, and would be written onto; choose another place with --out or --overlay."
                )
            if path.resolve() in written:
                raise InputError(
                    f"{path}: two pictures would have this name; give --out and --overlay different places, and photos different names."
                )
            written.add(path.resolve())


def _pictures(option: str, path: Path, photos: Sequence[PhotoClicks]) -> list[Path]:
    """A PNG a photo."""
    if path.is_dir() or not path.suffix:
        return [path / _inside(photo.name) for photo in photos]
    if path.suffix.lower() != ".png":
        raise InputError(f"{option} {path}: pictures are written as .png; name such a file, or a folder.")
    if len(photos) > 1:
        raise InputError(f"{option} {path}: there are {len(photos)} photos, expected a folder for as many pictures.")
    return [path]


def _inside(name: str) -> Path:
    """Where a photo's picture lies in a folder: as the photo does, but never outside."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        path = Path(path.name)
    return path.with_suffix(".png")


def _keys(path: Path) -> set[Any]:
    """Two paths with a common key are one file, whatever links and letter cases lead there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return {path.absolute()}
    return {path.absolute(), (found.st_dev, found.st_ino)}
