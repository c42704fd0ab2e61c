"""Memory of a training process on an LVIS file: how much at its peak, and whether it grows.

python experiments/speed/memory.py                              on a file of 5,000 images drawn for the purpose, with photos
python experiments/speed/memory.py --images 100170 --steps 500  of LVIS's size
python experiments/speed/memory.py --file PATH --photos DIR     on a file that is there

Peak: the seed preset at its own size (256 px, batch 4, width 1) in a fresh process, some steps, checkpoints and a validation; everything of `mfpgan train` but
MLflow, which takes some 150 MiB more. The peer trains the same network the same way, on 16 photos, while it holds the file as pycocotools does: what a
loop of today's kind needs. Beside it the same without any LVIS: the network's own share. Growth: many small steps (width .25, no adversary), resident memory
noted every ten. Drawn photos are few pictures with a name for each image. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import Row, alone, memory_mib, report

SETTLED = 50
"""Steps after which a process has everything that it needs; growth is counted from there."""
HOLDERS = ("mfpgan", "pycocotools", "nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="an LVIS or COCO JSON")
    parser.add_argument("--photos", type=Path, help="folder of its photos, if they do not lie beside it")
    parser.add_argument("--images", type=int, default=5_000, help="of the file that is drawn, without --file")
    parser.add_argument("--steps", type=int, default=150, help="small steps over which growth is watched")
    parser.add_argument("--peak-steps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="300 images, few and tiny steps: does it run?")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--alone", choices=HOLDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(train(arguments.alone, arguments.file, arguments.photos, arguments.steps, arguments.settings)))
        return
    small = ["width=0.25", "adv=off"]
    if arguments.quick:
        arguments.images, arguments.steps, arguments.peak_steps = 300, 2, 1
        small = ["width=0.1", "size=64", "adv=off", "batch_size=1"]
        arguments.settings = [*arguments.settings, *small]
    with TemporaryDirectory() as folder:
        path, photos = arguments.file, arguments.photos
        if path is None:
            from lvis_file import write_lvis, write_photos

            path, photos = Path(folder) / "lvis.json", Path(folder)
            write_lvis(path, arguments.images)
            write_photos(photos, arguments.images)
        print(measured(path, photos, Path(folder), arguments.steps, arguments.peak_steps, arguments.settings, small))


def measured(
    path: Path, photos: Path | None, folder: Path, steps: int, peak_steps: int, settings: list[str], small: list[str]
) -> str:
    """The table; `folder` takes mfpgan's index."""

    def process(holder: str, steps: int, settings: list[str]) -> dict[str, Any]:
        words = [word for setting in settings for word in ("--set", setting)]
        beside = [] if photos is None else ["--photos", photos.resolve()]
        cache = {"MFPGAN_CACHE": str(folder / "cache")}
        return alone(
            __file__, "--alone", holder, "--file", path.resolve(), *beside, "--steps", steps, *words, environment=cache
        )

    process("mfpgan", 1, [*settings, *small])  # builds the index, which is done once
    peak = {holder: process(holder, peak_steps, settings)["peak"] for holder in HOLDERS}
    grown = process("mfpgan", steps, [*settings, *small])
    noted = grown["resident"]
    settled = np.array(noted[SETTLED // 10 :] if len(noted) > 2 * SETTLED // 10 else noted)
    fifth = max(1, len(settled) // 5)
    growth = float(np.median(settled[-fifth:]) - np.median(settled[:fifth]))
    rows = [
        Row(
            "peak of a training process; peer holds the file with pycocotools",
            peak["pycocotools"],
            peak["mfpgan"],
            "MiB",
        ),
        Row("peak of a training process; peer has no LVIS, 16 photos", peak["nothing"], peak["mfpgan"], "MiB"),
    ]
    note = (
        f"Growth of resident memory over {steps} small steps (medians of the first and last fifth after step {SETTLED}): "
        f"{growth:+.1f} MiB; in between {settled.min():,.0f} to {settled.max():,.0f} MiB."
    )
    title = ", ".join([f"memory, LVIS file of {path.stat().st_size / 1e6:,.0f} MB, {grown['precision']}", *settings])
    return report(title, rows, [note])


def train(holder: str, path: Path, photos: Path | None, steps: int, settings: list[str]) -> dict[str, Any]:
    """Train in this process; its peak and its resident memory every ten steps, in MiB."""
    from mfpgan import build
    from mfpgan.cli.options import resolve
    from mfpgan.config import TrainConfig
    from mfpgan.tracking import NoRun
    from mfpgan.training.trainer import StepReport

    held = None
    if holder == "pycocotools":
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            held = COCO(str(path))
    data = (
        [f"data={path}", *([] if photos is None else [f"images={photos}"])] if holder == "mfpgan" else ["data=sample"]
    )
    usual = ("encoder_weights=none", "val_images=2", "workers=0", f"steps={steps}")
    config = resolve(TrainConfig, {}, Path("seed"), (*usual, *data, *settings))
    resident: list[float] = []
    with TemporaryDirectory() as folder:
        trainer = build.trainer(config, build.training_data(config), NoRun(Path(folder)), build.generator_of(config)[0])

        def watch(report: StepReport) -> None:
            if report.step % 10 == 0 or report.step == steps:
                resident.append(memory_mib("VmRSS"))

        trainer.train(watch)
    del held  # not before
    return {"peak": memory_mib(), "resident": resident, "precision": trainer.precision}


if __name__ == "__main__":
    main()
