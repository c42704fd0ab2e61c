"""`mfpgan export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfpgan.cli.options import trained_model
from mfpgan.cli.process import computing

if TYPE_CHECKING:
    from mfpgan.config import WeightsName


@click.command()
@trained_model()
@click.option(
    "--onnx",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write.",
)
@computing
def export(run_id: str, path: Path, weights: WeightsName) -> None:
    """Write a trained network as an ONNX file, for programs without torch.

    Batch, height and width are free. The file is compared with torch at three sizes before it is written.
    """
    from mfpgan.apps.loading import load_trained
    from mfpgan.apps.onnx.export import export as export_onnx
    from mfpgan.cli import display

    model = load_trained(run_id, weights)
    display.say(f"Exporting {model.name}, some seconds to a minute.")
    done = export_onnx(model, path)
    display.say(f"{path}: {done.megabytes:.1f} MB; at most {done.difference:.1e} from torch's probabilities.")
    click.echo(path)
