"""What is named decides what is opened; one contract for every line of DATASETS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_bsds500 import make_bsds500
from test_folder import ONE, mask, photo
from test_lvis import CONTENT, HEIGHT, WIDTH, write

from mfpgan.data import DATASETS, find_default, open_dataset
from mfpgan.types import InputError


def make_lvis(folder: Path) -> str:
    (folder / "train2017").mkdir(parents=True)
    for name in ("train2017/000000000009.jpg", "four.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return str(write(folder, CONTENT))


def make_folder(folder: Path) -> str:
    photo(folder, "a.jpg")
    mask(folder, "a.png", ONE)
    return str(folder)


MAKERS: dict[str, Callable[[Path], str]] = {
    "sample": lambda _: "sample",
    "synthetic": lambda _: "synthetic",
    "lvis": make_lvis,
    "bsds500": lambda folder: str(make_bsds500(make_bsds500(folder), split="train")),
    "folder": make_folder,
}


def test_every_kind_has_a_maker_here() -> None:
    assert MAKERS.keys() == DATASETS.keys()


@pytest.mark.parametrize("role", ["train", "eval"])
@pytest.mark.parametrize("name", DATASETS)
def test_contract(name: str, role: str, tmp_path: Path) -> None:
    spec = MAKERS[name](tmp_path)
    data, again = open_dataset(spec, role=role), open_dataset(spec, role=role)
    assert data.name.startswith(name)
    assert len(data) > 0
    assert sorted(index for objects in data.objects_of_image for index in objects) == list(range(len(data)))
    assert all(len(objects) > 0 for objects in data.objects_of_image)
    assert data.digest() == again.digest()
    assert len(data.digest()) == 16
    int(data.digest(), 16)
    samples = [data[index] for index in range(len(data))]
    assert len({sample.id for sample in samples}) == len(data)
    for index in reversed(range(len(data))):  # the same whatever was read before
        other = again[index]
        assert other.id == samples[index].id
        assert np.array_equal(other.image, samples[index].image)
        assert np.array_equal(other.target, samples[index].target)
    for objects in data.objects_of_image:
        assert len({samples[index].id.split("/")[0] for index in objects}) == 1
    data[0].image[:] = 0  # a caller's scribbling stays the caller's
    data[0].target[:] = True
    assert np.array_equal(data[0].image, samples[0].image)
    assert np.array_equal(data[0].target, samples[0].target)


def test_usual_splits() -> None:
    assert open_dataset("sample").name == "sample train"
    assert open_dataset("sample", role="eval").name == "sample val"
    assert open_dataset("sample", split="val").name == "sample val"
    assert open_dataset("synthetic", role="eval").name == "synthetic val"


def test_bsds500_trains_on_train_and_is_measured_on_test(tmp_path: Path) -> None:
    spec = MAKERS["bsds500"](tmp_path)
    assert open_dataset(spec).name == "bsds500 train"
    assert open_dataset(spec, role="eval").name == "bsds500 test"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lvis", {"split": "train"}, "--split means nothing to an LVIS"),
        ("lvis", {"ignore_value": 255}, "--ignore-value means nothing"),
        ("bsds500", {"images": "x"}, "--images means nothing"),
        ("sample", {"images": "x"}, "--images means nothing"),
        ("sample", {"split": "test"}, "choose train or val"),
    ],
)
def test_an_option_without_meaning_is_refused(
    tmp_path: Path, name: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_dataset(MAKERS[name](tmp_path), **options)  # type: ignore[arg-type]


def test_what_is_nothing_is_refused_with_all_that_would_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist, expected one of.*BSDS500.*images/ and masks/"):
        open_dataset(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is of no known kind"):
        open_dataset(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="is of no known kind"):
        open_dataset(str(tmp_path / "a.txt"))
    with pytest.raises(InputError, match="no usable object"):
        open_dataset(str(write(tmp_path, {"images": [], "annotations": [], "categories": []})))


def test_default_is_found_in_mfpgan_data_then_here_then_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, named = tmp_path / "here", tmp_path / "named"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("MFPGAN_DATA", raising=False)
    assert find_default("train")[0] == find_default("eval")[0] == "sample"
    assert "the bundled sample" in find_default("train")[1]
    assert open_dataset(None, role="eval").name == "sample val"
    make_lvis(here)
    assert find_default("train")[0] == "annotations/lvis_v1_train.json"
    assert open_dataset(None).name == "lvis lvis_v1_train"
    (named / "lvis_mini").mkdir(parents=True)
    for name, size in (("lvis_v1_train_mini.json", 5), ("coco_instances_lvisfmt_train.json", 50)):
        (named / "lvis_mini" / name).write_text(json.dumps("x" * size))
    monkeypatch.setenv("MFPGAN_DATA", str(named))
    assert find_default("train")[0].endswith("coco_instances_lvisfmt_train.json")  # the larger one
    assert "$MFPGAN_DATA" in find_default("train")[1]
    make_lvis(named / "lvis")
    assert find_default("train")[0].endswith("lvis/annotations/lvis_v1_train.json")  # the real one
    make_bsds500(named / "bsds500" / "BSDS500" / "data")
    assert find_default("eval")[0].endswith("bsds500/BSDS500/data")


def test_opening_data_does_not_import_torch() -> None:
    code = "import sys, mfpgan.data, mfpgan.data.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
