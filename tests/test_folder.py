"""images/ and masks/: which mask belongs to which photo, and what a value means."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfpgan.data import folder
from mfpgan.data.folder import FolderDataSet
from mfpgan.photos import read_mask
from mfpgan.types import InputError


def photo(root: Path, name: str, size: tuple[int, int] = (4, 3)) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 9, 9)).save(root / "images" / name)


def mask(root: Path, name: str, rows: list[list[int]]) -> None:
    Image.fromarray(np.array(rows, np.uint8)).save(root / "masks" / name)


ONE = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("value", [1, 7, 255])
def test_one_object_whatever_its_value(tmp_path: Path, value: int) -> None:
    photo(tmp_path, "a.jpg")
    mask(tmp_path, "a.png", (np.array(ONE) * value).tolist())
    data = FolderDataSet(tmp_path)
    assert len(data) == 1
    assert data[0].id == "a/1"
    assert data[0].ignore is None
    assert (data[0].target == np.array(ONE, bool)).all()


def test_each_value_is_an_object_and_the_ignore_value_is_none(tmp_path: Path) -> None:
    photo(tmp_path, "a.png")
    rows = [[0, 1, 1, 255], [0, 9, 9, 255], [0, 0, 0, 0]]
    mask(tmp_path, "a.png", rows)
    assert len(FolderDataSet(tmp_path)) == 3
    data = FolderDataSet(tmp_path, ignore_value=255)
    assert [data[i].id for i in range(len(data))] == ["a/1", "a/2"]
    assert (data[1].target == (np.array(rows) == 9)).all()
    assert data[1].ignore is not None
    assert (data[1].ignore == (np.array(rows) == 255)).all()
    assert data.digest() != FolderDataSet(tmp_path).digest()


def test_numbered_masks_overlap_and_count_as_numbers(tmp_path: Path) -> None:
    photo(tmp_path, "a.jpeg")
    for number in (10, 9, 2):
        mask(tmp_path, f"a_{number}.png", [[255] * (number % 4 + 1) + [0] * (3 - number % 4)] * 3)
    mask(tmp_path, "a_11.png", [[128, 128, 128, 255]] * 3)
    data = FolderDataSet(tmp_path, ignore_value=128)
    assert [int(data[i].target[0].sum()) for i in range(len(data))] == [3, 2, 3, 1]  # 2, 9, 10, 11
    assert [data[i].id for i in range(4)] == ["a/1", "a/2", "a/3", "a/4"]
    assert data[0].ignore is not None
    assert not (data[0].ignore & data[0].target).any()  # one band for the image, but never on the object


def test_a_photo_may_be_called_foo_1(tmp_path: Path) -> None:
    for name in ("foo.jpg", "foo_1.jpg"):
        photo(tmp_path, name)
    mask(tmp_path, "foo_1.png", ONE)
    mask(tmp_path, "foo_2.png", [[3] * 4] * 3)
    mask(tmp_path, "foo_1_1.png", [[5] * 4] * 3)
    data = FolderDataSet(tmp_path)
    assert [data[i].id for i in range(len(data))] == ["foo/1", "foo_1/1"]
    assert data[0].target.all()
    assert data[1].target.sum() == 2
    assert [Path(problem.file).name for problem in data.problems] == ["foo_1_1.png"]


def test_what_has_no_partner_is_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path, name)
    (tmp_path / "masks" / "._a.png").write_bytes(b"macOS")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"Windows")
    mask(tmp_path, "a.png", ONE)
    mask(tmp_path, "c.png", ONE)
    data = FolderDataSet(tmp_path)
    assert len(data) == 1
    assert [(Path(problem.file).name, problem.level) for problem in data.problems] == [
        ("c.png", "hint"),
        ("b.jpg", "hint"),
    ]


def test_an_image_without_object_is_no_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path, name)
    mask(tmp_path, "a.png", [[0] * 4] * 3)
    mask(tmp_path, "b.png", ONE)
    assert list(FolderDataSet(tmp_path).objects_of_image) == [[0]]


def test_unusable_files_are_named(tmp_path: Path) -> None:
    photo(tmp_path, "a.jpg", size=(3, 3))
    mask(tmp_path, "a.png", ONE)
    with pytest.raises(InputError, match=r"a\.jpg: the photo is 3x3 pixels but masks/a\.png is for 4x3"):
        FolderDataSet(tmp_path)[0]
    photo(tmp_path, "a.png")
    with pytest.raises(InputError, match="two photos of one name"):
        FolderDataSet(tmp_path)
    (tmp_path / "images" / "a.png").unlink()
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match=r"a\.png: the mask is in colour"):
        FolderDataSet(tmp_path)
    with pytest.raises(InputError, match="no images/ and masks/"):
        FolderDataSet(tmp_path / "images")


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_splits(tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / layout.format(kind=kind, split=split)).mkdir(parents=True)
        Image.new("RGB", (4, 3)).save(tmp_path / layout.format(kind="images", split=split) / f"{split}.jpg")
        rows = np.array(ONE, np.uint8)
        Image.fromarray(rows).save(tmp_path / layout.format(kind="masks", split=split) / f"{split}.png")
    assert FolderDataSet(tmp_path, "val")[0].id == "val/1"
    with pytest.raises(InputError, match="split 'test'"):
        FolderDataSet(tmp_path, "test")


def test_the_other_objects_of_a_label_map(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        photo(tmp_path, name)
    mask(tmp_path, "a.png", [[0, 1, 1, 255], [0, 9, 9, 255], [5, 0, 0, 0]])
    mask(tmp_path, "b.png", ONE)
    data = FolderDataSet(tmp_path, ignore_value=255)  # a/1 is the value 1, a/2 is 5, a/3 is 9
    assert data.others(2).astype(int).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert not data.others(3).any()  # alone in b
    assert data.others(1).astype(int).tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert FolderDataSet(tmp_path).others(0)[:, 3].tolist() == [True, True, False]  # here 255 is an object


@pytest.mark.parametrize("ignore_value", [None, 128])
def test_the_other_objects_of_numbered_masks_that_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignore_value: int | None
) -> None:
    photo(tmp_path, "a.png")
    files = {1: [[3, 3, 4, 0]] * 3, 2: [[0, 7, 7, 7], [0] * 4, [0] * 4], 3: [[0] * 4, [0] * 4, [9, 128, 0, 0]]}
    for number, rows in files.items():
        mask(tmp_path, f"a_{number}.png", rows)
    data = FolderDataSet(tmp_path, ignore_value=ignore_value)
    objects = [(file, value) for file in files for value in np.unique(files[file]) if value not in (0, ignore_value)]
    assert len(objects) == len(data) == (4 if ignore_value else 5)
    masks = [np.array(files[file]) == value for file, value in objects]
    read: list[str] = []
    monkeypatch.setattr(folder, "read_mask", lambda path: read.append(path.name) or read_mask(path))
    for index in range(len(data)):
        read.clear()
        fresh = pickle.loads(pickle.dumps(data))
        assert (fresh[index].target == masks[index]).all()
        expected = np.any([mask for other, mask in enumerate(masks) if other != index], axis=0)
        assert (fresh.others(index) == expected).all()
        assert sorted(read) == ["a_1.png", "a_2.png", "a_3.png"]  # each of them once
    assert all((data.others(index) & masks[index]).any() for index in (0, 1, 2))  # raw: the overlap is in it
    mask(tmp_path, "a_2.png", [[7]])
    with pytest.raises(InputError, match=r"a_2\.png: 1x1 pixels, unlike the other masks"):
        FolderDataSet(tmp_path).others(0)


def test_areas_are_counted_and_parts_are_the_sample(tmp_path: Path) -> None:
    photo(tmp_path, "a.jpg", (16, 9))
    labels = np.zeros((9, 16), np.uint8)
    labels[1:3, 2:7], labels[4:, 4:], labels[0] = 3, 200, 255
    mask(tmp_path, "a.png", labels.tolist())
    data = FolderDataSet(tmp_path, ignore_value=255)
    facts = data.facts()
    assert facts.area_px.tolist() == [10, 60]
    assert facts.category.tolist() == [-1, -1]
    assert facts.categories == ()
    for index in range(2):
        whole, parts = data[index], data.parts(index)
        assert parts.id == whole.id
        assert parts.ignore is not None
        assert (parts.ignore == whole.ignore).all()
        assert (parts.target == whole.target).all()
        assert parts.photo(4).shape == (3, 4, 3)
