"""From names to objects: what is taken, and what is said when it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfpgan import build
from mfpgan.config import TrainConfig
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.types import InputError


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_mapping({"data": "synthetic", "width": 0.1, "encoder_weights": "none"} | changes, "test")


def test_the_generator_is_a_function_of_the_seed_and_draws_from_nobody() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second, other = (build.generator_of(config(seed=seed))[0].state_dict() for seed in (3, 3, 4))
    build.adversary_of(config(adv="hinge"), torch.device("cpu"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_the_samples_own_val_photos_validate_it() -> None:
    data = build.training_data(config(data="sample"))
    assert data.train.name == "sample train"
    assert data.validation is not None
    assert data.validation.name == "sample val"
    assert len(data.objects) == len(data.validation.objects_of_image) == 8
    assert "sample train" in data.note


def masks_folder(root: Path, count: int, part: str = ".") -> Path:
    """Photos with one object (255) and an ignore band (128) each."""
    for name in ("images", "masks"):
        (root / name / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        mask = np.zeros((40, 50), np.uint8)
        mask[10:20, 10 : 20 + number] = 255
        mask[20:22] = 128
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(root / "images" / part / f"{number:03}.png")
        Image.fromarray(mask).save(root / "masks" / part / f"{number:03}.png")
    return root


def test_without_a_val_part_the_same_images_are_held_out_in_every_run(tmp_path: Path) -> None:
    folder = str(masks_folder(tmp_path / "photos", 25))
    first, second = (build.training_data(config(data=folder, seed=seed, ignore_value=128)) for seed in (0, 1))
    assert first.validation is not None
    assert second.validation is not None
    assert "held out" in first.note
    assert (len(first.train), len(first.validation)) == (24, 1)
    assert first.validation[0].id == second.validation[0].id
    assert first.train.digest() == second.train.digest() != first.validation.digest()
    nothing = build.training_data(config(data=folder, ignore_value=128, val_data="none"))
    assert nothing.validation is None
    assert len(nothing.train.objects_of_image) == 25


def test_validation_data_gets_the_options_that_mean_something_to_it(tmp_path: Path) -> None:
    train, other = (str(masks_folder(tmp_path / name, 3)) for name in ("train", "other"))
    data = build.training_data(config(data=train, val_data=other, ignore_value=128))
    assert data.validation is not None
    assert len(data.validation) == 3
    assert all(data.validation[i].ignore is not None for i in range(3))
    mixed = build.training_data(config(data=train, val_data="sample", ignore_value=128))
    assert mixed.validation is not None
    assert mixed.validation.name == "sample val"


def test_a_folder_in_parts_validates_on_its_val_part(tmp_path: Path) -> None:
    root = masks_folder(tmp_path / "photos", 3, "train")
    masks_folder(tmp_path / "more", 2, "val")
    for name in ("images", "masks"):
        (tmp_path / "more" / name / "val").rename(root / name / "val")
    data = build.training_data(config(data=str(root), split="train", ignore_value=128))
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (3, 2)
    with pytest.raises(InputError, match="--split: train, val"):
        build.training_data(config(data=str(root)))


def test_bsds500_validates_on_val_and_never_on_test(real_data: Path) -> None:
    data = build.training_data(config(data=str(real_data / "bsds500")))
    assert (data.train.name, data.validation and data.validation.name) == ("bsds500 train", "bsds500 val")


def test_a_missing_validation_photo_is_found_before_the_run(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "s")
    next((tmp_path / "s" / "val").glob("*.jpg")).unlink()
    with pytest.raises(InputError, match="was not found"):
        build.training_data(config(data=str(tmp_path / "s" / "train.json")))


def test_a_val_json_beside_the_train_json_is_found(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "lvis")
    (tmp_path / "lvis" / "train.json").rename(tmp_path / "lvis" / "lvis_v1_train.json")
    (tmp_path / "lvis" / "val.json").rename(tmp_path / "lvis" / "lvis_v1_val.json")
    data = build.training_data(config(data=str(tmp_path / "lvis" / "lvis_v1_train.json"), val_images=3))
    assert data.validation is not None
    assert "lvis_v1_val" in data.validation.name
    assert len(data.objects) == 3
    images = json.loads((SAMPLE_FOLDER / "train.json").read_text())["images"]
    assert len(data.train.objects_of_image) == len(images) == 16


def test_precision_and_device() -> None:
    cpu = torch.device("cpu")
    assert not build.use_bf16("auto", cpu)
    assert build.use_bf16("bf16", cpu)
    assert not build.use_bf16("fp32", cpu)
    with pytest.raises(InputError, match="--device cuda:99"):
        build.pick_device("cuda:99")
    with pytest.raises(InputError, match="--device quantum"):
        build.pick_device("quantum")


def test_pretrained_weights_need_full_width(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(source: str) -> tuple[dict[str, torch.Tensor], str]:
        asked.append(source)
        return {"conv1.weight": torch.zeros(1)}, "imagenet"

    monkeypatch.setattr(build, "encoder_state", answer)
    assert build.generator_of(config(encoder_weights="auto"))[1] == "none (pretrained weights fit only --width 1)"
    assert asked == [], "nothing is downloaded to be thrown away"
    with pytest.raises(InputError, match="--width 1"):
        build.generator_of(config(encoder_weights="imagenet"))
