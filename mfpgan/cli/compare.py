"""The command that compares runs like the arms of a study, and how an answer looks on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mfpgan.types import InputError

if TYPE_CHECKING:
    from mfpgan.study.answer import Answer, Line


@click.command()
@click.argument("prefixes", nargs=-1, required=True, metavar="RUN_ID...")
@click.option("--evaluation", metavar="NAME", help="Which of runs/ID/eval/NAME; needed if the runs share several.")
@click.option(
    "--effect",
    "effects",
    multiple=True,
    metavar="MEASURE=X",
    help="The difference that you ask about, such as NoC_85=0.5; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("comparison"),
    show_default=True,
    help="Folder for report.md, results.csv and pictures.",
)
def compare(prefixes: tuple[str, ...], evaluation: str | None, effects: tuple[str, ...], out: Path) -> None:
    """Compare evaluated runs: differences to the first, paired by object and seed, with 95 % intervals.

    Runs that differ in their seed alone are one arm. Unlike a study's report, this one has no contact sheets. Its path is printed
    on stdout last.
    """
    from mfpgan.cli import display
    from mfpgan.study.compare import arms_of
    from mfpgan.study.report import compared, read_reports, write_report

    wanted = dict(map(effect_of, effects))
    arms, careful = arms_of(prefixes, evaluation)
    found = compared(read_reports(arms), wanted)
    files = write_report(
        found, out, f"{len(found.arms)} recipes", "\n\n".join(f"**Careful:** {one}" for one in careful)
    )
    show_answer(found)
    for sentence in careful:
        display.warn(sentence)
    display.say(f"Pictures and results.csv in {out}.")
    click.echo(files[0])


def effect_of(text: str) -> tuple[str, float]:
    """Name and number of MEASURE=X."""
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not equals or not 0 < number < float("inf"):
        raise InputError(f"--effect {text}: expected MEASURE=X with X above 0, for example --effect NoC_85=0.5.")
    return name, number


def show_answer(found: Answer) -> None:
    """Verdicts and warnings on stderr, a table for each evaluation on stdout."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from mfpgan.cli import display

    for evaluation in found.evaluations:
        title = f"{evaluation.title}, {found.seeds} seed{'s' * (found.seeds > 1)}"
        table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("measure")
        table.add_column(escape(found.arms[0]), justify="right")
        table.add_column("arm", overflow="fold")
        for name in ("", f"less {found.arms[0]} [95 %]", "p, these networks", "better"):
            table.add_column(escape(name), justify="right", no_wrap=name != "")
        lines = [line for line in found.lines if line.evaluation is evaluation]
        for before, line in zip([None, *lines], lines, strict=False):
            new = before is None or before.measure != line.measure
            if new and before is not None and len(found.arms) > 2:
                table.add_section()
            table.add_row(
                line.measure.name if new else "", line.number(line.reference_mean) if new else "",
                escape(line.arm), line.number(line.arm_mean), _difference(line), f"{line.p_holm:.3f}" if line.p_holm >= 0.001 else "<.001", f"{line.found.better:.0%}",
            )  # fmt: skip
        display.stdout.print(table)
    for sentence in found.warnings:
        display.warn(sentence)
    for sentence in found.verdicts:
        display.say(sentence)


def _difference(line: Line) -> str:
    from rich.markup import escape

    text = escape(f"{line.number(line.found.mean, '+')} {line.interval}")
    return text if line.found.low <= 0 <= line.found.high else f"[bold]{text}[/bold]"
