"""Names in a config become objects: the only place that looks into all the tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mfpgan import distributed, tracking
from mfpgan.clicks.encoding import USUAL_RADIUS_PX
from mfpgan.config import EvalConfig, TrainConfig, WeightsName
from mfpgan.data import DATASETS, Progress, Request, Role, find_default, open_dataset, recognise
from mfpgan.data.columns import DamagedError
from mfpgan.data.folder import has_split
from mfpgan.data.loader import default_workers, training_batches, validation_batches
from mfpgan.data.order import Order
from mfpgan.data.policy import choose
from mfpgan.data.subset import hold_out, spread
from mfpgan.devices import pick_device, place, precision_on
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.losses.segmentation import SEGMENTATION
from mfpgan.models.discriminator import ARCHITECTURES, INPUTS, MFPDiscriminator
from mfpgan.models.generator import MFPResNetUNet, encoder_state
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.training.adversary import Adversary, AnyAdversary, NoAdversary
from mfpgan.training.checkpoint import BEFORE, BEST, load_checkpoint, write_safetensors
from mfpgan.training.ema import averaged_state
from mfpgan.training.replicas import check_every, share_statistics
from mfpgan.training.rules import Rules
from mfpgan.training.trainer import Plan, Trainer
from mfpgan.types import Batch, ClickEncoding, DataSet, InputError, reason_of
from mfpgan.version import __version__
from mfpgan.yaml_file import read_mapping

WEIGHT_STREAM = 10
"""Third entry of the seed of a discriminator's first weights, beside the streams of training."""


class TrainingData(NamedTuple):
    """What a run reads."""

    train: DataSet
    validation: DataSet | None
    objects: list[int]
    """Indices of the validation objects."""
    note: str
    """One line that says what was taken."""
    order: Order
    """Which training object stands at which position of the run."""

    @property
    def images_per_epoch(self) -> int:
        """Images of an epoch of training, rounded; repeated ones count as often as they come."""
        return round(self.order.images_per_epoch)


def open_data(config: TrainConfig | EvalConfig, role: Role, progress: Progress | None) -> tuple[DataSet, str, str]:
    """The data that a config names, or what is found for the role; how it is named, and a line that says what was taken.

    Raises:
        InputError: it cannot be opened.
    """
    word = {"train": "Training", "val": "Validation", "eval": "Evaluation"}[role]
    spec, found = (config.data, "") if config.data else find_default(role)
    data = open_dataset(
        spec,
        images=config.images,
        split=config.split,
        ignore_value=config.ignore_value,
        role=role,
        progress=progress,
    )
    return data, spec, f"{found[0].upper()}{found[1:]}." if found else f"{word} data: {data.name}."


def training_data(config: TrainConfig, progress: Progress | None = None) -> TrainingData:
    """Open the training and validation data of a config.

    Args:
        progress: called with (done, all) while a slow opening goes on.

    Raises:
        InputError: either cannot be opened, the policy leaves nothing, or a validation object or the first training objects
            cannot be read.
    """
    train, spec, note = open_data(config, "train", progress)
    validation: DataSet | None
    if config.val_data == "none":
        validation = None
    elif config.val_data:
        validation = _open_known(config, config.val_data, config.val_split, progress)
    elif beside := _validation_beside(spec, config.split):
        validation = _open_known(config, *beside, progress)
    else:
        train, validation = hold_out(train)
    whole, train = train, choose(train, config.min_area, config.max_area, config.category_names)
    if train is not whole:
        note += f" Chosen: {len(train)} of {len(whole)} objects, in {len(train.objects_of_image)} images."
    order = Order(train, config.seed, config.objects_per_image, config.repeat_threshold)
    _check_first(train)
    if validation is None:
        return TrainingData(train, None, [], f"{note} No validation.", order)
    groups = validation.objects_of_image
    objects = [groups[image][0] for image in spread(len(groups), config.val_images)]
    for number in objects:  # a missing photo should be found now, not at the first validation
        validation[number]
    note += f" Validation: {len(objects)} object(s) of {validation.name}."
    return TrainingData(train, validation, objects, note, order)


def _check_first(train: DataSet) -> None:
    """Raise what is wrong if none of some training images can be read: then it is not a file, but where they are looked for."""
    groups = train.objects_of_image
    errors: list[InputError] = []
    for image in spread(len(groups), 3):
        try:
            train[groups[image][0]]
        except DamagedError:  # no matter of single photos
            raise
        except InputError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def _open_known(config: TrainConfig, spec: str, split: str | None, progress: Progress | None) -> DataSet:
    """Validation data, with those of the training data's options that mean something to its kind."""
    known = DATASETS[recognise(Request(spec))].options
    shared = {name: getattr(config, name) for name in ("images", "ignore_value") if name in known}
    return open_dataset(spec, split=split, role="val", progress=progress, **shared)


