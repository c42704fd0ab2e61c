"""`mfpgan data check`: reads everything once and lists all that is wrong, instead of stopping at the first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mfpgan.data import DATASETS, Progress, Request, recognise, sample_json
from mfpgan.data.bsds500 import find_bsds500, read_segmentations, truth_files
from mfpgan.data.folder import FolderImage, find_folders, pair_up
from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.problem import Problem
from mfpgan.data.segmentation import draw
from mfpgan.photos import LastPhoto, read_mask, read_photo
from mfpgan.types import InputError, quoted

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(slots=True)
class CheckReport:
    """What a data set holds and what is wrong with it."""

    kind: str
    """Key in DATASETS."""
    name: str
    images: int = 0
    """Image entries, usable or not."""
    objects: int = 0
    """Objects that can be used."""
    categories: Counter[str] = field(default_factory=Counter)
    """Usable objects by category, if the data set knows any."""
    areas_px: list[int] = field(default_factory=list)
    """Pixels of each usable object."""
    shares: list[float] = field(default_factory=list)
    """The same as share of its image, in (0, 1]."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """True if there is an object and every file and object can be used; hints do not count."""
        return self.objects > 0 and not any(problem.unusable for problem in self.problems)

    def quantiles_px(self) -> dict[float, float]:
        """Quantiles (0 to 1) of the objects' sizes in pixels; empty without objects."""
        return _quantiles(self.areas_px)

    def quantiles_share(self) -> dict[float, float]:
        """Quantiles (0 to 1) of the objects' sizes as share of the image; empty without objects."""
        return _quantiles(self.shares)

    def add_object(self, area_px: int, image_px: int, category: str | None = None) -> None:
        """Count one usable object."""
        self.objects += 1
        self.areas_px.append(area_px)
        self.shares.append(area_px / image_px)
        if category is not None:
            self.categories[category] += 1

    def note(self, file: Path | str, id: str, error: InputError | str, stops: bool = True) -> None:  # noqa: A002
        """Add a problem; a hint if it does not stop anything."""
        sentence = str(error).removeprefix(f"{file}: ")
        self.problems.append(Problem(str(file), id, sentence, "stop" if stops else "hint"))


