"""Commands about the simulated users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfpgan.cli.options import ConfigCommand, resolve
from mfpgan.types import InputError


class PreviewCommand(ConfigCommand):
    """A command with those options of training that decide on samples and clicks, besides its own."""

    SHARED = (
        "data", "images", "split", "ignore_value", "min_area", "max_area", "categories", "objects_per_image",
        "repeat_threshold", "size", "clicks", "seed",
    )  # fmt: skip

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        fields = self.params[: len(self.params) - len(self._own)]
        return [param for param in params if param not in fields or param.name in self.SHARED]


@click.group()
def clicks() -> None:
    """Look at what the simulated users do."""


@clicks.command(cls=PreviewCommand, config="TrainConfig")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="clicks.NAME=VALUE",
    help="Set a parameter of the user; may be repeated.",
)
@click.option("--count", type=click.IntRange(1), default=12, show_default=True, help="Samples.")
@click.option("--rounds", type=click.IntRange(0, 20), help="Turns after the first; left out: the user's own number.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("clicks.png"), show_default=True, help="PNG to write."
)
def preview(settings: tuple[str, ...], count: int, rounds: int | None, out: Path, **options: Any) -> None:
    """Draw the clicks of a simulated user on training samples, turn by turn, without training.

    Samples, augmentation and first clicks are those of `mfpgan train` with the same seed and size, if its validation data
    is left to the default. No network is there to answer them: between the turns OpenCV's GrabCut does, so later clicks
    show the user's manner, not a run's.

    The path is printed on stdout, everything else on stderr.
    """
    from mfpgan import build
    from mfpgan import preview as job
    from mfpgan.cli import display
    from mfpgan.config import TrainConfig

    for setting in settings:
        if not setting.startswith("clicks."):
            raise InputError(f"--set {setting}: expected a parameter of the user, for example clicks.spread=.2.")
    # Without the adversary, because its smallest crop means nothing here.
    config = resolve(TrainConfig, options | {"adv": "off"}, None, settings)
    job.check_png(out)
    with display.Watch("open") as watch:
        data = build.training_data(config, watch.update)
    display.say(data.note)
    with display.Watch("preview") as watch:
        result = job.preview(data.train, config, count, rounds, watch.update)
    job.write_png(out, result.sheet())
    click.echo(out)
    display.say(f"{result.summary()}.")
