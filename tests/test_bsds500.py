"""The consensus rule against a twin written down word by word, and BSDS500 read, cached and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.io import savemat

from mfpgan.data import bsds500
from mfpgan.data.bsds500 import Bsds500DataSet, find_bsds500, write_png
from mfpgan.data.consensus import consensus_objects
from mfpgan.data.folder import FolderDataSet
from mfpgan.data.mask_cache import PackedMasks
from mfpgan.data.policy import choose
from mfpgan.types import InputError


def by_the_letter(segmentations: list[NDArray[np.int64]]) -> list[NDArray[np.bool_]]:
    """The rule of `consensus_objects`, mask by mask."""
    candidates = []
    for annotator, labels in enumerate(segmentations):
        own = []
        for label in np.unique(labels):
            components, count = ndimage.label(labels == label)  # 4-connected by default
            own += [components == number for number in range(1, count + 1)]
        own = [mask for mask in own if 0.005 * labels.size <= mask.sum() <= 0.6 * labels.size]
        candidates += [(annotator, mask) for mask in sorted(own, key=lambda mask: mask.argmax())]

    def jaccard(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
        return (first & second).sum() / (first | second).sum()

    ranked = []
    for _, mask in candidates:
        best = [
            max((jaccard(mask, other) for owner, other in candidates if owner == annotator), default=0.0)
            for annotator in range(len(segmentations))
        ]
        ranked.append((-sum(value >= 0.8 for value in best), -np.mean(best), mask))
    ranked.sort(key=lambda entry: entry[:2])
    kept: list[NDArray[np.bool_]] = []
    for minus_support, _, mask in ranked:
        needed = max(2, -(-len(segmentations) // 2))
        if -minus_support >= needed and all(jaccard(mask, other) < 0.5 for other in kept):
            kept.append(mask)
    return kept


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    annotators=st.integers(1, 6),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    noise=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
def test_fast_rule_equals_the_rule_word_by_word(
    seed: int, annotators: int, height: int, width: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    common = np.kron(rng.integers(1, 5, (4, 4)), np.ones((3, 3), np.int64))[:height, :width]
    maps = [
        np.where(rng.random(common.shape) < noise, rng.integers(1, 5, common.shape), common) for _ in range(annotators)
    ]
    fast, slow = consensus_objects(maps), by_the_letter(maps)
    assert len(fast) == len(slow)
    for first, second in zip(fast, slow, strict=True):
        assert (first == second).all()


def halves(column: int) -> NDArray[np.int64]:
    return np.where(np.arange(10) < column, 1, 2)[None].repeat(10, axis=0)


def test_hand_made_cases() -> None:
    same = consensus_objects([halves(5), halves(5)])
    assert [mask.sum() for mask in same] == [50, 50]
    assert same[0][0, 0]  # equally good: by first pixel
    assert consensus_objects([halves(5)]) == []  # one annotator has nobody to agree with
    assert [mask.sum() for mask in consensus_objects([halves(3), halves(3)])] == [
        30
    ]  # 70 % is more than an object may have
    # Right sides first: their J of 5/6 beats the left sides' 4/5, which just suffices for the support of the third.
    assert [mask.sum() for mask in consensus_objects([halves(4), halves(4), halves(5)])] == [60, 40]
    corners = np.ones((10, 10), np.int64)
    corners[:5, :5] = corners[5:, 5:] = 2  # one label that touches itself only diagonally: two objects
    assert sorted(mask.sum() for mask in consensus_objects([corners, corners])) == [25, 25, 25, 25]
    with pytest.raises(ValueError, match="differ in size"):
        consensus_objects([halves(5), halves(5)[:5]])


def test_packed_masks_give_back_every_mask() -> None:
    rng = np.random.default_rng(0)
    images = [
        ((3, 5), [rng.random((3, 5)) < 0.5 for _ in range(3)]),
        ((4, 2), []),
        ((7, 9), [rng.random((7, 9)) < 0.5]),
    ]
    packed = PackedMasks.pack(images)
    for image, (_, masks) in enumerate(images):
        for number, mask in enumerate(masks):
            assert (packed.mask(image, number) == mask).all()
    with pytest.raises(ValueError, match="do not fit"):
        PackedMasks.of(packed.shapes, packed.bits[1:])


def make_bsds500(root: Path, names: tuple[str, ...] = ("1000", "20", "3"), split: str = "test") -> Path:
    """A BSDS500 of 12x10 photos, two objects each (three stripes, the widest too wide)."""
    for number, name in enumerate(names):
        labels = halves(4 + number)[:, :]
        truth = np.empty((1, 3), object)
        for annotator in range(3):
            truth[0, annotator] = {"Segmentation": labels.astype(np.uint16), "Boundaries": np.zeros((10, 10), np.uint8)}
        for folder in ("images", "groundTruth"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        savemat(root / "groundTruth" / split / f"{name}.mat", {"groundTruth": truth})
        Image.new("RGB", (10, 10), (number, 2, 3)).save(root / "images" / split / f"{name}.jpg")
    return root


def test_reads_objects_in_file_name_order(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path / "BSDS500" / "data")
    data = Bsds500DataSet(tmp_path, "test")
    assert data.root == root
    assert data.name == "bsds500 test"
    assert [data[i].id for i in range(len(data))] == ["1000/1", "1000/2", "20/1", "20/2", "3/1", "3/2"]
    assert list(data.objects_of_image) == [[0, 1], [2, 3], [4, 5]]
    assert data[4].target.sum() == 60
    with pytest.raises(InputError, match=r"no split 'val'.*test"):
        Bsds500DataSet(tmp_path, "val")
    with pytest.raises(InputError, match="no BSDS500"):
        Bsds500DataSet(tmp_path / "BSDS500" / "data" / "images")


def test_objects_can_be_chosen_by_their_area(tmp_path: Path) -> None:
    data = Bsds500DataSet(make_bsds500(tmp_path), "test")
    facts = data.facts()
    assert (facts.area_px.dtype, facts.category.dtype) == (np.float32, np.int32)
    assert facts.area_px.tolist() == [40, 60, 50, 50, 60, 40]
    assert facts.category.tolist() == [-1] * 6
    chosen = choose(data, min_area=55)
    assert [chosen[index].id for index in range(len(chosen))] == ["1000/2", "3/1"]


@pytest.mark.parametrize("level", ["", "data", "BSDS500", "BSDS500/data", "bsds500/BSDS500/data", "BSR/BSDS500/data"])
def test_is_found_some_levels_below(tmp_path: Path, level: str) -> None:
    root = make_bsds500(tmp_path / level)
    assert find_bsds500(tmp_path) == root


def test_second_opening_takes_the_cache_and_a_broken_cache_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFPGAN_CACHE", str(tmp_path / "cache"))
    root = make_bsds500(tmp_path / "bsds")
    seen: list[tuple[int, int]] = []
    first = Bsds500DataSet(root, "test", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    (cache,) = (tmp_path / "cache").iterdir()

    def never(*_: object) -> None:
        raise AssertionError("worked out again")

    with monkeypatch.context() as patch:
        patch.setattr(bsds500, "consensus_objects", never)
        again = Bsds500DataSet(root, "test")
        assert again.digest() == first.digest()
        assert all((again[i].target == first[i].target).all() for i in range(len(first)))
    content = cache.read_bytes()
    for broken in (b"", b"nonsense", content[: len(content) // 2], content[:-30] + bytes(30)):
        cache.write_bytes(broken)
        assert len(Bsds500DataSet(root, "test")) == 6
        assert cache.read_bytes() == content
    monkeypatch.setenv("MFPGAN_CACHE", str(cache))  # a file: nothing can be kept there
    assert len(Bsds500DataSet(root, "test")) == 6


def test_other_annotations_are_another_cache(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path)
    digest = Bsds500DataSet(root, "test").digest()
    (root / "groundTruth" / "test" / "3.mat").unlink()
    shorter = Bsds500DataSet(root, "test")
    assert len(shorter) == 4
    assert shorter.digest() != digest


def test_damaged_files_are_named(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path)
    Image.new("RGB", (9, 10)).save(root / "images" / "test" / "20.jpg")
    data = Bsds500DataSet(root, "test")
    with pytest.raises(InputError, match=r"20\.jpg: the photo is 9x10"):
        data[2]
    (root / "groundTruth" / "test" / "20.mat").write_bytes(b"MATLAB 5.0 or not")
    with pytest.raises(InputError, match=r"20\.mat: not readable"):
        Bsds500DataSet(root, "test")


def test_export_is_read_back_by_the_folder_reader(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path / "bsds")
    assert write_png(root, tmp_path / "png", "test") == (3, 6)
    assert_same(Bsds500DataSet(root, "test"), FolderDataSet(tmp_path / "png"))
    with pytest.raises(InputError, match="not empty"):
        write_png(root, tmp_path / "png", "test")
    (root / "images" / "test" / "3.jpg").unlink()
    with pytest.raises(InputError, match=r"3\.jpg"):
        write_png(root, tmp_path / "again", "test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bsds", "png"]  # nothing half-written stays


def assert_same(first: Bsds500DataSet, second: FolderDataSet, step: int = 1) -> None:
    assert len(first) == len(second)
    assert [list(objects) for objects in first.objects_of_image] == [
        list(objects) for objects in second.objects_of_image
    ]
    for index in range(0, len(first), step):
        mine, theirs = first[index], second[index]
        assert mine.id == theirs.id
        assert (mine.image == theirs.image).all()
        assert (mine.target == theirs.target).all()


@pytest.mark.real_data
def test_the_test_split_has_1426_objects_in_200_images(real_data: Path) -> None:
    data = Bsds500DataSet(real_data / "bsds500", "test")
    assert len(data) == 1426
    assert len(data.truths) == len(data.objects_of_image) == 200  # so no image is without an object
    assert data[0].id == "100007/1"


@pytest.mark.real_data
def test_real_export_with_more_than_nine_objects_an_image(real_data: Path, tmp_path: Path) -> None:
    write_png(real_data / "bsds500", tmp_path / "png", "test")
    data = Bsds500DataSet(real_data / "bsds500", "test")
    assert max(map(len, data.objects_of_image)) > 9
    assert_same(data, FolderDataSet(tmp_path / "png"), step=7)


def test_the_other_objects_may_contain_the_object(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path, names=("1",))
    corner = np.ones((10, 10), np.uint16)
    corner[:5, :5] = 2
    truth = np.empty((1, 4), object)
    # Two people say left 60 % and right 40 %, two say corner, whose rest is more than an object may have.
    for annotator, labels in enumerate([halves(6), halves(6), corner, corner]):
        truth[0, annotator] = {"Segmentation": labels.astype(np.uint16)}
    savemat(root / "groundTruth" / "test" / "1.mat", {"groundTruth": truth})
    data = Bsds500DataSet(root, "test")
    by_area = {int(data[index].target.sum()): index for index in range(len(data))}
    assert sorted(by_area) == [25, 40, 60]
    left, small = halves(6) == 1, corner == 2
    assert data.others(by_area[25]).all()
    assert (data.others(by_area[40]) == left).all()
    assert (data.others(by_area[60]) == (~left | small)).all()
