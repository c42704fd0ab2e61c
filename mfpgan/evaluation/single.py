"""Protocol `single`, the seed's: two random clicks on the principal object of each image, one answer at 256 pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import add, attrgetter

import numpy as np
import torch
from torch import nn

from mfpgan import distributed
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.data.resize import resize_sample
from mfpgan.evaluation.references import REFERENCES
from mfpgan.evaluation.report import MODEL, Estimate, SingleResult, SingleRow, SingleScore
from mfpgan.inference import predict
from mfpgan.metrics import METRICS, Confusion, bootstrap_interval, confusion
from mfpgan.types import THRESHOLD, BoolMask, Click, DataSet, Image

SIZE_PX = 256
BATCH_SIZE = 4
FIRST_IMAGES = 20
"""The seed's numbers are those of the first five batches of four."""


@dataclass(frozen=True, slots=True)
class SingleCase:
    """One object as the protocol shows it to every model: resized, with its two clicks."""

    id: str
    number: int
    """Number of the image in the data set's order."""
    image: Image
    """(256, 256, 3) uint8, RGB."""
    target: BoolMask
    ignore: BoolMask | None
    clicks: tuple[Click, ...]


def single_case(data: DataSet, number: int, seed: int = 0) -> SingleCase:
    """The principal object of image `number`, resized, with clicks that depend on (seed, number) alone."""
    sample = resize_sample(data[data.objects_of_image[number][0]], SIZE_PX, SIZE_PX)
    rng = np.random.default_rng([seed, number])
    clicks = STRATEGIES["random"]()(sample.target, None, (), rng, sample.ignore)
    return SingleCase(sample.id, number, sample.image, sample.target, sample.ignore, clicks)


def evaluate_single(
    generator: nn.Module,
    data: DataSet,
    *,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SingleResult:
    """Score a generator, and the references on the same clicks. Several processes share out the batches; each returns all.

    Args:
        generator: as in `mfpgan.inference.predict`; left on `device` in eval mode.
        data: the first object of each image counts.
        device, precision: where and how the network runs.
        seed: of the clicks and of the bootstrap.
        limit: only the first so many images.
        progress: called as progress(images done, images in all) after every batch. Those of other processes count as done
            when it is their turn.

    Raises:
        ValueError: there is no object to score.
        InputError: an object cannot be read.
    """
    generator.to(device)
    total = len(data.objects_of_image[:limit])
    if not total:
        raise ValueError(f"{data.name}: no object to evaluate")

    def play() -> list[SingleRow]:
        mine: list[SingleRow] = []
        # GrabCut takes longer than the network and leaves the interpreter free: one thread an image.
        with ThreadPoolExecutor(BATCH_SIZE) as pool:
            for turn, start in enumerate(range(0, total, BATCH_SIZE)):
                end = min(start + BATCH_SIZE, total)
                if distributed.takes(turn):
                    cases = [single_case(data, number, seed) for number in range(start, end)]
                    masks = _answers(generator, cases, device, precision)
                    mine += pool.map(_row, cases, masks)
                if progress:
                    progress(end, total)
        return mine

    rows = sorted(chain.from_iterable(distributed.told(distributed.together(play))), key=attrgetter("image"))
    parts = {f"single{FIRST_IMAGES}": rows[:FIRST_IMAGES]} if total >= FIRST_IMAGES else {}
    parts["single"] = rows
    scores = {
        part: {name: _score(part_rows, name, seed) for name in rows[0].confusion} for part, part_rows in parts.items()
    }
    return SingleResult(SIZE_PX, seed, scores, tuple(rows))


def answer(generator: nn.Module, case: SingleCase, precision: str = "fp32") -> BoolMask:
    """The generator's mask for one case, (256, 256) bool; it runs on the device where its parameters are."""
    parameter = next(generator.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    return _answers(generator, [case], device, precision)[0]


def _answers(
    generator: nn.Module, cases: Sequence[SingleCase], device: torch.device | str, precision: str
) -> list[BoolMask]:
    """Masks of one batch, (256, 256) bool each."""
    pixels = np.stack([case.image for case in cases]).transpose(0, 3, 1, 2)
    image = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).float() / 255
    prob = predict(generator, image, [case.clicks for case in cases], precision)
    return list(prob[:, 0].cpu().numpy() > THRESHOLD)


def _row(case: SingleCase, mask: BoolMask) -> SingleRow:
    masks = {MODEL: mask} | {name: reference(case.image, case.clicks) for name, reference in REFERENCES.items()}
    counts = {name: confusion(answer, case.target, case.ignore) for name, answer in masks.items()}
    return SingleRow(case.id, case.number, case.clicks, counts)


def _score(rows: Sequence[SingleRow], name: str, seed: int) -> SingleScore:
    """Pooled pixels and mean over images of one model or reference."""
    pooled = reduce(add, (row.confusion[name] for row in rows), Confusion(0, 0, 0, 0))
    groups = [row.image for row in rows]
    per_image = {}
    for metric, function in METRICS.items():
        values = [function(row.confusion[name]) for row in rows]
        per_image[metric] = Estimate(float(np.mean(values)), *bootstrap_interval(values, groups, seed=seed))
    return SingleScore(pooled, {metric: function(pooled) for metric, function in METRICS.items()}, per_image)
