"""Latency of one click in a session against the bare forward pass of its network.

python experiments/speed/session.py                               width 1, a photo of 481x321 pixels
python experiments/speed/session.py --set memory=modulated        anything else of a config

The bare pass gets the photo and the click maps as ready tensors, in the same layout and precision; a click of the session also draws
the maps, turns logits into a mask and copies it. The first click has a row of its own, because a network with memory "modulated"
runs twice then; its peer runs once.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measure import Row, in_turn, report

from mfpgan import build, devices
from mfpgan.cli.options import resolve
from mfpgan.clicks.guidance import encode
from mfpgan.config import TrainConfig
from mfpgan.inference import encoding_of
from mfpgan.session import ClickSession
from mfpgan.types import Click


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--height", type=int, default=321)
    parser.add_argument("--image-width", type=int, default=481)
    parser.add_argument("--clicks", type=int, default=3, help="in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one turn of one click, 64 px, width .1: does it run?")
    arguments = parser.parse_args()
    settings = ("encoder_weights=none", "clicks=mixed", *arguments.settings)
    if arguments.quick:
        settings = (*settings, "width=0.1")
        arguments.height, arguments.image_width, arguments.clicks, arguments.turns = 64, 64, 1, 1
    config = resolve(TrainConfig, {}, None, settings)
    device = devices.pick_device(config.device)
    generator = devices.place(build.generator_of(config)[0], device)
    image = np.random.default_rng(0).integers(0, 256, (arguments.height, arguments.image_width, 3), np.uint8)
    rows, medians = [], {}
    for precision in ("fp32", "bf16"):
        session = ClickSession(generator, device, precision)
        bare, own, first = 1000 * measured(session, image, arguments.clicks, arguments.turns) / arguments.clicks
        rows += [Row(f"a click, {precision}", bare, own, "ms"), Row(f"the first click, {precision}", bare, first, "ms")]
        medians[precision] = float(np.median(own))
    title = f"{arguments.image_width}x{arguments.height} px, width {config.width:g}, memory {config.memory}, {device}"
    faster = f"bf16 is {medians['fp32'] / medians['bf16']:.2f} times as fast as fp32"
    print(report(title, rows, [f"Peer: the bare forward pass. {faster}; {torch.get_num_threads()} threads."]))


def measured(session: ClickSession, image: np.ndarray, clicks: int, turns: int) -> np.ndarray:
    """(bare, session and session at its first click, turns) seconds for so many clicks."""
    height, width = image.shape[:2]
    session.set_image(image)
    places = [Click(height * (step + 1) // (clicks + 2), width // 2, step % 2 == 0) for step in range(clicks + 1)]
    previous = torch.from_numpy(session.click(*places[0]))[None, None].to(session.engine.device)
    planes = torch.from_numpy(image).to(session.engine.device).permute(2, 0, 1)[None].float() / 255
    generator = session.engine.generator
    guidance = encode(
        encoding_of(generator), [places], previous, height=height, width=width, device=session.engine.device
    ).contiguous(memory_format=torch.channels_last)
    autocast = torch.autocast(session.engine.device.type, torch.bfloat16, enabled=session.engine.precision == "bf16")

    def bare() -> None:
        for _ in range(clicks):
            with torch.inference_mode(), autocast:
                generator(planes, guidance)
            if session.engine.device.type == "cuda":
                torch.cuda.synchronize(session.engine.device)

    def own() -> None:
        for place in places[1:]:
            session.click(*place)
        for _ in places[1:]:
            session.undo()

    def first() -> None:
        for _ in range(clicks):
            beginner.reset()
            beginner.click(*places[0])

    beginner = session.another()
    beginner.set_image(image)
    return in_turn(bare, own, first, turns=turns)


if __name__ == "__main__":
    main()
