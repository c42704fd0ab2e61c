"""The commands of studies."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from mfpgan.cli.process import computing
from mfpgan.types import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from mfpgan.study.cells import State, Survey
    from mfpgan.study.file import Cell

FAILED = 1
of_arms = click.option("--arms", metavar="ARM,ARM", help="Only these arms, and the reference; left out: all.")


@click.group()
def study() -> None:
    """Trainings that answer a question: arms and seeds in one file."""


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set", "settings", multiple=True, metavar="base.KEY=VALUE", help="Set a key of the study's base; may be repeated."
)
@of_arms
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time; left out: one, or as many as SLURM likes.")
@click.option("--dry-run", is_flag=True, help="List the cells and how far they are, and stop.")
@click.option("--retry", is_flag=True, help="Try failed cells again.")
@click.option("--force", is_flag=True, help="Go on though finished cells were made with other code or data.")
@click.option(
    "--launcher",
    type=click.Choice(["local", "submitit"]),
    default="local",
    show_default=True,
    help="submitit: each cell a job of SLURM.",
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Parameter of the jobs, as submitit calls it: partition=gpu, time=60.",
)
def run(
    file: Path,
    settings: tuple[str, ...],
    arms: str | None,
    jobs: int | None,
    dry_run: bool,
    retry: bool,
    force: bool,
    launcher: str,
    slurm: tuple[str, ...],
) -> int:
    """Train and evaluate the cells of the study FILE: every arm with every seed.

    Cells that are finished are left as they are, interrupted ones go on, so the same command may be repeated at any time.
    Logs lie in studies/NAME, the runs in runs and MLflow, where the tags study, arm and seed filter and group them. Exit code 1
    while a cell is not done.
    """
    from mfpgan.cli import display
    from mfpgan.study import cells, launch, origin
    from mfpgan.study.file import Study

    if slurm and launcher == "local":
        raise InputError("--slurm says what jobs of SLURM are given; add --launcher submitit, or leave it out.")
    question = Study.load(file, settings, arms)
    with display.Watch("open") as watch:
        survey = cells.Survey.of(question, progress=watch.update)
    for note in dict.fromkeys(entry.note for entry in survey.evaluations):
        display.say(note)
    if dry_run:
        _list(survey, jobs or 1)
        for sentence in origin.differences(survey):
            display.warn(sentence)
        return 0
    how: launch.Launcher = launch.Local(jobs or 1)
    if launcher == "submitit":
        how = launch.Submitit(launch.parameters_of(slurm), jobs)
    if force:
        for sentence in origin.differences(survey):
            display.warn(sentence)
    with _Board(survey, jobs or 1) as board:
        stopped = launch.run_study(survey, how, board.tell, retry=retry, force=force)
    survey = survey.again()
    done = sum(state.status == "done" for state in survey.states)
    unsaid = ("done", *(("missing", "interrupted", "trained") if stopped else ()))
    for state in survey.states:
        if state.status not in unsaid:
            display.say(
                f"{state.cell.name}: {state.status}{state.note and f' ({state.note})'}; see {_log(survey, state)}"
            )
    if any(state.status == "failed" for state in survey.states):
        display.say("Failed cells are tried again with --retry.")
    display.say(f"{done} of {len(survey.states)} cells are done." + " The same command goes on." * bool(stopped))
    if stopped:
        return 128 + stopped
    return 0 if done == len(survey.states) else FAILED


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="base.KEY=VALUE",
    help="As for `mfpgan study run`: other values, other cells.",
)
@of_arms
@click.option(
    "--effect", "effects", multiple=True, metavar="MEASURE=X",
    help="The difference that is asked about, instead of the file's; such as NoC_85=0.5.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Compare though cells were made with different code or data.")
@computing
def report(file: Path, settings: tuple[str, ...], arms: str | None, effects: tuple[str, ...], force: bool) -> None:
    """Compare the arms of the study FILE with its reference: differences paired by object and seed, with 95 % intervals.

    Tables are printed; the page, a CSV and pictures go to studies/NAME/report, and with the file into a run of MLflow. The
    page's path is printed last.
    """
    from mfpgan.cli import display
    from mfpgan.cli.compare import effect_of, show_answer
    from mfpgan.study.file import Study
    from mfpgan.study.summary import summarise

    question = Study.load(file, settings, arms)
    summary = summarise(question, dict(map(effect_of, effects)), force=force)
    show_answer(summary.answer)
    for sentence in summary.careful:
        display.warn(f"{sentence}.")
    display.say(f"Pictures and results.csv in {summary.page.parent}; in MLflow as run {summary.run_id[:8]}.")
    click.echo(summary.page)


def _log(survey: Survey, state: State) -> str:
    return f"studies/{survey.study.name}/{state.cell.name}.log"


def _list(survey: Survey, jobs: int) -> None:
    """The cells on stdout."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from mfpgan.cli import display

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("arm", "seed", "state", "run", "about", "digest"):
        table.add_column(name, justify="right" if name in ("seed", "about") else "left", no_wrap=name != "state")
    for state in survey.states:
        seconds = None if state.status == "done" else survey.seconds_of(state)
        run_id = state.record.id[:8] if state.record else ""
        table.add_row(
            state.cell.arm, str(state.cell.seed), escape(f"{state.status} {state.note}".strip()), run_id,
            "" if seconds is None else display.clock(seconds), state.cell.digest,
        )  # fmt: skip
    display.stdout.print(table)
    left = survey.seconds_left(survey.to_do(), jobs)
    text = (
        "nobody knows how long before the first cell is finished"
        if left is None
        else f"about {display.clock(left)} left"
    )
    at_once = f", {jobs} at a time" if jobs > 1 else ""
    display.stdout.print(f"{len(survey.to_do())} of {len(survey.states)} cells to do{at_once}: {text}.", soft_wrap=True)


class _Board:
    """What runs, what is done and how long the rest takes: lines, and on a terminal a table below them that is always new."""

    def __init__(self, survey: Survey, jobs: int) -> None:
        from rich.live import Live

        from mfpgan.cli import display

        self._survey, self._jobs = survey, jobs
        self._working: dict[str, tuple[str, float]] = {}
        self._live = Live(get_renderable=self._table, console=display.stderr, transient=True, refresh_per_second=2)

    def __enter__(self) -> Self:
        from mfpgan.cli import display

        if display.stderr.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, cell: Cell, what: str, more: str) -> None:
        from mfpgan.cli import display

        text = f"{what} ({more})" if more and what in ("failed", "interrupted", "left") else f"{what} {more}".strip()
        self._working[cell.name] = (text, time.monotonic())
        if what in ("done", "failed", "interrupted", "left"):
            self._working.pop(cell.name, None)
            self._survey = self._survey.again()
            text += f"; {self._rest()}"
        display.say(f"{time.strftime('%H:%M:%S')} {cell.name}: {text}")

    def _rest(self) -> str:
        from mfpgan.cli import display

        states = self._survey.states
        done = sum(state.status == "done" for state in states)
        open_ones = [state for state in states if state.status not in ("done", "failed", "elsewhere")]
        left = self._survey.seconds_left(open_ones, self._jobs)
        return f"{done} of {len(states)} cells done" + ("" if not left else f", about {display.clock(left)} left")

    def _table(self) -> Table:
        from rich.table import Table

        from mfpgan.cli import display

        table = Table.grid(padding=(0, 2))
        for name, (text, start) in list(self._working.items()):
            table.add_row(name, text, display.clock(time.monotonic() - start))
        table.add_row(self._rest())
        return table
