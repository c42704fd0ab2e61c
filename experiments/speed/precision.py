"""A training step in the number format and memory layout that mfpgan takes on this machine, against torch's defaults.

python experiments/speed/precision.py                       the seed preset (256 px, batch 4, hinge) at width 1 and .25
python experiments/speed/precision.py --set size=128        anything else of a config
python experiments/speed/precision.py --compile             with torch.compile too, which takes a minute or two to start

The bare step of training_step.py on one batch, by turns. The peer is always float32 with channels first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measure import Row, in_turn, report
from training_step import USUAL, bare_steps

from mfpgan import build
from mfpgan.cli.options import resolve
from mfpgan.config import TrainConfig
from mfpgan.devices import layout_on, pick_device, precision_on
from mfpgan.tracking import NoRun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--widths", type=float, nargs="+", default=[1.0, 0.25])
    parser.add_argument("--steps", type=int, default=2, help="in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one turn of one step, 64 px, width .1: does it run?")
    arguments = parser.parse_args()
    settings = (*USUAL, "data=sample", *arguments.settings)
    if arguments.quick:
        arguments.steps, arguments.turns, arguments.widths = 1, 1, [0.1]
        settings = (*settings, "size=64", "adv=off", "batch_size=2")
    print(measured(settings, arguments.widths, arguments.compile, arguments.steps, arguments.turns))


def measured(settings: tuple[str, ...], widths: list[float], compiled: bool, steps: int, turns: int) -> str:
    """The table: for each width what the layout brings, what bfloat16 brings, and both."""
    first, last = torch.contiguous_format, torch.channels_last
    ways = {"float32, channels last": ("fp32", last, False), "bfloat16, channels last": ("bf16", last, False)}
    if compiled:
        ways |= {"bfloat16, channels last, compiled": ("bf16", last, True)}
    rows = []
    for width in widths:
        config = resolve(TrainConfig, {}, Path("seed"), (*settings, f"width={width}"))
        players = [player(config, "fp32", first, False, steps), *(player(config, *way, steps) for way in ways.values())]
        peer, *own = 1000 * in_turn(*players, turns=turns) / steps
        rows += [Row(f"width {width:g}: {name}", peer, found, "ms") for name, found in zip(ways, own, strict=True)]
    device = pick_device(config.device)
    layout = "channels last" if layout_on(device) == last else "channels first"
    notes = [
        "Peer: the same step in float32 with channels first.",
        f"mfpgan takes {precision_on(device)} and {layout} on this {device}; {torch.get_num_threads()} threads.",
    ]
    return report(
        f"number format and layout; {config.size} px, batch {config.batch_size}, adv {config.adv}", rows, notes
    )


def player(
    config: TrainConfig, precision: str, layout: torch.memory_format, compiled: bool, steps: int
) -> Callable[[], None]:
    """Takes so many bare steps at each call."""
    going: list[Iterator[None]] = []

    def play() -> None:
        if not going:
            changed = config.model_copy(update={"precision": precision, "compile": compiled, "workers": 0})
            with TemporaryDirectory() as folder:
                data = build.training_data(changed)
                trainer = build.trainer(changed, data, NoRun(Path(folder)), build.generator_of(changed)[0])
                batch = next(iter(trainer.batches(range(1))))
            trainer.generator.to(memory_format=layout)
            if hasattr(trainer.adversary, "discriminator"):
                trainer.adversary.discriminator.to(memory_format=layout)
            going.append(bare_steps(trainer, replace(batch, image=batch.image.contiguous(memory_format=layout))))
        for _ in range(steps):
            next(going[0])

    return play


if __name__ == "__main__":
    main()
