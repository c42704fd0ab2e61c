"""Where runs lie, and a trained one from there."""

from __future__ import annotations

from pathlib import Path

from mfpgan import build, tracking
from mfpgan.config import TrainConfig, WeightsName
from mfpgan.devices import pick_device
from mfpgan.models.generator import MFPResNetUNet

RUNS = Path("runs")


def load_run(run_id: str, device: str = "auto", weights: WeightsName = "last") -> tuple[MFPResNetUNet, TrainConfig]:
    """The trained generator of a run, in eval mode, and the config it was trained with.

    Args:
        run_id: the id or a unique prefix; looked for in ./runs and in the MLflow store.
        device: auto, cpu, cuda, ...
        weights: as training left them, as they were when val/iou was highest, or their running mean (of runs with --ema).

    Raises:
        InputError: no such run, or its checkpoint cannot be used.
    """
    folder = tracking.fetch(tracking.find_run(run_id, RUNS))
    generator, config, _ = build.load_generator(folder, pick_device(device), weights)
    generator.eval()
    return generator, config
