"""LVIS and COCO JSON from strangers: masks as pycocotools draws them, or one sentence; and no photo from outside its folder."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import FUZZ, LEAVES, STRANGE, VALUES, Raw, damaged, must_be_one_sentence, mutated, reading, to_json
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.segmentation import draw, segmentation_problem
from mfpgan.types import InputError, Sample

HEIGHT, WIDTH = 6, 8
UNCOMPRESSED = {"size": [HEIGHT, WIDTH], "counts": [0, 6, 36, 6]}
COMPRESSED = {"size": [HEIGHT, WIDTH], "counts": coco_mask.frPyObjects(UNCOMPRESSED, HEIGHT, WIDTH)["counts"].decode()}
SQUARE = [[1, 2, 5, 2, 5, 4, 1, 4]]
TWO_PARTS = [[0.25, 0, 2.5, 0, 2.5, 2.75, 0, 2], [6, 4, 8, 4, 8, 6, 6, 6]]
DOCUMENT: dict[str, Any] = {
    "info": {"version": "1"},
    "images": [
        {"id": 9, "height": HEIGHT, "width": WIDTH, "coco_url": "http://x.org/train2017/000000000009.png"},
        {"id": 4, "height": HEIGHT, "width": WIDTH, "file_name": "four.png"},
    ],
    "annotations": [
        {"id": 11, "image_id": 4, "category_id": 2, "segmentation": UNCOMPRESSED, "area": 12.0, "bbox": [0, 0, 8, 6]},
        {"id": 12, "image_id": 9, "category_id": 1, "segmentation": SQUARE, "area": 8},
        {"id": 13, "image_id": 9, "category_id": 1, "segmentation": TWO_PARTS, "iscrowd": 0},
        {"id": 14, "image_id": 9, "category_id": 1, "segmentation": SQUARE, "iscrowd": 1},
        {"id": 15, "image_id": 4, "category_id": 2, "segmentation": COMPRESSED},
    ],
    "categories": [{"id": 1, "name": "cup", "frequency": "r"}, {"id": 2, "name": "dog"}],
}
COLOURS = {"000000000009.png": (1, 2, 3), "four.png": (4, 5, 6)}
SECRET = (200, 100, 50)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder with photos and annotations, in one with a picture that is not the annotations' business."""
    outside = tmp_path_factory.mktemp("outside")
    for name, colour in COLOURS.items():
        path = outside / "box" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(path)
    Image.new("RGB", (WIDTH, HEIGHT), SECRET).save(outside / "secret.png")
    (outside / "box" / "annotations").mkdir()
    return outside / "box"


def open_and_read(path: Path, strict: bool) -> list[Sample]:
    """All samples that the file gives; what it refuses is checked on the way."""
    data = reading(path, lambda: LvisDataSet(path, strict=strict))
    if data is None:
        return []
    for problem in data.problems:
        must_be_one_sentence(str(problem.error()), path)
    facts = data.facts()
    assert len(facts.area_px) == len(facts.category) == len(data)
    assert (facts.area_px > 0).all()
    samples = []
    for index in range(len(data)):
        number = data.index.image_of(index)
        sample = reading(_named(data, number), lambda index=index: data[index])
        if sample is None:
            continue
        assert data.others(index).shape == sample.target.shape
        samples.append(sample)
    return samples


def _named(data: LvisDataSet, number: int) -> Path:
    """The file that a refusal of the image's objects has to name."""
    try:
        return data.photo_path(number)
    except InputError:
        return data.path


