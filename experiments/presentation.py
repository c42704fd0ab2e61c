"""Which presentation of masks makes a discriminator learn shape instead of softness?

python experiments/presentation.py --data PACK [--into experiments/README.md]

A discriminator (width .25, hinge, spectral norm) is trained to tell drawn masks from simulated predictions, no generator
anywhere: every predicted mask is a drawn one whose edge is bent (`mfpgan.diagnosis.planted.warped`) and which is then
softened as an unsure network's would be (`mfpgan.training.health.soften`). All presentations see the same batches. Then,
on held-out objects whole in a square:

artefact AUC        drawn masks against the same masks softened; .5: it cannot tell, 1: softness is all it needs
wrong-boundary AUC  softened masks against softened masks with a bent edge; 1: it knows the right edge
right-way share     of the wrong pixels of the latter, those whose gradient points at the truth; chance .5

Each as mean and range over the seeds. With --into the table goes between the file's markers.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from page import put

from mfpgan import build
from mfpgan.clicks.guidance import click_maps
from mfpgan.config import TrainConfig
from mfpgan.data.loader import training_batches, validation_batches
from mfpgan.diagnosis.measure import planted, right_way, scores, wish
from mfpgan.diagnosis.planted import PLANTED
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.training.adversary import Adversary
from mfpgan.training.health import auc, soften
from mfpgan.training.simulate import first_turns
from mfpgan.training.validation import with_maps

SIZE_PX, BATCH, WIDTH = 128, 8, 0.25
MEASURES = ("artefact AUC", "wrong-boundary AUC", "right-way share")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="training data, as for mfpgan train")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--d-mask", nargs="+", choices=list(PRESENTATIONS), default=list(PRESENTATIONS))
    parser.add_argument("--d-lr", type=float, default=TrainConfig.model_fields["d_lr"].default)
    parser.add_argument("--objects", type=int, default=64, help="held-out objects (at most 64 are held out)")
    parser.add_argument("--into", type=Path, nargs="*", default=[], metavar="FILE", help="Markdown files for the table")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in arguments.d_mask}
    for seed in range(arguments.seeds):
        start = time.monotonic()
        for name, numbers in one_seed(arguments, seed).items():
            found[name].append(numbers)
            words = ", ".join(f"{what} {value:.3f}" for what, value in zip(MEASURES, numbers, strict=True))
            print(f"seed {seed}  {name:10} {words}", flush=True)
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    lines = [f"| `--d-mask` | {' | '.join(MEASURES)} |", "| --- | --- | --- | --- |"]
    for name, rows in found.items():
        cells = [f"{np.mean(column):.2f} [{min(column):.2f}, {max(column):.2f}]" for column in zip(*rows, strict=True)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    text = "\n".join(lines)
    print(text)
    for page in arguments.into:
        put(page, "presentation", text)


def one_seed(arguments: argparse.Namespace, seed: int) -> dict[str, tuple[float, ...]]:
    """The three measures of every presentation."""
    common = {
        "data": arguments.data, "size": SIZE_PX, "width": WIDTH, "seed": seed, "device": "cpu",
        "val_images": arguments.objects, "d_lr": arguments.d_lr,
    }  # fmt: skip
    configs = {name: TrainConfig(**common, d_mask=name) for name in arguments.d_mask}
    opened = build.training_data(next(iter(configs.values())))
    players: dict[str, Adversary] = {}
    for name, config in configs.items():
        player = build.adversary_of(config, torch.device("cpu"))
        assert isinstance(player, Adversary)
        players[name] = player
    encoding = build.click_encoding(next(iter(configs.values())))
    user = TrainConfig(**common).strategy()
    batches = training_batches(
        opened.train, seed=seed, size=SIZE_PX, batch_size=BATCH, steps=range(arguments.steps), workers=0
    )
    for step, batch in enumerate(batches):
        clicks = first_turns(batch, user, seed=seed, position=step * BATCH)
        maps = click_maps(clicks, SIZE_PX, SIZE_PX, encoding.shape, encoding.radius)
        prediction = soften(planted(batch, PLANTED["warped"], seed=seed, position=step * BATCH))
        for player in players.values():
            player.update(batch, maps, prediction, step, step * BATCH)
    held_out = validation_batches(opened.validation, opened.objects, size=SIZE_PX, batch_size=BATCH)
    answers: dict[str, dict[str, list[float]]] = {
        name: {"drawn": [], "soft": [], "bent": [], "way": []} for name in players
    }
    for number, (batch, maps) in enumerate(with_maps(held_out, encoding, torch.device("cpu"))):
        bent = soften(planted(batch, PLANTED["warped"], seed=10_000 + seed, position=number * BATCH))
        for name, player in players.items():
            answer = answers[name]
            answer["drawn"] += scores(player, batch, maps, batch.target)
            answer["soft"] += scores(player, batch, maps, soften(batch.target))
            answer["bent"] += scores(player, batch, maps, bent)
            answer["way"] += right_way(wish(player, batch, maps, bent), bent, batch.target, batch.valid)
    return {
        name: (
            auc(answer["drawn"], answer["soft"]),
            auc(answer["soft"], answer["bent"]),
            float(np.mean(answer["way"])),
        )
        for name, answer in answers.items()
    }


if __name__ == "__main__":
    main()
