"""A trained network as a folder that Hugging Face and people understand: weights, config, card.

model.safetensors   the generator's weights, which cannot run code
config.json         the run's config, and which run and step it was
README.md           the model card
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mfpgan import build
from mfpgan.config import TrainConfig
from mfpgan.files import read_weights, write_atomically
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.training.checkpoint import WEIGHT_TYPES, write_safetensors
from mfpgan.types import InputError, quoted, reason_of
from mfpgan.version import __version__

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
PATHS = ("data", "images", "val_data", "encoder_weights")
"""Options of a run that may name a place on the machine where it was trained."""
KIND = "mfpgan"
"""`model_type` in config.json."""
LARGEST_CONFIG = 1 << 20
"""Bytes; ours have two thousand."""
HEADER_ROOM = 1 << 20
"""Bytes of model.safetensors beside the weights themselves; ours has forty thousand."""


class Trained(NamedTuple):
    """A generator, and where it comes from."""

    generator: MFPResNetUNet
    config: TrainConfig
    name: str
    """What people call it: the beginning of a run's id, the name of a file or a folder."""
    run_id: str
    """32 hex digits; "" if nobody wrote it down."""
    step: int
    """How many steps the weights were trained."""
    folder: Path | None = None
    """The run's, if it is one."""


def save_folder(folder: Path, model: Trained, card: str, half: bool = False) -> None:
    """Write the three files; the config last, so that a folder with a config is whole. Other files of the folder stay, such as
    those of a Git repository.

    Args:
        card: Markdown.
        half: store the weights in float16, in half the space; they are float32 again when they are loaded, changed by at most one
            part in 2,048. False keeps every bit.

    Raises:
        ValueError: a weight that float16 does not hold.
        InputError: the folder's name is a file's, or it holds files of these names that mfpgan did not write.
    """
    _check_place(folder)
    weights = dict(model.generator.state_dict())
    if half:
        weights = {name: _halved(name, tensor) for name, tensor in weights.items()}
    values = {
        "model_type": KIND,
        "mfpgan": __version__,
        "run_id": model.run_id,
        "step": model.step,
        "config": _without_folders(model.config).model_dump(mode="json"),
    }
    # Until then one that no model loads, but that `_check_place` knows: who is interrupted may write again.
    write_atomically(folder / CONFIG, json.dumps({"model_type": KIND}).encode())
    write_safetensors(folder / WEIGHTS, weights, {"format": "pt"})
    write_atomically(folder / CARD, card.encode())
    write_atomically(folder / CONFIG, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def load_folder(folder: Path) -> Trained:
    """What `save_folder` wrote, on the CPU.

    Raises:
        InputError: a file is missing or damaged, or the weights do not fit the config.
    """
    path = folder / CONFIG
    values = _read_json(path)
    config = TrainConfig.from_mapping(_field(values, "config", dict, path), str(path))
    run_id, step = _field(values, "run_id", str, path), _field(values, "step", int, path)
    if not re.fullmatch("[0-9a-f]{32}|", run_id) or step < 0:
        raise InputError(f"{path}: run_id must be 32 hex digits and step 0 or more; take the file as it was made.")
    encoding = build.click_encoding(config)
    with torch.device("meta"):  # shapes without memory: what does not fit is found before anything of its size is made
        expected = MFPResNetUNet(config.width, encoding).state_dict()
    weights = _read_fitting(folder / WEIGHTS, expected)
    generator = MFPResNetUNet(config.width, encoding)
    generator.load_state_dict(weights)
    return Trained(generator, config, folder.resolve().name, run_id, step)


def _without_folders(config: TrainConfig) -> TrainConfig:
    """Where data lay on the machine that trained is nobody's business; what it was called may help."""
    places = {name: getattr(config, name) for name in PATHS}
    return config.model_copy(update={name: without_folders(text) for name, text in places.items() if text})


def without_folders(path: str) -> str:
    """The last part of a path, which may be one of Windows."""
    return PureWindowsPath(path).name


def _check_place(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: it is a file, expected a folder or a new name.")
    there = [name for name in (WEIGHTS, CONFIG, CARD) if (folder / name).exists()]
    if not there:
        return
    try:
        _read_json(folder / CONFIG)
    except InputError:
        raise InputError(
            f"{folder}: its {there[0]} is not known to be of a model of mfpgan and would be overwritten; move it away, or name "
            "another folder."
        ) from None


def _read_fitting(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of these names and shapes, as float32 where they are no counters.

    Raises:
        InputError: they are not, or they are no numbers.
    """
    most = HEADER_ROOM + sum(
        8 * tensor.numel() for tensor in expected.values()
    )  # 8 bytes: the longest type that is read
    if path.is_file() and path.stat().st_size > most:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes, but a model of this {CONFIG} has {most} at most; take both as they were made."
        )
    weights = read_weights(path, "weights of a model")
    for name in [*expected, *weights]:
        if name not in weights or name not in expected:
            what = "lack" if name in expected else "have"
            raise InputError(f"{path}: its weights do not fit {CONFIG}, they {what} {quoted(name)}; take both as made.")
        found, wanted = weights[name], expected[name]
        if found.shape != wanted.shape or found.dtype not in WEIGHT_TYPES or _is_real(found) != _is_real(wanted):
            raise InputError(
                f"{path}: its weights do not fit {CONFIG}, {name} is {tuple(found.shape)} of {found.dtype}, expected "
                f"{tuple(wanted.shape)} of {wanted.dtype}; take both as made."
            )
        if not torch.isfinite(found).all():
            raise InputError(f"{path}: its weights hold NaN or infinity ({name}); take the file as it was made.")
    return {name: tensor.to(expected[name].dtype) for name, tensor in weights.items()}


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise ValueError(f"{name} goes up to {float(tensor.abs().max()):g}, float16 to 65504; store float32")
    return half


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_CONFIG + 1)
        if len(content) > LARGEST_CONFIG:
            raise ValueError(f"more than {LARGEST_CONFIG} bytes")
        values = json.loads(content)
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; expected a folder that `mfpgan card --hub` made, or a run's folder."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({reason_of(error, without=str(path))}).") from None
    if not isinstance(values, dict) or values.get("model_type") != KIND:
        raise InputError(f"{path}: this is not the config of a model of mfpgan; expected model_type: {KIND}.")
    return values


def _field(values: dict[str, Any], name: str, kind: type, path: Path) -> Any:
    value = values.get(name)
    if type(value) is not kind:
        raise InputError(f"{path}: {name} must be {kind.__name__}, got {quoted(value)}; take the file as it was made.")
    return value
