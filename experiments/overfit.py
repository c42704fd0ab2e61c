"""Does the adversary keep the generator from learning eight images by heart? It must not: IoU above .95 on them.

python experiments/overfit.py --data PACK --out overfit [--into experiments/README.md]

Takes eight evenly spread photos of a folder data set, each with its largest object, trains overfit.yaml on them through
`mfpgan train` once without and once with each adversary named, and validates on the same eight photos, whole in a square,
after one positive and one negative click. Finished runs in --out are kept. Exit code 1 if one stays at or below .95.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from cell import origins, train_once
from page import put
from PIL import Image

from mfpgan.data import open_dataset
from mfpgan.data.subset import spread

HERE = Path(__file__).resolve().parent
PHOTOS, ENOUGH = 8, 0.95
SMALLEST_SHARE = 0.05
"""Of the photo: an object of a few pixels has an IoU of its own."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of images/ and masks/")
    parser.add_argument("--out", required=True, type=Path, help="folder for the photos and the runs")
    parser.add_argument("--adv", nargs="+", default=["hinge", "off"])
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown file to put the table into")
    arguments = parser.parse_args()
    photos = eight_photos(arguments.data, arguments.out.resolve())
    lines = [
        "| eight photos | IoU at the end | best IoU on the way | IoU after 3 clicks |",
        "| --- | --- | --- | --- |",
    ]
    worst = 1.0
    runs = [train(photos, arguments.out, adv) for adv in arguments.adv]
    for adv, run in zip(arguments.adv, runs, strict=True):
        history = validations(run)
        last, best = history[-1]["val/iou"], max(row["val/iou"] for row in history)
        lines.append(f"| `--adv {adv}` | {last:.3f} | {best:.3f} | {history[-1]['val/iou_3']:.3f} |")
        worst = min(worst, last)
    text = "\n".join([*lines, f"\n{origins(runs)}"])
    print(text)
    if arguments.into:
        put(arguments.into, "overfit", text)
    return int(worst <= ENOUGH)


def eight_photos(source: Path, out: Path) -> Path:
    """A folder with the photos and one mask each."""
    folder = out / f"eight of {source.resolve().name}"
    if folder.is_dir():
        return folder
    data = open_dataset(str(source), role="train")
    large = []
    for objects in data.objects_of_image:
        sample = max((data[index] for index in objects), key=lambda one: int(one.target.sum()))
        if sample.target.mean() >= SMALLEST_SHARE:
            large.append(sample)
        if len(large) == 40 * PHOTOS:
            break
    half = out / f"{folder.name}, not all of them yet"
    shutil.rmtree(half, ignore_errors=True)
    for kind in ("images", "masks"):
        (half / kind).mkdir(parents=True)
    for number, place in enumerate(spread(len(large), PHOTOS)):
        Image.fromarray(large[place].image).save(half / "images" / f"{number}.png")
        Image.fromarray(large[place].target.astype(np.uint8) * 255).save(half / "masks" / f"{number}.png")
    return half.rename(folder)


def train(photos: Path, out: Path, adv: str) -> Path:
    """The folder of a run."""
    options = ["--data", str(photos), "--val-data", str(photos), "--adv", adv, "--name", f"overfit-{adv}"]
    return train_once(out, HERE / "overfit.yaml", options, {"OMP_WAIT_POLICY": "passive"})


def validations(run: Path) -> list[dict[str, float]]:
    """In order."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "val/iou" in row]


if __name__ == "__main__":
    sys.exit(main())