def check_dataset(
    spec: str,
    images: str | None = None,
    split: str | None = None,
    ignore_value: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Read every photo and every annotation of what `spec` names, as for `open_dataset`.

    Without a split the one for training is checked.

    Args:
        progress: called with (images done, images in all).

    Raises:
        InputError: `spec` names nothing that could be checked; all else is in the report.
    """
    request = Request(spec, images, split, ignore_value)
    kind = recognise(request)
    if kind == "folder":
        report = CheckReport(kind, f"folder {request.path.resolve().name}")
        _check_folder(request, report, progress)
        return report
    report = CheckReport(kind, spec)
    try:
        if kind in ("lvis", "sample"):
            path = request.path if kind == "lvis" else sample_json(split or "train")
            _check_lvis(
                LvisDataSet(path, None if images is None else Path(images).expanduser(), strict=False), report, progress
            )
            if kind == "sample":
                report.name = f"sample {path.stem}"
        elif kind == "bsds500":
            _check_bsds500(request, report, progress)
        else:
            _check_by_reading(request, report, progress)
    except InputError as error:
        report.note(spec, "", error)
    return report


def _check_lvis(data: LvisDataSet, report: CheckReport, progress: Progress | None) -> None:
    report.name, report.images = data.name, data.index.image_count
    report.problems += data.problems
    for done in range(data.index.image_count):
        image = data.index.image(done)
        _check_photo(data, done, report)
        for number in data.index.group(done):
            item = data.index.object(number)
            area_px = int(draw(item.segmentation, image.height, image.width).sum())
            if area_px:
                report.add_object(area_px, image.height * image.width, item.category)
            else:
                report.note(data.path, f"annotation {item.id}", "the polygon covers no pixel.")
        if progress is not None:
            progress(done + 1, data.index.image_count)


def _check_photo(data: LvisDataSet, number: int, report: CheckReport) -> None:
    image = data.index.image(number)
    try:
        path = data.photo_path(number)
        height, width = read_photo(path).shape[:2]
    except InputError as error:
        name = image.names[0]
        report.note(name if name.isprintable() else quoted(name), f"image {image.id}", error)
        return
    if (height, width) != (image.height, image.width):
        sentence = f"the photo is {width}x{height}, the JSON says {image.width}x{image.height}."
        report.note(path, f"image {image.id}", sentence)


def _check_bsds500(request: Request, report: CheckReport, progress: Progress | None) -> None:
    """Every .mat and every photo by itself, then the objects if all of them can be read."""
    root, split = find_bsds500(request.path), request.split or "train"
    truths = truth_files(root or request.path, split)
    photo_folder = truths[0].parent.parent.parent / "images" / split
    report.name, report.images = f"bsds500 {split}", len(truths)
    for path in truths:
        photo = photo_folder / f"{path.stem}.jpg"
        try:
            size = read_segmentations(path)[0].shape
            LastPhoto().read(photo, (size[0], size[1]), path.name)
        except InputError as error:
            report.note(photo if str(photo) in str(error) else path, "", error)
    names = {path.stem for path in truths}
    for photo in sorted(photo_folder.glob("*.jpg")):
        if photo.stem not in names:
            report.note(photo, "", "no ground truth of that name; it is left out.", stops=False)
    if not any(problem.unusable for problem in report.problems):
        _check_by_reading(Request(request.spec, split=split), report, progress)


def _check_by_reading(request: Request, report: CheckReport, progress: Progress | None) -> None:
    """Whatever needs no look of its own: read all samples."""
    data = DATASETS[report.kind].open(request)
    report.name, groups = data.name, data.objects_of_image
    report.images = max(report.images, len(groups))
    for done, objects in enumerate(groups, start=1):
        for index in objects:
            try:
                sample = data[index]
            except InputError as error:
                report.note(request.spec, "", error)
                continue
            report.add_object(int(sample.target.sum()), sample.target.size)
        if progress is not None:
            progress(done, len(groups))


def _check_folder(request: Request, report: CheckReport, progress: Progress | None) -> None:
    try:
        images, problems = pair_up(*find_folders(request.path, request.split))
    except InputError as error:
        report.note(request.spec, "", error)
        return
    report.images, report.problems = len(images), problems
    for done, image in enumerate(images, start=1):
        _check_pair(image, request.ignore_value, report)
        if progress is not None:
            progress(done, len(images))


def _check_pair(image: FolderImage, ignore_value: int | None, report: CheckReport) -> None:
    size: tuple[int, ...] | None = None
    try:
        size = read_photo(image.photo).shape[:2]
    except InputError as error:
        report.note(image.photo, "", error)
    for path in image.masks:
        try:
            labels = read_mask(path)
        except InputError as error:
            report.note(path, "", error)
            continue
        if size is not None and labels.shape != size:
            report.note(path, "", f"the mask is {labels.shape[1]}x{labels.shape[0]}, its photo {size[1]}x{size[0]}.")
            continue
        counts = np.bincount(labels.ravel(), minlength=256)
        values = [int(value) for value in np.flatnonzero(counts) if value not in (0, ignore_value)]
        for value in values:
            report.add_object(int(counts[value]), labels.size)
        for sentence in _doubts(counts, values):
            report.note(path, "", sentence, stops=False)


def _doubts(counts: np.ndarray[tuple[int], np.dtype[np.int64]], values: list[int]) -> list[str]:
    """What looks unintended in a mask with these pixel counts by value (256) and these object values."""
    doubts = []
    if not values:
        doubts.append("no object in it, every pixel is background.")
    elif counts[0] == 0:
        doubts.append("no background in it (no pixel of value 0); is the mask inverted?")
    if len(values) > 1 and values[-1] == 255 and values[-2] < 128:
        doubts.append("255 beside small values is mostly a band to ignore; if so, say --ignore-value 255.")
    if values == [128, 255]:
        doubts.append("128 beside 255 is mostly a band to ignore; if so, say --ignore-value 128.")
    # A 0/255 mask that went through JPEG: both ends of the scale, and a few pixels each of many values between.
    specks = sum(1 for value in values if counts[value] < max(8, 0.005 * counts.sum()))
    if len(values) > 8 and values[-1] >= 250 and specks > len(values) / 2:
        doubts.append(
            f"{len(values)} values, most of them on few pixels: saved as JPEG or smoothly resized on its way?"
        )
    return doubts


def _quantiles(values: list[int] | list[float]) -> dict[float, float]:
    if not values:
        return {}
    return {level: float(value) for level, value in zip(_QUANTILES, np.quantile(values, _QUANTILES), strict=True)}
