"""A photo of 24 megapixels in a session: seconds a click, and the memory of the whole process.

python experiments/speed/large_photo.py                   6000x4000 pixels, two objects, 20 clicks each, undo and redo
python experiments/speed/large_photo.py --photo a.jpg --run-id ID     a photo and a network that are there

Left out, the network is that of the preset `strong` untrained: as large, and it looks as closely, but its masks mean nothing. The photo is opened from a
file, as people do. The peer is the same session on the same photo, shrunk beforehand to what the network sees: what many programs do with large photos, and the mask is then as
coarse. So the ratio is what full resolution costs. Each is a fresh process. Fails if the large photo takes more than 4 GiB. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import Row, alone, memory_mib, report

if TYPE_CHECKING:
    from mfpgan.session import ClickSession

LIMIT_MIB = 4096
"""A photo of 6000x4000 pixels must fit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="left out: one is drawn")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(6000, 4000), metavar=("WIDTH", "HEIGHT"), help="of the drawn photo"
    )
    parser.add_argument("--clicks", type=int, default=20, help="on each of two objects")
    parser.add_argument("--quick", action="store_true", help="600x400 pixels, two clicks, width .1: does it run?")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--run-id", help="what ClickSession.load takes; left out: an untrained network")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.clicks = (600, 400), 2
        arguments.settings = [*arguments.settings, "width=0.1", "size=64"]
    if arguments.alone:
        print(json.dumps(clicked(arguments.alone, arguments.clicks, arguments.run_id, arguments.settings)))
        return
    with TemporaryDirectory() as folder:
        large = arguments.photo or drawn(Path(folder) / "large.jpg", *arguments.size)
        words = ["--clicks", arguments.clicks, *(word for setting in arguments.settings for word in ("--set", setting))]
        words += ["--run-id", arguments.run_id] if arguments.run_id else []
        found = alone(__file__, "--alone", large, *words, environment={})
        small = alone(
            __file__, "--alone", shrunk(large, Path(folder) / "small.jpg", found["zoom_px"]), *words, environment={}
        )
    rows = [
        Row("a click", small["clicks"], found["clicks"], "s"),
        Row("opening the photo", small["open"], found["open"], "s"),
        Row("undo and redo", small["undo"], found["undo"], "s"),
        Row("memory of the process at its peak", small["peak"], found["peak"], "MiB"),
    ]
    note = (
        f"Peer: the photo shrunk to {found['zoom_px']} px beforehand. {2 * arguments.clicks} clicks on two objects; the first of each "
        f"takes {found['clicks'][0]:.2f} s. In the end {found['marked']:.0%} of the pixels are marked. Allowed are {LIMIT_MIB:,} MiB."
    )
    title = f"photo of {found['size']} pixels, {found['network_is']}"
    print(report(title, rows, [note]))
    if found["peak"] > LIMIT_MIB:
        sys.exit(f"The process took {found['peak']:,.0f} MiB, allowed are {LIMIT_MIB:,}.")


def drawn(path: Path, width: int, height: int) -> Path:
    """A photo of smooth noise and two disks, the things to be clicked on."""
    import cv2

    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(60, 140, (30, 45, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for number in range(2):
        cv2.circle(picture, centre(width, height, number), height // 8, (30 + 180 * number, 60, 200), -1)
    cv2.imwrite(str(path), picture)
    return path


def centre(width: int, height: int, number: int) -> tuple[int, int]:
    """(x, y) of a disk."""
    return width * (1 + number) // 3, height // 2


def shrunk(path: Path, smaller: Path, side_px: int) -> Path:
    """The photo with a longer side of so many pixels."""
    from PIL import Image as PillowImage

    with PillowImage.open(path) as picture:
        picture.thumbnail((side_px, side_px))
        picture.convert("RGB").save(smaller, quality=95)
    return smaller


def clicked(path: Path, clicks: int, run_id: str | None, settings: list[str]) -> dict[str, Any]:
    """Two objects of a photo in this process: seconds of each kind of work, and the peak of memory in MiB."""
    from mfpgan.session import ClickSession

    session = ClickSession.load(run_id) if run_id else untrained(settings)
    begin = perf_counter()
    session.set_image(path)
    seconds: dict[str, list[float]] = {"open": [perf_counter() - begin], "clicks": [], "undo": []}
    height, width = session.image.shape[:2]
    rng = np.random.default_rng(1)
    for number in range(2):
        if number:
            session.new_object()
        x, y = centre(width, height, number)
        for turn in range(clicks):
            radius, angle = rng.uniform(0, height / 6), rng.uniform(0, 2 * np.pi)
            place_of = int(y + radius * np.sin(angle)), int(x + radius * np.cos(angle))
            session.click(*place_of, positive=turn == 0 or radius < height / 8)
            seconds["clicks"].append(session.seconds)
        for step in (session.undo, session.redo):
            begin = perf_counter()
            step()
            seconds["undo"].append(perf_counter() - begin)
    labels = session.label_map
    return seconds | {
        "size": f"{width}x{height}", "network_is": f"{session.engine.name}, {session.engine.precision} on {session.engine.device}",
        "zoom_px": session.engine.zoom_px, "peak": memory_mib(),
        "marked": float((labels > 0).mean()),
    }  # fmt: skip


def untrained(settings: list[str]) -> ClickSession:
    """What `ClickSession.load` would make of a run of the preset."""
    from mfpgan import build
    from mfpgan.cli.options import resolve
    from mfpgan.config import TrainConfig
    from mfpgan.devices import pick_device, place, precision_on
    from mfpgan.inference import TorchEngine
    from mfpgan.session import ClickSession

    config = resolve(TrainConfig, {}, Path("strong"), ("encoder_weights=none", "data=synthetic", *settings))
    device = pick_device("auto")
    generator = place(build.generator_of(config)[0].eval(), device)
    engine = TorchEngine(
        generator, device, precision_on(device), True, config.size, f"untrained, width {config.width:g}"
    )
    return ClickSession(engine)


if __name__ == "__main__":
    main()
