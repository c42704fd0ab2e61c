"""Two processes that share out a batch are one process with the whole of it; started once, for all that is asked of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from test_single import Memory
from test_trainer import EVERYTHING, equal, in_parts, make
from torch import Tensor, multiprocessing, nn

from mfpgan import distributed
from mfpgan.data.loader import default_workers, training_batches
from mfpgan.data.synthetic import SyntheticDataSet
from mfpgan.evaluation.interactive import evaluate_interactive
from mfpgan.evaluation.single import evaluate_single
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.training.checkpoint import load_checkpoint
from mfpgan.training.finite import NotFiniteError
from mfpgan.training.replicas import CHECK_VARIABLE, DriftError, average_statistics, check_equal, check_every, digest
from mfpgan.training.skips import Skips
from mfpgan.training.trainer import StepReport, Trainer
from mfpgan.types import Batch, InputError, Skipped

WHOLE = {"batch_size": 4, "adv_weight": 0.1, "d_lr": 1e-6}
"""Adam's first step is the gradient's sign times the rate, and hinge's gradient at the last bias is 0 but for rounding: at the
usual rate its sign would be seen in the generator's loss. The discriminator's gradients are compared themselves."""
CASES: dict[str, dict[str, Any]] = {
    **{name: {"adv": name} for name in ("off", *ADVERSARIAL)},
    "bce-dice": {"adv": "off", "loss": "bce-dice"},
    "nfl": {"adv": "off", "loss": "nfl"},
    "r1": {"adv": "hinge", "d_r1": 1, "d_r1_every": 1},
    "balance": {"adv": "hinge", "adv_balance": "grad"},
    "everything": EVERYTHING | {"clicks": "mixed", "clicks.rounds": 2, "memory": "modulated", "adv_ramp": 0},
    "scales": {"adv": "lsgan", "d_arch": "multiscale", "size": 140, "d_mask": "ste-blur"},
}
"""Everything that divides by a count, compares samples, or draws chance for them."""


def freeze(network: nn.Module) -> None:
    """Batch norm keeps its numbers: in training each process would count its own share."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]


def uneven(trainer: Trainer) -> Trainer:
    """Of sample 0 of a batch all counts, of sample 3 a sixteenth: the first process has four times the second's pixels."""
    batches, first = trainer.batches, distributed.share(4).start

    def cut(steps: range) -> Iterator[Batch]:
        for batch in batches(steps):
            for item in range(len(batch.ids)):
                batch.valid[item, :, : batch.valid.shape[2] * (first + item) * 5 // 16] = 0
            yield batch

    trainer.batches = cut
    return trainer


def gradients_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    """The gradients that an optimizer's step has found."""
    seen: list[Tensor] = []
    optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))
    )
    return lambda: seen[0]


def first_step(folder: Path, name: str) -> dict[str, Any]:
    trainer = uneven(make(folder, **(WHOLE | CASES[name])))
    freeze(trainer.generator)
    players = {"generator": gradients_of(trainer.generator, trainer.optimizer)}
    if CASES[name]["adv"] != "off":
        adversary: Any = trainer.adversary
        players["discriminator"] = gradients_of(adversary.discriminator, adversary.optimizer)
    stats = trainer.train_step(next(iter(trainer.batches(range(1)))))
    return {"stats": stats, **{player: found() for player, found in players.items()}}


def evaluation() -> list[str]:
    """What an evaluation finds, all but its times; two batches of each protocol at least."""
    torch.manual_seed(0)
    generator, data = MFPResNetUNet(0.1), Memory(6)
    with torch.no_grad():  # so that some objects are hit
        generator.head.weight *= 30
    steps: list[int] = []
    single = evaluate_single(generator, data, progress=lambda done, total: steps.append(done))
    games = evaluate_interactive(ClickSession(generator, "cpu", "fp32"), data, max_clicks=2, batch_size=5)
    assert games.seconds_per_click > games.forward_seconds_per_click > 0
    timeless = replace(games, seconds_per_click=0, forward_seconds_per_click=0, overhead_share=0)
    return [repr(single), repr(timeless), repr(steps)]


def until(trainer: Trainer, step: int, by: int = 0) -> list[float]:
    """Train on, until process `by` alone asks for a stop at `step`; the losses."""
    losses: list[float] = []

    def watch(report: StepReport) -> None:
        losses.append(report.metrics["train/loss"])
        trainer.stop_requested = distributed.rank() == by and report.step == step - 1

    trainer.train(watch)
    return losses


def passed_on(folder: Path, state: bool) -> Trainer:
    """The run that goes from two processes to one and back; its batch norm is frozen, so that this changes nothing."""
    trainer = make(folder, **WHOLE, adv="hinge", steps=6, val_data="none")
    freeze(trainer.generator)
    if state:
        trainer.load_state_dict(load_checkpoint(folder / "checkpoints" / "last.pt"))
    return trainer


def spoilt(trainer: Trainer, rank: int, spoil: Callable[[Batch], Batch]) -> Trainer:
    """The second batch of one process is not what it should be."""
    batches = trainer.batches

    def handed_out(steps: range) -> Iterator[Batch]:
        for number, batch in enumerate(batches(steps)):
            yield spoil(batch) if number == 1 and distributed.rank() == rank else batch

    trainer.batches = handed_out
    return trainer


