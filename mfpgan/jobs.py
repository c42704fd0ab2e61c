"""The two jobs of the framework from beginning to end: train a run, evaluate a run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mfpgan import build, tracking
from mfpgan.clicks.strategies import make_strategy
from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.data import Progress
from mfpgan.evaluation.interactive import evaluate_interactive, robot_parameters
from mfpgan.evaluation.record import record_report
from mfpgan.evaluation.report import Report
from mfpgan.evaluation.single import evaluate_single
from mfpgan.files import write_atomically
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.training.checkpoint import load_checkpoint
from mfpgan.training.trainer import Plan, Trainer
from mfpgan.types import DataSet, InputError

RUNS = Path("runs")
USUAL = {"bsds500 test": 1426, "sample val": 41, "synthetic val": 192}
"""Data sets, with their number of objects, whose metrics are named by their first word."""
CHANGEABLE_ON_RESUME = ("device", "workers")
"""Nothing else may change: the run would no longer be what its config says."""


@dataclass(frozen=True)
class TrainingJob:
    """A run that is checked and ready: everything that can be wrong with the input has been found before it starts."""

    config: TrainConfig
    data: build.TrainingData
    generator: MFPResNetUNet
    encoder_origin: str
    name: str | None = None
    resumed: Path | None = None
    """Folder of the run that goes on."""
    state: dict[str, Any] | None = None
    """Its last checkpoint."""

    @classmethod
    def new(cls, config: TrainConfig, name: str | None = None, progress: Progress | None = None) -> TrainingJob:
        """A new run.

        Args:
            progress: called with (done, all) while the data is opened.

        Raises:
            InputError: data, device or weights cannot be used.
        """
        build.pick_device(config.device)
        data = build.training_data(config, progress)
        generator, origin = build.generator_of(config)
        return cls(config, data, generator, origin, name)

    @classmethod
    def resume(cls, run_id: str, changes: Mapping[str, Any]) -> TrainingJob:
        """A stopped run, from its last checkpoint.

        Args:
            run_id: the id or a unique prefix.
            changes: options given beside it; only the device and the number of workers may change.

        Raises:
            InputError: no such run, or a finished one; something else was to change, or the data is gone.
        """
        refused = [name for name, value in changes.items() if value is not None and name not in CHANGEABLE_ON_RESUME]
        if refused:
            flag = refused[0].replace("_", "-")
            raise InputError(f"--resume goes on with the run's own config, got --{flag} beside it; leave that out.")
        folder = tracking.fetch(tracking.find_run(run_id, RUNS))
        given = {name: value for name, value in changes.items() if value is not None}
        config = TrainConfig.from_mapping(build.config_of(folder).model_dump() | given, "config")
        data = build.training_data(config)
        state, generator = (
            load_checkpoint(folder / tracking.CHECKPOINT),
            MFPResNetUNet(config.width, build.click_encoding(config)),
        )
        job = cls(config, data, generator, "the run's own checkpoint", resumed=folder, state=state)
        if state["step"] >= job.plan.steps:
            raise InputError(
                f"run {folder.name[:8]} has done all its {job.plan.steps} steps; start a new run for more."
            )
        return job

    @property
    def warning(self) -> str | None:
        """What nobody should overlook: pretrained weights were wanted and not had."""
        if self.config.encoder_weights == "auto" and self.encoder_origin.startswith("none"):
            return (
                f"The encoder starts from scratch: {self.encoder_origin}. Results will be far below those of a pretrained "
                "encoder. Give --encoder-weights FILE with a torchvision resnet34 state dict, or none to say so yourself."
            )
        return None

    @property
    def plan(self) -> Plan:
        return Plan.of(self.config, len(self.data.train.objects_of_image))

    def describe(self) -> str:
        """The resolved config as YAML, and what would be read and built as comments."""
        train = self.data.train
        device = build.pick_device(self.config.device)
        lines = [
            self.data.note,
            f"{len(train.objects_of_image)} images with {len(train)} objects; digest {train.digest()}.",
            f"{self.plan.steps} steps of {self.config.batch_size} samples on {device}, "
            f"{'bf16' if build.use_bf16(self.config.precision, device) else 'fp32'}; encoder: {self.encoder_origin}.",
        ]
        return self.config.to_yaml() + "".join(f"# {line}\n" for line in lines)

    @contextmanager
    def start(self) -> Iterator[Trainer]:
        """The run opens, the trainer is handed out, and at the end the checkpoint goes to MLflow and the run closes."""
        config = self.config
        run: tracking.Run = tracking.NoRun()
        trainer = build.trainer(config, self.data, run, self.generator)
        if self.resumed is not None and self.state is not None:
            trainer.load_state_dict(self.state)  # before the run is touched
            run = tracking.resume_run(self.resumed.name, RUNS, step=trainer.step)
        else:
            parameters = config.model_dump() | {
                "encoder_start": self.encoder_origin,
                "data_name": self.data.train.name,
                "data_digest": self.data.train.digest(),
                "val_digest": self.data.validation.digest() if self.data.validation else None,
                "total_steps": self.plan.steps,
                "passes": round(self.plan.steps * config.batch_size / len(self.data.train.objects_of_image), 2),
            }
            card = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else None
            run = tracking.start_run(
                parameters, config=config.to_yaml(), root=RUNS, device=card, name=self.name or default_name(config)
            )
        with run:
            trainer.run = run
            try:
                yield trainer
            finally:
                if (run.folder / tracking.CHECKPOINT).is_file():
                    run.artifact(run.folder / tracking.CHECKPOINT, "checkpoints")
            if trainer.step < self.plan.steps:
                run.finish("KILLED")


def default_name(config: TrainConfig) -> str:
    """What a run is called if nobody names it: its place on the two axes of the framework."""
    return f"{config.clicks}-{config.adv}-s{config.seed}"


@dataclass(frozen=True)
class EvaluationJob:
    """A trained run and the data it is to be evaluated on, both found and readable."""

    config: EvalConfig
    record: tracking.RunRecord
    folder: Path
    data: DataSet
    note: str

    @classmethod
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

        Args:
            progress: called as progress(protocol, done, in all).
        """
        device = build.pick_device(self.config.device)
        precision = "bf16" if build.use_bf16(self.config.precision, device) else "fp32"
        generator, _, step = build.load_generator(self.folder, device)
        single = interactive = None
        if self.config.protocol in ("single", "both"):
            single = evaluate_single(
                generator, self.data, device=device, precision=precision, seed=self.config.seed,
                limit=self.config.limit, progress=lambda done, total: progress("single", done, total),
            )  # fmt: skip
        if self.config.protocol in ("interactive", "both"):
            session = ClickSession(generator, device, precision, self.config.zoom)
            interactive = evaluate_interactive(
                session, self.data, robot=self.config.strategy(), repeats=self.config.repeats,
                max_clicks=self.config.max_clicks, seed=self.config.seed,
                limit=self.config.limit, progress=lambda done, total: progress("interactive", done, total),
            )  # fmt: skip
            interactive = replace(interactive, zoom=self.config.zoom)
        report = Report(
            run_id=self.record.id, step=step, precision=precision, device=str(device),
            data=self.data.name, digest=self.data.digest(), single=single, interactive=interactive,
        )  # fmt: skip
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
    """What the metrics of an evaluation begin with, so that only equal things share a name.

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
    if config.limit:
        parts.append(f"first{config.limit}")
    if config.max_clicks != usual.max_clicks:
        parts.append(f"{config.max_clicks}clicks")
    if config.seed != usual.seed:
        parts.append(f"seed{config.seed}")
    return "-".join(parts)


def load_run(run_id: str, device: str = "auto") -> tuple[MFPResNetUNet, TrainConfig]:
    """The trained generator of a run, in eval mode, and the config it was trained with.

    Args:
        run_id: the id or a unique prefix; looked for in ./runs and in the MLflow store.
        device: auto, cpu, cuda, ...

    Raises:
        InputError: no such run, or its checkpoint cannot be used.
    """
    folder = tracking.fetch(tracking.find_run(run_id, RUNS))
    generator, config, _ = build.load_generator(folder, build.pick_device(device))
    generator.eval()
    return generator, config
