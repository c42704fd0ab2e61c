"""The commands. Each one: options to a config, build, run, print; no logic, and nothing heavy imported before it runs."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mfpgan.cli.card import card
from mfpgan.cli.clicks import clicks
from mfpgan.cli.compare import compare
from mfpgan.cli.demo import demo
from mfpgan.cli.diagnose import diagnose
from mfpgan.cli.export import export
from mfpgan.cli.options import ConfigCommand, resolve, tags_of
from mfpgan.cli.predict import predict
from mfpgan.cli.process import computing, quiet_beside_others, sharing
from mfpgan.cli.study import study
from mfpgan.types import InputError
from mfpgan.version import __version__

if TYPE_CHECKING:
    from mfpgan.training.trainer import Trainer

BAD_INPUT, PROBLEMS_FOUND, FAILED = 2, 1, 1
"""Exit codes; 130 and 143 mean stopped by a signal."""


def main() -> NoReturn:
    """Run the command line; what a user did wrong is one sentence on stderr and exit code 2."""
    with quiet_beside_others():
        code = _run()
    sys.exit(code)


def _run() -> int:
    try:
        code = app.main(standalone_mode=False, prog_name="mfpgan")
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except InputError as error:
        print(f"mfpgan: {error}", file=sys.stderr)
        code = BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        print("mfpgan: stopped.", file=sys.stderr)
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # `mfpgan runs | head`
        sys.stderr.close()
        code = 128 + signal.SIGPIPE
    except ConnectionError as error:  # of another process of the run
        print(f"mfpgan: {error}", file=sys.stderr)
        code = FAILED
    except OSError as error:  # a full disk, a folder that cannot be written
        room = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; make room, then go on: what was written before is whole" if room else ""
        print(f"mfpgan: {error.filename or 'writing failed'}: {error.strerror or error}{advice}.", file=sys.stderr)
        code = BAD_INPUT
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mfpgan")
def app() -> None:
    """Click-based interactive segmentation: train with and without an adversary, benchmark, compare.

    \b
    mfpgan train --adv off          the plain baseline
    mfpgan train                    the same with a discriminator
    mfpgan eval --run-id ID         both protocols, into the run's MLflow page
    mfpgan runs                     what there is
    mfpgan study run FILE           many runs that answer one question
    mfpgan sync                     MLflow up to date again, after it was away
    mfpgan demo                     click yourself, in a local web page
    mfpgan predict photo.jpg ...    masks of given clicks
    """


def config_options(command: Any) -> Any:
    """`--config FILE` and `--set key=value`."""
    command = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any key; may be repeated."
    )(command)
    return click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="YAML file with any of these options as keys; for training also a preset: seed or strong.",
    )(command)


@app.command(cls=ConfigCommand, config="TrainConfig")
@config_options
@click.option("--name", help="Name of the run in MLflow; the run id is given by MLflow.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Mark the run, for MLflow's page; may be repeated."
)
@click.option(
    "--resume", metavar="RUN_ID", help="Go on with a stopped run, from its last checkpoint and with its config."
)
@click.option("--dry-run", is_flag=True, help="Print the resolved config and what would be read, and stop.")
@computing
@sharing
def train(
    file: Path | None,
    settings: tuple[str, ...],
    name: str | None,
    tags: tuple[str, ...],
    resume: str | None,
    dry_run: bool,
    **options: Any,
) -> int:
    """Train a model, with or without the adversary.

    The run's id is printed on stdout, everything else on stderr, so `id=$(mfpgan train ...)` works.
    """
    from mfpgan.cli import display
    from mfpgan.config import TrainConfig
    from mfpgan.jobs import TrainingJob
    from mfpgan.training.finite import NotFiniteError
    from mfpgan.training.replicas import DriftError
    from mfpgan.training.trainer import StepReport

    if resume is not None:
        beside = {"config": file, "set": settings or None, "name": name, "tag": tags or None}
        with display.Watch("open") as watch:
            job = TrainingJob.resume(resume, options | beside, watch.update)
    else:
        with display.Watch("open") as watch:
            job = TrainingJob.new(resolve(TrainConfig, options, file, settings), name, watch.update, tags_of(tags))
    for sentence in job.warnings:
        display.warn(sentence)
    if dry_run:
        click.echo(job.describe(), nl=False)
        return 0
    display.say(job.data.note)
    try:
        with Stopper() as stopper, job.start() as trainer:
            stopper.trainer = trainer
            click.echo(trainer.run.id)
            display.say(
                f"Steps {trainer.step} to {trainer.plan.steps} on {trainer.device}; files in {trainer.run.folder}."
            )
            if job.config.compile:
                display.say("Compiling at the first step: this takes some minutes.")
            with display.Watch("train", trainer.step) as watch:

                def report(step: StepReport) -> None:
                    watch.update(step.step, step.steps, step.metrics)
                    for sentence in step.skipped:
                        display.say(f"Skipped: {sentence}")
                    if step.alarm:
                        display.warn(step.alarm)

                trainer.train(report)
    except (NotFiniteError, DriftError) as error:
        display.say(f"mfpgan: {error}")
        return FAILED
    if trainer.step < trainer.plan.steps:
        display.say(f"Stopped at step {trainer.step}; go on with: mfpgan train --resume {trainer.run.id[:8]}")
        return 128 + (stopper.signal or signal.SIGTERM)  # or another process was told
    display.say(f"Done. Next: mfpgan eval --run-id {trainer.run.id[:8]}")
    return 0


class Stopper:
    """While it is entered, the first SIGINT or SIGTERM lets a running trainer finish its step and save; a second one,
    or one before the trainer runs, ends the program at once."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.signal = 0

    def __enter__(self) -> Stopper:
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: object) -> None:
        if self.trainer is None or self.signal:
            raise SystemExit(128 + number)
        self.signal = number
        self.trainer.stop_requested = True


