"""The model that comes along, and how its training data is put together."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from test_bsds500 import make_bsds500

from mfpgan import ClickSession
from mfpgan.apps.hub import load_folder
from mfpgan.apps.loading import SMALL
from mfpgan.data import open_dataset
from mfpgan.metrics import confusion, iou

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))

import make_small


def test_it_is_small_and_whole() -> None:
    assert {path.name for path in SMALL.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert sum(path.stat().st_size for path in SMALL.iterdir()) <= 6_000_000
    model = load_folder(SMALL)
    assert (model.config.width, model.config.size, model.config.memory) == (0.25, 192, "modulated")
    assert model.step == model.config.steps


@pytest.mark.parametrize(
    ("object_id", "clicks", "least"),
    [
        ("12062/64311", [(77, 194, True)], 0.8),  # measured .89
        ("99053/714928", [(156, 161, True)], 0.9),  # .94
        ("475678/1182773", [(146, 117, True), (61, 111, False)], 0.8),  # .87
        ("17029/12032", [(133, 139, True), (80, 168, True), (87, 187, True)], 0.75),  # .83
    ],
)
def test_it_follows_clicks(object_id: str, clicks: list[tuple[int, int, bool]], least: float) -> None:
    """On photos that it was trained on: whether the file that is packed answers at all. Its card says what it is worth."""
    data = open_dataset("sample", split="val", role="val")
    sample = next(data[number] for number in range(len(data)) if data[number].id == object_id)
    session = ClickSession.load("small", device="cpu", precision="fp32")
    session.set_image(sample.image)
    for y, x, positive in clicks:
        session.click(y, x, positive)
    assert iou(confusion(session.mask, sample.target)) >= least


def test_the_card_says_what_it_must() -> None:
    text = (SMALL / "README.md").read_text(encoding="utf-8")
    config = json.loads((SMALL / "config.json").read_text(encoding="utf-8"))
    assert yaml.safe_load(text.split("---\n")[1])["library_name"] == "mfpgan"
    assert config["run_id"] in text
    assert make_small.TERMS in text
    rows = re.findall(r"\| (8[05]|90) % \(NoC@\1\) \| (\S+) \[(\S+), (\S+)\] \|", text)
    assert [row[0] for row in rows] == ["80", "85", "90"]
    assert all(1 <= float(low) < float(mean) < float(high) <= 20 for _, mean, low, high in rows)
    assert "1426 objects at their native size" in text
    assert "| grabcut |" in text
    assert not re.search(r"(^|[\s`\"(])/\w", text), "a path of the machine that trained it"
    assert not any(isinstance(value, str) and "/" in value for value in config["config"].values())


def test_the_mix_is_the_pack_and_five_times_bsds500(tmp_path: Path) -> None:
    bsds500 = make_bsds500(tmp_path / "bsds500", split="train")
    for kind in ("images", "masks"):
        (tmp_path / "pack" / kind).mkdir(parents=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "pack" / "images" / "set__a.jpg")
    Image.fromarray(np.full((20, 30), 2, np.uint8)).save(tmp_path / "pack" / "masks" / "set__a.png")
    make_small.mix(tmp_path / "pack", bsds500, tmp_path / "mix")
    data, alone = open_dataset(str(tmp_path / "mix")), open_dataset(str(bsds500), split="train")
    assert len(data) == 1 + 5 * len(alone)
    assert len(data.objects_of_image) == 1 + 5 * len(alone.objects_of_image)
    assert {data[number].id for number in range(len(data))} == {
        "set__a/1", *(f"bsds{copy}__{alone[number].id}" for copy in range(1, 6) for number in range(len(alone)))
    }  # fmt: skip
