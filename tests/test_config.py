"""Configs: frozen, checked, the same after YAML; every literal equals the table that implements it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.config import AdversaryName, ClicksName, EvalConfig, LossName, TrainConfig
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.losses.segmentation import SEGMENTATION
from mfpgan.types import InputError


def test_literals_are_the_tables() -> None:
    assert get_args(ClicksName) == tuple(STRATEGIES)
    assert get_args(LossName) == tuple(SEGMENTATION)
    assert get_args(AdversaryName) == ("off", *ADVERSARIAL)


def test_defaults_are_the_seed_recipe() -> None:
    config = TrainConfig()
    assert (config.lr, config.lr_step, config.lr_gamma, config.epochs) == (1e-3, 5, 0.1, 20)
    assert (config.batch_size, config.size, config.pos_weight, config.clicks) == (4, 256, 5, "random")
    assert (config.adv, config.adv_weight) == ("hinge", 0.01)


@pytest.mark.parametrize("config", [TrainConfig(), TrainConfig(steps=3, adv="off", data="ä: b"), EvalConfig(limit=2)])
def test_yaml_brings_back_an_equal_config(config: TrainConfig | EvalConfig, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert type(config).from_mapping(type(config).from_yaml(tmp_path / "c.yaml"), "c.yaml") == config


def test_configs_do_not_change() -> None:
    with pytest.raises(ValidationError):
        TrainConfig().lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learning_rate": 1}, ["learning_rate", "lr"]),
        ({"lr": "fast"}, ["lr='fast'", "number"]),
        ({"size": 31}, ["size=31", "32"]),
        ({"adv": "gan"}, ["adv='gan'", "hinge"]),
        ({"size": 64}, ["size=64", "70-pixel", "--adv off"]),
        ({"lr": -1, "seed": -2}, ["lr=-1", "seed=-2"]),
    ],
)
def test_wrong_values_are_named_with_what_was_expected(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig.from_mapping(values, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words", "1: 2"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        TrainConfig.from_yaml(tmp_path / "c.yaml")
    with pytest.raises(InputError, match=r"none\.yaml"):
        TrainConfig.from_yaml(tmp_path / "none.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert TrainConfig.from_mapping(TrainConfig.from_yaml(tmp_path / "c.yaml"), "c") == TrainConfig()


@pytest.mark.parametrize("text", ["adv: off", "adv: 'off'"])
def test_yaml_may_write_off_as_it_likes(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert TrainConfig.from_mapping(TrainConfig.from_yaml(tmp_path / "c.yaml"), "c").adv == "off"
