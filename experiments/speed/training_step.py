"""Training throughput: mfpgan's loop on real photos against the bare network step on tensors that are ready.

python experiments/speed/training_step.py                                       the seed preset: 256 px, batch 4, width 1, hinge
python experiments/speed/training_step.py --set width=0.25 --set adv=off        anything else of a config
python experiments/speed/training_step.py --set data=A.json --set images=DIR    other data than what mfpgan finds

Both train the same generator (and discriminator) from the same process, by turns of some steps. The bare step is forward, loss, backward
and optimizer of the players, again and again on one batch with its click maps. The loop reads, augments, plays the user and trains;
logs, validation and checkpoints are left out. A turn with workers starts them anew; its first steps, in which they fill their queue,
are not counted.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Row, report
from torch import Tensor

from mfpgan import build
from mfpgan.cli.options import resolve
from mfpgan.clicks.guidance import encode
from mfpgan.config import TrainConfig
from mfpgan.inference import encoding_of
from mfpgan.tracking import NoRun
from mfpgan.training.simulate import first_turns
from mfpgan.training.trainer import Trainer
from mfpgan.types import Batch

USUAL = ("encoder_weights=none", "val_data=none")
NOT_COUNTED = 1
"""Steps at the beginning of a turn."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--steps", type=int, default=3, help="counted in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--quick", action="store_true", help="one turn of one step, 64 px, width .1: does it run?")
    arguments = parser.parse_args()
    settings = (*USUAL, *arguments.settings)
    if arguments.quick:
        arguments.steps, arguments.turns, arguments.workers = 1, 1, [0]
        settings = (*settings, "data=sample", "size=64", "width=0.1", "adv=off", "batch_size=2")
    with TemporaryDirectory() as folder:
        print(measured(settings, Path(folder), arguments.workers, arguments.steps, arguments.turns))


def measured(settings: tuple[str, ...], folder: Path, workers: list[int], steps: int, turns: int) -> str:
    """The table, one line for each number of workers."""
    first = resolve(TrainConfig, {}, Path("seed"), settings)
    generator, _ = build.generator_of(first)
    data = build.training_data(first)
    trainers = [
        build.trainer(first.model_copy(update={"workers": number}), data, NoRun(folder), generator)
        for number in workers
    ]
    ready = next(iter(trainers[0].batches(range(1))))
    players = [bare_steps(trainers[0], ready), *(None for _ in trainers)]
    seconds = np.zeros((len(players), turns + 1))
    for turn in range(turns + 1):
        for number in range(len(players))[:: 1 if turn % 2 else -1]:
            taking = players[number] or loop_steps(trainers[number - 1], NOT_COUNTED + steps)
            for _ in range(NOT_COUNTED):
                next(taking)
            start = time.perf_counter()
            for _ in range(steps):
                next(taking)
            seconds[number, turn] = (time.perf_counter() - start) / steps
            if number:
                taking.close()  # and the workers with it: they would take the next one's core
    bare, *loops = 1000 * seconds[:, 1:]
    rows = [
        Row(
            f"training step, {number} workers ({first.batch_size * 1000 / np.median(loop):.1f} samples/s)",
            bare,
            loop,
            "ms",
        )
        for number, loop in zip(workers, loops, strict=True)
    ]
    title = f"{first.size} px, batch {first.batch_size}, width {first.width:g}, adv {first.adv}, {trainers[0].device} {trainers[0].precision}"
    share = "Peer: the bare network step; the ratio is the share of its throughput that training reaches"
    return report(title, rows, [f"{share}. Photos: {data.train.name}; {torch.get_num_threads()} threads."])


def loop_steps(trainer: Trainer, steps: int) -> Iterator[None]:
    """mfpgan's own steps, going on where the trainer stands."""
    for batch in trainer.batches(range(trainer.step, trainer.step + steps)):
        trainer.train_step(batch)
        trainer.step += 1
        synchronize(trainer)
        yield


def bare_steps(trainer: Trainer, users: Batch) -> Iterator[None]:
    """The players' updates on one batch, without end."""
    batch = users.to(trainer.device)
    height, width = batch.image.shape[-2:]
    turns = first_turns(users, trainer.strategy, seed=0, position=0)
    guidance = encode(encoding_of(trainer.generator), turns, None, height=height, width=width, device=trainer.device)
    for _ in itertools.count():
        bare_step(trainer, batch, guidance)
        synchronize(trainer)
        yield


def bare_step(trainer: Trainer, batch: Batch, guidance: Tensor) -> None:
    trainer.generator.train()
    with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.bf16):
        logits = trainer.training_pass(batch.image, guidance)
    logits = logits.float()
    answer = logits.detach().requires_grad_()
    loss = trainer.loss(answer, batch.target, batch.valid, pos_weight=trainer.config.pos_weight)
    (pull,) = torch.autograd.grad(loss, answer)
    answer, maps = answer.detach(), guidance[:, :2]
    trainer.adversary.update(batch, maps, answer.sigmoid(), trainer.step, 0)
    push = trainer.adversary.push(batch, maps, answer, trainer.step, 0, pull, lambda gradient: gradient.norm())
    trainer.optimizer.zero_grad(set_to_none=True)
    logits.backward(pull + push.gradient)
    trainer.optimizer.step()


def synchronize(trainer: Trainer) -> None:
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)


if __name__ == "__main__":
    main()
