"""Does the adversarial term help, and at which weight? Equal steps, three seeds, a small model.

python experiments/weight_sweep.py --data PACK --out sweep [--jobs 2] [--into experiments/README.md]

Trains weight_sweep.yaml with `--adv hinge` at each weight (0 is the baseline to the bit) and each seed through
`mfpgan train`, in the folder --out, where finished cells are kept and skipped by the next call. Two arms with a smaller
`--pos-weight` stand beside them as controls: if the adversary only keeps the generator from painting too much, that does it
as well; and what the adversary then adds to it is compared with what it adds alone. Each is measured on the held-out validation objects whole in a square, after one positive and one negative
click: IoU, boundary IoU, size (area of the predicted mask over that of the object, median), and connected components of
the predicted mask (the truth has its own number, printed beside). Intervals of the differences to weight 0 are 95 % t
intervals over the seeds' means: of trainings, on these objects. Writes docs/weight_sweep.png with --into.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import scipy.stats
import torch
from cell import origins, train_once
from numpy.typing import NDArray
from page import put
from PIL import Image

from mfpgan import build
from mfpgan.data.loader import validation_batches
from mfpgan.figures.sweep import SweepPoint, sweep_figure
from mfpgan.files import write_atomically
from mfpgan.inference import predict
from mfpgan.metrics import boundary_iou, confusion, iou
from mfpgan.training.validation import validation_clicks
from mfpgan.types import THRESHOLD

ARMS = {
    **{f"{weight:g}": ("--adv-weight", f"{weight:g}") for weight in (0.0, 0.003, 0.01, 0.03, 0.1)},
    "0, pos_weight 2": ("--adv-weight", "0", "--pos-weight", "2"),
    "0.1, pos_weight 2": ("--adv-weight", "0.1", "--pos-weight", "2"),
}
"""Name of an arm to its options; the first is what all others are compared with."""
GAINS = {
    "0.1 - 0, beside pos_weight 2": (("0.1, pos_weight 2", 1), ("0, pos_weight 2", -1)),
    "the same, beside 2 less beside 5": (("0.1, pos_weight 2", 1), ("0, pos_weight 2", -1), ("0.1", -1), ("0", 1)),
}
"""Further differences, as sums of arms with signs."""
MEASURES = ("IoU", "boundary IoU", "size", "components")
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
    cells = [(arm, seed) for seed in range(arguments.seeds) for arm in ARMS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        folders = list(pool.map(lambda cell: train(arguments.data.resolve(), arguments.out, *cell), cells))
    runs = dict(zip(cells, folders, strict=True))
    values = np.stack(
        [[measure(runs[arm, seed]) for seed in range(arguments.seeds)] for arm in ARMS]
    )  # (arms, seeds, objects, measures)
    text, points = summary(values[..., : len(MEASURES)], float(values[0, 0, :, len(MEASURES)].mean()))
    text += f" {origins(folders)}"
    print(text)
    if arguments.into:
        put(arguments.into, "weight sweep", f"{text}\n\n![Difference to weight 0](../docs/weight_sweep.png)")
        Image.fromarray(sweep_figure(points, "adversarial weight")).save(HERE.parent / "docs" / "weight_sweep.png")


def train(data: Path, out: Path, arm: str, seed: int) -> Path:
    """The folder of one cell's run."""
    config = HERE / "weight_sweep.yaml"
    options = ["--data", str(data), "--adv", "hinge", *ARMS[arm], "--seed", str(seed), "--name", f"sweep {arm} s{seed}"]
    folder = train_once(out, config, options, {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"})
    print(f"{arm}, seed {seed}: run {folder.name[:8]}", flush=True)
    return folder


def measure(run: Path) -> NDArray[np.float64]:
    """(objects, 5): MEASURES of every validation object, and the components of the drawn mask."""
    found = run / "values.json"
    kept = json.loads(found.read_text()) if found.is_file() else {}
    if kept.get("measures") != list(MEASURES):
        generator, config, _ = build.load_generator(run, torch.device("cpu"))
        data = build.training_data(config)
        rows = []
        batches = validation_batches(data.validation, data.objects, size=config.size, batch_size=config.batch_size)
        for number, batch in enumerate(batches):
            clicks = validation_clicks(batch, number * config.batch_size)
            masks = predict(generator, batch.image, clicks, "bf16")[:, 0].numpy() > THRESHOLD
            for item, mask in enumerate(masks):
                target, ignore = batch.target[item, 0].numpy() > 0, batch.valid[item, 0].numpy() == 0
                parts = [cv2.connectedComponents((one & ~ignore).astype(np.uint8))[0] - 1 for one in (mask, target)]
                size = (mask & ~ignore).sum() / target.sum()
                rows.append([iou(confusion(mask, target, ignore)), boundary_iou(mask, target, ignore), size, *parts])
        kept = {"measures": MEASURES, "objects": rows}
        write_atomically(found, json.dumps(kept).encode())
    return np.array(kept["objects"], np.float64)


def summary(values: NDArray[np.float64], true_parts: float) -> tuple[str, list[SweepPoint]]:
    """The table, and the differences to the first arm as points of a figure.

    Args:
        values: (arms, seeds, objects, measures).
    """
    seeds, objects = values.shape[1:3]
    # A mask of two pixels for one of twenty thousand and the other way round: the mean of ratios would be the latter alone.
    means = np.moveaxis(values.mean(2), -1, 0)  # (measures, arms, seeds)
    means[MEASURES.index("size")] = np.median(values[..., MEASURES.index("size")], -1)
    lines = [
        f"| weight, {seeds} seeds, {objects} objects | {' | '.join(f'{name} | difference to 0' for name in MEASURES)} |",
        f"| --- | {'--- | ' * (2 * len(MEASURES))}".rstrip(),
    ]
    points = []
    for number, arm in enumerate(ARMS):
        cells = []
        for column, name in enumerate(MEASURES):
            cells.append(f"{means[column, number].mean():.3f}")
            changes = means[column, number] - means[column, 0]
            low, high = t_interval(changes)
            cells.append(f"{changes.mean():+.3f} [{low:+.3f}, {high:+.3f}]" if number else "")
            if number:
                points.append(SweepPoint(name, arm, changes.mean(), low, high, changes.tolist()))
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    arms = list(ARMS)
    for name, terms in GAINS.items():
        cells = []
        for column in range(len(MEASURES)):
            changes = sum(sign * means[column, arms.index(arm)] for arm, sign in terms)
            low, high = t_interval(changes)
            cells.append(f" | {changes.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"\nThe drawn masks have {true_parts:.2f} components.")
    return "\n".join(lines), points


def t_interval(changes: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean of one number for each seed (Student 1908); with three seeds 2.5 times their spread."""
    if len(changes) < 2 or np.ptp(changes) < 1e-12:
        return float(changes.mean()), float(changes.mean())
    low, high = scipy.stats.t.interval(0.95, len(changes) - 1, changes.mean(), scipy.stats.sem(changes))
    return float(low), float(high)


if __name__ == "__main__":
    main()
