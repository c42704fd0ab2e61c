"""A model's folder from strangers: a network of numbers, or one sentence; nothing of the size that a config claims is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import FUZZ, damaged, mutated, reading, to_json
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from mfpgan import build
from mfpgan.apps.hub import CONFIG, LARGEST_CONFIG, WEIGHTS, Trained, load_folder, save_folder
from mfpgan.config import TrainConfig

TRAINED = Trained(
    build.generator_of(TrainConfig.from_mapping({"width": 0.02, "encoder_weights": "none"}, "a test"))[0],
    TrainConfig.from_mapping({"width": 0.02, "encoder_weights": "none"}, "a test"),
    "tiny", "ab" * 16, 7,
)  # fmt: skip
STATE = TRAINED.generator.state_dict()
SAFETENSORS = save(dict(STATE), {"format": "pt"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_folder(folder, TRAINED, "")
    return folder


@pytest.fixture(scope="module")
def document(folder: Path) -> Any:
    return json.loads((folder / CONFIG).read_text())


def load(folder: Path, name: str, content: bytes) -> Trained | None:
    """What comes of the folder with this content in a file, which has its own again afterwards."""
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        return reading(path if name == CONFIG else folder, lambda: load_folder(folder))
    finally:
        path.write_bytes(whole)


def must_be_a_network(found: Trained | None) -> None:
    if found is None:
        return
    state = found.generator.state_dict()
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == {
        name: (value.shape, value.dtype) for name, value in STATE.items()
    }
    assert all(torch.isfinite(value).all() for value in state.values())


def test_the_valid_folder(folder: Path) -> None:
    found = load_folder(folder)
    assert all(torch.equal(value, STATE[name]) for name, value in found.generator.state_dict().items())
    assert (folder / WEIGHTS).read_bytes() == SAFETENSORS
    assert (found.run_id, found.step, found.config) == (TRAINED.run_id, TRAINED.step, TRAINED.config)


@FUZZ
@given(content=damaged(SAFETENSORS) | damaged(SAFETENSORS[:6000]).map(lambda head: head + SAFETENSORS[6000:]))
def test_damaged_weights(folder: Path, content: bytes) -> None:
    must_be_a_network(load(folder, WEIGHTS, content))


@FUZZ
@given(data=st.data())
def test_another_config(folder: Path, document: Any, data: st.DataObject) -> None:
    must_be_a_network(load(folder, CONFIG, to_json(data.draw(mutated(document)))))


ODD = {
    "nan": torch.tensor([float("nan")]), "infinite": torch.tensor([float("inf")]), "complex": torch.ones(1, dtype=torch.complex64),
    "counter": torch.ones(1, dtype=torch.int64), "eight bits": torch.ones(1, dtype=torch.float8_e4m3fn),
    "bool": torch.ones(1, dtype=torch.bool), "no dimension": torch.tensor(1.0), "longer": torch.ones(2),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_a_weight_that_is_none(folder: Path, odd: str) -> None:
    assert STATE["head.bias"].shape == (1,)
    assert load(folder, WEIGHTS, save({**STATE, "head.bias": ODD[odd]})) is None


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_numbers_become_float32(folder: Path, kind: torch.dtype) -> None:
    found = load(folder, WEIGHTS, save({**STATE, "head.bias": torch.full((1,), 0.5, dtype=kind)}))
    assert found is not None
    assert found.generator.state_dict()["head.bias"].tolist() == [0.5]
    must_be_a_network(found)


def test_names_that_are_missing_or_too_many(folder: Path) -> None:
    assert load(folder, WEIGHTS, save({name: value for name, value in STATE.items() if name != "head.bias"})) is None
    assert load(folder, WEIGHTS, save({**STATE, "a\nb\x1b[2J": torch.ones(1)})) is None


def test_a_config_of_a_gigabyte_of_weights_makes_none(folder: Path, document: Any) -> None:
    document = {**document, "config": {**document["config"], "width": 4}}
    assert load(folder, CONFIG, json.dumps(document).encode()) is None  # `reading` measures the memory


def test_files_without_end(folder: Path) -> None:
    assert load(folder, CONFIG, b" " * (LARGEST_CONFIG + 1)) is None
    path = folder / WEIGHTS
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    try:
        assert reading(path, lambda: load_folder(folder)) is None
    finally:
        path.write_bytes(SAFETENSORS)
