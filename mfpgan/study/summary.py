"""The report of a study: its answer as files, and as a run of MLflow that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from mfpgan import tracking
from mfpgan.config import first_of
from mfpgan.files import write_atomically
from mfpgan.study.answer import Answer
from mfpgan.study.cells import RUNS, STUDIES, Survey
from mfpgan.study.file import Study
from mfpgan.study.origin import mixed
from mfpgan.study.report import asked, compared, contact_sheets, read_reports, write_report
from mfpgan.types import Image, InputError

KIND = {"kind": "summary"}
"""Tag of the run, beside the study's: the page tells it from the trainings by that."""


@dataclass(frozen=True)
class Summary:
    """What `summarise` made."""

    answer: Answer
    page: Path
    """report.md."""
    careful: tuple[str, ...]
    """Sentences about what the answer is not made of, or should not be made of."""
    run_id: str


def summarise(study: Study, effects: Mapping[str, float], *, force: bool = False) -> Summary:
    """Compare the arms of a study over the seeds that all arms have, and write studies/NAME/report/ and a run of MLflow.

    Args:
        effects: count more than the study's own.
        force: though cells were made with different code or data.

    Raises:
        InputError: no seed is finished in all arms, cells were made with different code or data, or the evaluations cannot be
            compared.
    """
    survey = Survey.of(study)
    there = {(state.cell.arm, state.cell.seed): state for state in survey.states if state.status == "done"}
    arms = [study.reference, *(arm for arm in study.arms if arm != study.reference)]
    seeds = [seed for seed in study.seeds if all((arm, seed) in there for arm in arms)]
    missing = {seed: [arm for arm in arms if (arm, seed) not in there] for seed in study.seeds if seed not in seeds}
    careful = [f"seed {seed} is left out: {', '.join(lacking)} not done" for seed, lacking in missing.items()]
    if not seeds:
        state = f"no seed is done in all arms ({first_of(careful, str, '; ', 3)})" if there else "no cell is done"
        raise InputError(f"study {study.name}: {state}; run the study first, with the same --set.")
    used = {arm: [there[arm, seed] for seed in seeds] for arm in arms}
    runs = {state.cell.name: state.record for states in used.values() for state in states if state.record is not None}
    for sentence in mixed(runs):
        if not force:
            raise InputError(
                f"study {study.name}: {sentence[:-1]}; train them alike, or add --force to compare all the same."
            )
        careful.append(sentence[:-1])
    paths = {arm: [[path for path in state.reports if path] for state in states] for arm, states in used.items()}
    asked_for = [entry.config.protocol for entry in survey.evaluations]
    reports = {
        arm: [[asked(one, protocol) for one, protocol in zip(seed, asked_for, strict=True)] for seed in seeds_of]
        for arm, seeds_of in read_reports(paths).items()
    }
    names = [f"{entry.prefix}, {entry.config.protocol}" for entry in survey.evaluations]
    answer = compared(reports, {**study.effect, **effects}, names)
    games = [entry.config for entry in survey.evaluations if entry.config.protocol != "single"]
    sheets: dict[str, Image] = {}
    if games:
        try:
            sheets = contact_sheets(answer, paths, reports, games[0])
        except InputError as error:  # weights that are no more are no reason to lose the numbers
            careful.append(f"no contact sheets ({str(error).removesuffix('.')})")
    text = [f"**Question.** {study.question}", f"**Expected, before the first run.** {study.expectation}"]
    text += [f"**Careful:** {sentence}." for sentence in careful]
    folder = STUDIES / study.name / "report"
    files = write_report(answer, folder, study.name, "\n\n".join(text), sheets)
    write_atomically(folder / "study.yaml", study.to_yaml().encode())
    return Summary(answer, files[0], tuple(careful), _record(study, answer, [*files, folder / "study.yaml"]))


def _record(study: Study, answer: Answer, files: list[Path]) -> str:
    """The id of the study's run, the same each time."""
    tags = {"study": study.name, **KIND}
    known = [record for record in tracking.local_runs(RUNS) if tags.items() <= record.tags.items()]
    if known:
        run = tracking.reopen_run(known[-1].id, RUNS)
    else:
        params = {"question": study.question, "reference": study.reference}
        run = tracking.start_run(params, config=study.to_yaml(), root=RUNS, name=f"study {study.name}", tags=tags)
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