def by_pycocotools(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    """The mask that everybody else sees."""
    if isinstance(segmentation, list):
        parts = [[float(value) for value in part] for part in segmentation]
        coded = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
    elif isinstance(segmentation["counts"], list):
        coded = coco_mask.frPyObjects(segmentation, height, width)
    else:
        coded = segmentation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pycocotools' own, of NumPy 2
        return np.asarray(coco_mask.decode(coded)).astype(np.bool_)


def must_be_what_the_file_says(samples: list[Sample], path: Path) -> None:
    """Photo and mask of every sample, looked up in the JSON by its id and drawn by pycocotools."""
    if not samples:
        return
    document = json.loads(path.read_bytes().decode("utf-8-sig"))
    annotations: dict[int, Any] = {}
    for entry in document["annotations"]:
        if type(entry) is dict and type(entry.get("id")) is int:
            annotations.setdefault(entry["id"], entry)
    for sample in samples:
        image, target = sample.image, sample.target
        assert (image.shape, image.dtype, target.dtype) == ((HEIGHT, WIDTH, 3), np.uint8, np.bool_)
        assert tuple(image[0, 0].tolist()) in COLOURS.values()
        identity = int(sample.id.split("/")[1])
        assert target.any()
        assert (target == by_pycocotools(annotations[identity]["segmentation"], HEIGHT, WIDTH)).all()


def test_the_valid_document_gives_all_its_objects(box: Path) -> None:
    path = box / "annotations" / "valid.json"
    path.write_bytes(to_json(DOCUMENT))
    samples = open_and_read(path, strict=True)
    assert [sample.id for sample in samples] == ["9/12", "9/13", "4/11", "4/15"]
    must_be_what_the_file_says(samples, path)


@FUZZ
@given(document=mutated(DOCUMENT), strict=st.booleans())
def test_a_mutated_document(box: Path, document: Any, strict: bool) -> None:
    path = box / "annotations" / "mutated.json"
    path.write_bytes(to_json(document))
    must_be_what_the_file_says(open_and_read(path, strict), path)


@FUZZ
@given(content=damaged(to_json(DOCUMENT)), strict=st.booleans())
def test_a_damaged_file(box: Path, content: bytes, strict: bool) -> None:
    path = box / "annotations" / "damaged.json"
    path.write_bytes(content)
    must_be_what_the_file_says(open_and_read(path, strict), path)


PIECES = ["..", "...", ".", "", "~", "images", "four.png", "secret.png", "%2e%2e", "\uff0e\uff0e", "a\nb", "\0", "\x1b[2J", "\ud800",
          "C:", "..\\secret.png", "x" * 300, "OUTSIDE", "file:", "http:", "x.org"]  # fmt: skip
NAMES = (
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=7).map("/".join)
    | st.sampled_from(
        ["../secret.png", "images/../../secret.png", "OUTSIDE/secret.png", "/OUTSIDE/secret.png", "four.png"]
    )
    | st.integers(0, 9).map(lambda count: "../" * count + "secret.png")
)
"""OUTSIDE is the folder round the user's."""


@FUZZ
@example(first="a\nb\x1b[2J", second="\x1f")
@given(first=NAMES, second=NAMES)
def test_a_name_of_a_photo_cannot_lead_out_of_the_folder(box: Path, first: str, second: str) -> None:
    first, second = (name.replace("OUTSIDE", str(box.parent)) for name in (first, second))
    size = {"height": HEIGHT, "width": WIDTH}
    images = [{"id": 9, "file_name": first, **size}, {"id": 4, "coco_url": second, **size}]
    path = box / "annotations" / "names.json"
    path.write_bytes(to_json({**DOCUMENT, "images": images}))
    # The secret's colour is none of the photos'.
    must_be_what_the_file_says(open_and_read(path, strict=True), path)
    data = LvisDataSet(path, strict=False)
    for number in range(data.index.image_count):
        assert _named(data, number).resolve().is_relative_to(box.resolve())


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    problem = reading(Path(), lambda: [segmentation_problem(segmentation, height, width)])
    assert problem is not None
    if problem[0] is not None:
        must_be_one_sentence(f"{problem[0]}.", Path())
        return
    drawn = draw(segmentation, height, width)
    assert (drawn.shape, drawn.dtype) == ((height, width), np.bool_)
    assert (drawn == by_pycocotools(segmentation, height, width)).all()


def python_values(value: Any) -> Any:
    """Raw text as the Python value that it stands for, where it is one that a test can copy."""
    if not isinstance(value, Raw):
        return value
    try:
        return json.loads(value.text) if len(value.text) < 400 else None
    except ValueError:
        return None


