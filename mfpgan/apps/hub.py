"""A trained network as a folder that Hugging Face and people understand: weights, config, card.

model.safetensors   the generator's weights, which cannot run code
config.json         the run's config, and which run and step it was
README.md           the model card
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mfpgan import build
from mfpgan.config import TrainConfig
from mfpgan.files import read_weights, write_atomically
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.training.checkpoint import write_safetensors
from mfpgan.types import InputError, quoted, reason_of
from mfpgan.version import __version__

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
KIND = "mfpgan"
"""`model_type` in config.json."""


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
    """Write the three files; the config last, so that a folder with a config is whole.

    Args:
        card: Markdown.
        half: store the weights in float16, in half the space; they are float32 again when they are loaded, changed by at most one
            part in 2,048. False keeps every bit.

    Raises:
        ValueError: a weight that float16 does not hold.
        InputError: the folder's name is a file's.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: it is a file, expected a folder or a new name.")
    weights = dict(model.generator.state_dict())
    if half:
        weights = {name: _halved(name, tensor) for name, tensor in weights.items()}
    values = {
        "model_type": KIND,
        "mfpgan": __version__,
        "run_id": model.run_id,
        "step": model.step,
        "config": model.config.model_dump(mode="json"),
    }
    (folder / CONFIG).unlink(missing_ok=True)
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
    weights = read_weights(folder / WEIGHTS, "weights of a model")
    generator = MFPResNetUNet(config.width, build.click_encoding(config))
    try:
        generator.load_state_dict({name: tensor.to(_dtype(tensor)) for name, tensor in weights.items()})
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / WEIGHTS}: its weights do not fit {CONFIG} ({reason_of(error)}).") from None
    return Trained(generator, config, folder.resolve().name, run_id, step)


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise ValueError(f"{name} goes up to {float(tensor.abs().max()):g}, float16 to 65504; store float32")
    return half


def _dtype(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
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
