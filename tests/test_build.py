"""From names to objects: what is taken, and what is said when it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

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


def test_without_a_val_part_images_are_held_out_and_none_is_none() -> None:
    held = build.training_data(config())
    assert held.validation is not None
    assert "held out" in held.note
    assert len(held.train.objects_of_image) + len(held.validation.objects_of_image) == 64
    nothing = build.training_data(config(val_data="none"))
    assert nothing.validation is None
    assert len(nothing.train.objects_of_image) == 64


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
    monkeypatch.setattr(build, "encoder_state", lambda source: ({"conv1.weight": torch.zeros(1)}, "imagenet"))
    assert build.generator_of(config(encoder_weights="auto"))[1] == "none (pretrained weights fit only --width 1)"
    with pytest.raises(InputError, match="--width 1"):
        build.generator_of(config(encoder_weights="imagenet"))
