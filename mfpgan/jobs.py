"""The two jobs of the framework from beginning to end: train a run, evaluate a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mfpgan import build, tracking
from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.data import find_default, open_dataset
from mfpgan.evaluation.interactive import evaluate_interactive
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
USUAL = ("bsds500 test", "sample val", "synthetic val")
"""Data sets whose metrics are named by their first word."""
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

    @classmethod
    def new(cls, config: TrainConfig, name: str | None = None) -> TrainingJob:
        """A new run.

        Raises:
            InputError: data, device or weights cannot be used.
        """
        build.pick_device(config.device)
        data = build.training_data(config)
        generator, origin = build.generator_of(config)
        return cls(config, data, generator, origin, name)

    @classmethod
    def resume(cls, run_id: str, changes: Mapping[str, Any]) -> TrainingJob:
        """A stopped run, from its last checkpoint.

        Args:
            run_id: the id or a unique prefix.
            changes: options given beside it; only the device and the number of workers may change.

        Raises:
            InputError: no such run, something else was to change, or the data is gone.
        """
        refused = [name for name, value in changes.items() if value is not None and name not in CHANGEABLE_ON_RESUME]
        if refused:
            flag = refused[0].replace("_", "-")
            raise InputError(f"--resume goes on with the run's own config, got --{flag} beside it; leave that out.")
        folder = tracking.fetch(tracking.find_run(run_id, RUNS))
        given = {name: value for name, value in changes.items() if value is not None}
        config = TrainConfig.from_mapping(build.config_of(folder).model_dump() | given, "config")
        data = build.training_data(config)
        generator, config_origin = MFPResNetUNet(config.width), "the run's own checkpoint"
        return cls(config, data, generator, config_origin, resumed=folder)

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
        config, device = self.config, build.pick_device(self.config.device)
        state: dict[str, Any] | None = None
        run: tracking.TrackedRun
        if self.resumed is not None:
            state = load_checkpoint(self.resumed / tracking.CHECKPOINT)
            if state["data_digest"] != self.data.train.digest():  # before the run is touched
                build.trainer(config, self.data, tracking.NoRun(), self.generator).load_state_dict(state)
            run = tracking.resume_run(self.resumed.name, RUNS, step=state["step"])
        else:
            parameters = config.model_dump() | {
                "encoder_start": self.encoder_origin,
                "data_name": self.data.train.name,
                "data_digest": self.data.train.digest(),
                "total_steps": self.plan.steps,
            }
            card = torch.cuda.get_device_name(device) if device.type == "cuda" else None
            run = tracking.start_run(
                parameters, config=config.to_yaml(), root=RUNS, device=card, name=self.name or default_name(config)
            )
        with run:
            trainer = build.trainer(config, self.data, run, self.generator)
            if state is not None:
                trainer.load_state_dict(state)
            try:
                yield trainer
            finally:
                if (run.folder / tracking.CHECKPOINT).is_file():
                    run.artifact(run.folder / tracking.CHECKPOINT, "checkpoints")
            if trainer.stop_requested:
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
    def new(cls, run_id: str, config: EvalConfig) -> EvaluationJob:
        """Find the run and open the data.

        Raises:
            InputError: no such run, or the data cannot be used.
        """
        record = tracking.find_run(run_id, RUNS)
        folder = tracking.fetch(record)
        spec, note = (config.data, "") if config.data else find_default("eval")
        data: DataSet = open_dataset(
            spec, images=config.images, split=config.split, ignore_value=config.ignore_value, role="eval"
        )
        note = f"{note[0].upper()}{note[1:]}." if note else f"Evaluation data: {data.name}."
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
            interactive = evaluate_interactive(
                ClickSession(generator, device, precision), self.data,
                max_clicks=self.config.max_clicks, seed=self.config.seed,
                limit=self.config.limit, progress=lambda done, total: progress("interactive", done, total),
            )  # fmt: skip
        report = Report(self.data.name, self.data.digest(), single, interactive)
        prefix = prefix_of(self.data, self.config)
        folder = self.folder / "eval" / prefix
        with tracking.reopen_run(self.record.id, RUNS) as run:
            write_atomically(folder / "report.json", report.to_json().encode())
            record_report(report, run, prefix, step=step, generator=generator, data=self.data, precision=precision)
            run.artifact(folder / "report.json", f"eval/{prefix}")
        return report


def prefix_of(data: DataSet, config: EvalConfig) -> str:
    """What the metrics of an evaluation begin with, so that only equal things share a name.

    "bsds500" is the whole test split with 20 clicks; another split, fewer images or another number of clicks is said:
    "bsds500-val", "bsds500-first50", "bsds500-5clicks".
    """
    name = data.name if data.name not in USUAL else data.name.split()[0]
    parts = re.findall(r"[A-Za-z0-9_.]+", name)
    if config.limit:
        parts.append(f"first{config.limit}")
    if config.max_clicks != EvalConfig().max_clicks:
        parts.append(f"{config.max_clicks}clicks")
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
