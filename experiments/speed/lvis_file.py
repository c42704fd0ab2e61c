"""An annotation file of LVIS's size and form, drawn by chance, for machines without LVIS.

python experiments/speed/lvis_file.py OUT.json                            100,170 images, 1,270,141 annotations, 1 GB
python experiments/speed/lvis_file.py OUT.json --images 5000 --photos     a smaller one, with photos in train2017/ beside it

What it imitates, measured on the 121 objects of 11 images of LVIS that are at hand (95 % of them in brackets): the logarithm of an
object's share of its image is normal with mean -6.4 and deviation 2.1 (.01 to 40 % of the image); 85 % have one part, 10 % two, 5 %
three; the logarithm of a part's number of points is normal with deviation .74 and correlates with the share at .65; outlines are
closed, coordinates have two decimals. The median of the points is 26 instead of the 20 of those few objects: then the whole is about as large
as LVIS's own file. Objects per image: 12.7 on the mean, half of the images below 8, a few above 100; 782 of 100,170 images have none.
Categories are drawn as unevenly as LVIS's: 337 rare ones (1 to 10 images), 461 common ones (to 100), 405 frequent ones. The ten commonest
image sizes of COCO. Annotations come before the images, the harder order for a reader that streams.

Not imitated: outlines are star-shaped, so no part has a bay that hides from its middle; objects do not keep clear of each other; names.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

IMAGES, ANNOTATIONS = 100_170, 1_270_141
CATEGORIES = {"r": 337, "c": 461, "f": 405}
"""Number of categories by frequency: r in at most 10 images, c in at most 100, f in more."""
MOST_IMAGES_OF_A_CATEGORY = 2_000
EMPTY_SHARE = 782 / 100_170
SIZES = {
    (480, 640): 146, (427, 640): 87, (640, 480): 46, (426, 640): 28, (640, 427): 25,
    (425, 640): 20, (375, 500): 19, (500, 375): 19, (428, 640): 17, (424, 640): 13,
}  # fmt: skip
"""(height, width): how many of 669 COCO photos have it."""
LARGEST_ID = 581_929
LOG_SHARE = (-6.43, 2.09)
LOG_POINTS = (3.26, 0.74)
POINTS_FOLLOW_SHARE = 0.65
PARTS = {1: 103, 2: 12, 3: 6}
SMALLEST_RADIUS_PX = 2.5
"""No outline comes nearer to its middle, so every part covers pixels."""
IMAGES_AT_ONCE = 500
HEADER_STREAM, OBJECTS_STREAM, PHOTO_STREAM = 1, 2, 3


class Header(NamedTuple):
    """What is drawn for the whole file before its objects."""

    ids: NDArray[np.int64]
    """(images,) ids, rising."""
    sizes: NDArray[np.int64]
    """(images, 2) height, width."""
    counts: NDArray[np.int64]
    """(images,) number of objects."""
    popularity: NDArray[np.float64]
    """(categories,) probability to be drawn for an image."""
    letters: list[str]
    """(categories,) frequency: r, c or f."""

    @classmethod
    def draw(cls, images: int, seed: int) -> Header:
        rng = np.random.default_rng([seed, HEADER_STREAM])
        ids = np.sort(rng.choice(LARGEST_ID, images, replace=False) + 1)
        commonness = np.array([*SIZES.values()], np.float64)
        sizes = np.array([*SIZES])[rng.choice(len(SIZES), images, p=commonness / commonness.sum())]
        busy = rng.permutation(images) >= round(EMPTY_SHARE * images)
        weights = np.exp(1.1 * np.clip(rng.standard_normal(images), -3.3, 3.3)) * busy
        left = round(images * ANNOTATIONS / IMAGES) - int(busy.sum())
        counts = busy + rng.multinomial(left, weights / weights.sum())
        letters = np.repeat([*CATEGORIES], [*CATEGORIES.values()])
        wanted = np.concatenate(
            [
                np.geomspace(1, 10, CATEGORIES["r"]),
                np.geomspace(11, 100, CATEGORIES["c"]),
                np.geomspace(101, MOST_IMAGES_OF_A_CATEGORY, CATEGORIES["f"]),
            ]
        )
        places = rng.permutation(len(letters))
        return cls(ids, sizes, counts, (wanted / wanted.sum())[places], letters[places].tolist())


class Objects(NamedTuple):
    """The objects of a run of images."""

    image: NDArray[np.int64]
    """(objects,) index of the image."""
    category: NDArray[np.int64]
    """(objects,) id."""
    part_starts: NDArray[np.int64]
    """(objects + 1,) into `point_starts`."""
    point_starts: NDArray[np.int64]
    """(parts + 1,) into `points`."""
    points: NDArray[np.int64]
    """(points, 2) x, y in hundredths of a pixel."""
    area: NDArray[np.float64]
    """(objects,) pixels."""
    box: NDArray[np.int64]
    """(objects, 4) x, y, width, height in hundredths of a pixel."""

    @classmethod
    def draw(cls, header: Header, images: range, seed: int) -> Objects:
        """A function of (seed, first image), whatever was drawn before."""
        rng = np.random.default_rng([seed, images.start, OBJECTS_STREAM])
        counts = header.counts[images.start : images.stop]
        image = np.repeat(np.arange(images.start, images.stop), counts)
        category = _categories(header, counts, rng)
        height, width = header.sizes[image].T

        log_share = rng.standard_normal(len(image))
        share = np.exp(np.clip(LOG_SHARE[0] + LOG_SHARE[1] * log_share, -11, np.log(0.6)))
        often = np.array([*PARTS.values()], np.float64)
        parts = rng.choice([*PARTS], len(image), p=often / often.sum())
        part_starts = _starts(parts)
        of_part = np.repeat(np.arange(len(image)), parts)
        chance = rng.standard_normal(len(of_part))
        mixed = POINTS_FOLLOW_SHARE * log_share[of_part] + np.sqrt(1 - POINTS_FOLLOW_SHARE**2) * chance
        lengths = np.clip(np.exp(LOG_POINTS[0] + LOG_POINTS[1] * mixed).astype(np.int64), 4, 700)

        # Ellipses with bumps: part centres within the object, at least a little off the photo's edge.
        squeeze = np.exp(0.27 * rng.standard_normal(len(of_part)))  # the logarithm of the boxes' aspect deviates by .54
        radius = np.sqrt((share * height * width / parts)[of_part] / np.pi)
        spread = np.where(parts[of_part] > 1, 1.5, 0.0) * radius
        middle = rng.uniform(0.05, 0.95, (len(image), 2)) * np.stack([width, height], 1)
        centre = middle[of_part] + spread[:, None] * rng.uniform(-1, 1, (len(of_part), 2))
        limits = np.stack([width, height], 1)[of_part]
        centre = np.clip(centre, 2 * SMALLEST_RADIUS_PX, limits - 2 * SMALLEST_RADIUS_PX)

        point_starts = _starts(lengths)
        of_point = np.repeat(np.arange(len(of_part)), lengths)
        place = np.arange(len(of_point)) - point_starts[of_point]
        angle = 2 * np.pi * (place + 0.6 * rng.random(len(of_point))) / lengths[of_point]
        bumps = 1 + 0.05 * rng.standard_normal(len(of_point))
        for wave in (2, 3, 5):
            phase = rng.uniform(0, 2 * np.pi, len(of_part))
            bumps += 0.3 / wave * np.cos(wave * angle + phase[of_point])
        stretch = np.stack([radius * squeeze, radius / squeeze], 1)[of_point] * bumps[:, None]
        direction = np.stack([np.cos(angle), np.sin(angle)], 1)
        points = centre[of_point] + np.maximum(stretch, SMALLEST_RADIUS_PX) * direction
        points = np.rint(100 * np.clip(points, 0, limits[of_point])).astype(np.int64)

        following = np.roll(points, -1, 0)
        following[point_starts[1:] - 1] = points[point_starts[:-1]]
        doubled = points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]
        first_points = point_starts[part_starts[:-1]]
        area = np.add.reduceat(doubled, first_points) / 20_000
        low, high = np.minimum.reduceat(points, first_points), np.maximum.reduceat(points, first_points)
        return cls(image, category, part_starts, point_starts, points, area, np.hstack([low, high - low]))

    def outlines(self, number: int) -> list[list[float]]:
        """The parts of an object, as numbers."""
        parts = range(self.part_starts[number], self.part_starts[number + 1])
        return [
            (self.points[self.point_starts[part] : self.point_starts[part + 1]] / 100).ravel().tolist()
            for part in parts
        ]


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])


def _categories(header: Header, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each object its category; an image has few, a quarter of its objects."""
    kinds = -(-counts // 4)
    drawn = rng.choice(len(header.popularity), int(kinds.sum()), p=header.popularity) + 1
    first = np.repeat(_starts(kinds)[:-1], counts)
    return drawn[first + (rng.random(int(counts.sum())) * np.repeat(kinds, counts)).astype(np.int64)]


def write_lvis(path: Path, images: int = IMAGES, *, seed: int = 0, rle: float = 0.0, crowds: float = 0.0) -> None:
    """Write the file, a function of the arguments; what was at `path` stays until the new file is whole.

    Args:
        images: number of images; annotations in LVIS's proportion.
        rle: share of objects given as run lengths, by turns compressed and not.
        crowds: share of objects marked `iscrowd`, which have uncompressed run lengths, as in COCO.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", buffering=2**20) as file:
            _write(file, Header.draw(images, seed), seed, rle, crowds)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _write(file: TextIO, header: Header, seed: int, rle: float, crowds: float) -> None:
    info = {"description": "drawn by chance in the form of LVIS v1; no real object", "year": 2020, "version": "v1.0"}
    file.write(f'{{"info": {json.dumps(info)}, "annotations": [')
    image_counts, object_counts = np.zeros((2, len(header.letters) + 1), np.int64)
    identity, separator = itertools.count(1), ""
    for start in range(0, len(header.ids), IMAGES_AT_ONCE):
        objects = Objects.draw(header, range(start, min(start + IMAGES_AT_ONCE, len(header.ids))), seed)
        if not len(objects.image):
            continue
        file.write(separator)
        file.write(", ".join(_annotations(header, objects, identity, [seed, start, OBJECTS_STREAM, 1], rle, crowds)))
        separator = ", "
        object_counts += np.bincount(objects.category, minlength=len(object_counts))
        pairs = np.unique(np.stack([objects.image, objects.category]), axis=1)
        image_counts += np.bincount(pairs[1], minlength=len(image_counts))
    file.write('], "images": [')
    rng = np.random.default_rng([seed, HEADER_STREAM, 1])
    for number, (image, (height, width)) in enumerate(zip(header.ids.tolist(), header.sizes.tolist(), strict=True)):
        absent = rng.integers(1, len(header.letters) + 1, int(rng.integers(6, 15))).tolist()
        entry = {
            "date_captured": "2013-11-20 19:08:11", "neg_category_ids": absent, "license": 1 + image % 8,
            "height": height, "width": width, "flickr_url": f"http://farm1.staticflickr.com/{image}_z.jpg",
            "coco_url": f"http://images.cocodataset.org/{photo_name(image)}",
            "not_exhaustive_category_ids": absent[: int(rng.random() < 0.2)], "id": image,
        }  # fmt: skip
        file.write(f"{', ' if number else ''}{json.dumps(entry)}")
    licenses = [{"id": number, "name": f"licence {number}", "url": ""} for number in range(1, 9)]
    categories = [
        {
            "image_count": int(image_counts[number]), "synonyms": [f"thing_{number}"], "def": "no real category",
            "id": number, "synset": f"thing.n.{number}", "name": f"thing_{number}", "frequency": letter,
            "instance_count": int(object_counts[number]),
        }
        for number, letter in enumerate(header.letters, start=1)
    ]  # fmt: skip
    file.write(f'], "licenses": {json.dumps(licenses)}, "categories": {json.dumps(categories)}}}')


DECIMALS = [repr(hundredths / 100) for hundredths in range(100 * max(max(size) for size in SIZES) + 1)]
"""Every coordinate that occurs, as JSON writes it: looking it up is ten times as fast as formatting."""


def _annotations(
    header: Header, objects: Objects, identity: Iterator[int], seed: list[int], rle: float, crowds: float
) -> Iterator[str]:
    """The text of each object."""
    words = [*map(DECIMALS.__getitem__, objects.points.ravel().tolist())]
    ends = (2 * objects.point_starts).tolist()
    texts = []
    for start, end in itertools.pairwise(ends):
        texts.append(f"[{', '.join(words[start:end])}, {words[start]}, {words[start + 1]}]")
    # Drawn always, so that a share changes nothing but the objects that it takes.
    as_runs, as_crowd = np.random.default_rng(seed).random((2, len(objects.image)))
    rows = zip(
        header.ids[objects.image].tolist(), objects.category.tolist(), itertools.pairwise(objects.part_starts.tolist()),
        objects.area.round(2).tolist(), objects.box.tolist(), strict=True,
    )  # fmt: skip
    for number, (image, category, (first, last), area, box) in enumerate(rows):
        here = next(identity)
        segmentation = f"[{', '.join(texts[first:last])}]"
        crowd = as_crowd[number] < crowds
        if crowd or as_runs[number] < rle:
            segmentation = json.dumps(_runs(objects, number, header, compressed=not crowd and here % 2 == 0))
        x, y, width, height = (DECIMALS[value] for value in box)
        mark = f', "iscrowd": {int(crowd)}' if crowds else ""
        yield (
            f'{{"area": {area}, "id": {here}, "segmentation": {segmentation}, "image_id": {image}, '
            f'"bbox": [{x}, {y}, {width}, {height}], "category_id": {category}{mark}}}'
        )


def _runs(objects: Objects, number: int, header: Header, *, compressed: bool) -> dict[str, Any]:
    """An object as an RLE object of COCO."""
    from pycocotools import mask as coco_mask

    height, width = header.sizes[objects.image[number]].tolist()
    together = coco_mask.merge(coco_mask.frPyObjects(objects.outlines(number), height, width))
    if compressed:
        return {"size": [height, width], "counts": together["counts"].decode()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own end, under NumPy 2
        pixels = coco_mask.decode(together).ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    return {"size": [height, width], "counts": [0, *runs] if pixels[0] else runs}


def photo_name(image: int) -> str:
    """Where the photo of an image lies below the data set's folder."""
    return f"train2017/{image:012}.jpg"


def write_photos(folder: Path, images: int, *, seed: int = 0) -> None:
    """Photos for `write_lvis(folder / ..., images, seed=seed)`: one noisy picture of each size, and a link to it for each image."""
    from PIL import Image

    header = Header.draw(images, seed)
    (folder / "train2017").mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(SIZES):
        rng = np.random.default_rng([seed, number, PHOTO_STREAM])
        coarse = Image.fromarray(rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{height}x{width}.jpg", quality=85)
    for image, (height, width) in zip(header.ids.tolist(), header.sizes.tolist(), strict=True):
        link = folder / photo_name(image)
        if not link.is_symlink():
            link.symlink_to(Path("..") / f"{height}x{width}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rle", type=float, default=0.0, help="share of objects given as run lengths")
    parser.add_argument("--crowds", type=float, default=0.0, help="share of objects marked iscrowd")
    parser.add_argument("--photos", action="store_true", help="also make photos, in train2017/ beside the file")
    arguments = parser.parse_args()
    if not 1 <= arguments.images <= LARGEST_ID:
        parser.error(f"--images is a number from 1 to {LARGEST_ID}, got {arguments.images}")
    start = time.perf_counter()
    try:
        write_lvis(arguments.out, arguments.images, seed=arguments.seed, rle=arguments.rle, crowds=arguments.crowds)
        if arguments.photos:
            write_photos(arguments.out.parent, arguments.images, seed=arguments.seed)
    except OSError as error:
        parser.error(f"{arguments.out}: not written ({error.strerror or error})")
    seconds = time.perf_counter() - start
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.0f} MB in {seconds:.1f} s")


if __name__ == "__main__":
    main()
