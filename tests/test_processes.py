"""Two data-parallel processes weigh the adversary alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_adversary import MAPS, SIDE, adversary
from torch import distributed, multiprocessing

from mfpgan.types import Batch


def _push(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    player = adversary(balance="grad", weight=0.1)
    batch = Batch(
        ("a", "b"), torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE), torch.ones(2, 1, SIDE, SIDE)
    )
    logits = torch.zeros(2, 1, SIDE, SIDE)
    # Pulls of 1 and 3, pushes of 1 and 7: on average 2 and 4, so both weigh with a half.
    norms = {0: (1.0, 1.0), 1: (3.0, 7.0)}[rank]
    pull = torch.ones(2, 1, SIDE, SIDE)
    pushed = player.push(
        batch, MAPS, logits, 0, 0, pull, lambda gradient: torch.tensor(norms[int(gradient is not pull)])
    )
    torch.save(pushed.stats, f"{folder}/{rank}.pt")
    distributed.barrier()  # one that goes while the other still talks to it takes it along
    distributed.destroy_process_group()


def test_gradient_norms_are_averaged_over_processes(tmp_path: Path) -> None:
    multiprocessing.spawn(_push, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first == second
    assert first["train/adv_weight"].item() == pytest.approx(0.1 * 0.5)
