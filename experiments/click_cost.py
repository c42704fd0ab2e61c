"""What the simulated user costs in a training step, beside the network.

python experiments/click_cost.py                                     the strong preset at its own size and batch
python experiments/click_cost.py --set width=0.25 --set memory=none  anything else of a config

Printed over the steps measured, median and range: the whole step; of it the forward passes of the rounds, without
gradient; and all else that playing the user needs (clicks, maps, modulation, masks back to the host), in milliseconds
and as a share of the step without those forward passes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mfpgan import build
from mfpgan.cli.options import resolve
from mfpgan.config import TrainConfig
from mfpgan.tracking import NoRun
from mfpgan.training import trainer as loop

seconds: defaultdict[str, float] = defaultdict(float)
"""Of the present step, by what they were spent on."""


def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its time booked under `name`; calls without gradient under `name` and "without gradient"."""

    def run(*arguments: Any, **named: Any) -> Any:
        key = name if torch.is_grad_enabled() else f"{name} without gradient"
        start = time.perf_counter()
        result = function(*arguments, **named)
        seconds[key] += time.perf_counter() - start
        return result

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    usual = ("data=sample", "encoder_weights=none", "val_data=none", "workers=0", "precision=fp32")
    usual = (*usual, f"steps={arguments.steps + 1}")
    config = resolve(TrainConfig, {}, Path("strong"), (*usual, *arguments.settings))

    generator, _ = build.generator_of(config)
    loop.play, loop.encode = clocked("play", loop.play), clocked("encode", loop.encode)
    rows = []
    with TemporaryDirectory() as folder:
        trainer = build.trainer(config, build.training_data(config), NoRun(Path(folder)), generator)
        generator.forward = clocked("forward", generator.forward)  # type: ignore[method-assign]
        for batch in trainer.batches(range(arguments.steps + 1)):
            seconds.clear()
            step = clocked("step", trainer.train_step)
            step(batch)
            trainer.step += 1
            rounds = seconds["forward without gradient"]
            user = seconds["play"] + seconds["encode"] - rounds
            rows.append((1000 * seconds["step"], 1000 * rounds, 1000 * user, 100 * user / (seconds["step"] - rounds)))
    values = np.array(rows[1:])  # the first step warms up
    threads = torch.get_num_threads()
    print(f"width {config.width:g}, {config.size} px, batch {config.batch_size}, {trainer.device}, {threads} threads")
    for name, unit, column in zip(("step", "rounds", "user", "user"), ("ms", "ms", "ms", "%"), values.T, strict=True):
        print(f"{name:8}{np.median(column):9.1f} {unit:3} [{column.min():.1f}, {column.max():.1f}]")


if __name__ == "__main__":
    main()
