"""A trained network as an ONNX file, compared with torch before it is written."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mfpgan.apps.hub import Trained
from mfpgan.apps.onnx.facts import INPUTS, OUTPUT, Facts
from mfpgan.clicks.encoding import draw_clicks
from mfpgan.files import write_atomically
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.types import THRESHOLD, Click, InputError, MemoryName, reason_of
from mfpgan.version import __version__

PARITY = 1e-4
"""Most by which a probability may differ from torch's."""
SIZES = ((1, 96, 96), (2, 75, 131), (3, 160, 41))
"""(batch, height, width) that are compared: a multiple of the network's stride, and others."""
_INPUTS_OF: dict[MemoryName, tuple[str, ...]] = {
    "none": tuple(INPUTS)[:2],
    "previous": tuple(INPUTS)[:4],
    "modulated": tuple(INPUTS),
}


class Written(NamedTuple):
    """What an export came to."""

    megabytes: float
    difference: float
    """The largest difference to torch's probabilities, over `SIZES`."""


class _Answering(nn.Module):
    """The generator with the inputs that the file has."""

    def __init__(self, generator: MFPResNetUNet) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        image: Tensor,
        clicks: Tensor,
        previous: Tensor | None = None,
        has_previous: Tensor | None = None,
        modulated: Tensor | None = None,
    ) -> Tensor:
        guidance = [clicks]
        for one in (previous, modulated):
            if one is not None and has_previous is not None:
                known = has_previous.reshape(-1, 1, 1, 1) > 0
                guidance.append(torch.where(known, one, torch.zeros_like(one)))
        logits: Tensor = self.generator(image, torch.cat(guidance, 1))
        return logits.sigmoid()


def export(model: Trained, path: Path) -> Written:
    """Write a file with dynamic batch, height and width that `ClickSession.load` and any runtime of ONNX take.

    Raises:
        InputError: the extra is not installed, or the file would answer otherwise than torch. Nothing is written then.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 torch's exporter needs it
    except ImportError as error:
        raise InputError(f"--onnx needs {error.name}; pip install 'mfpgan[onnx]'.") from None
    network = _Answering(model.generator.cpu().float().to(memory_format=torch.contiguous_format)).eval()
    encoding = model.generator.click_encoding
    names = _INPUTS_OF[encoding.memory]
    chance = np.random.default_rng(0)
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    shapes = [{0: dynamic[0]} if name == "has_previous" else dynamic for name in names]
    given = _inputs(names, *SIZES[1], chance)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        program = torch.onnx.export(
            network, tuple(given.values()), dynamo=True, verbose=False, input_names=names, output_names=[OUTPUT],
            dynamic_shapes=tuple(shapes),
        )  # fmt: skip
    assert program is not None
    file = program.model_proto
    facts = Facts(
        name=model.name, run_id=model.run_id, step=model.step, version=__version__, memory=encoding.memory,
        click_shape=encoding.shape, click_radius=encoding.radius, size=model.config.size, threshold=THRESHOLD,
        inputs="; ".join(f"{name}: {INPUTS[name]}" for name in names),
    )  # fmt: skip
    onnx.helper.set_model_props(file, facts.to_metadata())
    _name_sides(file)
    data = file.SerializeToString()
    try:
        onnx.checker.check_model(file)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # both have many
        raise InputError(f"{path}: the exported file is not valid ({reason_of(error)}); nothing was written.") from None
    difference = max(_difference(network, session, _inputs(names, *size, chance)) for size in SIZES)
    if not difference <= PARITY:
        raise InputError(
            f"{path}: through onnxruntime the network answers otherwise than torch (by {difference:.1e}, at most {PARITY:g} "
            "is allowed); nothing was written."
        )
    write_atomically(path, data)
    return Written(len(data) / 1e6, difference)


def _name_sides(file: Any) -> None:
    """Sides are called batch, height and width, not s27 and the like; what lies between in and out needs no names."""
    for value in (*file.graph.input, *file.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "", "height", "width"), strict=False):
            if name:
                dimension.ClearField("dim_value")
                dimension.dim_param = name
    del file.graph.value_info[:]


def _inputs(
    names: tuple[str, ...], batch: int, height: int, width: int, chance: np.random.Generator
) -> dict[str, Tensor]:
    """Random photos, clicks and answers; every other user has no previous one."""
    clicks = np.stack(
        [
            draw_clicks([Click(height // 2, width // 3, True), Click(height - 1, number, False)], height, width)
            for number in range(batch)
        ]
    )
    all_inputs = {
        "image": torch.from_numpy(chance.random((batch, 3, height, width), np.float32)),
        "clicks": torch.from_numpy(clicks),
        "previous": torch.from_numpy(chance.random((batch, 1, height, width), np.float32)),
        "has_previous": torch.arange(1, batch + 1).remainder(2).float(),
        "modulated": torch.from_numpy(chance.random((batch, 1, height, width), np.float32)),
    }
    return {name: all_inputs[name] for name in names}


def _difference(network: _Answering, session: Any, given: dict[str, Tensor]) -> float:
    with torch.inference_mode():
        wanted = network(*given.values()).numpy()
    found = session.run([OUTPUT], {name: tensor.numpy() for name, tensor in given.items()})[0]
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
