"""Reading training samples: mfpgan's loader against the loop that RITM trains with, on one core, from the same photos and objects.

python experiments/speed/loading.py                            the training data that mfpgan finds, otherwise its sample
python experiments/speed/loading.py --data A.json --data DIR   LVIS or COCO JSONs, folders with images/ and masks/

The peer is written as RITM's data sets and its augmentation for COCO + LVIS are (Sofiiuk et al., ICIP 2022): `cv2.imread`, `annToMask` (or
the mask file), the whole photo scaled by .75 to 1.4, mirrored, padded, cropped at random, brightness, contrast and colours shifted;
albumentations throughout. Kinder than RITM's own: it draws the one object that is asked for, RITM all objects of the photo. mfpgan
crops round the object, scales, mirrors, turns and shifts colours. Both end in a batch of float32 tensors; both use one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measure import Row, in_turn, report
from numpy.typing import NDArray
from pycocotools.coco import COCO

from mfpgan.data import find_default, open_dataset, sample_json
from mfpgan.data.loader import training_batches

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would look for a new version on the network

import albumentations as A

Read = Callable[[str], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""(H, W, 3) uint8 RGB and (H, W) uint8 of the object with an id of mfpgan's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", metavar="PATH")
    parser.add_argument("--images", type=Path, help="folder of the photos, if they do not lie beside the JSON")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16, help="batches in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one turn of one batch: does it run?")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.turns = 1, 1
    torch.set_num_threads(1)
    rows = []
    for spec in arguments.data or [find_default("train")[0]]:
        seconds = measured(
            spec, arguments.images, arguments.size, arguments.batch_size, arguments.steps, arguments.turns
        )
        each = 1000 * seconds / (arguments.steps * arguments.batch_size)
        rate = f"{1000 / np.median(each[0]):.0f} and {1000 / np.median(each[1]):.0f} samples/s"
        rows.append(Row(f"one sample of {Path(spec).name}, {arguments.size} px ({rate})", each[0], each[1], "ms"))
    print(report("loading on one core", rows, ["Peer: RITM's way, with the one mask that is asked for."]))


def measured(spec: str, images: Path | None, size: int, batch_size: int, steps: int, turns: int) -> NDArray[np.float64]:
    """(peer and mfpgan, turns) seconds for so many batches."""
    path = Path(sample_json("train")) if spec == "sample" else Path(spec)
    data = open_dataset(str(path), images=None if images is None else str(images))

    def batches() -> list[tuple[str, ...]]:
        found = training_batches(data, seed=0, size=size, batch_size=batch_size, steps=range(steps), workers=0)
        return [batch.ids for batch in found]

    wanted = batches()
    read = coco_reader(path, images) if path.is_file() else folder_reader(path)
    augment = ritm_augmentation(size)
    return in_turn(lambda: [peer_batch(ids, read, augment) for ids in wanted], batches, turns=turns)


def ritm_augmentation(size: int) -> A.Compose:
    return A.Compose(
        [
            A.RandomScale((-0.25, 0.4), p=1),
            A.HorizontalFlip(),
            A.PadIfNeeded(size, size, border_mode=cv2.BORDER_CONSTANT),
            A.RandomCrop(size, size),
            A.RandomBrightnessContrast((-0.25, 0.25), (-0.15, 0.4), p=0.75),
            A.RGBShift(10, 10, 10, p=0.75),
        ]
    )


def peer_batch(ids: Sequence[str], read: Read, augment: A.Compose) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, H, W) and (B, 1, H, W) float32. A crop may miss its object: RITM draws again then, which is left out."""
    images, masks = [], []
    for identity in ids:
        image, mask = read(identity)
        moved = augment(image=image, mask=mask)
        images.append(moved["image"])
        masks.append(moved["mask"])
    image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float().div_(255)
    return image, torch.from_numpy(np.stack(masks)).unsqueeze(1).float()


def coco_reader(path: Path, images: Path | None) -> Read:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))

    def read(identity: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, annotation = (int(part) for part in identity.split("/"))
        image = cv2.cvtColor(cv2.imread(str(photo(coco.imgs[image]))), cv2.COLOR_BGR2RGB)
        return image, coco.annToMask(coco.anns[annotation])

    def photo(entry: dict[str, Any]) -> Path:
        name = entry.get("file_name") or "/".join(entry["coco_url"].split("/")[-2:])
        return (images or path.parent) / name

    warnings.filterwarnings("ignore", category=DeprecationWarning, module="pycocotools")  # at every mask under NumPy 2
    return read


def folder_reader(path: Path) -> Read:
    photos = {file.stem: file for file in (path / "images").iterdir()}

    def read(identity: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        name, _, number = identity.rpartition("/")
        image = cv2.cvtColor(cv2.imread(str(photos[name])), cv2.COLOR_BGR2RGB)
        labels = cv2.imread(str(path / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        values = np.flatnonzero(np.bincount(labels.ravel()))
        value = values[values > 0][int(number) - 1]
        return image, (labels == value).astype(np.uint8)

    return read


if __name__ == "__main__":
    main()
