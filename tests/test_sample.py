"""The photos that come along: small, free to hand on, and each one attributed."""

from __future__ import annotations

import json

import pytest

from mfpgan.data import SAMPLE_FOLDER, open_dataset
from mfpgan.data.check import check_dataset


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE_FOLDER.rglob("*") if path.is_file()) < 1_500_000


@pytest.mark.parametrize(("split", "images"), [("train", 16), ("val", 8)])
def test_every_photo_is_sound_free_and_attributed(split: str, images: int) -> None:
    report = check_dataset("sample", split=split)
    assert report.usable
    assert not report.problems
    assert report.images == images
    assert len(report.categories) > 5
    attribution = (SAMPLE_FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    content = json.loads((SAMPLE_FOLDER / f"{split}.json").read_bytes())
    assert {entry["license"] for entry in content["images"]} == {4}
    assert [entry["url"] for entry in content["licenses"]] == ["http://creativecommons.org/licenses/by/2.0/"]
    for entry in content["images"]:
        flickr_id = entry["flickr_url"].split("/")[-1].split("_")[0]
        assert f"| {entry['file_name']} | <https://www.flickr.com/photo.gne?id={flickr_id}>" in attribution
    photos = {path.name for path in (SAMPLE_FOLDER / split).iterdir()}
    assert photos == {entry["file_name"].split("/")[-1] for entry in content["images"]}


def test_no_photo_is_in_both_parts() -> None:
    train, val = (open_dataset("sample", split=split) for split in ("train", "val"))
    photos = [{data[objects[0]].id.split("/")[0] for objects in data.objects_of_image} for data in (train, val)]
    assert not photos[0] & photos[1]
