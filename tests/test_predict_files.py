"""Batches and files of `mfpgan predict`, with stand-in networks whose answers a reader can compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from test_predict import Noted, read
from test_session import Look, Paint, Remember

from mfpgan.apps import predict as predicting
from mfpgan.apps.click_file import clicks_on_photo, read_click_file
from mfpgan.apps.output import Output
from mfpgan.inference import TorchEngine
from mfpgan.types import InputError


def test_few_photos_are_open_at_a_time_and_each_is_on_the_device_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [{"image": f"{number}.png", "objects": [{"clicks": [{"x": 9, "y": number}]}] * 2} for number in range(12)]
    for entry in entries:
        PillowImage.new("RGB", (20, 30)).save(tmp_path / str(entry["image"]))
    (tmp_path / "clicks.json").write_text(json.dumps(entries))
    engine = Noted(Paint(), zoom_px=10)
    output = Output(read_click_file(tmp_path / "clicks.json"), tmp_path / "out")
    opened, started, most = [], [], []
    start, look = engine.start, predicting.upright_photo
    monkeypatch.setattr(engine, "start", lambda *arguments: (started.append(1), start(*arguments))[1])
    monkeypatch.setattr(predicting, "upright_photo", lambda *arguments: (opened.append(1), look(*arguments))[1])
    monkeypatch.setattr(predicting, "BATCH_PIXELS", 6 * 20 * 30)
    done = []

    def progress(number: int, total: int) -> None:
        assert total == 12
        done.append(number)
        most.append(len(opened) - number)

    predicting.predict(engine, output, pytest.fail, progress)
    assert engine.batches == [6, 6, 6, 6]
    assert done == list(range(1, 13))
    assert max(most) <= 3, "those of a batch and the next one"
    assert len(started) == 12
    for number in range(12):
        assert read(tmp_path / "out" / f"{number}.png")[number, 9] == 255


def test_names_of_pictures_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("x.png", "in/y.png"):
        PillowImage.new("RGB", (9, 9)).save(tmp_path / name)
    clicks = [{"x": 1, "y": 1}]
    entries = [{"image": "../x.png", "clicks": clicks}, {"image": str(tmp_path / "in" / "y.png"), "clicks": clicks}]
    (tmp_path / "in" / "clicks.json").write_text(json.dumps(entries))
    predicting.predict(
        TorchEngine(Paint()), Output(read_click_file(tmp_path / "in/clicks.json"), tmp_path / "out"), pytest.fail
    )
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "x.png",
        "y.png",
    ]
    PillowImage.new("RGB", (9, 9)).save(tmp_path / "in" / "x.jpg")
    entries.append({"image": "x.jpg", "clicks": clicks})
    (tmp_path / "in" / "clicks.json").write_text(json.dumps(entries))
    photos = read_click_file(tmp_path / "in" / "clicks.json")
    with pytest.raises(InputError, match=r"x\.png: two pictures would have this name"):
        Output(photos, tmp_path / "out")
    Output(photos, tmp_path / "out.json")


def test_a_click_lies_where_a_viewer_shows_it(tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # stored on its side
    PillowImage.new("RGB", (30, 20)).save(tmp_path / "photo.jpg", exif=exif)
    photo = clicks_on_photo(tmp_path / "photo.jpg", ["9,20,+"], None)
    predicting.predict(TorchEngine(Paint()), Output([photo], tmp_path / "mask.png"), pytest.fail)
    ys, xs = np.nonzero(read(tmp_path / "mask.png"))
    assert read(tmp_path / "mask.png").shape == (30, 20)
    assert (ys.mean(), xs.mean(), len(ys)) == (20, 9, 81)


def test_what_polygons_cannot_hold_is_told(tmp_path: Path) -> None:
    PillowImage.new("RGB", (40, 30)).save(tmp_path / "p.png")
    ring = np.full((30, 40), 1, np.uint8)
    ring[12:18, 20:25] = 0
    PillowImage.fromarray(ring).save(tmp_path / "ring.png")
    photo = clicks_on_photo(tmp_path / "p.png", ["2,2,+"], tmp_path / "ring.png")
    said: list[str] = []
    engine = TorchEngine(Remember("previous"))
    predicting.predict(engine, Output([photo], tmp_path / "m.json", "polygons"), said.append)
    assert said == [
        f"{tmp_path / 'p.png'}: 1 holes are filled, because COCO's polygons know none; --format rle keeps them."
    ]
    (annotation,) = json.loads((tmp_path / "m.json").read_text())["annotations"]
    assert annotation["segmentation"] == [[0, 0, 40, 0, 40, 30, 0, 30]]


def test_a_network_without_memory_takes_no_mask(tmp_path: Path) -> None:
    PillowImage.new("RGB", (40, 30)).save(tmp_path / "p.png")
    PillowImage.new("L", (40, 30), 1).save(tmp_path / "m.png")
    photo = clicks_on_photo(tmp_path / "p.png", ["2,2,+"], tmp_path / "m.png")
    with pytest.raises(InputError, match=r"p\.png: this network has no memory"):
        predicting.predict(TorchEngine(Look("none")), Output([photo], tmp_path / "out.png"), pytest.fail)


def test_objects_beyond_255_get_16_bits(tmp_path: Path) -> None:
    PillowImage.new("RGB", (40, 30)).save(tmp_path / "p.png")
    objects = [{"clicks": [{"x": number % 40, "y": number // 40}]} for number in range(300)]
    (tmp_path / "clicks.json").write_text(json.dumps([{"image": "p.png", "objects": objects}]))
    photos = read_click_file(tmp_path / "clicks.json")
    predicting.predict(TorchEngine(Paint()), Output(photos, tmp_path / "out", "labels"), pytest.fail)
    labels = read(tmp_path / "out" / "p.png")
    assert labels.max() == labels[7, 19] == 300
