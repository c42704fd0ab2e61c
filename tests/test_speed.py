"""The benchmarks of experiments/speed run, and the file they draw is an LVIS file."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pycocotools.coco import COCO

from mfpgan.data.lvis import LvisDataSet

SPEED = Path(__file__).resolve().parent.parent / "experiments" / "speed"
HELPERS = {"bench", "lvis_file", "measure"}
BENCHMARKS = sorted({path.stem for path in SPEED.glob("*.py")} - HELPERS)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SPEED)  # as when they are run as scripts
    monkeypatch.delenv("MFPGAN_DATA", raising=False)


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def opened(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("shares", [{}, {"rle": 0.3, "crowds": 0.1}])
def test_mfpgan_and_pycocotools_read_equal_masks_from_the_file(tmp_path: Path, shares: dict[str, float]) -> None:
    path = tmp_path / "lvis.json"
    lvis_file = module("lvis_file")
    lvis_file.write_lvis(path, 50, **shares)
    lvis_file.write_photos(tmp_path, 50)
    data, peer = LvisDataSet(path), opened(path)
    assert len(peer.imgs) == 50
    assert len(peer.anns) == 634, "50 of 100,170 images have 634 of 1,270,141 objects"
    crowds = {number for number, entry in peer.anns.items() if entry.get("iscrowd")}
    assert bool(crowds) == bool(shares)
    assert not data.problems
    assert len(data) == len(peer.anns) - len(crowds)
    kinds = set()
    for index in range(0, len(data), 5):
        sample = data[index]
        annotation = peer.anns[int(sample.id.split("/")[1])]
        assert np.array_equal(peer.annToMask(annotation), sample.target), sample.id
        segmentation = annotation["segmentation"]
        kinds.add("polygons" if isinstance(segmentation, list) else type(segmentation["counts"]).__name__)
    assert kinds == ({"polygons", "str", "list"} if shares else {"polygons"})


def test_a_mask_has_the_area_that_its_entry_says(tmp_path: Path) -> None:
    path = tmp_path / "lvis.json"
    module("lvis_file").write_lvis(path, 20)
    peer = opened(path)
    large = [entry for entry in peer.anns.values() if entry["area"] > 2_000 and len(entry["segmentation"]) == 1]
    assert len(large) > 20
    for entry in large:
        mask = peer.annToMask(entry)
        assert mask.sum() == pytest.approx(entry["area"], rel=0.05)
        ys, xs = np.nonzero(mask)
        x, y, width, height = entry["bbox"]
        assert np.abs([xs.min() - x, ys.min() - y, xs.max() + 1 - x - width, ys.max() + 1 - y - height]).max() < 1.5


def test_the_file_is_a_function_of_size_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lvis_file = module("lvis_file")
    texts = []
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        lvis_file.write_lvis(tmp_path / name, 20, seed=seed)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1] != texts[2]
    content = json.loads(texts[0])
    assert Counter(entry["frequency"] for entry in content["categories"]) == {"r": 337, "c": 461, "f": 405}
    in_image = {(entry["image_id"], entry["category_id"]) for entry in content["annotations"]}
    images = Counter(category for _, category in in_image)
    assert {entry["id"]: entry["image_count"] for entry in content["categories"] if entry["image_count"]} == images
    # What breaks off leaves what was there.
    monkeypatch.setattr(lvis_file, "DECIMALS", [])
    with pytest.raises(IndexError):
        lvis_file.write_lvis(tmp_path / "one", 20, seed=1)
    assert (tmp_path / "one").read_bytes() == texts[0]
    assert len([*tmp_path.iterdir()]) == 3


def test_all_that_is_no_helper_runs_in_make_bench() -> None:
    assert sorted(module("bench").BENCHMARKS) == BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs_quickly(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark = module(name)

    def here(script: str, *words: object, environment: dict[str, str]) -> object:
        assert Path(script).stem == name
        monkeypatch.setattr("sys.argv", [script, *map(str, words)])
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            benchmark.main()
        return json.loads(said.getvalue())

    if name in ("memory", "large_photo"):  # their processes import torch, four times and twice
        monkeypatch.setattr(benchmark, "alone", here)
    monkeypatch.setattr("sys.argv", [name, "--quick"])
    benchmark.main()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert table[0].endswith("| peer / mfpgan [range] | peer | mfpgan |")
    assert len(table) >= 3
    for line in table[2:]:
        ratio = float(line.split("**")[1].split()[0].replace(",", ""))
        assert ratio > 0


def test_ratios_are_taken_turn_by_turn() -> None:
    measure = module("measure")
    row = measure.Row("opening", [8.0, 30.0, 10.0], [2.0, 3.0, 5.0], "s")
    assert measure.report("what", [row]).splitlines()[2] == (
        "| opening | **4.00 [2.00, 10.0]** | 10.0 [8.00, 30.0] s | 3.00 [2.00, 5.00] s |"
    )
    calls: list[str] = []
    seconds = measure.in_turn(lambda: calls.append("a"), lambda: calls.append("b"), turns=3)
    assert seconds.shape == (2, 3)
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"