@st.composite
def run_lengths(draw: st.DrawFn) -> tuple[Any, int, int]:
    """A valid RLE, then mischief."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    pixels = height * width
    cuts = sorted(draw(st.lists(st.integers(0, pixels), max_size=6)))
    counts: Any = [end - start for start, end in zip([0, *cuts], [*cuts, pixels], strict=True)]
    size = [height, width]
    if len(counts) > 1 and draw(st.booleans()):  # the sum stays right
        moved = draw(st.integers(1, 2 * pixels))
        counts = [counts[0] + moved, counts[1] - moved, *counts[2:]]
    elif draw(st.booleans()):
        counts = coco_mask.frPyObjects({"size": size, "counts": counts}, height, width)["counts"].decode()
        kind = draw(st.sampled_from(["as it is", "damaged", "text"]))
        if kind == "damaged":
            counts = draw(damaged(counts.encode() or b"0")).decode("latin-1")
        elif kind == "text":
            counts = draw(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12) | st.text())
        return {"size": size, "counts": counts}, height, width
    strange = st.sampled_from([-1, 0, 1, pixels, pixels + 1, 2**31, 2**63, 2**64, 10**30, True, 1.0, "1", None])
    valid = {"size": size, "counts": counts}
    return draw(st.just(valid) | mutated(valid, strange | VALUES.map(python_values))), height, width


@FUZZ
@given(run_lengths())
def test_run_lengths(case: tuple[Any, int, int]) -> None:
    check_segmentation(*case)


COORDINATES = (
    st.floats(-14, 26, width=32)
    | st.integers(-14, 26)
    | st.integers(0, 12).map(lambda value: value + 0.5)
    | st.sampled_from([float("nan"), float("inf"), 1e300, -1e9, 10**9, 10**400, 2**63, True, None, "3", [1]])
)
OUTLINES = st.lists(COORDINATES, max_size=16) | st.lists(st.integers(-1, 13), min_size=6, max_size=60).map(
    lambda values: values[: len(values) // 2 * 2]
)


@FUZZ
@given(
    parts=st.lists(OUTLINES, max_size=4) | mutated(TWO_PARTS, COORDINATES | LEAVES),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
)
def test_polygons(parts: Any, height: int, width: int) -> None:
    check_segmentation(parts, height, width)


FIELDS = [
    ("annotations", 1, ("segmentation", "image_id", "id", "iscrowd", "category_id", "area")),
    ("images", 1, ("id", "height", "width", "file_name", "coco_url")),
    ("categories", 1, ("id", "name", "frequency")),
]


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_every_strange_value_in_every_field(number: int, box: Path) -> None:
    path = box / "annotations" / "strange.json"
    for name, place, keys in FIELDS:
        for key in keys:
            entries = list(DOCUMENT[name])
            entries[place] = {**entries[place], key: STRANGE[number]}
            path.write_bytes(to_json({**DOCUMENT, name: entries}))
            must_be_what_the_file_says(open_and_read(path, strict=False), path)


def test_an_outline_that_walks_for_miles_is_refused_before_it_takes_gigabytes(box: Path) -> None:
    """Within the image at every corner; pycocotools would take 8 bytes for each fifth of a pixel of the way."""
    path = box / "annotations" / "long.json"
    zigzag = [value for number in range(5_000) for value in ((number % 2) * 9_000, number)]
    wide = {"id": 1, "height": 9_000, "width": 9_000, "file_name": "four.png"}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [zigzag]}
    flat = {"id": 2, "height": 1, "width": 80_000_000, "file_name": "four.png"}
    strip = {**annotation, "id": 2, "image_id": 2, "segmentation": [[0, 0, 80_000_000, 0, 80_000_000, 1, 0, 1]]}
    path.write_bytes(to_json({**DOCUMENT, "images": [wide, flat], "annotations": [annotation, strip]}))
    data = reading(path, lambda: LvisDataSet(path))
    assert data is not None
    assert len(data) == 0
    assert [problem.id for problem in data.problems] == ["annotation 1", "annotation 2"]
    assert all("pixels long" in problem.sentence for problem in data.problems)
    for segmentation, height, width in (
        (annotation["segmentation"], 9_000, 9_000),
        (strip["segmentation"], 1, 80_000_000),
    ):
        assert "pixels long" in str(segmentation_problem(segmentation, height, width))
