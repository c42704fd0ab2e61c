"""The command that looks into a run's discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mfpgan.cli.process import computing

if TYPE_CHECKING:
    from rich.table import Table

    from mfpgan.diagnosis.findings import Diagnosis


@click.command()
@click.option("--run-id", required=True, help="The run; a unique prefix of its id is enough.")
@click.option(
    "--limit", type=click.IntRange(1), default=64, show_default=True, help="Most objects, spread over the images."
)
@click.option("--data", help="Data to ask about, as for training; left out: the run's own validation data.")
@click.option("--images", help="Folder of the photos, if they do not lie beside the JSON.")
@click.option("--split", help="Part of the data set: train, val or test.")
@click.option("--ignore-value", type=click.IntRange(1, 255), help='Mask value that means "do not count".')
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@computing
def diagnose(run_id: str, limit: int, **options: Any) -> None:
    """Draw what a run's discriminator has learnt: what it says of drawn, predicted, spoilt and softened masks, what it
    dislikes on photos, and whether it pushes wrong pixels the right way.

    The path of the page is printed on stdout, everything else on stderr; numbers.json lies beside it, and both are in
    the run's MLflow page.
    """
    from mfpgan.cli import display
    from mfpgan.config import EvalConfig
    from mfpgan.jobs.diagnosis import DiagnosisJob

    config = EvalConfig.from_mapping(options, "config")
    with display.Watch("open") as watch:
        job = DiagnosisJob.new(run_id, config, limit, watch.update)
    display.say(job.note)
    with display.Watch("diagnose") as watch:
        found = job.run(watch.update)
    click.echo(job.page)
    display.stderr.print(_table(found))
    display.say(
        "A drawn mask rated above one of these: AUC of any two, pairs of one photo; .5 means that it cannot tell."
    )


def _table(found: Diagnosis) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("masks")
    for title in ("mean logit", "AUC", "pairs", "pushed the right way \\[95 %]"):
        table.add_column(title, justify="right", no_wrap=True)
    for kind, numbers in found.numbers()["kinds"].items():
        share = ""
        if numbers["right_way"]:
            mean, low, high = numbers["right_way"]
            share = f"{mean:.3f} \\[{low:.3f}, {high:.3f}]"
        ratings = ["" if numbers[name] is None else f"{numbers[name]:.3f}" for name in ("auc", "paired")]
        table.add_row(kind, f"{numbers['mean_logit']:.3f}", *ratings, share)
    return table
