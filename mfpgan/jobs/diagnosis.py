"""A look at what a run's discriminator has learnt, from beginning to end."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mfpgan import build, tracking
from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.data import Progress
from mfpgan.data.loader import validation_batches
from mfpgan.data.subset import spread
from mfpgan.devices import pick_device, precision_on
from mfpgan.diagnosis.findings import Diagnosis, diagnose
from mfpgan.figures.diagnosis import COLUMNS, diagnosis_page
from mfpgan.files import write_atomically
from mfpgan.jobs.runs import RUNS
from mfpgan.training.adversary import Adversary
from mfpgan.types import DataSet, Image, InputError

OBJECTS = 64
FOLDER = "diagnosis"
"""Of the page and its numbers, in the run's folder and in MLflow."""


@dataclass(frozen=True)
class DiagnosisJob:
    """A trained run with its two networks, and the objects to ask about, all found and readable."""

    record: tracking.RunRecord
    folder: Path
    config: TrainConfig
    """Of the run."""
    generator: nn.Module
    adversary: Adversary
    step: int
    """That the networks were saved at."""
    device: torch.device
    data: DataSet
    objects: list[int]
    """Indices into the data, one object an image."""
    note: str

    @classmethod
    def new(
        cls, run_id: str, config: EvalConfig, limit: int = OBJECTS, progress: Progress | None = None
    ) -> DiagnosisJob:
        """Find the run, load its networks and open the data.

        Args:
            config: data and device; without data the run's own validation data is taken. The rest is not looked at.
            limit: most objects, spread evenly over the images.
            progress: called with (done, all) while the data is opened.

        Raises:
            InputError: no such run, it has no discriminator, its checkpoint is of no use, or the data cannot be used.
        """
        record = tracking.find_run(run_id, RUNS)
        folder = tracking.fetch(record)
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder}: this run's folder cannot be written, and the page goes there; copy the run.")
        device = pick_device(config.device)
        adversary = build.load_adversary(folder, device)
        generator, trained, step = build.load_generator(folder, device)
        data, objects, note = _objects(record, trained, config, limit, progress)
        if step <= trained.adv_warmup:
            note += f" The discriminator never trained: --adv-warmup {trained.adv_warmup}, saved at step {step}."
        return cls(record, folder, trained, generator, adversary, step, device, data, objects, note)

    @property
    def page(self) -> Path:
        """Where the picture goes; numbers.json lies beside it."""
        return self.folder / FOLDER / "page.png"

    @property
    def title(self) -> str:
        """Two lines: run, adversary, how it sees masks, step; number of objects and data."""
        name = "" if self.record.name in ("", self.record.id[:8]) else f" ({self.record.name})"
        untrained = ", discriminator never trained" if self.step <= self.config.adv_warmup else ""
        return (
            f"Run {self.record.id[:8]}{name}: adv {self.config.adv}, d-mask {self.config.d_mask}, step {self.step}"
            f"{untrained}\n{len(self.objects)} objects of {self.data.name}"
        )

    def run(self, progress: Callable[[int, int], None]) -> Diagnosis:
        """Ask the discriminator, and put page and numbers into the run's folder and its MLflow page.

        Args:
            progress: called with (done, all) objects.

        Raises:
            InputError: the discriminator's answers are no numbers.
        """
        precision = precision_on(self.device, self.config.precision)
        found = diagnose(
            self.generator,
            self.adversary,
            validation_batches(
                self.data, self.objects, size=self.config.size, batch_size=min(self.config.batch_size, OBJECTS)
            ),
            device=self.device,
            precision=precision,
            drawn=spread(len(self.objects), COLUMNS),
            progress=lambda done: progress(done, len(self.objects)),
        )
        if not np.isfinite([answer.logits for answer in found.answers]).all():
            raise InputError(f"run {self.record.id[:8]}: its discriminator answers NaN or infinity; take another run.")
        numbers = {
            "run_id": self.record.id,
            "step": self.step,
            "adv": self.config.adv,
            "d_mask": self.config.d_mask,
            "size": self.config.size,
            "precision": precision,
            "device": str(self.device),
            "data": self.data.name,
            "data_digest": self.data.digest(),
            **found.numbers(),
        }
        page = diagnosis_page(found.answers, found.looks, self.title)
        path = self.page.with_name("numbers.json")
        with tracking.reopen_run(self.record.id, RUNS) as run:
            write_atomically(self.page, _png(page))
            text = json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False)
            write_atomically(path, f"{text}\n".encode())
            run.artifact(self.page, FOLDER)
            run.artifact(path, FOLDER)
            run.image(FOLDER, page, self.step)
        return found


def _objects(
    record: tracking.RunRecord, trained: TrainConfig, config: EvalConfig, limit: int, progress: Progress | None
) -> tuple[DataSet, list[int], str]:
    """Data, indices of the objects in it, and a line that says what was taken."""
    run = f"run {record.id[:8]}"
    if config.data:
        data, _, note = build.open_data(config, "eval", progress)
        groups = data.objects_of_image
        if data.name == record.params.get("data_name"):
            note += " Careful: the run was trained on this data."
        return data, [groups[image][0] for image in spread(len(groups), limit)], note
    for name in ("images", "split", "ignore_value"):
        if getattr(config, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} says how to read --data, which is not there; give both.")
    if trained.val_data == "none":
        raise InputError(f"{run} was trained with --val-data none and has no validation data of its own; give --data.")
    try:
        opened = build.training_data(trained.model_copy(update={"val_images": limit}), progress)
    except InputError as error:
        raise InputError(f"{run}: its own data cannot be used ({str(error).removesuffix('.')}); give --data.") from None
    assert opened.validation is not None
    note = opened.note
    if record.params.get("data_digest", opened.train.digest()) != opened.train.digest():
        note += " Careful: this is not the data that the run was trained on, or it has changed since."
    return opened.validation, opened.objects, note


def _png(image: Image) -> memoryview:
    from PIL import Image as Pillow

    png = io.BytesIO()
    Pillow.fromarray(image).save(png, "PNG")
    return png.getbuffer()