def _validation_beside(spec: str, split: str | None) -> tuple[str, str | None] | None:
    """Where the training data's own validation part is, and which split of it, where its kind has one."""
    kind = recognise(Request(spec))
    path = Path(spec).expanduser()
    if kind == "lvis":
        sibling = path.with_name(path.name.replace("train", "val"))
        return (str(sibling), None) if sibling != path and sibling.is_file() else None
    if kind == "folder":
        return (spec, "val") if split == "train" and has_split(path, "val") else None
    return (spec, None) if split in (None, "train") else None


def generator_of(config: TrainConfig) -> tuple[MFPResNetUNet, str]:
    """The generator as a run starts with it, a function of the seed; and what its encoder started from."""
    if config.encoder_weights == "auto" and config.width != 1:
        state, origin = None, "none (pretrained weights fit only --width 1)"
    elif config.encoder_weights == "imagenet" and config.width != 1:
        raise InputError(
            f"--encoder-weights imagenet fits only --width 1, got {config.width:g}; use none, or --width 1."
        )
    else:
        state, origin = encoder_state(config.encoder_weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        generator = MFPResNetUNet(config.width, click_encoding(config))
    if state is not None:
        generator.load_encoder(state, f"--encoder-weights {config.encoder_weights}")
    return generator, origin


def click_encoding(config: TrainConfig) -> ClickEncoding:
    """How the generator of a config is fed."""
    radius = USUAL_RADIUS_PX[config.encoding] if config.radius is None else config.radius
    return ClickEncoding(config.encoding, radius, config.memory)


def adversary_of(config: TrainConfig, device: torch.device) -> AnyAdversary:
    """The adversary that `adv` names, a function of the seed; building it draws nothing from anybody else's chance."""
    if config.adv == "off":
        return NoAdversary()
    presentation = PRESENTATIONS[config.d_mask]
    with torch.random.fork_rng(devices=[]):
        # Chance of its own: with the generator's seed, its first weights would be drawn from the same numbers.
        torch.manual_seed(int(np.random.default_rng([config.seed, 0, WEIGHT_STREAM]).integers(2**63)))
        discriminator = MFPDiscriminator(
            config.width,
            scales=ARCHITECTURES[config.d_arch],
            sees=INPUTS[config.d_input],
            mask_channels=presentation.channels,
            spectral=config.spectral,
        )
    rules = Rules(
        lr=config.d_lr,
        weight=config.adv_weight,
        warmup=config.adv_warmup,
        ramp=config.adv_ramp,
        balance=config.adv_balance,
        r1=config.d_r1,
        r1_every=config.d_r1_every,
        gradient_penalty=config.gradient_penalty,
        feature_matching=config.d_fm,
        augment=config.d_augment,
        seed=config.seed,
    )
    return Adversary(
        place(discriminator, device),
        ADVERSARIAL[config.adv],
        presentation,
        rules,
        bf16=precision_on(device, config.precision) == "bf16",
    )


def trainer(config: TrainConfig, data: TrainingData, run: tracking.Run, generator: MFPResNetUNet) -> Trainer:
    """All parts of a run, wired; in each of several processes."""
    device = pick_device(config.device)
    share_statistics(generator, device)
    workers = default_workers() if config.workers is None else config.workers
    strategy = config.strategy()
    others = getattr(strategy, "uses_others", False)  # looked up only for users who click on them

    def batches(steps: range) -> Iterable[Batch]:
        return training_batches(
            data.train, seed=config.seed, size=config.size, batch_size=config.batch_size,
            steps=steps, workers=workers, others=others, order=data.order, share=distributed.share(config.batch_size),
        )  # fmt: skip

    def validation() -> Iterable[Batch]:
        if data.validation is None:
            return ()
        return validation_batches(data.validation, data.objects, size=config.size, batch_size=config.batch_size)

    return Trainer(
        config=config,
        plan=Plan.of(config, data.images_per_epoch),
        generator=place(generator, device),
        adversary=adversary_of(config, device),
        loss=SEGMENTATION[config.loss],
        strategy=strategy,
        batches=batches,
        validation=validation,
        data_digest=data.train.digest(),
        images=len(data.train.objects_of_image),
        run=run,
        device=device,
        bf16=precision_on(device, config.precision) == "bf16",
        check_every=check_every(),
    )


def load_generator(
    folder: Path, device: torch.device, weights: WeightsName = "last"
) -> tuple[MFPResNetUNet, TrainConfig, int]:
    """The trained generator of a run folder, its config and the step it was saved at.

    Args:
        weights: as training left them, as they were when val/iou was highest, or their running mean.

    Raises:
        InputError: the checkpoint is missing, broken, has no such weights, or does not fit its own config.
    """
    path = folder / tracking.CHECKPOINT
    config = config_of(folder)
    if weights == "best":
        path = path.with_name(BEST)
        if not path.is_file():
            raise InputError(
                f"--weights best: run {folder.name[:8]} was never validated, or is not on this machine; use --weights last."
            )
    try:
        parts = load_checkpoint(path)
    except InputError as error:
        if weights == "best" or not (path.with_name(BEFORE).is_file() or path.with_name(BEST).is_file()):
            raise
        raise InputError(
            f"{error} `mfpgan train --resume {folder.name[:8]}` goes on from the one before it; --weights best evaluates the best."
        ) from None
    if weights == "ema" and not config.ema:
        raise InputError(f"--weights ema: run {folder.name[:8]} keeps no running mean; train with --ema 0.999.")
    generator = _with_weights(config, parts, weights == "ema", path, str(folder / "config.yaml"))
    return place(generator, device), config, int(parts["step"])


def generator_of_checkpoint(
    path: Path, device: torch.device, weights: WeightsName = "last"
) -> tuple[MFPResNetUNet, TrainConfig, int]:
    """As `load_generator`, of a checkpoint that lies anywhere: it holds its run's config.

    Raises:
        InputError: it is missing, broken, holds no config or no such weights, or does not fit its own config; or `weights` is
            "best", which is a checkpoint of its own.
    """
    if weights == "best":
        raise InputError(f"{path}: a checkpoint is either the last or the best; name the run's {BEST} instead.")
    parts = load_checkpoint(path)
    if "config" not in parts:
        raise InputError(f"{path}: it holds no config; give the id of its run.")
    config = TrainConfig.from_mapping(read_mapping(path, "a config", parts["config"]), str(path))
    generator = _with_weights(config, parts, weights == "ema", path, "its config")
    return place(generator, device), config, int(parts["step"])


def _with_weights(config: TrainConfig, parts: dict[str, Any], averaged: bool, path: Path, origin: str) -> MFPResNetUNet:
    """The generator of a config with a checkpoint's weights, or with their running mean.

    Args:
        path, origin: of the checkpoint and of the config, for the errors.
    """
    generator = MFPResNetUNet(config.width, click_encoding(config))
    if averaged and not parts.get("ema"):
        raise InputError(f"{path}: it holds no running mean; use --weights last.")
    try:
        generator.load_state_dict(averaged_state(parts["ema"]) if averaged else parts["generator"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: its weights do not fit {origin} ({reason_of(error)}).") from None
    return generator


def export_weights(folder: Path) -> list[Path]:
    """Write the generator's weights of a run's checkpoints as safetensors too, for other programs; all files that there are.

    weights.safetensors is the last checkpoint's generator, best.safetensors the best one's. Their metadata hold the config,
    the step and the version of mfpgan as text.
    """
    files = []
    for checkpoint, name in ((tracking.CHECKPOINT, "weights.safetensors"), (f"checkpoints/{BEST}", "best.safetensors")):
        path = folder / checkpoint
        if not path.is_file():
            continue
        parts = load_checkpoint(path)
        metadata = {"config": parts["config"], "step": str(parts["step"]), "mfpgan": __version__}
        write_safetensors(path.with_name(name), parts["generator"], metadata)
        files += [path, path.with_name(name)]
    return files


def load_adversary(folder: Path, device: torch.device) -> Adversary:
    """The adversary of a run folder, as training left it.

    Raises:
        InputError: the run has none, or its checkpoint is missing, broken or does not fit its own config.
    """
    config = config_of(folder)
    adversary = adversary_of(config, device)
    if not isinstance(adversary, Adversary):
        raise InputError(
            f"run {folder.name[:8]} was trained with --adv off and has no discriminator; take another run."
        )
    path = folder / tracking.CHECKPOINT
    parts = load_checkpoint(path)
    try:
        adversary.discriminator.load_state_dict(parts["adversary"]["discriminator"])
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: its discriminator does not fit this version of mfpgan ({reason_of(error)})."
        ) from None
    return adversary


def config_of(folder: Path) -> TrainConfig:
    """The config a run was trained with."""
    path = folder / "config.yaml"
    return TrainConfig.from_mapping(TrainConfig.from_yaml(path), str(path))