@app.command("eval", cls=ConfigCommand, config="EvalConfig")
@config_options
@click.option("--run-id", required=True, help="The run; a unique prefix of its id is enough.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON on stdout instead of tables.")
@computing
@sharing
def evaluate(file: Path | None, settings: tuple[str, ...], run_id: str, as_json: bool, **options: Any) -> int:
    """Evaluate a run, by default on BSDS500 where it is found; the numbers go into the run's MLflow page."""
    from mfpgan.cli import display, tables
    from mfpgan.config import EvalConfig
    from mfpgan.jobs import EvaluationJob

    with display.Watch("open") as watch:
        job = EvaluationJob.new(run_id, resolve(EvalConfig, options, file, settings), watch.update)
    display.say(job.note)
    with display.Watch("evaluate") as watch:

        def progress(protocol: str, done: int, total: int) -> None:
            watch.rename(protocol)
            watch.update(done, total)

        report = job.run(progress)
    if as_json:
        click.echo(report.to_json())
    else:
        tables.show_report(report)
        display.say(f"Report in {job.folder / 'eval'}, pictures in {job.folder / 'figures'}; both also in `mfpgan ui`.")
    return 0


@app.command()
@click.argument("prefixes", nargs=-1, metavar="[RUN_ID]...")
def runs(prefixes: tuple[str, ...]) -> None:
    """List the runs, newest first; with ids (unique prefixes), compare those side by side."""
    from mfpgan import tracking
    from mfpgan.cli import display, tables

    if prefixes:
        tables.compare_runs([tracking.find_run(prefix) for prefix in prefixes])
        return
    found = tracking.list_runs()
    tables.show_runs(found)
    for sentence in tables.hints(found):
        display.say(sentence)


@app.command()
@click.argument("prefixes", nargs=-1, metavar="[RUN_ID]...")
def sync(prefixes: tuple[str, ...]) -> int:
    """Bring MLflow up to date with the folders of runs, after it was away; without ids, of all runs in ./runs.

    What MLflow has is not sent again, so it may be repeated at any time. Exit code 1 if a run could not be brought up to
    date.
    """
    from mfpgan import tracking
    from mfpgan.cli import display

    found = [tracking.find_run(prefix) for prefix in prefixes]
    failed = False
    for run in found or tracking.local_runs():
        try:
            with display.Watch(f"sync {run.id[:8]}") as watch:
                done = tracking.sync(run, watch.update)
        except InputError as error:
            if len(found) == 1:
                raise
            display.say(f"mfpgan: {error}")
            failed = True
            continue
        sent = done.sent
        text = f"{sent.numbers} numbers, {sent.pictures} pictures and {sent.files} files" if sent else "nothing"
        known = "" if done.mlflow_id == run.id else f"; MLflow calls it {done.mlflow_id}"
        display.say(f"Run {run.id[:8]}: MLflow lacked {text}{known}.")
    return FAILED if failed else 0


@app.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(port: int) -> int:
    """Open the MLflow page of the runs on http://127.0.0.1:PORT (Ctrl-C ends it)."""
    from mfpgan import tracking
    from mfpgan.cli import display

    display.say(f"All runs in one chart each, in some seconds: {tracking.runs_page(port=port)}  (Ctrl-C ends it)")
    return tracking.open_ui(port=port)


app.add_command(card)
app.add_command(clicks)
app.add_command(compare)
app.add_command(demo)
app.add_command(diagnose)
app.add_command(export)
app.add_command(predict)
app.add_command(study)


@app.group()
def data() -> None:
    """Look at data sets and convert them."""


@data.command()
@click.argument("path")
@click.option("--images", help="Folder of the photos, if they do not lie beside the JSON.")
@click.option("--split", help="Part of the data set: train, val or test.")
@click.option("--ignore-value", type=click.IntRange(1, 255), help='Mask value that means "do not count".')
def check(path: str, images: str | None, split: str | None, ignore_value: int | None) -> int:
    """Say what PATH is, count what is in it, list what is wrong; exit code 1 if anything is unusable."""
    from mfpgan.cli import display, tables
    from mfpgan.data.check import check_dataset

    with display.Watch("check") as watch:
        report = check_dataset(path, images, split, ignore_value, progress=watch.update)
    tables.show_check(report)
    return 0 if report.usable else PROBLEMS_FOUND


@data.command("bsds-png")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="train, val or test.")
def bsds_png(root: Path, out: Path, split: str) -> None:
    """Write BSDS500's consensus objects as photos and PNG masks, a folder that `--data` reads."""
    from mfpgan.cli import display
    from mfpgan.data.bsds500 import write_png

    with display.Watch("write") as watch:
        images, objects = write_png(root, out, split, progress=watch.update)
    display.say(f"{images} photos with {objects} objects in {out}; use it with --data {out}")