def unreadable(batch: Batch) -> Batch:
    raise InputError("b.jpg: broken.")


def caught(kind: type[Exception], work: Callable[[], object]) -> str:
    with pytest.raises(kind) as error:
        work()
    return str(error.value)


def meet(folder: Path, name: str, rank: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=2)


def part() -> None:
    distributed.any_process(False)
    torch.distributed.destroy_process_group()


def two(rank: int, folder: Path) -> None:
    """All that is asked of two processes; each leaves its answers in the folder."""
    torch.set_num_threads(1)
    meet(folder, "first", rank)
    found: dict[str, Any] = {"leads": distributed.leads(), "share": list(distributed.share(6))}
    found["steps"] = {name: first_step(folder, name) for name in CASES}
    found["evaluation"] = evaluation()

    changes = {**EVERYTHING, "batch_size": 4, "steps": 4, "clicks": "mixed", "eval_every": 4, "val_images": 1}
    whole = make(folder / "whole", **changes)
    whole.check_every = 1
    whole.train(lambda _: None)
    second, _ = in_parts(folder / "parts", 2, **changes)
    found["parts"] = equal(second.generator.state_dict(), whole.generator.state_dict())
    found["statistics"] = digest(whole.generator.state_dict())
    with torch.no_grad():
        if rank:
            whole.generator.head.bias += 1e-7
    found["drift"] = caught(DriftError, lambda: whole.train(lambda _: None))
    found["options"] = caught(DriftError, lambda: check_equal({"config": rank}, 0))

    found["not finite"] = caught(
        NotFiniteError,
        lambda: spoilt(make(folder / "nan"), 1, lambda b: replace(b, image=b.image / 0)).train(lambda _: None),
    )
    for number in range(2):
        broken = spoilt(make(folder / f"unreadable{number}"), number, unreadable)
        found[f"unreadable{number}"] = caught(InputError, lambda broken=broken: broken.train(lambda _: None))
    reports: list[StepReport] = []
    skipping = spoilt(make(folder / "skipping"), 1, lambda b: replace(b, skipped=(Skipped(7, "c.jpg: broken."),)))
    skipping._skips = Skips(1000)
    skipping.train(reports.append)
    found["skipped"] = [(r.skipped, r.metrics["train/skipped"]) for r in reports]
    found["share error"] = caught(InputError, lambda: distributed.check_share(9))
    found["device error"] = caught(InputError, lambda: distributed.check_device(torch.device("cuda:1")))

    found["losses"] = until(passed_on(folder / "passed", state=False), 2, by=1)
    part()
    if rank == 0:  # alone
        found["losses"] += until(passed_on(folder / "passed", state=True), 4)
    (folder / f"waits{rank}").touch()
    while not (folder / "waits0").exists():
        time.sleep(0.01)
    meet(folder, "second", rank)
    found["losses"] += until(passed_on(folder / "passed", state=True), 100)
    torch.save(found, folder / f"{rank}.pt")
    part()


Answers = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def answers(folder: Path) -> Answers:
    multiprocessing.spawn(two, (folder,), nprocs=2)
    first, second = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    return first, second


@pytest.mark.parametrize("name", CASES)
def test_the_first_step_is_that_of_one_process_with_the_whole_batch(
    name: str, answers: Answers, tmp_path: Path
) -> None:
    alone = first_step(tmp_path, name)
    first, second = (found["steps"][name] for found in answers)
    for part, value in alone.items():
        if part == "stats":
            assert first[part] == second[part]
            assert {k: v.item() for k, v in first[part].items()} == pytest.approx(
                {k: v.item() for k, v in value.items()},
                rel=1e-4,
                abs=5e-5,  # sums in another order, and means near 0
            )
        else:
            assert torch.equal(first[part], second[part])
            assert (first[part] - value).norm() < 1e-4 * value.norm(), part


def test_an_evaluation_is_that_of_one_process(answers: Answers) -> None:
    assert answers[0]["evaluation"] == answers[1]["evaluation"] == evaluation()


def test_four_steps_are_two_and_two_and_the_processes_stay_one(answers: Answers) -> None:
    first, second = answers
    assert first["parts"]
    assert second["parts"]
    assert first["statistics"] == second["statistics"]


def test_processes_that_differ_in_one_bit_stop(answers: Answers) -> None:
    for found in answers:
        assert found["drift"].startswith("at step 4 process 1 differs from process 0 in its generator;")
        assert "in its config;" in found["options"]


def test_what_one_process_meets_stops_all_of_them(answers: Answers, folder: Path) -> None:
    first, second = answers
    for name in ("not finite", "unreadable0", "unreadable1", "skipped", "share error", "device error"):
        assert first[name] == second[name]
    assert "segmentation loss became nan at step 2" in first["not finite"]
    assert load_checkpoint(folder / "nan" / "checkpoints" / "last.pt")["step"] == 0, "what every run begins with"
    assert [first[f"unreadable{number}"] for number in range(2)] == ["b.jpg: broken.", "process 1: b.jpg: broken."]
    assert load_checkpoint(folder / "unreadable1" / "checkpoints" / "last.pt")["step"] == 1
    assert first["skipped"] == [((), 0), (("c.jpg: broken.",), 1), ((), 1), ((), 1)]
    assert "use a multiple of 2, or a number of processes among 1, 3, 9." in first["share error"]


