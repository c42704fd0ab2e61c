"""A study's answer as files: Markdown, CSV and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image as PillowImage

from mfpgan import build
from mfpgan.config import EvalConfig, ProtocolName
from mfpgan.evaluation.report import Report
from mfpgan.files import write_atomically
from mfpgan.study.answer import Answer, answer, as_csv, markdown
from mfpgan.study.measures import line_up
from mfpgan.study.pictures import AT_CLICK, pictures
from mfpgan.study.sheets import changed_most, sheet
from mfpgan.types import DataSet, Image, InputError

Paths = Sequence[Path]
"""report.json of the evaluations of one run, in runs/ID/eval/NAME/."""


def read_reports(paths: Mapping[str, Sequence[Paths]]) -> dict[str, list[list[Report]]]:
    """{arm: for each seed its reports}.

    Raises:
        InputError: a file is missing or no report.
    """
    return {arm: [[_read(path) for path in run] for run in seeds] for arm, seeds in paths.items()}


def _read(path: Path) -> Report:
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); evaluate the run again.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def asked(report: Report, protocol: ProtocolName) -> Report:
    """The part that was asked for: the file may hold the other protocol too."""
    return replace(
        report,
        single=report.single if protocol != "interactive" else None,
        interactive=report.interactive if protocol != "single" else None,
    )


def compared(
    reports: Mapping[str, Sequence[Sequence[Report]]], effects: Mapping[str, float], names: Sequence[str] = ()
) -> Answer:
    """All arms against the first.

    Args:
        effects: {measure: the difference that is asked about}.
        names: of the evaluations.

    Raises:
        InputError: the evaluations cannot be compared, or an effect is of a measure that there is none of.
    """
    evaluations = line_up(reports, names)
    known = {measure.name for evaluation in evaluations for measure in evaluation.values}
    for name in effects:
        if name not in known:
            raise InputError(f"effect {name}: no such measure, expected one of {', '.join(sorted(known))}.")
    return answer(evaluations, list(reports), effects)


def write_report(
    found: Answer, folder: Path, title: str, text: str = "", sheets: Mapping[str, Image] | None = None
) -> list[Path]:
    """report.md, results.csv and the pictures, in a folder; what was there is replaced.

    Args:
        title: of the report.
        text: Markdown under the title: the question and what was expected.
        sheets: pictures that stand after the others, see `contact_sheets`.
    """
    drawn = pictures(found, title) | dict(sheets or {})
    links = "\n\n".join(f"![{name}]({name}.png)" for name in drawn)
    parts = [f"# {title}", text, markdown(found), links]
    for picture in folder.glob("*.png"):  # of an arm that is no more
        picture.unlink()
    write_atomically(folder / "report.md", ("\n\n".join(filter(None, parts)) + "\n").encode())
    write_atomically(folder / "results.csv", as_csv(found).encode())
    return [folder / "report.md", folder / "results.csv", *(_save(folder, name, one) for name, one in drawn.items())]


def contact_sheets(
    found: Answer,
    paths: Mapping[str, Sequence[Paths]],
    reports: Mapping[str, Sequence[Sequence[Report]]],
    config: EvalConfig,
) -> dict[str, Image]:
    """{file name without suffix: (H, W, 3) uint8}: "best_ARM" and "worst_ARM" of the first evaluation with clicks, with the networks of the first seed.

    Args:
        config: of that evaluation.

    Raises:
        InputError: its data is not there, or has changed.
    """
    numbers = [number for number, report in enumerate(reports[found.arms[0]][0]) if report.interactive]
    games = [evaluation for evaluation in found.evaluations if evaluation.curves is not None]
    if not numbers:
        return {}
    curves = games[0].curves
    assert curves is not None
    data = _data_of(config, reports[found.arms[0]][0][numbers[0]])
    drawn: dict[str, Image] = {}
    for place, arm in enumerate(found.arms[1:], start=1):
        for kind, objects in zip(("best", "worst"), changed_most(curves, place), strict=True):
            runs = paths[found.arms[0]][0][numbers[0]], paths[arm][0][numbers[0]]
            pair = reports[found.arms[0]][0][numbers[0]], reports[arm][0][numbers[0]]
            drawn[f"{kind}_{arm}"] = sheet(
                (runs[0].parents[2], runs[1].parents[2]), pair, (found.arms[0], arm), config.weights, data, objects, AT_CLICK,
                f"{kind} objects for {arm}, by IoU over all clicks and seeds less {found.arms[0]}'s; after {AT_CLICK} clicks, first seed",
            )  # fmt: skip
    return drawn


def _data_of(config: EvalConfig, report: Report) -> DataSet:
    """What a report was made on."""
    data, _, _ = build.open_data(config, "eval", None)
    if data.digest() != report.digest:
        raise InputError(
            f"{data.name} has digest {data.digest()}, the reports were made on {report.digest}; give the same --data."
        )
    return data


def _save(folder: Path, name: str, picture: Image) -> Path:
    path, content = folder / f"{name}.png", io.BytesIO()
    PillowImage.fromarray(picture).save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())
    return path
