"""An evaluation of a run from beginning to end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mfpgan import build, distributed, tracking
from mfpgan.clicks.strategies import make_strategy
from mfpgan.config import EvalConfig
from mfpgan.data import Progress
from mfpgan.devices import pick_device, precision_on
from mfpgan.evaluation.interactive import evaluate_interactive, robot_parameters
from mfpgan.evaluation.record import record_report
from mfpgan.evaluation.report import Report
from mfpgan.evaluation.single import evaluate_single
from mfpgan.files import write_atomically
from mfpgan.jobs.runs import RUNS
from mfpgan.session import ClickSession
from mfpgan.types import DataSet, InputError

USUAL = {"bsds500 test": 1426, "sample val": 41, "synthetic val": 192}
"""Data sets, with their number of objects, whose metrics are named by their first word."""


@dataclass(frozen=True)
class EvaluationJob:
    """A trained run and the data it is to be evaluated on, both found and readable."""

    config: EvalConfig
    record: tracking.RunRecord
    folder: Path
    data: DataSet
    note: str

    @classmethod
    @distributed.in_turn
    def new(cls, run_id: str, config: EvalConfig, progress: Progress | None = None) -> EvaluationJob:
        """Find the run and open the data.

        Args:
            progress: called with (done, all) while the data is opened.

        Raises:
            InputError: no such run, or the data cannot be used.
        """
        record = tracking.find_run(run_id, RUNS)
        folder = tracking.fetch(record)
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder}: this run's folder cannot be written, and the report goes there; copy the run.")
        data, _, note = build.open_data(config, "eval", progress)
        if config.robot == "center" and config.repeats > 1:
            note += f" The robot center uses no chance: all {config.repeats} repeats will be the same."
        if data.name == record.params.get("data_name"):
            note += " Careful: the run was trained on this data, so the numbers say nothing about new photos."
        return cls(config, record, folder, data, note)

    def run(self, progress: Callable[[str, int, int], None]) -> Report:
        """Play the protocols, and put the results into the run's folder and its MLflow page.

        Several processes share out the work; each returns the whole report, and the leading one records it.

        Args:
            progress: called as progress(protocol, done, in all).
        """
        device = pick_device(self.config.device)
        distributed.check_device(device)
        precision = precision_on(device, self.config.precision)
        generator, trained, step = distributed.together(
            lambda: build.load_generator(self.folder, device, self.config.weights)
        )
        single = interactive = None
        if self.config.protocol in ("single", "both"):
            single = evaluate_single(
                generator, self.data, device=device, precision=precision, seed=self.config.seed,
                limit=self.config.limit, progress=lambda done, total: progress("single", done, total),
            )  # fmt: skip
        if self.config.protocol in ("interactive", "both"):
            session = ClickSession(generator, device, precision, self.config.zoom, trained.size)
            interactive = evaluate_interactive(
                session, self.data, robot=self.config.strategy(), repeats=self.config.repeats,
                max_clicks=self.config.max_clicks, seed=self.config.seed, limit=self.config.limit,
                batch_size=self.config.batch_size,
                progress=lambda done, total: progress("interactive", done, total),
            )  # fmt: skip
            interactive = replace(interactive, zoom=self.config.zoom)
        report = Report(
            run_id=self.record.id, step=step, precision=precision, device=str(device),
            data=self.data.name, digest=self.data.digest(), single=single, interactive=interactive,
        )  # fmt: skip
        if not distributed.leads():
            return report
        prefix = prefix_of(self.data, self.config)
        path = self.folder / "eval" / prefix / "report.json"
        with tracking.reopen_run(self.record.id, RUNS) as run:
            write_atomically(path, _with_other_protocol(report, path).to_json().encode())
            record_report(report, run, prefix, generator=generator, data=self.data)
            run.artifact(path, f"eval/{prefix}")
        return report


def _with_other_protocol(report: Report, path: Path) -> Report:
    """The report, and with it the other protocol's part of the file that it replaces, if that is of the same checkpoint."""
    if not path.is_file() or (report.single and report.interactive):
        return report
    try:
        old = Report.from_json(path.read_text(encoding="utf-8"))
    except InputError:  # of another version: no reason to lose the evaluation that was just made
        return report
    if replace(old, single=None, interactive=None) != replace(report, single=None, interactive=None):
        return report
    return replace(report, single=report.single or old.single, interactive=report.interactive or old.interactive)


def prefix_of(data: DataSet, config: EvalConfig) -> str:
    """What the metrics of an evaluation begin with, so that only answers to the same question share a name; the report says
    on which device and in which number format they were computed.

    "bsds500" is the whole test split, the robot center, 20 clicks and seed 0; anything else is said: "bsds500-human",
    "bsds500-human-jitter0.2-10repeats", "bsds500-zoom", "bsds500-first50", "bsds500-5clicks", "bsds500-seed9". Parameters
    are those that differ from the robot's own defaults. Other data carries its name and the beginning of its digest:
    "folder-photos-3f2a81".
    """
    name = data.name
    if USUAL.get(name) == len(data):
        parts = [name.split()[0]]
    else:
        parts = [*re.findall(r"[A-Za-z0-9_.]+", name), data.digest()[:6]]
    usual = EvalConfig()
    if config.robot != usual.robot:
        default = robot_parameters(make_strategy(config.robot))
        given = robot_parameters(config.strategy())
        parts += [config.robot, *(f"{key}{value}" for key, value in given.items() if value != default[key])]
    if config.repeats != usual.repeats:
        parts.append(f"{config.repeats}repeats")
    if config.zoom:
        parts.append("zoom")
    if config.weights != usual.weights:
        parts.append(config.weights)
    if config.limit:
        parts.append(f"first{config.limit}")
    if config.max_clicks != usual.max_clicks:
        parts.append(f"{config.max_clicks}clicks")
    if config.seed != usual.seed:
        parts.append(f"seed{config.seed}")
    return "-".join(parts)
