"""What the adversary costs: a training step with it over a step without, and the memory of each.

python experiments/adversary_cost.py                              the seed recipe at its own size: 256 px, batch 4
python experiments/adversary_cost.py --set d_r1=1 --set size=192  anything else of a config

The two trainers take their steps in turn in one process, so that both meet the same load; printed are the median and the
range of the ratio over pairs of steps. The memory is the peak of a process that runs one of the two alone, above what it
held before its first step (on a CPU from /proc, so on Linux only).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mfpgan import build
from mfpgan.cli.options import resolve
from mfpgan.config import TrainConfig
from mfpgan.tracking import NoRun
from mfpgan.training.trainer import Trainer

USUAL = ("data=sample", "encoder_weights=none", "val_data=none", "workers=0", "precision=fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--alone", choices=("off", "on"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with_it = resolve(TrainConfig, {}, None, (*USUAL, f"steps={arguments.steps + 1}", *arguments.settings))
    without = with_it.model_copy(update={"adv": "off"})
    with TemporaryDirectory() as folder:
        if arguments.alone:
            alone(trainer_of(without if arguments.alone == "off" else with_it, Path(folder)))
            return
        seconds = {name: [] for name in ("off", "on")}
        players = {"off": trainer_of(without, Path(folder)), "on": trainer_of(with_it, Path(folder))}
        for number, batch in enumerate(players["off"].batches(range(arguments.steps + 1))):
            for name in ("off", "on") if number % 2 else ("on", "off"):  # neither always finds the caches warm
                player = players[name]
                start = time.perf_counter()
                player.train_step(batch)
                player.step += 1
                if player.device.type == "cuda":
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - start)
    off, on = (np.array(seconds[name][1:]) for name in ("off", "on"))  # the first step warms up
    ratio = on / off
    threads, config = torch.get_num_threads(), with_it
    print(
        f"width {config.width:g}, {config.size} px, batch {config.batch_size}, --adv {config.adv}, --d-mask "
        f"{config.d_mask}, {players['on'].device}, {players['on'].precision}, {threads} threads"
    )
    print(f"without {1000 * np.median(off):8.1f} ms a step [{1000 * off.min():.1f}, {1000 * off.max():.1f}]")
    print(f"with    {1000 * np.median(on):8.1f} ms a step [{1000 * on.min():.1f}, {1000 * on.max():.1f}]")
    print(f"ratio   {np.median(ratio):8.2f} [{ratio.min():.2f}, {ratio.max():.2f}]")
    memory = {}
    for name in ("off", "on"):
        words = [sys.executable, __file__, "--alone", name, "--steps", "4"]
        words += [word for setting in arguments.settings for word in ("--set", setting)]
        memory[name] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    print(
        f"memory  {memory['off']:.0f} MiB without, {memory['on']:.0f} MiB with it: {memory['on'] / memory['off']:.2f}"
    )


def trainer_of(config: TrainConfig, folder: Path) -> Trainer:
    return build.trainer(config, build.training_data(config), NoRun(folder), build.generator_of(config)[0])


def alone(trainer: Trainer) -> None:
    """Print the MiB that steps take at their peak, above what was there before the first one."""
    before = held(trainer.device)
    for batch in trainer.batches(range(trainer.plan.steps)):
        trainer.train_step(batch)
        trainer.step += 1
    print(peak(trainer.device) - before)


def held(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 2**10


def peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage: a child process inherits its parent's peak there.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


if __name__ == "__main__":
    main()
