"""Click-based interactive image segmentation, with and without an adversary: train, benchmark, compare.

    import mfpgan
    data = mfpgan.open_dataset("sample")
    generator, config = mfpgan.load_run("3f2a")
    session = mfpgan.ClickSession(generator)
    session.set_image(data[0].image)
    prob = session.click(y=120, x=80, positive=True)   # (H, W) float32

Names are imported when they are first used: torch takes seconds, `mfpgan --help` does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mfpgan.version import __version__

if TYPE_CHECKING:
    from mfpgan.clicks.strategies import STRATEGIES
    from mfpgan.config import EvalConfig, TrainConfig
    from mfpgan.data import open_dataset
    from mfpgan.jobs import EvaluationJob, TrainingJob, load_run
    from mfpgan.metrics import METRICS, confusion
    from mfpgan.models.discriminator import MFPDiscriminator
    from mfpgan.models.generator import MFPResNetUNet
    from mfpgan.session import ClickSession
    from mfpgan.types import Click, InputError, Sample

_HOMES = {
    "Click": "types",
    "ClickSession": "session",
    "EvalConfig": "config",
    "EvaluationJob": "jobs",
    "InputError": "types",
    "METRICS": "metrics",
    "confusion": "metrics",
    "MFPDiscriminator": "models.discriminator",
    "MFPResNetUNet": "models.generator",
    "STRATEGIES": "clicks.strategies",
    "Sample": "types",
    "TrainConfig": "config",
    "TrainingJob": "jobs",
    "load_run": "jobs",
    "open_dataset": "data",
}

__all__ = [
    "METRICS",
    "STRATEGIES",
    "Click",
    "ClickSession",
    "EvalConfig",
    "EvaluationJob",
    "InputError",
    "MFPDiscriminator",
    "MFPResNetUNet",
    "Sample",
    "TrainConfig",
    "TrainingJob",
    "__version__",
    "confusion",
    "load_run",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mfpgan' has no attribute {name!r}")
    value = getattr(import_module(f"mfpgan.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
