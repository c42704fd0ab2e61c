"""Does the adversarial term help, and at which weight? Equal steps, three seeds, a small model.

python experiments/weight_sweep.py --data PACK --out sweep [--jobs 2] [--into experiments/README.md]

Trains weight_sweep.yaml with `--adv hinge` at each weight (0 is the baseline to the bit) and each seed through
`mfpgan train`, in the folder --out, where finished cells are kept and skipped by the next call. Each is measured on the
held-out validation objects whole in a square, after one positive and one negative click: IoU, boundary IoU, and
connected components of the predicted mask (the truth has its own number, printed beside). Intervals of the differences
to weight 0 are 95 % bootstraps that draw seeds first, then images. Writes docs/weight_sweep.png with --into.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from cell import train_once
from numpy.typing import NDArray
from page import put
from PIL import Image

from mfpgan import build
from mfpgan.data.loader import validation_batches
from mfpgan.figures.sweep import SweepPoint, sweep_figure
from mfpgan.metrics import boundary_iou, confusion, iou
from mfpgan.session import THRESHOLD, predict
from mfpgan.training.validation import validation_clicks

WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.1)
MEASURES = ("IoU", "boundary IoU", "components")
HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="training data, as for mfpgan train")
    parser.add_argument("--out", required=True, type=Path, help="folder for runs and results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, a thread each")
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown file to put the table into")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cells = [(weight, seed) for seed in range(arguments.seeds) for weight in WEIGHTS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        folders = list(pool.map(lambda cell: train(arguments.data.resolve(), arguments.out, *cell), cells))
    runs = dict(zip(cells, folders, strict=True))
    values = np.stack(
        [[measure(arguments.out, runs, weight, seed) for seed in range(arguments.seeds)] for weight in WEIGHTS]
    )  # (weights, seeds, objects, measures)
    text, points = summary(values[..., :3], float(values[0, 0, :, 3].mean()))
    print(text)
    if arguments.into:
        put(arguments.into, "weight sweep", f"{text}\n\n![Difference to weight 0](../docs/weight_sweep.png)")
        Image.fromarray(sweep_figure(points, "adversarial weight")).save(HERE.parent / "docs" / "weight_sweep.png")


def train(data: Path, out: Path, weight: float, seed: int) -> Path:
    """The folder of one cell's run."""
    options = [
        "--config", str(HERE / "weight_sweep.yaml"), "--data", str(data), "--adv", "hinge", "--adv-weight", str(weight),
        "--seed", str(seed), "--name", f"sweep-{weight:g}-s{seed}",
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    folder = train_once(out / f"run-{weight:g}-{seed}.txt", options, threads)
    print(f"weight {weight:g}, seed {seed}: run {folder.name[:8]}", flush=True)
    return folder


def measure(out: Path, runs: dict[tuple[float, int], Path], weight: float, seed: int) -> NDArray[np.float64]:
    """(objects, 4): IoU, boundary IoU, components predicted and true of every validation object."""
    found = out / f"values-{weight:g}-{seed}.json"
    if not found.is_file():
        generator, config, _ = build.load_generator(runs[weight, seed], torch.device("cpu"))
        data = build.training_data(config)
        rows = []
        batches = validation_batches(data.validation, data.objects, size=config.size, batch_size=config.batch_size)
        for number, batch in enumerate(batches):
            clicks = validation_clicks(batch, number * config.batch_size)
            masks = predict(generator, batch.image, clicks, "bf16")[:, 0].numpy() > THRESHOLD
            for item, mask in enumerate(masks):
                target, ignore = batch.target[item, 0].numpy() > 0, batch.valid[item, 0].numpy() == 0
                parts = [cv2.connectedComponents((one & ~ignore).astype(np.uint8))[0] - 1 for one in (mask, target)]
                rows.append([iou(confusion(mask, target, ignore)), boundary_iou(mask, target, ignore), *parts])
        found.write_text(json.dumps(rows))
    return np.array(json.loads(found.read_text()), np.float64)


def summary(values: NDArray[np.float64], true_parts: float) -> tuple[str, list[SweepPoint]]:
    """The table, and the differences to the first weight as points of a figure."""
    seeds, objects = values.shape[1:3]
    lines = [
        f"| weight, {seeds} seeds, {objects} objects | {' | '.join(f'{name} | difference to 0' for name in MEASURES)} |",
        f"| --- | {'--- | ' * (2 * len(MEASURES))}".rstrip(),
    ]
    points = []
    for number, weight in enumerate(WEIGHTS):
        cells = []
        for column, name in enumerate(MEASURES):
            cells.append(f"{values[number, ..., column].mean():.3f}")
            changes = values[number, ..., column] - values[0, ..., column]
            low, high = bootstrap(changes)
            cells.append(f"{changes.mean():+.3f} [{low:+.3f}, {high:+.3f}]" if number else "")
            if number:
                points.append(SweepPoint(name, f"{weight:g}", changes.mean(), low, high, changes.mean(1).tolist()))
        lines.append(f"| {weight:g} | {' | '.join(cells)} |")
    lines.append(f"\nThe drawn masks have {true_parts:.2f} components.")
    return "\n".join(lines), points


def bootstrap(changes: NDArray[np.float64], draws: int = 5000) -> tuple[float, float]:
    """95 % interval of the mean of (seeds, objects): seeds are drawn, then objects, the same ones for all seeds."""
    rng = np.random.default_rng(0)
    seeds, objects = changes.shape
    means = np.empty(draws)
    for draw in range(draws):
        rows = changes[rng.integers(seeds, size=seeds)]
        means[draw] = rows[:, rng.integers(objects, size=objects)].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
