"""Configs: frozen, checked, the same after YAML; every literal equals the table that implements it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from mfpgan.cli.options import resolve
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.config import (
    PRESETS,
    SMALLEST_VIEW_PX,
    AdversaryName,
    ArchitectureName,
    EvalConfig,
    InputName,
    LossName,
    PresentationName,
    TrainConfig,
    find_config,
)
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.losses.segmentation import SEGMENTATION
from mfpgan.models.discriminator import ARCHITECTURES, INPUTS, VIEW_PX
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.types import InputError, quoted
from mfpgan.yaml_file import read_mapping


def test_literals_are_the_tables() -> None:
    assert get_args(LossName) == tuple(SEGMENTATION)
    assert get_args(AdversaryName) == ("off", *ADVERSARIAL)
    assert get_args(PresentationName) == tuple(PRESENTATIONS)
    assert get_args(InputName) == tuple(INPUTS)
    assert get_args(ArchitectureName) == tuple(ARCHITECTURES)


def test_the_smallest_crop_is_what_the_last_scale_sees() -> None:
    assert {name: VIEW_PX * 2 ** (scales - 1) for name, scales in ARCHITECTURES.items()} == SMALLEST_VIEW_PX


def test_defaults_are_the_seed_recipe() -> None:
    config = TrainConfig()
    assert (config.lr, config.lr_step, config.lr_gamma, config.epochs) == (1e-3, 5, 0.1, 20)
    assert (config.batch_size, config.size, config.pos_weight, config.clicks) == (4, 256, 5, "random")
    assert (config.adv, config.adv_weight) == ("hinge", 0.01)
    assert (config.d_input, config.d_arch, config.d_lr) == ("image-clicks-mask", "patch", 2e-4)
    assert (config.spectral, config.gradient_penalty) == (True, 0)
    extras = config.d_r1, config.d_fm, config.d_augment, config.ema, config.adv_warmup, config.adv_ramp
    assert not any(extras), "what the seed did not have is off"
    assert config.adv_balance == "fixed"
    assert (config.min_area, config.max_area, config.categories) == (None, None, None)
    assert (config.objects_per_image, config.repeat_threshold) == (1, 0)
    assert config.warnings(1000) == []


@pytest.mark.parametrize(
    ("values", "penalty", "spectral"),
    [
        ({}, 0, True),
        ({"d_spectral": False}, 0, False),
        ({"adv": "wgan-gp"}, 10, False),
        ({"adv": "wgan-gp", "d_gp": 1}, 1, False),
        ({"adv": "wgan-gp", "d_gp": 0}, 0, True),
        ({"adv": "hinge", "d_gp": 2}, 2, False),
        ({"adv": "hinge", "d_gp": 2, "d_spectral": False}, 2, False),
        ({"adv": "relativistic", "d_r1": 1, "d_spectral": False}, 0, False),
    ],
)
def test_penalty_and_spectral_norm_follow_from_the_loss(
    values: dict[str, object], penalty: float, spectral: bool
) -> None:
    config = TrainConfig.from_mapping(values, "test")
    assert (config.gradient_penalty, config.spectral) == (penalty, spectral)


CONTRADICTIONS: list[tuple[dict[str, object], list[str]]] = [
    ({"d_gp": 5, "d_spectral": True}, ["d_gp=5", "d_spectral=true", "slope"]),
    ({"adv": "wgan-gp", "d_spectral": True}, ["d_gp=10", "d_spectral=true"]),
    ({"d_gp": 5, "d_r1": 2}, ["d_gp=5", "d_r1=2", "leave one out"]),
    ({"adv": "wgan-gp", "d_r1": 2}, ["d_gp=10", "d_r1=2"]),
    ({"adv": "wgan-gp", "d_gp": 0, "d_spectral": False}, ["no bound", "--d-gp 10", "--d-spectral"]),
    ({"adv_balance": "grad", "adv_weight": 0}, ["adv_balance=grad", "adv_weight=0", "--adv-weight 0.01"]),
    ({"size": 69}, ["size=69", "70 pixels", "--size 96", "--adv off"]),
    ({"size": 139, "d_arch": "multiscale"}, ["size=139", "140 pixels", "--size 160"]),
]


@pytest.mark.parametrize(("values", "words"), CONTRADICTIONS, ids=str)
def test_adversaries_that_contradict_themselves_are_refused_in_one_sentence(
    values: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig.from_mapping(values, "my.yaml")
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.startswith("my.yaml: ")
    assert message.endswith(".")
    assert ". " not in message
    assert "\n" not in message
    without = TrainConfig.from_mapping(values | {"adv": "off"}, "my.yaml")
    assert without.warnings(1000) or values.keys() == {"size"}, "off contradicts nothing, and says what it passes over"


def test_the_smallest_crops_are_taken() -> None:
    assert TrainConfig.from_mapping({"size": 70}, "test").size == 70
    assert TrainConfig.from_mapping({"size": 140, "d_arch": "multiscale"}, "test").size == 140


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"adv": "off", "d_mask": "prob", "adv_warmup": 3}, ["--adv-warmup, --d-mask: no effect with --adv off."]),
        ({"adv": "off"}, []),
        ({"adv_weight": 0}, []),
        ({"adv_weight": 0, "adv_ramp": 5, "d_fm": 1}, ["--adv-ramp, --d-fm: no effect with --adv-weight 0"]),
        ({"adv_ramp": 5, "d_fm": 1}, []),
        ({"d_r1_every": 4}, ["--d-r1-every: no effect without --d-r1."]),
        ({"d_r1_every": 4, "d_r1": 1}, []),
        (
            {"d_r1": 1, "d_r1_every": 100, "steps": 100},
            ["--d-r1-every 100: in 100 steps the penalty acts once at most"],
        ),
        ({"d_r1": 1, "d_r1_every": 99, "steps": 100}, []),
        ({"d_spectral": False}, ["--no-d-spectral: nothing bounds the discriminator's slope"]),
        ({"d_spectral": False, "d_r1": 1}, []),
        ({"steps": 8, "adv_warmup": 8}, ["--adv-warmup 8: the run ends after 8 steps, before the adversary starts."]),
        ({"steps": 8, "adv_warmup": 7}, []),
        ({"adv": "off", "d_mask": "ste"}, ["--d-mask: no effect with --adv off."]),
        ({"ema": 0.999, "steps": 2999}, ["--ema 0.999: a mean over some 1000 steps still holds the first weights"]),
        ({"ema": 0.999, "steps": 3000}, []),
        (
            {"d_mask": "image-mul", "d_input": "mask"},
            ["--d-input mask: --d-mask image-mul shows the photo all the same"],
        ),
        ({"d_mask": "image-mul", "d_input": "image-mask"}, []),
        ({"adv_warmup": 4, "adv_ramp": 5, "steps": 8}, ["--adv-ramp 5: the run ends after 8 steps, before the weight"]),
        ({"adv_warmup": 3, "adv_ramp": 5, "steps": 8}, []),
        ({"adv_weight": 0, "d_fm": 1, "d_r1_every": 4}, ["--d-r1-every: no", "--d-fm: no effect with --adv-weight 0"]),
    ],
    ids=str,
)
def test_options_without_effect_are_named(values: dict[str, object], expected: list[str]) -> None:
    config = TrainConfig.from_mapping(values, "test")
    sentences = config.warnings(config.steps or 1000)
    assert len(sentences) == len(expected)
    for sentence, start in zip(sentences, expected, strict=True):
        assert sentence.startswith(start)
        assert sentence.endswith(".")


def test_a_config_that_a_run_wrote_speaks_only_of_what_was_chosen(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(TrainConfig.from_mapping({"d_mask": "prob"}, "test").to_yaml())
    written = TrainConfig.from_yaml(tmp_path / "config.yaml")
    config = TrainConfig.from_mapping({**written, "adv": "off"}, "test")
    assert config.warnings(1000) == ["--d-mask: no effect with --adv off."]


def test_the_table_of_strategies_is_asked_when_a_config_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"clicks='lazy': input should be one of random, multi, .*human"):
        TrainConfig.from_mapping({"clicks": "lazy"}, "test")
    monkeypatch.setitem(STRATEGIES, "lazy", STRATEGIES["center"])
    assert TrainConfig.from_mapping({"clicks": "lazy", "clicks.rounds": 1}, "test").strategy().rounds == 1


def test_parameters_of_a_strategy_are_keys_of_their_own() -> None:
    config = TrainConfig.from_mapping({"clicks": "adaptive", "clicks.spread": 0.2}, "test")
    assert config.strategy() == STRATEGIES["adaptive"](spread=0.2)
    assert config.model_dump()["clicks.spread"] == 0.2
    assert "clicks.spread: 0.2\n" in config.to_yaml()
    assert "parameters" not in config.to_yaml()
    robot = EvalConfig.from_mapping({"robot": "adaptive", "robot.spread": 1}, "test")
    assert robot.strategy() == STRATEGIES["adaptive"](spread=1)
    wrong = {"clicks.sprad": "no such parameter", "clicks.spread": "less than or equal to 1"}
    for key, words in wrong.items():
        with pytest.raises(InputError, match=words):
            TrainConfig.from_mapping({"clicks": "adaptive", key: 3}, "test")
    with pytest.raises(InputError, match=r"unknown key 'robot\.spread'"):
        TrainConfig.from_mapping({"robot.spread": 1}, "test")


def test_memory_without_a_second_turn_is_refused() -> None:
    for memory in ("previous", "modulated"):
        with pytest.raises(InputError, match=r"nothing to remember: clicks=multi.*clicks\.rounds"):
            TrainConfig.from_mapping({"memory": memory, "clicks": "multi"}, "test")
        TrainConfig.from_mapping({"memory": memory, "clicks": "multi", "clicks.rounds": 1}, "test")


def test_the_seed_preset_writes_the_defaults_out() -> None:
    values = TrainConfig.from_yaml(PRESETS / "seed.yaml")
    assert TrainConfig.from_mapping(values, "seed") == TrainConfig()
    assert {"clicks", "memory", "loss", "adv", "lr", "weight_decay"} <= values.keys()


@pytest.mark.parametrize("name", ["seed", "strong"])
def test_presets_are_named_like_files_and_a_file_goes_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    preset = resolve(TrainConfig, {"seed": 4}, Path(name), ("lr=0.5",))
    assert (preset.seed, preset.lr) == (4, 0.5)
    assert TrainConfig.from_mapping(yaml.safe_load(preset.to_yaml()), name) == preset
    Path(name).write_text("lr: 0.25\n")
    assert resolve(TrainConfig, {}, Path(name), ()).lr == 0.25


def test_a_preset_that_is_not_there_is_a_sentence_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"--config stronk: no such file.*presets are seed, strong\."):
        find_config(Path("stronk"))


CONFIGS = [
    TrainConfig(),
    TrainConfig(steps=3, adv="off", data="ä: b"),
    TrainConfig(clicks="mixed", parameters={"rounds": 2, "spread": 0.1}),
    TrainConfig(
        adv="relativistic", adv_warmup=2, adv_ramp=3, adv_balance="grad", d_r1=0.1, d_r1_every=8, d_fm=1, d_gp=0
    ),
    TrainConfig(d_mask="image-mul", d_input="mask", d_arch="multiscale", d_spectral=False, d_augment=0.5, ema=0.999),
    TrainConfig(adv="wgan-gp", d_gp=5, d_lr=1e-5),
    EvalConfig(limit=2, weights="ema"),
]


@pytest.mark.parametrize("config", CONFIGS)
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
        ({"d_augment": 1.5, "ema": 1}, ["d_augment=1.5", "ema=1"]),
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


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
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


@pytest.mark.parametrize("values", [{"parameters": 3}, {"parameters": {"spread": 0.2}}, {"parameters": 3, "lr": -1}])
def test_parameters_is_no_key_of_a_file_or_the_command_line(values: dict[str, object]) -> None:
    for more in ({}, {"clicks.rounds": 1}):
        with pytest.raises(InputError) as caught:
            TrainConfig.from_mapping({"clicks": "adaptive", **values, **more}, "my.yaml")
        message = str(caught.value)
        assert message.startswith("my.yaml: unknown key 'parameters', expected one of data, ")
        assert ("lr=-1" in message) == ("lr" in values)
        assert "\n" not in message
    with pytest.raises(InputError, match=r"^config: unknown key 'parameters'"):
        resolve(TrainConfig, {}, None, ("parameters=3", "clicks.rounds=1"))


def test_in_python_parameters_are_a_dict_or_refused() -> None:
    config = TrainConfig(clicks="adaptive", parameters={"spread": 0.2}, **{"clicks.rounds": 1})  # type: ignore[arg-type]
    assert config.strategy() == STRATEGIES["adaptive"](spread=0.2, rounds=1)
    assert TrainConfig.from_mapping(config.model_dump() | {"workers": 0}, "resumed").strategy() == config.strategy()
    with pytest.raises(ValidationError, match="valid dictionary"):
        TrainConfig(clicks="adaptive", parameters=3, **{"clicks.rounds": 1})  # type: ignore[arg-type]


def test_categories_are_a_list_in_yaml_and_a_text_with_commas() -> None:
    for written in ("teddy_bear, r", ["teddy_bear", "r"]):
        config = TrainConfig.from_mapping({"categories": written}, "test")
        assert config.categories == "teddy_bear, r"
        assert config.category_names == ("teddy_bear", "r")
        assert TrainConfig.from_mapping(yaml.safe_load(config.to_yaml()), "again") == config
    assert TrainConfig().category_names == ()
    for values, words in (
        ({"categories": " , "}, "names none"),
        ({"categories": ""}, "at least 1 character"),
        ({"min_area": 5, "max_area": 4}, "min_area=5 is above max_area=4; swap them"),
        ({"repeat_threshold": 2}, "repeat_threshold=2: input should be less than or equal to 1"),
        ({"objects_per_image": 0}, "objects_per_image=0"),
    ):
        with pytest.raises(InputError, match=words):
            TrainConfig.from_mapping(values, "test")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("lr_stepp", "lr_step"), ("adv-wieght", "adv_weight"), ("1", ""), ("surprise", ""), ("x" * 10**6, "")],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, nearest: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig.from_mapping({key: 1, "lr": 2.0}, "a")
    hint = f" (did you mean {nearest}?)." if nearest else ", expected one of data, "
    assert f"{quoted(key)}{hint}" in str(caught.value)


def test_keys_are_texts_and_off_is_a_word_at_every_level(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("off: off\n1: true\nlist: [{no: 2, yes: on}]\nbase: &b {a: 1}\nmore: {<<: *b, a: 2}\n")
    assert read_mapping(path, "a thing") == {
        "off": "off", "1": True, "list": [{"no": 2, "yes": "on"}], "base": {"a": 1}, "more": {"a": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: 2\na: 3", "'a'"),
        ("arms: {off: 1, on: 2, off: 3}", "'off' of 'arms'"),
        ("list: [1, {x: 1, 'x': 2}]", "'x' of 'list'"),
        ("deep: {er: {x: 1, x: 1}}", "'x' of 'er'"),
    ],
)
def test_a_key_that_is_there_twice_at_any_level_is_refused(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_mapping(path, "a thing")
    assert str(caught.value) == f"{path}: the key {place} is there twice; keep one of the two lines."
