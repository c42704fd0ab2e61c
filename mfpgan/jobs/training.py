"""A training run from beginning to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from mfpgan import build, distributed, tracking
from mfpgan.config import CHANGEABLE_ON_RESUME, TrainConfig
from mfpgan.data import Progress
from mfpgan.devices import check_compiler, deterministic, layout_on, pick_device, precision_on
from mfpgan.jobs.runs import RUNS
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.training.checkpoint import load_last
from mfpgan.training.trainer import Plan, Trainer
from mfpgan.types import InputError


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
    damaged: str = ""
    """What is wrong with the checkpoint after that one."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of a new run, for MLflow's page."""
    lock: FileLock | None = None
    """Of the folder: nobody else trains there from the moment that the checkpoint is read."""

    @classmethod
    @distributed.in_turn
    def new(
        cls,
        config: TrainConfig,
        name: str | None = None,
        progress: Progress | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> TrainingJob:
        """A new run.

        Args:
            tags: what marks it; MLflow's page filters and groups by them.
            progress: called with (done, all) while the data is opened.

        Raises:
            InputError: data, device, weights or tags cannot be used.
        """
        tracking.check_tags(tags or {})
        device = pick_device(config.device)
        _check_processes(config, device)
        config = config.model_copy(update={"precision": precision_on(device, config.precision)})
        if config.compile:
            check_compiler(device, config.precision)
        data = build.training_data(config, progress)
        generator, origin = build.generator_of(config)
        return cls(config, data, generator, origin, name, tags=tags or {})

    @classmethod
    @distributed.in_turn
    def resume(cls, run_id: str, changes: Mapping[str, Any], progress: Progress | None = None) -> TrainingJob:
        """A stopped run, from its last checkpoint.

        Args:
            run_id: the id or a unique prefix.
            changes: options given beside it; only the device and the number of workers may change.
            progress: called with (done, all) while the data is opened.

        Raises:
            InputError: no such run, a finished one, or one that another process trains; something else was to change, or
                the data is gone.
        """
        refused = [name for name, value in changes.items() if value is not None and name not in CHANGEABLE_ON_RESUME]
        if refused:
            flag = refused[0].replace("_", "-")
            raise InputError(f"--resume goes on with the run's own config, got --{flag} beside it; leave that out.")
        record = tracking.find_run(run_id, RUNS)
        folder = tracking.fetch(record)
        lock = tracking.lock_folder(folder) if distributed.leads() else None
        given = {name: value for name, value in changes.items() if value is not None}
        config = TrainConfig.from_mapping(build.config_of(folder).model_dump() | given, "config")
        device = pick_device(config.device)
        _check_processes(config, device)
        if config.compile:
            check_compiler(device, config.precision)
        data = build.training_data(config, progress)
        state, damaged = load_last(folder / tracking.CHECKPOINT)
        generator = MFPResNetUNet(config.width, build.click_encoding(config))
        job = cls(config, data, generator, "the run's own checkpoint", None, folder, state, damaged, lock=lock)
        if state["step"] >= job.plan.steps and record.status == "FINISHED":  # otherwise it was killed at the very end
            raise InputError(
                f"run {folder.name[:8]} has done all its {job.plan.steps} steps; start a new run for more."
            )
        return job

    @property
    def warnings(self) -> list[str]:
        """What nobody should overlook: options without effect, and pretrained weights that were wanted and not had."""
        sentences = [] if self.resumed else self.config.warnings(self.plan.steps)  # said when the run began
        device = pick_device(self.config.device)
        if self.config.precision == "bf16" and precision_on(device) == "fp32":
            sentences.append(
                f"--precision bf16: {device} has no hardware for it here and computes it more slowly than fp32."
            )
        if self.damaged:
            sentences.append(self.damaged)
        if self.config.encoder_weights == "auto" and self.encoder_origin.startswith("none"):
            sentences.append(
                f"The encoder starts from scratch: {self.encoder_origin}. Results will be far below those of a pretrained "
                "encoder. Give --encoder-weights FILE with a torchvision resnet34 state dict, or none to say so yourself."
            )
        return sentences

    @property
    def plan(self) -> Plan:
        return Plan.of(self.config, self.data.images_per_epoch)

    def describe(self) -> str:
        """The resolved config as YAML, and what would be read and built as comments."""
        train = self.data.train
        device = pick_device(self.config.device)
        layout = "channels last" if layout_on(device) == torch.channels_last else "channels first"
        lines = [
            self.data.note,
            f"{len(train.objects_of_image)} images with {len(train)} objects; digest {train.digest()}.",
            f"{self.plan.steps} steps of {self.config.batch_size} samples on {device}, {self.config.precision}, {layout}; "
            f"encoder: {self.encoder_origin}.",
        ]
        if self.config.adv != "off":
            norm = "with" if self.config.spectral else "without"
            lines.append(
                f"The discriminator: {norm} spectral norm, gradient penalty {self.config.gradient_penalty:g}, R1 "
                f"{self.config.d_r1:g}."
            )
        return self.config.to_yaml() + "".join(f"# {line}\n" for line in lines)

    @contextmanager
    def start(self) -> Iterator[Trainer]:
        """The run opens, the trainer is handed out, and at the end the checkpoint goes to MLflow and the run closes."""
        with deterministic(self.config.deterministic):
            yield from self._started()

    def _started(self) -> Iterator[Trainer]:
        trainer = build.trainer(self.config, self.data, tracking.NoRun(), self.generator)
        if self.state is not None:
            trainer.load_state_dict(self.state)  # before the run is touched
        run = distributed.together(lambda: self._open_run(trainer) if distributed.leads() else tracking.NoRun())
        with run:
            trainer.run = run
            try:
                yield trainer
            finally:
                if distributed.leads():
                    for path in build.export_weights(run.folder):
                        run.artifact(path, "checkpoints")
            if trainer.step < self.plan.steps:
                run.finish("KILLED")

    def _open_run(self, trainer: Trainer) -> tracking.Run:
        config = self.config
        if self.resumed is not None:
            logged = trainer.step if trainer.pending is None else trainer.step - 1
            run = tracking.resume_run(self.resumed.name, RUNS, step=logged, lock=self.lock)
            if self.damaged:  # or the next checkpoint would put it in the place of the one that is sound
                (self.resumed / tracking.CHECKPOINT).unlink(missing_ok=True)
            return run
        parameters = config.model_dump() | {
            "encoder_start": self.encoder_origin,
            **({} if config.adv == "off" else {"d_gp": config.gradient_penalty, "d_spectral": config.spectral}),
            "data_name": self.data.train.name,
            "data_digest": self.data.train.digest(),
            "data_images": len(self.data.train.objects_of_image),
            "data_objects": len(self.data.train),
            "val_digest": self.data.validation.digest() if self.data.validation else None,
            "total_steps": self.plan.steps,
            "passes": round(
                self.plan.steps * config.batch_size / (self.data.images_per_epoch * config.objects_per_image), 2
            ),
            "processes": distributed.count(),
        }
        card = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else None
        return tracking.start_run(
            parameters,
            config=config.to_yaml(),
            root=RUNS,
            device=card,
            name=self.name or default_name(config),
            tags=self.tags,
        )


def _check_processes(config: TrainConfig, device: torch.device) -> None:
    """Raise InputError if several processes cannot train that together."""
    distributed.check_device(device)
    distributed.check_share(config.batch_size)


def default_name(config: TrainConfig) -> str:
    """What a run is called if nobody names it: its place on the two axes of the framework."""
    return f"{config.clicks}-{config.adv}-s{config.seed}"
