"""What a run is judged by while it trains: whole photos as squares, the same clicks in every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfpgan.clicks.guidance import click_maps
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.figures import draw_triplet
from mfpgan.inference import predict
from mfpgan.metrics import METRICS, confusion
from mfpgan.training.pictures import photo_of
from mfpgan.training.simulate import first_turns
from mfpgan.types import THRESHOLD, Batch, Click, ClickEncoding, Image

SEED = 1_000_003
"""Validation clicks are the same in every run, whatever its seed, so that curves of runs compare."""
TRIPLETS = 6
"""Validation objects drawn at each validation."""


class Validation(NamedTuple):
    """What a validation found."""

    metrics: dict[str, float]
    """val/iou, val/dice: after one positive and one negative random click. val/iou_1, val/iou_2, ...: after so many
    clicks of the robot `center`. Means over objects; empty without validation data."""
    pictures: list[Image]
    """The first objects as triplets, with the random clicks."""


def validate(
    generator: nn.Module, batches: Iterable[Batch], *, device: torch.device, precision: str, max_clicks: int
) -> Validation:
    """Score a generator on validation batches; it is left in eval mode.

    Args:
        batches: on the CPU.
        precision: "fp32" or "bf16".
        max_clicks: of the robot, for each object.
    """
    scores: dict[str, list[float]] = {}
    pictures: list[Image] = []
    position = 0
    for batch in batches:
        image = batch.image.to(device)
        clicks = validation_clicks(batch, position)
        masks = _masks(predict(generator, image, clicks, precision))
        for item in range(len(batch.ids)):
            target, ignore = _truth(batch, item)
            counts = confusion(masks[item], target, ignore)
            for name in ("iou", "dice"):
                scores.setdefault(f"val/{name}", []).append(METRICS[name](counts))
            if len(pictures) < TRIPLETS:
                pictures.append(draw_triplet(photo_of(batch, item), clicks[item], target, masks[item], ignore))
        for number, ious in enumerate(_play(generator, batch, image, precision, max_clicks), start=1):
            scores.setdefault(f"val/iou_{number}", []).extend(ious)
        position += len(batch.ids)
    return Validation({name: float(np.mean(values)) for name, values in scores.items()}, pictures)


def with_maps(
    batches: Iterable[Batch], encoding: ClickEncoding, device: torch.device
) -> Iterator[tuple[Batch, Tensor]]:
    """Validation batches on the device, with the (B, 2, H, W) click maps of the random clicks that they are judged by."""
    position = 0
    for batch in batches:
        clicks, position = validation_clicks(batch, position), position + len(batch.ids)
        height, width = batch.image.shape[-2:]
        maps = click_maps(clicks, height, width, encoding.shape, encoding.radius)
        yield batch.to(device), maps.to(device)


def validation_clicks(batch: Batch, position: int) -> list[tuple[Click, ...]]:
    """One positive and one negative click for each object, the same in every run; position: of the batch's first object."""
    return first_turns(batch, STRATEGIES["random"](), seed=SEED, position=position)


def _play(generator: nn.Module, batch: Batch, image: Tensor, precision: str, max_clicks: int) -> Iterator[list[float]]:
    """IoU of every object of a batch after each click of the robot; all objects make their k-th click together.

    Where the robot has nothing left to correct the object keeps its answer, as in protocol `interactive`.
    """
    robot, rng = STRATEGIES["center"](), np.random.default_rng(0)  # the robot draws nothing
    clicks: list[list[Click]] = [[] for _ in batch.ids]
    truths = [_truth(batch, item) for item in range(len(clicks))]
    prob = image.new_zeros(len(clicks), 1, *image.shape[-2:])
    masks = np.zeros((len(clicks), *image.shape[-2:]), np.bool_)
    for number in range(max_clicks):
        turns = [robot(target, masks[i], clicks[i], rng, ignore) for i, (target, ignore) in enumerate(truths)]
        going = [item for item, turn in enumerate(turns) if turn]
        if going:
            for item in going:
                clicks[item] += turns[item]
            rows = torch.tensor(going, device=image.device)
            before = prob[rows] if number else None
            prob[rows] = predict(generator, image[rows], [clicks[item] for item in going], precision, before)
            masks = _masks(prob)
        yield [METRICS["iou"](confusion(mask, *truth)) for mask, truth in zip(masks, truths, strict=True)]


def _masks(prob: Tensor) -> NDArray[np.bool_]:
    masks: NDArray[np.bool_] = (prob[:, 0] > THRESHOLD).cpu().numpy()
    return masks


def _truth(batch: Batch, item: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Target and ignore band of one object, (H, W) bool each."""
    return batch.target[item, 0].numpy() > 0, batch.valid[item, 0].numpy() == 0