def test_a_run_goes_from_two_processes_to_one_and_back(answers: Answers, tmp_path: Path) -> None:
    losses = until(passed_on(tmp_path, state=False), 100)
    assert answers[0]["losses"] == pytest.approx(losses, rel=1e-3)
    assert answers[1]["losses"] == answers[0]["losses"][:2] + answers[0]["losses"][4:], "not there while one went on"


def test_only_one_leads_and_all_have_their_share(answers: Answers) -> None:
    assert [(found["leads"], found["share"]) for found in answers] == [(True, [0, 1, 2]), (False, [3, 4, 5])]


def test_shares_of_the_loader_are_the_batch() -> None:
    data = SyntheticDataSet("train")

    def ids(share: range | None, workers: int = 0) -> list[tuple[str, ...]]:
        batches = training_batches(
            data, seed=3, size=32, batch_size=4, steps=range(2, 4), workers=workers, share=share
        )  # fmt: skip
        return [batch.ids for batch in batches]

    whole = ids(None)
    assert [first + second for first, second in zip(ids(range(2)), ids(range(2, 4), 1), strict=True)] == whole


def test_a_process_that_is_alone_is_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    value, network = torch.ones(2, requires_grad=True), nn.BatchNorm2d(1)
    assert torch.equal(distributed.mean(value), distributed.total(value))
    assert not distributed.total(value).requires_grad
    assert (distributed.count(), distributed.told(5), distributed.any_process(True)) == (1, [5], True)
    average_statistics(network)
    check_equal({"generator": network.state_dict()}, 0)
    with pytest.raises(OSError, match="disk"):
        distributed.together(lambda: (_ for _ in ()).throw(OSError("disk")))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert default_workers() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert default_workers() == 3


def test_a_digest_sees_every_bit() -> None:
    state: dict[str, Any] = {"a": torch.zeros(2, 3), "b": [1, 2.5, "c", torch.tensor(1)]}
    changed = {"a": torch.zeros(2, 3), "b": [1, 2.5, "c", torch.tensor(1)]}
    assert digest(state) == digest(changed)
    for value in (-0.0, 1e-45):
        changed["a"][1, 1] = value
        assert digest(state) != digest(changed)
    assert len({digest(value) for value in ([[1], 2], [1, [2]], [1, 2], torch.zeros(6), torch.zeros(2, 3))}) == 5


def test_bad_surroundings_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECK_VARIABLE, "often")
    with pytest.raises(InputError, match=f"{CHECK_VARIABLE}=often is no number of steps"):
        check_every()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match=r"WORLD_SIZE=2 .*RANK.*torchrun"), distributed.joined():
        pass


def test_when_a_process_is_killed_the_others_end_with_a_checkpoint(tmp_path: Path) -> None:
    words = ["train", "--data", "synthetic", "--width", "0.1", "--size", "96", "--batch-size", "2", "--val-data", "none",
             "--encoder-weights", "none", "--device", "cpu", "--workers", "1", "--steps", "5000", "--save-every", "2"]  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "mfpgan",
        *words,
    ]
    no_store = {"MLFLOW_TRACKING_URI": "sqlite:////dev/null/mlflow.db"}  # a new one takes seconds
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | no_store,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout is not None
        folder = tmp_path / "runs" / agent.stdout.readline().strip()
        while not (folder / "checkpoints" / "last.pt").is_file():
            assert agent.poll() is None
            time.sleep(0.05)
        (second,) = (p for p in psutil.Process(agent.pid).children() if p.environ()["RANK"] == "1")
        second.send_signal(signal.SIGKILL)
        out, err = agent.communicate(timeout=60)
    assert out == "", "the id alone, once"
    assert "mfpgan: another process of this run has ended" in err, "of itself, before torchrun kills it after 30 s"
    assert err.count("Steps 0 to 5000") == 1, "one speaks"
    assert json.loads((folder / "run.json").read_text())["status"] == "FAILED"
    assert load_checkpoint(folder / "checkpoints" / "last.pt")["step"] % 2 == 0


def test_the_sbatch_template_tells_every_task_who_it_is(tmp_path: Path) -> None:
    programs = {
        "scontrol": "echo node7; echo node8",
        "srun": 'shift; for task in 0 1; do SLURM_PROCID=$((task + 2)) SLURM_LOCALID=$task "$@"; done',
        "mfpgan": 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT: $# words, $*"',
    }
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "61234", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "8"}
    script = Path(__file__).parent.parent / "experiments" / "slurm" / "train.sbatch"
    done = subprocess.run(
        ["bash", script, "--name", "two words"],
        env=os.environ | job | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        f"{rank} {rank - 2} 4 node7 21234: 3 words, train --name two words" for rank in (2, 3)
    ]
