"""LVIS and COCO instance annotations: one JSON file, photos beside it or anywhere else.

LVIS v1 names no file: the photo's path is the tail of `coco_url` ("train2017/000000000009.jpg").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mfpgan.data.facts import Facts
from mfpgan.data.groups import Groups
from mfpgan.data.lvis_cache import open_index
from mfpgan.data.lvis_index import LvisIndex
from mfpgan.data.lvis_reader import read_json
from mfpgan.data.parts import Parts
from mfpgan.data.problem import Problem
from mfpgan.data.segmentation import draw, draw_together
from mfpgan.photos import LastPhoto
from mfpgan.types import BoolMask, Image, InputError, Sample, quoted


class LvisDataSet:
    """Objects of an LVIS or COCO JSON. Objects whose polygon or RLE cannot be drawn, and crowds, are left out.

    A large file is read once; from then on its index is mapped into memory (see `mfpgan.data.lvis_cache`).

    Args:
        path: the JSON file.
        images: folder of the photos; they are also looked for beside the JSON and beside its folder.
        strict: False opens the file in spite of wrong entries, which are left out and listed in `problems`, and reads the
            JSON itself in any case.
        progress: called with (done, all) while the file is read.

    Raises:
        InputError: not JSON, a key missing or of the wrong type, an id used twice, or an unknown image or category.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None = None,
        strict: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.path = path
        self.name = f"lvis {path.stem}"
        self.problems: list[Problem]
        """What was left out and why."""
        if strict:
            self.index = open_index(path, progress)
            self.problems = [Problem(str(path), where, why, "skip") for where, why in self.index.left_out]
        else:
            tables, self.problems = read_json(path, progress)
            self.index = LvisIndex.of(tables)
        self._folders = photo_folders(path, images)
        self._photo = LastPhoto()
        self._groups = Groups(self.index.group_start)

    def __len__(self) -> int:
        return self.index.object_count

    def __getitem__(self, index: int) -> Sample:
        """Object number `index`.

        Raises:
            InputError: the photo is missing, damaged or of another size, or the polygon cancels itself out.
        """
        return self.parts(index).whole()

    def parts(self, index: int) -> Parts:
        """Object number `index`, its photo not decoded yet; raises InputError as `[index]` does."""
        item = self.index.object(index)
        image = self.index.image(item.image)
        target = draw(item.segmentation, image.height, image.width)
        if not target.any():
            raise InputError(f"{self.path} (annotation {item.id}): the polygon covers no pixel; remove or mend it.")

        def photo(reduction: int) -> Image:
            path = self.photo_path(item.image)
            return self._photo.look(path, (image.height, image.width), self.path.name, reduction)

        return Parts(f"{image.id}/{item.id}", target, None, photo)

    def facts(self) -> Facts:
        """Area as the annotations state it, and category of every object."""
        index = self.index
        return Facts(index.object_area, index.object_category, index.categories, index.frequencies)

    def others(self, index: int) -> BoolMask:
        """(H, W) bool: the image's other objects, drawn together; crowds and what cannot be drawn are not among them."""
        number = self.index.image_of(index)
        image = self.index.image(number)
        beside = [self.index.segmentation(other) for other in self.index.group(number) if other != index]
        return draw_together(beside, image.height, image.width)

    @property
    def objects_of_image(self) -> Sequence[Sequence[int]]:
        """For each image that has any, the indices of its objects."""
        return self._groups

    def digest(self) -> str:
        """First 16 hex digits of the file's SHA-256."""
        return self.index.source.digest

    def photo_path(self, image: int) -> Path:
        """The photo of image number `image`; InputError with the places searched if it lies in none of them."""
        names = self.index.image(image).names
        for folder in self._folders:
            for name in names:
                with suppress(OSError):  # a name that no file can have
                    if (folder / name).is_file():
                        return folder / name
        places = ", ".join(str(folder) for folder in self._folders)
        raise InputError(
            f"photo {quoted(names[0])} of {self.path} was not found in {places}; name its folder with --images."
        )


def photo_folders(path: Path, images: Path | None) -> list[Path]:
    """Where photos of the JSON file `path` are looked for, in this order; InputError if `images` is no folder."""
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder; --images names the folder of the photos.")
    around = [path.parent, path.resolve().parent.parent]
    beside = [folder / name for folder in around for name in (".", "images", "coco") if (folder / name).is_dir()]
    return [*([images] if images is not None else []), *beside]
