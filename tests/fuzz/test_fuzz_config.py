"""YAML configs: a config that comes back equal, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile import FUZZ, Raw, damaged, mutated, reading
from hypothesis import given
from hypothesis import strategies as st

from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.types import InputError

BOMB = "[" + ",".join(f"&a{n} [{','.join([f'*a{n - 1}'] * 9 if n else ['1'] * 9)}]" for n in range(12)) + "]"
"""A list that would be written with 9 to the power of 12 numbers."""
ODD = [
    "1_000", "0x" + "f" * 9000, "0b11", "0o17", "017", "1:30", "1e3", "1e400", "-.inf", ".nan", "9" * 5000, "2001-99-99", "2001-01-01",
    "2001-01-01 99:99:99", "yes", "no", "off", "on", "~", "null", "''", '"a\\nb"', '"\\x1b[2J"', '"\\uD800"', '"\\0"', "x" * 100_000,
    "!!bool maybe", "!!int ''", "!!int x", "!!float x", "!!timestamp x", "!!binary x", "!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]",
    "!!python/object/apply:os.system [touch canary]", "!!python/name:os.system", "!unknown x", "&a [*a]", "*missing", BOMB,
    '"\\x1b": 1', "{1: 2}", "{[1]: 2}", "{a: 1, a: 2}", "[" * 300 + "]" * 300, "[" * 400, "{<<: {a: 1}}", "|\n  text", ">-\n  text", "? a\n: b", "- 1", "%YAML 1.2",
    "---\n...\n---", "@x", "`x`", "\t1", "# gone", "", "\u2028", "\ufeff",
]  # fmt: skip
VALUES = st.sampled_from(ODD).map(Raw) | st.sampled_from(
    [-1, 0, 1, 32, 10**9, 2**64, 10**30, 0.5, 1e-300, True, False, None, "auto", "none", "hinge", "mixed", "ema", [], {}, [1, "a"], {"a": 1}]
) | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)  # fmt: skip
DOCUMENTS: dict[type[TrainConfig] | type[EvalConfig], dict[str, Any]] = {
    TrainConfig: {
        "data": "sample", "ignore_value": None, "min_area": 4.5, "categories": "cup, dog", "size": 256, "clicks": "adaptive", "adv": "hinge",
        "clicks.spread": 0.25, "clicks.rounds": 3, "memory": "previous", "d_spectral": None, "ema": 0.999, "steps": 9, "compile": False,
    },
    EvalConfig: {"data": None, "robot": "human", "robot.jitter": 0.24, "protocol": "both", "zoom": True, "seed": 4, "batch_size": 8},
}  # fmt: skip


def to_yaml(document: Any) -> bytes:
    """YAML text of a document of plain values; Raw ones stand as they are."""
    if not isinstance(document, dict):
        return _scalar(document).encode("utf-8", "surrogatepass")
    return "".join(f"{_scalar(key)}: {_scalar(value)}\n" for key, value in document.items()).encode(
        "utf-8", "surrogatepass"
    )


def _scalar(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_scalar(key)}: {_scalar(inner)}' for key, inner in value.items())}}}"
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")


@pytest.mark.parametrize("model", DOCUMENTS)
def test_the_valid_documents_are_read(model: type[TrainConfig], tmp_path: Path) -> None:
    path = tmp_path / "valid.yaml"
    path.write_bytes(to_yaml(DOCUMENTS[model]))
    config = model.from_mapping(model.from_yaml(path), str(path))
    assert DOCUMENTS[model].items() <= config.model_dump().items()
    check(path, model)


def check(path: Path, model: type[TrainConfig] | type[EvalConfig]) -> None:
    config = reading(path, lambda: model.from_mapping(model.from_yaml(path), str(path)))
    if config is None:
        return
    again = path.with_name("again.yaml")
    again.write_text(config.to_yaml(), encoding="utf-8")
    assert model.from_mapping(model.from_yaml(again), str(again)) == config
    config.strategy()
    if isinstance(config, TrainConfig):
        assert all(isinstance(sentence, str) for sentence in config.warnings(100))


MODELS = st.sampled_from([TrainConfig, EvalConfig])


@FUZZ
@given(case=MODELS.flatmap(lambda model: st.tuples(st.just(model), mutated(DOCUMENTS[model], VALUES))))
def test_a_mutated_config(tmp_path: Path, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mutated.yaml"
    path.write_bytes(to_yaml(case[1]))
    check(path, case[0])
    assert not Path("canary").exists()


@FUZZ
@given(case=MODELS.flatmap(lambda model: st.tuples(st.just(model), damaged(to_yaml(DOCUMENTS[model])))))
def test_a_damaged_config(tmp_path: Path, case: Any) -> None:
    path = tmp_path / "damaged.yaml"
    path.write_bytes(case[1])
    check(path, case[0])


@pytest.mark.parametrize("text", ODD)
def test_every_odd_value_in_every_place(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.yaml"
    keys = ("data", "size", "lr", "clicks", "clicks.spread", "categories", "adv", "compile", "surprise", "parameters")
    for content in [
        *(f"{key}: {text}\n" for key in keys),
        text,
        f"{text}: 1\n",
        f"clicks: adaptive\nclicks.{text}: {text}\n",
    ]:
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        check(path, TrainConfig)
    assert not Path("canary").exists()


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("lr: 0.1\nseed: 1\nlr: 0.2\n")
    with pytest.raises(InputError, match=r"twice\.yaml: the key 'lr' is there twice"):
        TrainConfig.from_yaml(path)


def test_categories_are_names(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("categories: [cup, dog]\n")
    assert TrainConfig.from_mapping(TrainConfig.from_yaml(path), "a").category_names == ("cup", "dog")
    path.write_text("categories: [cup, [dog]]\n")
    with pytest.raises(InputError, match=r"a: categories=\['cup', \['dog'\]\]"):
        TrainConfig.from_mapping(TrainConfig.from_yaml(path), "a")
