"""LVIS and COCO JSON: hand-drawn objects come out pixel by pixel, and garbage ends in InputError."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.segmentation import draw, draw_together, segmentation_problem
from mfpgan.types import InputError

SQUARE = [[1, 2, 5, 2, 5, 4, 1, 4]]
TWO_PARTS = [[0, 0, 2, 0, 2, 2, 0, 2], [6, 4, 8, 4, 8, 6, 6, 6]]
UNCOMPRESSED = {"size": [6, 8], "counts": [0, 6, 36, 6]}
HEIGHT, WIDTH = 6, 8
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 9, "height": HEIGHT, "width": WIDTH, "coco_url": "http://x.org/train2017/000000000009.jpg"},
        {"id": 4, "height": HEIGHT, "width": WIDTH, "file_name": "four.png"},
        {"id": 5, "height": HEIGHT, "width": WIDTH, "file_name": "never_looked_at.png"},
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 11, "image_id": 4, "category_id": 2, "segmentation": UNCOMPRESSED},
        {"id": 12, "image_id": 9, "category_id": 1, "segmentation": SQUARE},
        {"id": 13, "image_id": 9, "category_id": 1, "segmentation": TWO_PARTS, "iscrowd": 0},
        {"id": 14, "image_id": 9, "category_id": 1, "segmentation": SQUARE, "iscrowd": 1},
        {"id": 15, "image_id": 9, "category_id": 1, "segmentation": [[1, 1, 2, 2]]},
    ],
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "annotations" / "lvis_v1_train.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(tmp_path / "train2017" / "000000000009.jpg")
    Image.new("RGB", (WIDTH, HEIGHT), (4, 5, 6)).save(tmp_path / "four.png")
    return tmp_path


def test_objects_photos_and_order(folder: Path) -> None:
    path = write(folder, CONTENT)
    data = LvisDataSet(path)
    assert data.name == "lvis lvis_v1_train"
    assert [data[i].id for i in range(len(data))] == [
        "9/12",
        "9/13",
        "4/11",
    ]  # by image; the crowd and the line are out
    assert list(map(list, data.objects_of_image)) == [[0, 1], [2]]
    assert data.objects_of_image is data.objects_of_image, "subsets ask anew for every image"
    assert [data.index.object(number).category for number in range(3)] == ["cup", "cup", "dog"]
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[2:4, 1:5] = True
    assert (data[0].target == square).all()
    corners = np.zeros((HEIGHT, WIDTH), bool)
    corners[:2, :2] = corners[4:, 6:] = True
    assert (data[1].target == corners).all()
    columns = np.zeros((HEIGHT, WIDTH), bool)
    columns[:, [0, 7]] = True
    assert (data[2].target == columns).all()
    assert (data[2].image == (4, 5, 6)).all()
    assert [(problem.id, problem.level) for problem in data.problems] == [("annotation 15", "skip")]
    assert (pickle.loads(pickle.dumps(data))[0].target == square).all()  # loader processes get a copy


def test_the_digest_follows_the_file(folder: Path) -> None:
    first = LvisDataSet(write(folder, CONTENT)).digest()
    assert len(first) == 16
    assert first == LvisDataSet(write(folder, CONTENT)).digest()
    changed = copy.deepcopy(CONTENT)
    changed["annotations"][1]["segmentation"][0][0] = 2
    assert first != LvisDataSet(write(folder, changed)).digest()


@pytest.mark.parametrize(
    "place", ["annotations/train2017", "annotations", "images/train2017", "elsewhere/train2017", "elsewhere"]
)
def test_photos_are_found_where_people_keep_them(tmp_path: Path, place: str) -> None:
    path = write(tmp_path, CONTENT)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / place / "000000000009.jpg")
    images = tmp_path / "elsewhere" if place.startswith("elsewhere") else None
    assert LvisDataSet(path, images)[0].id == "9/12"


def test_missing_or_resized_photo_is_named(folder: Path) -> None:
    data = LvisDataSet(write(folder, CONTENT))
    Image.new("RGB", (2 * WIDTH, HEIGHT)).save(folder / "four.png")
    with pytest.raises(InputError, match=r"four\.png: the photo is 16x6"):
        data[2]
    (folder / "four.png").unlink()
    with pytest.raises(InputError, match=r"four\.png' .*--images"):
        LvisDataSet(data.path)[2]
    with pytest.raises(InputError, match="no such folder"):
        LvisDataSet(data.path, folder / "nowhere")


def put(*path: str | int, value: Any) -> Any:
    """CONTENT with one value exchanged."""
    content = copy.deepcopy(CONTENT)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "no list 'images'"),
        ({"images": [], "annotations": {}, "categories": []}, "no list 'annotations'"),
        (put("images", 1, "id", value=9), r"images\[1\].*id 9 is used twice"),
        (put("images", 1, "height", value="6"), r"images\[1\].*height"),
        (put("images", 1, "width", value=10**9), r"images\[1\].*pixels"),
        (put("images", 1, "file_name", value=None), r"images\[1\].*file_name"),
        (put("annotations", 2, "id", value=12), r"annotations\[2\].*id 12 is used twice"),
        (put("annotations", 2, "id", value=True), r"annotations\[2\].*integer id"),
        (put("annotations", 2, "image_id", value=77), r"annotations\[2\].*image_id '77'"),
        (put("annotations", 2, "category_id", value=77), r"annotations\[2\].*category_id '77'"),
        (
            put("annotations", 2, value={"id": 13, "image_id": 9, "category_id": 1}),
            r"annotations\[2\].*segmentation is missing",
        ),
        (put("categories", 0, "name", value=3), r"categories\[0\].*name"),
        (put("annotations", 3, "iscrowd", value="0"), r"annotations\[3\], id 14.*iscrowd is 0 or 1, got '0'"),
        (put("annotations", 3, "iscrowd", value=2), r"annotations\[3\], id 14.*iscrowd is 0 or 1, got '2'"),
        (put("images", 1, "file_name", value="../../etc/passwd"), r"images\[1\], id 4.*'../../etc/passwd' leaves"),
        (put("images", 1, "file_name", value="a/../../x.jpg"), r"images\[1\], id 4.* leaves the folder"),
        (put("images", 1, "file_name", value="/etc/passwd"), r"images\[1\], id 4.*'/etc/passwd' leaves the folder"),
        (put("images", 0, "coco_url", value="http://x.org/../a.jpg"), r"images\[0\], id 9.*'../a.jpg' leaves"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_field(folder: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=rf"lvis_v1_train\.json.*{words}"):
        LvisDataSet(write(folder, content))


@pytest.mark.parametrize(("value", "count"), [(0, 4), (False, 4), (None, 4), (0.0, 4), (1, 3), (True, 3)])
def test_crowds_are_left_out(value: Any, count: int, tmp_path: Path) -> None:
    data = LvisDataSet(write(tmp_path, put("annotations", 3, "iscrowd", value=value)))
    assert len(data) == count


def test_a_photo_may_be_a_link_out_of_the_folder_and_its_name_may_turn_round_inside(folder: Path) -> None:
    (folder / "far away").mkdir()
    (folder / "four.png").replace(folder / "far away" / "4.png")
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "images" / "link.png").symlink_to(folder / "far away" / "4.png")
    data = LvisDataSet(write(folder, put("images", 1, "file_name", value="train/../link.png")))
    assert (data[2].image == (4, 5, 6)).all()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000])
def test_what_is_not_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json"):
        LvisDataSet(tmp_path / "a.json")


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([SQUARE, UNCOMPRESSED]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "size", "counts", "x"]), inner),
    max_leaves=8,
)
FIELDS = [(name, i, key) for name, entries in CONTENT.items() for i, entry in enumerate(entries) for key in entry]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(FIELDS), JSON_VALUES), min_size=1, max_size=3))
def test_only_input_error_comes_out_of_garbage(folder: Path, changes: list[tuple[tuple[str, int, str], Any]]) -> None:
    content = copy.deepcopy(CONTENT)
    for (name, number, key), value in changes:
        content[name][number][key] = value
    try:
        data = LvisDataSet(write(folder, content))
        for i in range(len(data)):
            assert data[i].target.any()
    except InputError:
        pass


@settings(max_examples=300, deadline=None)
@given(
    JSON_VALUES | st.fixed_dictionaries({"size": st.just([4, 5]), "counts": st.lists(st.integers(-1, 9)) | st.text()})
)
def test_what_passes_the_check_can_be_drawn(segmentation: Any) -> None:
    if segmentation_problem(segmentation, 4, 5) is None:
        assert draw(segmentation, 4, 5).shape == (4, 5)


NUMBERS = (
    st.floats(-4, 12, width=32) | st.integers(-4, 12) | st.sampled_from([float("nan"), float("inf"), 1e300, 10**400])
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=12), min_size=1, max_size=3))
def test_polygons_are_refused_or_drawn_as_pycocotools_draws_them(parts: list[list[float]]) -> None:
    if segmentation_problem(parts, HEIGHT, WIDTH) is None:
        rle = coco_mask.merge(
            coco_mask.frPyObjects([[float(value) for value in part] for part in parts], HEIGHT, WIDTH)
        )
        assert (draw(parts, HEIGHT, WIDTH) == coco_mask.decode(rle)).all()
        assert draw(parts, HEIGHT, WIDTH).any()  # small images: every doubtful polygon was tried out


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_both_codings_of_rle_are_what_pycocotools_wrote(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    mask[0, 0] = True
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": [height, width], "counts": compressed["counts"].decode()}
    column_major = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], column_major]).astype(int))).tolist()
    numbers = {"size": [height, width], "counts": np.diff([0, *edges, mask.size]).tolist()}
    for segmentation in (text, numbers):
        assert segmentation_problem(segmentation, height, width) is None
        assert (draw(segmentation, height, width) == mask).all()


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "empty"),
        ([[1, 1, 3, 3, 5]], "even number of at least six"),
        ([[1, 1, 3, float("nan"), 5, 5]], "not finite"),
        ([["1", 1, 3, 3, 5, 5]], "numbers"),
        ([[90, 1, 95, 3, 95, 5]], "far outside"),
        ([[9, 1, 10, 3, 11, 5]], "covers no pixel of the image"),
        ([[0, 0, 7.9, 5.9, 0.01, 0.02]], "so thin"),
        ({"size": [8, 6], "counts": [0, 48]}, r"size is \[8, 6\], expected \[6, 8\]"),
        ({"size": [6, 8], "counts": [0, 40]}, "add up to 40, expected 48"),
        ({"size": [6, 8], "counts": [48]}, "mark no pixel"),
        ({"size": [6, 8], "counts": [-1, 49]}, "from 0"),
        ({"size": [6, 8], "counts": "\x00"}, "does not know"),
        ({"size": [6, 8], "counts": "0P"}, "breaks off"),
        (None, "got NoneType"),
    ],
)
def test_each_fault_has_its_sentence(segmentation: Any, words: str) -> None:
    problem = segmentation_problem(segmentation, HEIGHT, WIDTH)
    assert problem is not None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(problem)


def test_a_polygon_that_cancels_itself_out_fails_at_reading_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "train2017" / "000000000009.jpg")
    square = [10, 10, 50, 10, 50, 50, 10, 50]
    image = {**CONTENT["images"][0], "height": 60, "width": 80}
    annotation = {"id": 12, "image_id": 9, "category_id": 1, "segmentation": [square * 2]}
    data = LvisDataSet(write(tmp_path, {**CONTENT, "images": [image], "annotations": [annotation]}))
    assert len(data) == 1
    with pytest.raises(InputError, match="annotation 12"):
        data[0]


@pytest.mark.real_data
def test_real_files_hold_what_their_readme_says(real_data: Path) -> None:
    lvis = LvisDataSet(real_data / "lvis_mini" / "lvis_v1_train_mini.json")
    coco = LvisDataSet(real_data / "lvis_mini" / "coco_instances_lvisfmt_val.json")
    assert (len(lvis), lvis.index.image_count, len(coco), coco.index.image_count) == (85, 7, 2360, 318)
    assert not lvis.problems
    annotated = {item["id"]: item["area"] for item in json.loads(lvis.path.read_bytes())["annotations"]}
    for index in range(len(lvis)):
        sample = lvis[index]
        assert abs(sample.target.sum() - annotated[lvis.index.object(index).id]) <= 20 + 0.1 * sample.target.sum()


def test_the_other_objects_are_drawn_together(folder: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["annotations"] += [
        {"id": 16, "image_id": 9, "category_id": 2, "segmentation": UNCOMPRESSED},
        {"id": 17, "image_id": 9, "category_id": 2, "segmentation": [[0, 2, 3, 2, 3, 4, 0, 4]]},  # on the square
        {"id": 18, "image_id": 9, "category_id": 2, "segmentation": [[0, 0, 8, 0, 8, 6, 0, 6]], "iscrowd": 1},
    ]
    data = LvisDataSet(write(folder, content))
    assert [data.index.object(number).id for number in range(5)] == [12, 13, 16, 17, 11]
    square, corners, columns, overlap = (data[index].target for index in range(4))
    assert (square & overlap).sum() == 4
    assert (data.others(0) == (corners | columns | overlap)).all()  # raw: where the square is covered, too
    assert (data.others(1) == (square | columns | overlap)).all()
    assert (data.others(2) == (square | corners | overlap)).all()
    assert data.others(4).shape == (HEIGHT, WIDTH)
    assert not data.others(4).any()  # alone in its photo


def test_looking_up_the_other_objects_needs_no_photo(folder: Path) -> None:
    (folder / "train2017" / "000000000009.jpg").unlink()
    assert LvisDataSet(write(folder, CONTENT)).others(1).sum() == 8


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_drawing_together_is_the_union_of_drawing_alone(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    segmentations: list[Any] = [rng.uniform(-3, 20, (1, 2 * int(rng.integers(3, 7)))).tolist() for _ in range(count)]
    cuts = np.sort(rng.integers(0, 17 * 13 + 1, 3))
    segmentations.insert(count // 2, {"size": [17, 13], "counts": np.diff([0, *cuts, 17 * 13]).tolist()})
    alone = [draw(item, 17, 13) for item in segmentations]
    assert (draw_together(segmentations, 17, 13) == np.any(alone, axis=0)).all()
    assert not draw_together([], 17, 13).any()


def test_facts_are_read_and_not_drawn(folder: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["categories"] = [
        {"id": 1, "name": "cup", "frequency": "r"},
        {"id": 2, "name": "dog"},
        {"id": 3, "name": "elk", "frequency": "often"},
    ]
    facts = LvisDataSet(write(folder, content)).facts()
    assert facts.area_px.tolist() == [8, 8, 12]  # two polygons of 4x2 and of 2x2 + 2x2 pixels, two columns of 6
    assert (facts.area_px.dtype, facts.category.dtype) == (np.float32, np.int32)
    assert facts.category.tolist() == [0, 0, 1]
    assert facts.categories == ("cup", "dog", "elk")
    assert facts.frequency == ("r", "", "")
    content["annotations"][1]["area"] = 7.5
    for wrong in (-3, "big", float("inf"), None):
        content["annotations"][2]["area"] = wrong
        assert LvisDataSet(write(folder, content)).facts().area_px.tolist() == [7.5, 8, 12]


def test_in_parts_it_is_the_same(folder: Path) -> None:
    data = LvisDataSet(write(folder, CONTENT))
    for index in range(len(data)):
        whole, parts = data[index], data.parts(index)
        assert (parts.id, parts.ignore) == (whole.id, None)
        assert (parts.target == whole.target).all()
        assert (parts.photo(1) == whole.image).all()
    assert data.parts(0).photo(2).shape == (HEIGHT // 2, WIDTH // 2, 3)
    (folder / "train2017" / "000000000009.jpg").unlink()
    parts = LvisDataSet(data.path).parts(0)
    with pytest.raises(InputError, match="was not found"):
        parts.photo(1)
