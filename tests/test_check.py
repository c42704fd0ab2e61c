"""`mfpgan data check` lists every fault that was put into a data set, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_bsds500 import make_bsds500
from test_folder import ONE, mask, photo
from test_lvis import CONTENT, SQUARE, write
from test_open_dataset import MAKERS, make_lvis

from mfpgan.data import DATASETS
from mfpgan.data.check import CheckReport, check_dataset
from mfpgan.types import InputError


def found(report: CheckReport) -> list[tuple[str, str, str]]:
    return [(Path(problem.file).name, problem.id, problem.level) for problem in report.problems]


@pytest.mark.parametrize("name", DATASETS)
def test_sound_data_of_every_kind_is_usable(name: str, tmp_path: Path) -> None:
    spec = MAKERS[name](tmp_path)
    if name == "lvis":
        content = copy.deepcopy(CONTENT)
        del content["annotations"][4], content["images"][2]
        write(tmp_path, content)
    calls: list[tuple[int, int]] = []
    report = check_dataset(spec, progress=lambda done, total: calls.append((done, total)))
    assert report.kind == name
    assert report.name.startswith(name)
    assert found(report) == []
    assert report.usable
    assert report.objects == len(report.areas_px) == len(report.shares) > 0
    assert report.images == calls[-1][0] == calls[-1][1]
    assert report.quantiles_px()[0.5] == np.median(report.areas_px)
    assert 0 < report.quantiles_share()[1.0] <= 1


def test_a_name_that_is_an_order_to_the_terminal_is_shown_as_text(tmp_path: Path) -> None:
    make_lvis(tmp_path)
    content = copy.deepcopy(CONTENT)
    content["images"].append({"id": 6, "height": 6, "width": 8, "file_name": "\x1b[2J.png"})
    report = check_dataset(str(write(tmp_path, content)))
    assert [problem.file for problem in report.problems if problem.id == "image 6"] == [r"'\x1b[2J.png'"]
    assert all(problem.sentence.isprintable() for problem in report.problems)


def test_lvis_lists_all_faults(tmp_path: Path) -> None:
    make_lvis(tmp_path)
    content = copy.deepcopy(CONTENT)
    (tmp_path / "four.png").unlink()
    (tmp_path / "four.png").write_bytes(b"\x89PNG cut off")
    Image.new("RGB", (9, 9)).save(tmp_path / "six.png")
    content["images"].append({"id": 6, "height": 6, "width": 8, "file_name": "six.png"})
    content["images"].append({"id": 6, "height": 6, "width": 8, "file_name": "six.png"})
    base = {"image_id": 9, "category_id": 1}
    content["annotations"] += [
        {"id": 16, **base, "segmentation": [[1, 1, float("nan"), 2, 3, 3]]},
        {"id": 17, **base, "segmentation": {"size": [6, 8], "counts": [1, 2]}},
        {"id": 17, **base, "segmentation": SQUARE},
        {"id": 18, "image_id": 1, "category_id": 1, "segmentation": SQUARE},
    ]
    report = check_dataset(str(write(tmp_path, content)))
    json = "lvis_v1_train.json"
    assert found(report) == [
        (json, "images[4]", "stop"),
        (json, "annotation 15", "skip"),
        (json, "annotation 16", "skip"),
        (json, "annotation 17", "skip"),
        (json, "annotations[7]", "stop"),
        (json, "annotations[8], id 18", "stop"),
        ("four.png", "image 4", "stop"),
        ("never_looked_at.png", "image 5", "stop"),
        ("six.png", "image 6", "stop"),
    ]
    assert not report.usable
    assert report.objects == 3
    assert report.categories == {"cup": 2, "dog": 1}


def test_an_entry_that_is_refused_is_named_once_and_not_by_its_annotations(tmp_path: Path) -> None:
    make_lvis(tmp_path)
    content = copy.deepcopy(CONTENT)
    content["images"][0]["file_name"] = "../secret.png"
    content["categories"][1]["name"] = None
    content["annotations"].append({"id": 16, "image_id": 4, "category_id": 3, "segmentation": SQUARE})
    report = check_dataset(str(write(tmp_path, content)))
    assert [problem.id for problem in report.problems if problem.level == "stop"] == [
        "categories[1], id 2",
        "images[0], id 9",
        "annotations[5], id 16",
        "image 5",  # never_looked_at.png
    ]
    assert "'../secret.png' leaves the folder of the photos" in report.problems[1].sentence


def test_folder_lists_all_faults(tmp_path: Path) -> None:
    for name in ("cut", "empty", "smear", "colour", "size", "mixed", "alone", "good", "full"):
        photo(tmp_path, f"{name}.jpg", size=(40, 30))
    canvas = np.zeros((30, 40), np.uint8)
    canvas[5:15, 5:15] = 1
    mask(tmp_path, "good.png", canvas.tolist())
    mask(tmp_path, "cut.png", canvas.tolist())
    (tmp_path / "images" / "cut.jpg").write_bytes((tmp_path / "images" / "cut.jpg").read_bytes()[:200])
    mask(tmp_path, "empty.png", (0 * canvas).tolist())
    mask(tmp_path, "full.png", (0 * canvas + 3).tolist())
    mask(tmp_path, "size.png", ONE)
    mask(tmp_path, "nobody.png", canvas.tolist())
    mixed = canvas.copy()
    mixed[5:15, 15:18] = 255
    mask(tmp_path, "mixed.png", mixed.tolist())
    Image.new("RGB", (40, 30), (1, 2, 3)).save(tmp_path / "masks" / "colour.png")
    Image.fromarray(canvas * 255).save(tmp_path / "smear.jpg", quality=60)
    Image.open(tmp_path / "smear.jpg").save(tmp_path / "masks" / "smear.png")
    report = check_dataset(str(tmp_path))
    assert sorted(found(report)) == [
        ("alone.jpg", "", "hint"),
        ("colour.png", "", "stop"),
        ("cut.jpg", "", "stop"),
        ("empty.png", "", "hint"),
        ("full.png", "", "hint"),
        ("mixed.png", "", "hint"),
        ("nobody.png", "", "hint"),
        ("size.png", "", "stop"),
        ("smear.png", "", "hint"),
    ]
    assert not report.usable
    assert all(str(problem.file) not in problem.sentence for problem in report.problems)
    assert ("mixed.png", "", "hint") not in found(check_dataset(str(tmp_path), ignore_value=255))


def test_bsds500_lists_all_faults(tmp_path: Path) -> None:
    root = make_bsds500(tmp_path, ("1", "2", "3", "4"))
    Image.new("RGB", (10, 10)).save(root / "images" / "test" / "5.jpg")
    Image.new("RGB", (9, 9)).save(root / "images" / "test" / "1.jpg")
    (root / "images" / "test" / "2.jpg").unlink()
    (root / "groundTruth" / "test" / "3.mat").write_bytes(b"no")
    report = check_dataset(str(root), split="test")
    assert found(report) == [("1.jpg", "", "stop"), ("2.jpg", "", "stop"), ("3.mat", "", "stop"), ("5.jpg", "", "hint")]
    assert not report.usable


def test_what_cannot_be_opened_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("no")
    report = check_dataset(str(tmp_path / "a.json"))
    assert found(report) == [("a.json", "", "stop")]
    assert not report.usable
    assert report.quantiles_px() == {}
    with pytest.raises(InputError, match="does not exist"):
        check_dataset(str(tmp_path / "b.json"))


@pytest.mark.real_data
def test_real_lvis_annotations_are_sound(real_data: Path) -> None:
    for name in ("train", "val"):
        report = check_dataset(str(real_data / "lvis_mini" / f"lvis_v1_{name}_mini.json"))
        assert report.usable
        assert found(report) == []
