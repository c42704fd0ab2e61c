"""From a name that a person types to a network that answers clicks."""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from mfpgan.types import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mfpgan.config import TrainConfig, WeightsName
    from mfpgan.session import Engine

SMALL = Path(__file__).parent.parent / "small"
"""The model that comes along, in the layout of `mfpgan.apps.hub`."""
EXPECTED = (
    "expected `small`, the id of a run in ./runs or MLflow, a checkpoint (.pt), a file of `mfpgan export` (.onnx) or a "
    "folder of `mfpgan card --hub`; `mfpgan runs` lists the runs"
)


def load_engine(
    source: str | PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    weights: WeightsName = "last",
    zoom: bool = True,
) -> Engine:
    """A trained network, ready for clicks; arguments as in `mfpgan.session.ClickSession.load`.

    Raises:
        InputError: nothing of that name, or it cannot be used.
    """
    text = fspath(source)
    if Path(text).suffix == ".onnx":
        from mfpgan.apps.onnx_engine import OnnxEngine

        return OnnxEngine(Path(text), zoom=zoom)
    from mfpgan.devices import pick_device, place, precision_on
    from mfpgan.inference import TorchEngine

    where = pick_device(device)
    generator, config, name = _network(text, where, weights)
    generator.eval()
    return TorchEngine(place(generator, where), where, precision_on(where, precision), zoom, config.size, name)


def _network(source: str, device: torch.device, weights: WeightsName) -> tuple[nn.Module, TrainConfig, str]:
    """The generator, its config, and what people call it."""
    from mfpgan import build, tracking
    from mfpgan.jobs.runs import RUNS

    path = SMALL if source == "small" else Path(source).expanduser()
    if (path / "checkpoints").is_dir():
        generator, config, _ = build.load_generator(path, device, weights)
        return generator, config, path.resolve().name[:8]
    if path.is_dir() and source.strip():
        from mfpgan.apps.hub import load_folder

        return *load_folder(path, device), path.resolve().name
    if path.suffix == ".pt" or path.is_file():
        generator, config, _ = build.generator_of_checkpoint(path, device, weights)
        return generator, config, path.name
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", source.strip()):
        raise InputError(f"{source}: there is no such model; {EXPECTED}.")
    record = tracking.find_run(source, RUNS)
    generator, config, _ = build.load_generator(tracking.fetch(record), device, weights)
    return generator, config, record.id[:8]
