"""All that one page says of a discriminator: what it answers to six kinds of masks beside the drawn ones, and its pushes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mfpgan.clicks.guidance import click_maps
from mfpgan.diagnosis.measure import planted, right_way, scores, wish
from mfpgan.diagnosis.planted import PLANTED
from mfpgan.figures.diagnosis import Answers, Look
from mfpgan.inference import encoding_of, predict
from mfpgan.metrics import bootstrap_interval, confusion, iou
from mfpgan.training.adversary import Adversary
from mfpgan.training.health import CELL_PX, auc, soften
from mfpgan.training.pictures import photo_of
from mfpgan.training.validation import SEED, validation_clicks
from mfpgan.types import THRESHOLD, Batch

DRAWN, PREDICTED, SOFTENED = "drawn", "predicted", "softened"
KINDS = (DRAWN, PREDICTED, *PLANTED, SOFTENED)
"""Kinds of masks, in the order of the page."""
WRONG = (PREDICTED, *PLANTED)
"""Kinds that have wrong pixels to push."""
NEARLY = 1e-3
"""Masks are held so far from 0 and 1 before their push is asked for: `--d-mask gumbel` has no slope at a certain pixel."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Numbers and pictures of one discriminator."""

    ids: tuple[str, ...]
    """Of the objects, one an image; logits have their order."""
    answers: tuple[Answers, ...]
    """One of each of KINDS, in that order."""
    looks: tuple[Look, ...]
    """Some of the objects with the generator's masks."""

    def numbers(self) -> dict[str, Any]:
        """All but the pictures, as plain types: {"objects": [ids], "kinds": {kind: {"mean_logit", "auc", "paired",
        "right_way", "logits"}}}; right_way is [mean, low, high]."""
        kinds = {
            answer.kind: {
                "mean_logit": float(np.mean(answer.logits)),
                "auc": answer.auc,
                "paired": answer.paired,
                "right_way": None if answer.right_way is None else list(answer.right_way),
                "logits": list(answer.logits),
            }
            for answer in self.answers
        }
        return {"objects": list(self.ids), "kinds": kinds}


def diagnose(
    generator: nn.Module,
    adversary: Adversary,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str = "fp32",
    drawn: Collection[int] = (),
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Ask a discriminator about drawn, predicted, spoilt and softened masks of the same objects.

    Predictions are answers to the two random clicks that validation uses; planted errors are the same for every run. So two
    runs that are asked about the same objects compare.

    Args:
        generator: as in `mfpgan.inference.predict`, on `device`; left in eval mode.
        adversary: on `device`.
        batches: on the CPU, with an object an image.
        precision: of the generator, "fp32" or "bf16".
        drawn: numbers of the objects to make pictures of, counted from 0.
        progress: called with the number of objects done.

    Raises:
        ValueError: there is no object.
    """
    ids: list[str] = []
    logits: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares: dict[str, list[float]] = {kind: [] for kind in WRONG}
    looks: list[Look] = []
    encoding = encoding_of(generator)
    for batch_here in batches:
        position, (height, width) = len(ids), batch_here.image.shape[-2:]
        clicks = validation_clicks(batch_here, position)
        maps = click_maps(clicks, height, width, encoding.shape, encoding.radius).to(device)
        batch = batch_here.to(device)
        masks = {
            DRAWN: batch.target,
            # Cloned out of inference mode: the push is a gradient at the mask.
            PREDICTED: predict(generator, batch.image, clicks, precision).clone(),
            **{name: planted(batch, error, seed=SEED, position=position) for name, error in PLANTED.items()},
            SOFTENED: soften(batch.target),
        }
        for kind, mask in masks.items():
            logits[kind] += scores(adversary, batch, maps, mask)
        pushes = {kind: wish(adversary, batch, maps, masks[kind].clamp(NEARLY, 1 - NEARLY)) for kind in WRONG}
        for kind, push in pushes.items():
            shares[kind] += right_way(push, masks[kind], batch.target, batch.valid)
        items = [item for item in range(len(batch.ids)) if position + item in drawn]
        if items:
            patches = patch_logits(adversary, batch, maps, masks[PREDICTED])
            for item in items:
                words = f"logit {logits[PREDICTED][position + item]:.2f}, drawn {logits[DRAWN][position + item]:.2f}"
                looks.append(_look(batch_here, item, masks[PREDICTED], patches, pushes[PREDICTED], words))
        ids += batch.ids
        if progress:
            progress(len(ids))
    if not ids:
        raise ValueError("no object to ask about")
    answers = tuple(_answers(kind, logits, shares.get(kind, [])) for kind in KINDS)
    return Diagnosis(tuple(ids), answers, tuple(looks))


def patch_logits(adversary: Adversary, batch: Batch, click_maps: Tensor, mask: Tensor) -> Tensor:
    """What the discriminator says round every pixel, mean over scales, (B, 1, H, W) float32.

    Every logit stands in the middle of the patch that it judges; beyond the outermost ones their values go on.
    """
    with torch.no_grad():
        judgement = adversary.judge(batch, click_maps, mask)
    height, width = mask.shape[-2:]
    placed = []
    for scale, logits in enumerate(judgement.logits):
        # A logit every cell, the first in the middle of the second cell: one more at each edge makes a grid of whole cells,
        # and what of the picture is left beyond them has the last ones' values.
        grid = functional.pad(logits, (1, 1, 1, 1), mode="replicate")
        cell = CELL_PX * 2**scale
        inner = functional.interpolate(grid, scale_factor=cell, mode="bilinear", align_corners=False)
        beyond = (0, width - inner.shape[-1], 0, height - inner.shape[-2])
        placed.append(functional.pad(inner, beyond, mode="replicate"))
    return torch.stack(placed).mean(0)


def _answers(kind: str, logits: dict[str, list[float]], shares: Sequence[float]) -> Answers:
    rating = paired = None
    if kind != DRAWN:
        rating = auc(logits[DRAWN], logits[kind])
        above = np.sign(np.subtract(logits[DRAWN], logits[kind]))
        paired = float((above + 1).mean() / 2)
    share = None
    if shares:
        share = (float(np.mean(shares)), *bootstrap_interval(shares, range(len(shares))))
    return Answers(kind, tuple(logits[kind]), rating, paired, share)


def _look(batch: Batch, item: int, prob: Tensor, patches: Tensor, push: Tensor, words: str) -> Look:
    """One object; the batch is on the CPU."""

    def plane(values: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = values[item, 0].cpu().numpy().copy()
        return array

    target, prediction = plane(batch.target) > 0, plane(prob) > THRESHOLD
    overlap = iou(confusion(prediction, target, plane(batch.valid) == 0))
    return Look(
        photo_of(batch, item), target, prediction, plane(patches), plane(push * batch.valid.to(push.device)),
        f"IoU {overlap:.2f}\n{words}",
    )  # fmt: skip
