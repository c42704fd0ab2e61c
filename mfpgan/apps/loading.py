"""From a name that a person types to a network that answers clicks."""

from __future__ import annotations

import re
from os import PathLike, fspath
from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING

from mfpgan.types import InputError

if TYPE_CHECKING:
    from mfpgan.apps.hub import Trained
    from mfpgan.config import WeightsName
    from mfpgan.engine import Engine

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
        from mfpgan.apps.onnx.engine import OnnxEngine

        if weights != "last":
            raise InputError(f"{text}: it holds one set of weights; leave --weights out.")
        if device not in ("auto", "cpu"):
            raise InputError(f"{text}: an ONNX file is computed on the CPU, got --device {device}; leave that out.")
        return OnnxEngine(expanded(text), zoom=zoom)
    try:
        import torch  # noqa: F401 asked for first: what follows would end in its ImportError
    except ImportError:
        raise InputError(
            f"{text}: this model needs torch, which is not installed; install mfpgan with its dependencies, or use an .onnx file."
        ) from None
    from mfpgan.devices import pick_device, place, precision_on
    from mfpgan.inference import TorchEngine

    where = pick_device(device)
    trained = load_trained(text, weights)
    generator = place(trained.generator, where)
    return TorchEngine(generator, where, precision_on(where, precision), zoom, trained.config.size, trained.name)


def expanded(source: str) -> Path:
    """A path, with ~ as the shell means it; as it stands where there is no such person."""
    return Path(expanduser(source))  # noqa: PTH111 Path.expanduser raises where there is no such person


def load_trained(source: str, weights: WeightsName = "last") -> Trained:
    """A network of torch by its name, on the CPU, in eval mode: what `load_engine` takes, ONNX files apart.

    Raises:
        InputError: nothing of that name, or it cannot be used.
    """
    import torch

    from mfpgan import build, tracking
    from mfpgan.apps.hub import Trained, load_folder
    from mfpgan.jobs.runs import RUNS

    cpu = torch.device("cpu")

    def of_run(folder: Path, name: str) -> Trained:
        run_id = name if re.fullmatch("[0-9a-f]{32}", name) else ""  # somebody may have renamed the folder
        generator, config, step = build.load_generator(folder, cpu, weights)
        return Trained(generator, config, run_id[:8] or name, run_id, step, folder)

    path = SMALL if source == "small" else expanded(source)
    if path.is_dir() and source.strip() and not (path / "checkpoints").is_dir():
        if weights != "last":
            raise InputError(f"{source}: it holds one set of weights; leave --weights out.")
        found = load_folder(path)
    elif (path / "checkpoints").is_dir():
        found = of_run(path, path.resolve().name)
    elif path.suffix == ".pt" or path.is_file():
        generator, config, step = build.generator_of_checkpoint(path, cpu, weights)
        found = Trained(generator, config, path.name, "", step)
    elif not re.fullmatch(r"[0-9a-fA-F]{1,32}", source.strip()):
        raise InputError(f"{source}: there is no such model; {EXPECTED}.")
    else:
        record = tracking.find_run(source, RUNS)
        found = of_run(tracking.fetch(record), record.id)
    found.generator.eval()
    return found
