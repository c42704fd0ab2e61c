"""A trained network as a folder: weights, config and card, and whatever may be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfpgan import ClickSession, build
from mfpgan.apps.hub import CONFIG, Trained, load_folder, save_folder
from mfpgan.config import TrainConfig
from mfpgan.types import InputError


def trained(**changes: Any) -> Trained:
    values = {"width": 0.1, "memory": "modulated", "clicks": "mixed", "size": 96, "encoder_weights": "none"}
    config = TrainConfig.from_mapping(values | changes, "a test")
    return Trained(build.generator_of(config)[0].eval(), config, "tiny", "ab" * 16, 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_folder(tmp_path / "tiny", trained(), "# Card\n")
    return tmp_path / "tiny"


def test_what_was_saved_is_loaded_to_the_bit(folder: Path) -> None:
    before, after = trained(), load_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "README.md").read_text() == "# Card\n"
    assert after._replace(generator=before.generator) == before
    weights = before.generator.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in after.generator.state_dict().items())
    assert len(weights) == len(after.generator.state_dict())


def test_where_the_data_lay_is_not_told(tmp_path: Path) -> None:
    model = trained(data=str(tmp_path / "secret" / "photos"), val_data="none", images=str(tmp_path / "secret"))
    save_folder(tmp_path / "tiny", model, "")
    text = (tmp_path / "tiny" / CONFIG).read_text()
    assert str(tmp_path) not in text
    loaded = load_folder(tmp_path / "tiny").config
    assert (loaded.data, loaded.val_data, loaded.images) == ("photos", "none", "secret")


def test_half_the_space_costs_one_part_in_2048(tmp_path: Path, folder: Path) -> None:
    save_folder(tmp_path / "half", trained(), "# Card\n", half=True)
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "half", folder)]
    assert sizes[0] < 0.6 * sizes[1]
    whole, half = (load_folder(path).generator.state_dict() for path in (folder, tmp_path / "half"))
    for name, tensor in whole.items():
        assert half[name].dtype == tensor.dtype
        torch.testing.assert_close(half[name], tensor, rtol=2**-11, atol=2**-25)


def test_weights_that_float16_does_not_hold(tmp_path: Path) -> None:
    model = trained()
    with torch.no_grad():
        model.generator.head.bias += 1e5
    with pytest.raises(ValueError, match=r"head\.bias goes up to 100000, float16 to 65504"):
        save_folder(tmp_path / "half", model, "", half=True)
    assert not (tmp_path / "half").exists()


def test_a_session_of_the_folder(folder: Path) -> None:
    session = ClickSession.load(folder, precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (70, 120, 3), np.uint8)
    session.set_image(image)
    answer = session.click(30, 40)
    model = trained()
    from mfpgan.devices import place
    from mfpgan.inference import TorchEngine

    twin = ClickSession(TorchEngine(place(model.generator, torch.device("cpu")), "cpu", "fp32", True, 96))
    twin.set_image(image)
    assert np.array_equal(answer, twin.click(30, 40))
    assert session.engine.name == "tiny"
    with pytest.raises(InputError, match="one set of weights"):
        ClickSession.load(folder, weights="ema")


def test_the_folders_name_is_a_files(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(InputError, match="it is a file"):
        save_folder(tmp_path / "model", trained(), "")
    assert (tmp_path / "model").read_text() == "mine"


def test_who_is_interrupted_may_write_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mfpgan.apps.hub.write_safetensors", full)
        with pytest.raises(OSError, match="No space"):
            save_folder(folder, trained(), "# Another\n")
    with pytest.raises(InputError, match="config must be dict, got None"):
        load_folder(folder)
    save_folder(folder, trained(), "# Another\n")
    assert load_folder(folder).step == 7


def test_a_model_is_written_over_a_model_and_over_nothing_else(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "notes.txt").write_text("mine")
    save_folder(folder, trained(), "# Another\n")
    assert (folder / "README.md").read_text() == "# Another\n"
    assert sorted(path.name for path in folder.iterdir())[:2] == [".git", "README.md"]
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / CONFIG).write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"its model\.safetensors is not known to be of a model of mfpgan"):
        save_folder(folder, trained(), "")
    for name in (CONFIG, "model.safetensors"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"its README\.md is not known"):
        save_folder(folder, trained(), "")
    assert (folder / "README.md").read_text() == "# Another\n"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "bert"}, "not the config of a model of mfpgan"),
        ({"step": "7"}, "step must be int, got '7'"),
        ({"step": True}, "step must be int, got True"),
        ({"step": -1}, "run_id must be 32 hex digits and step 0 or more"),
        ({"run_id": "a run"}, "run_id must be 32 hex digits and step 0 or more"),
        ({"config": [1]}, "config must be dict"),
        ({"config": {"width": -1}}, "width"),
        ({"config": {"width": 0.2, "encoder_weights": "none"}}, "its weights do not fit config.json"),
        ({"config": {"width": 0.1, "encoder_weights": "none"}}, r"encoder\.conv1\.weight is"),  # memory none
    ],
)
def test_a_config_that_nobody_wrote(folder: Path, change: dict[str, Any], sentence: str) -> None:
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | change))
    with pytest.raises(InputError, match=sentence):
        load_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match="there is no such file"):
        load_folder(folder)
