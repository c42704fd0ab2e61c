"""The report of a study: its answer as files, and as a run of MLflow that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from mfpgan import tracking
from mfpgan.study.answer import Answer
from mfpgan.study.cells import RUNS, STUDIES, finished
from mfpgan.study.file import Study
from mfpgan.study.report import compared, contact_sheets, read_reports, write_report
from mfpgan.types import InputError

KIND = {"kind": "summary"}
"""Tag of the run, beside the study's: the page tells it from the trainings by that."""


@dataclass(frozen=True)
class Summary:
    """What `summarise` made."""

    answer: Answer
    page: Path
    """report.md."""
    left_out: tuple[str, ...]
    """Sentences about seeds that are not complete."""
    run_id: str


def summarise(study: Study, file: Path, effects: Mapping[str, float]) -> Summary:
    """Compare the arms of a study over the seeds that all arms have, and write studies/NAME/report/ and a run of MLflow.

    Args:
        file: the study's, copied beside the report.
        effects: count more than the study's own.

    Raises:
        InputError: no seed is finished in all arms, or the evaluations cannot be compared.
    """
    there = finished(study)
    arms = [study.reference, *(arm for arm in study.arms if arm != study.reference)]
    seeds = [seed for seed in study.seeds if all((arm, seed) in there for arm in arms)]
    missing = {seed: [arm for arm in arms if (arm, seed) not in there] for seed in study.seeds if seed not in seeds}
    left_out = tuple(f"seed {seed} is left out: {', '.join(lacking)} not done" for seed, lacking in missing.items())
    if not seeds:
        raise InputError(
            f"study {study.name}: no seed is done in all arms ({'; '.join(left_out)}); go on with: mfpgan study run {file}"
        )
    paths = {arm: [there[arm, seed] for seed in seeds] for arm in arms}
    reports = read_reports(paths)
    answer = compared(reports, {**study.effect, **effects})
    folder = STUDIES / study.name / "report"
    text = [f"**Question.** {study.question}", f"**Expected, before the first run.** {study.expectation}"]
    text += [f"**Careful:** {sentence}." for sentence in left_out]
    games = [
        config for config, report in zip(study.evaluations, reports[arms[0]][0], strict=True) if report.interactive
    ]
    sheets = contact_sheets(answer, paths, reports, games[0]) if games else None
    files = write_report(answer, folder, study.name, "\n\n".join(text), sheets)
    return Summary(answer, files[0], left_out, _record(study, file, answer, files))


def _record(study: Study, file: Path, answer: Answer, files: list[Path]) -> str:
    """The id of the study's run, the same each time."""
    tags = {"study": study.name, **KIND}
    known = [record for record in tracking.local_runs(RUNS) if tags.items() <= record.tags.items()]
    if known:
        run = tracking.reopen_run(known[-1].id, RUNS)
    else:
        params = {"question": study.question, "reference": study.reference, "arms": ", ".join(study.arms)}
        run = tracking.start_run(
            params, config=file.read_text(encoding="utf-8"), root=RUNS, name=f"study {study.name}", tags=tags
        )
    with run:
        numbers: dict[str, float] = {}
        for line in answer.lines:
            name = f"{line.arm}/{line.measure.name.replace('@', '_')}"
            values = {name: line.found.mean, f"{name}_low": line.found.low, f"{name}_high": line.found.high}
            numbers = values | numbers  # of two evaluations of one protocol the first
        run.log(numbers, answer.seeds)
        for path in files:
            run.artifact(path, "report")
            if path.suffix == ".png":
                run.image(path.stem, np.asarray(PillowImage.open(path).convert("RGB")), answer.seeds)
    return run.id
