"""`mfpgan card`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfpgan.cli.options import trained_model
from mfpgan.cli.process import computing
from mfpgan.types import InputError

if TYPE_CHECKING:
    from mfpgan.config import WeightsName


@click.command()
@trained_model(others=())
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where the card goes; left out: stdout.")
@click.option(
    "--hub",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write the layout of Hugging Face: model.safetensors, config.json and the card; it loads back with --run-id FOLDER.",
)
@computing
def card(run_id: str, weights: WeightsName, out: Path | None, hub: Path | None) -> None:
    """Write a model card: what the network learnt from and how, its numbers with intervals, its limits and licence.

    The numbers are those of `mfpgan eval` of the same weights; evaluate first.
    """
    from mfpgan import tracking
    from mfpgan.apps.card import card as write_card
    from mfpgan.apps.card_numbers import reports_of
    from mfpgan.apps.hub import save_folder
    from mfpgan.apps.loading import load_trained
    from mfpgan.cli import display
    from mfpgan.files import write_atomically

    model = load_trained(run_id, weights)
    if model.folder is None:
        raise InputError(
            f"{run_id}: a card is made of a run, expected a run's id; a folder's own card is its README.md."
        )
    missing = tracking.fetch_notes(model.folder)
    if missing:
        display.warn(missing)
    reports = reports_of(model, weights)
    text = write_card(model, reports, weights, place=f"./{hub.resolve().name}" if hub else "")
    if not reports:
        display.warn("No evaluation of these weights was found; the card says which command makes one.")
    if hub is not None:
        save_folder(hub, model, text)
        load_trained(str(hub))
        display.say(f"{hub}: model.safetensors, config.json, README.md; it loads back with --run-id {hub}.")
    if out is not None:
        write_atomically(out, text.encode())
        click.echo(out)
    elif hub is None:
        click.echo(text, nl=False)
