"""The loop: reproducible to the bit, resumable to the bit, and off means off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adversary import every_saved_tensor_is_used
from test_build import masks_folder

from mfpgan import build, devices
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.config import TrainConfig
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.tracking import NoRun
from mfpgan.training.adversary import Adversary
from mfpgan.training.checkpoint import load_checkpoint, load_last
from mfpgan.training.finite import NotFiniteError
from mfpgan.training.trainer import Plan, StepReport, Trainer
from mfpgan.types import Batch, InputError

BASE = {
    "data": "synthetic", "adv": "off", "size": 96, "width": 0.1, "steps": 4, "batch_size": 2, "encoder_weights": "none",
    "precision": "fp32", "device": "cpu", "workers": 0, "log_every": 1, "eval_every": 100, "val_images": 2,
}  # fmt: skip


def make(folder: Path, **changes: object) -> Trainer:
    config = TrainConfig.from_mapping(BASE | changes, "test")
    return build.trainer(config, build.training_data(config), NoRun(folder), build.generator_of(config)[0])


def run(folder: Path, **changes: object) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    trainer = make(folder, **changes)
    reports: list[StepReport] = []
    trainer.train(reports.append)
    timeless = [{k: v for k, v in r.metrics.items() if k != "train/samples_per_second"} for r in reports]
    return timeless, {k: v.clone() for k, v in trainer.generator.state_dict().items()}


def in_parts(folder: Path, cut: int, **changes: object) -> tuple[Trainer, list[StepReport]]:
    """A run that is stopped after `cut` steps and goes on in a new trainer: that trainer, and what it reported."""
    first = make(folder, **changes)

    def stop(report: StepReport) -> None:
        first.stop_requested = report.step == cut - 1

    first.stop_requested = cut == 1
    first.train(stop)
    assert first.step == cut
    second = make(folder, **changes)
    second.load_state_dict(load_checkpoint(folder / "checkpoints" / "last.pt"))
    reports: list[StepReport] = []
    second.train(reports.append)
    return second, reports


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


STRONG = {"clicks": "mixed", "clicks.rounds": 2, "memory": "modulated", "loss": "nfl", "weight_decay": 0.1}


@pytest.mark.parametrize("clicks", STRATEGIES)
def test_every_strategy_trains_the_same_way_twice(clicks: str, tmp_path: Path) -> None:
    first, second = (run(tmp_path, clicks=clicks, steps=3) for _ in range(2))
    assert first[0] == second[0]
    assert equal(first[1], second[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_strong_recipe_is_the_same_to_the_bit_whole_or_in_parts(workers: int, tmp_path: Path) -> None:
    changes = {**STRONG, "steps": 6, "workers": workers, "eval_every": 4, "adv": "hinge"}
    history, whole = run(tmp_path / "whole", **changes)
    second, reports = in_parts(tmp_path / "parts", 3, **changes)
    assert equal(second.generator.state_dict(), whole)
    timeless = [{k: v for k, v in r.metrics.items() if k != "train/samples_per_second"} for r in reports]
    assert timeless == history[3:]


def test_clicks_and_rounds_are_logged(tmp_path: Path) -> None:
    (plain,), _ = run(tmp_path, steps=1)
    assert (plain["train/clicks"], plain["train/rounds"]) == (2, 0)
    (strong,), _ = run(tmp_path, steps=1, batch_size=8, **STRONG)
    assert strong["train/clicks"] > 2
    assert 0 < strong["train/rounds"] < 3


@pytest.mark.parametrize("adv", ["off", *ADVERSARIAL])
def test_two_runs_of_one_seed_are_equal_to_the_bit(adv: str, tmp_path: Path) -> None:
    first, second, other = (run(tmp_path, adv=adv, seed=seed) for seed in (5, 5, 6))
    assert first[0] == second[0]
    assert equal(first[1], second[1])
    assert not equal(first[1], other[1])


def test_compiled_it_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for a real compiler, and handed to none: what such a one makes of it is rounded its own way."""
    kernels: list[str] = []

    def no_compiler(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        kernels.append(graph.graph.__class__.__name__)
        return graph

    plain = run(tmp_path, adv="hinge", val_images=1, eval_every=2)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=no_compiler))
    compiled = run(tmp_path, adv="hinge", val_images=1, eval_every=2, compile=True)
    assert len(kernels) == 1, "one pass, compiled once"
    assert plain[0] == compiled[0]
    assert equal(plain[1], compiled[1])


@pytest.mark.parametrize("adv", ADVERSARIAL)
def test_off_is_weight_zero_to_the_bit_and_a_weight_matters(adv: str, tmp_path: Path) -> None:
    off, zero, one = run(tmp_path), run(tmp_path, adv=adv, adv_weight=0), run(tmp_path, adv=adv, adv_weight=1)
    assert equal(off[1], zero[1])
    assert [m["train/seg"] for m in off[0]] == [m["train/seg"] for m in zero[0]]
    assert not equal(off[1], one[1])


EVERYTHING = {
    "adv": "relativistic", "d_mask": "gumbel", "d_r1": 1, "d_r1_every": 3, "d_fm": 1, "d_augment": 0.5, "adv_ramp": 4,
    "adv_balance": "grad", "adv_weight": 0.1, "ema": 0.9,
}  # fmt: skip


def test_every_rule_at_once_goes_on_where_it_stopped(tmp_path: Path) -> None:
    changes = {**EVERYTHING, "steps": 7, "eval_every": 7}
    history, whole = run(tmp_path / "whole", **changes)
    second, reports = in_parts(tmp_path / "parts", 4, **changes)
    assert equal(second.generator.state_dict(), whole)
    assert reports[-1].metrics.keys() >= {"val_ema/iou", "val_ema/iou_3", "d/softness_auc", "d/r1", "d/alarm"}
    timeless = [{k: v for k, v in r.metrics.items() if k != "train/samples_per_second"} for r in reports]
    assert timeless == history[4:]


def test_the_running_mean_follows_and_changes_nothing(tmp_path: Path) -> None:
    plain, averaged = make(tmp_path, steps=3), make(tmp_path, steps=3, ema=0.5)
    weights = []
    for batch in plain.batches(range(3)):
        plain.train_step(batch)
        averaged.train_step(batch)
        weights.append(averaged.generator.head.bias.detach().clone())
    assert equal(plain.generator.state_dict(), averaged.generator.state_dict())
    expected = (weights[0] / 2 + weights[1] / 2) / 2 + weights[2] / 2
    assert averaged.ema is not None
    assert torch.allclose(averaged.ema.module.head.bias, expected, atol=1e-7)


RULES = [
    *({"d_mask": name} for name in PRESENTATIONS),
    {"d_r1": 1, "d_r1_every": 2},
    {"d_arch": "multiscale", "size": 140},
    {"d_augment": 1},
    {"d_input": "mask"},
    {"adv": "wgan-gp", "d_fm": 1},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_weight_zero_is_off_to_the_bit_under_every_rule(rules: dict[str, object], tmp_path: Path) -> None:
    changes = {"steps": 2, "adv": "hinge", **rules}
    off, zero = run(tmp_path, **{**changes, "adv": "off"}), run(tmp_path, **changes, adv_weight=0)
    assert equal(off[1], zero[1])
    assert "d/loss" in zero[0][0], "the discriminator learns all the same"


@pytest.mark.parametrize(
    "rules", [{"adv": "off"}, {"adv_balance": "grad"}, *({"adv": name} for name in ADVERSARIAL), *RULES], ids=str
)
def test_a_step_keeps_no_tensor_that_nobody_fetches(rules: dict[str, object], tmp_path: Path) -> None:
    trainer = make(tmp_path, **{"adv": "hinge", **rules})
    batch = next(iter(trainer.batches(range(1))))
    with every_saved_tensor_is_used():
        trainer.train_step(batch)


def test_an_alarm_reaches_the_watcher_once(tmp_path: Path) -> None:
    trainer = make(tmp_path, adv="hinge", steps=14)
    won = {name: torch.tensor(1.0) for name in ("d/real_accuracy", "d/fake_accuracy", "d/spread", "d/gap")}
    trainer.adversary.update = lambda *_: won  # type: ignore[method-assign]
    reports: list[StepReport] = []
    trainer.train(reports.append)
    assert [report.step for report in reports if report.alarm] == [10]
    assert "discriminator wins" in reports[9].alarm
    assert [report.metrics["d/alarm"] for report in reports] == [0.0] * 9 + [1.0] * 5


@pytest.mark.parametrize(("adv", "cut"), [("off", 2), ("hinge", 1), ("hinge", 6)])
def test_eight_steps_are_some_and_the_rest(adv: str, cut: int, tmp_path: Path) -> None:
    # The learning rate falls after 2, 4 and 6 steps, the adversary wakes up after 5, and an epoch ends after 3.
    changes = {"adv": adv, "steps": 8, "adv_warmup": 5, "data": str(masks_folder(tmp_path / "photos", 7))}
    history, whole = run(tmp_path / "whole", **changes)
    second, reports = in_parts(tmp_path / "parts", cut, **changes)
    assert [r.step for r in reports] == list(range(cut + 1, 9))
    assert equal(second.generator.state_dict(), whole)
    assert reports[-1].metrics["train/loss"] == history[-1]["train/loss"]


def test_it_learns(tmp_path: Path) -> None:
    trainer = make(tmp_path, adv="hinge", batch_size=4, lr=3e-3)
    batch = next(iter(trainer.batches(range(1))))
    losses = [trainer.train_step(batch)["train/seg"].item() for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]


def test_a_loss_that_is_no_number_stops_before_the_update(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    batch = next(iter(trainer.batches(range(1))))
    before = {k: v.clone() for k, v in trainer.generator.named_parameters()}
    trainer.loss = lambda *_, **__: torch.tensor(float("nan"))  # type: ignore[assignment]
    with pytest.raises(NotFiniteError, match=r"(?s)step 1;.*--lr"):
        trainer.train_step(batch)
    assert equal(before, dict(trainer.generator.named_parameters()))
    with pytest.raises(NotFiniteError):
        trainer.train(lambda _: None)
    assert load_checkpoint(tmp_path / "checkpoints" / "last.pt")["step"] == 0, "as the run began"
    bad = torch.load(tmp_path / "checkpoints" / "bad_step.pt", weights_only=True)
    assert (bad["step"], bad["ids"]) == (0, list(batch.ids))
    assert "segmentation loss became nan at step 1" in bad["what"]
    with pytest.raises(InputError, match="'ids' is unknown"):
        load_checkpoint(tmp_path / "checkpoints" / "bad_step.pt")


@pytest.mark.parametrize("fault", ["photo", "generator", "discriminator"])
def test_a_fault_does_not_reach_the_checkpoint(fault: str, tmp_path: Path) -> None:
    """After one sound step; the running numbers of batch and spectral norm are part of the checkpoint too."""
    trainer = make(tmp_path, adv="hinge", save_every=1)
    saved = {}
    batches = trainer.batches

    def spoilt(steps: range) -> Iterator[Batch]:
        for number, batch in enumerate(batches(steps)):
            if number and fault == "photo":
                batch.image[0, 0, 0, 0] = float("inf")
            yield batch

    def watch(report: StepReport) -> None:
        assert report.step == 1
        saved.update(load_checkpoint(tmp_path / "checkpoints" / "last.pt"))
        player = {"generator": trainer.generator.head.bias, "discriminator": None}.get(fault)
        if fault == "discriminator":
            assert isinstance(trainer.adversary, Adversary)
            player = next(trainer.adversary.discriminator.parameters())
        if player is not None:
            player.requires_grad_(True).register_hook(lambda gradient: gradient * float("nan"))

    trainer.batches = spoilt
    named = {"photo": "segmentation loss", "generator": "generator's gradient", "discriminator": "--d-lr"}[fault]
    with pytest.raises(NotFiniteError, match="step 2; the last checkpoint is as it was") as caught:
        trainer.train(watch)
    assert named in str(caught.value)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert kept["step"] == 1
    for part in ("generator", "adversary"):
        networks = (state[part]["discriminator"] if part == "adversary" else state[part] for state in (kept, saved))
        assert equal(*networks)
    assert all(torch.isfinite(value).all() for value in kept["generator"].values())


@pytest.mark.parametrize("rules", [{"ema": 0.5}, {"adv": "hinge"}])
def test_a_run_goes_on_in_another_memory_layout(
    rules: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another device: each weight keeps its own moments, so the step is the same up to rounding."""
    monkeypatch.setattr(devices, "layout_on", lambda _: torch.contiguous_format)
    trainer = make(tmp_path, **rules)
    trainer.stop_requested = True
    for _ in range(2):
        trainer.train(lambda _: None)
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        monkeypatch.setattr(devices, "layout_on", lambda _, layout=layout: layout)
        resumed = make(tmp_path, **rules)
        resumed.load_state_dict(load_checkpoint(tmp_path / "checkpoints" / "last.pt"))
        resumed.train(lambda _: None)
        ends.append({**resumed.generator.state_dict(), **resumed.adversary.state_dict().get("discriminator", {})})
    for name in ends[0]:
        assert torch.allclose(ends[0][name], ends[1][name], rtol=1e-3, atol=2e-5), name


class Lines(NoRun):
    """Remembers what was logged, as metrics.jsonl does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.lines.append((step, {k: v for k, v in metrics.items() if k != "train/samples_per_second"}))


def test_a_run_killed_in_a_validation_makes_it_good(tmp_path: Path) -> None:
    """The checkpoint before a validation knows what is still to be done; nothing is logged twice or not at all."""
    whole = make(tmp_path / "whole", adv="hinge", d_mask="prob", eval_every=2)
    whole.run = Lines(tmp_path / "whole")
    whole.train(lambda _: None)
    killed = make(tmp_path / "parts", adv="hinge", d_mask="prob", eval_every=2)
    killed.run = Lines(tmp_path / "parts")

    def killed_there() -> dict[str, float]:
        raise MemoryError

    killed.validate = killed_there  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        killed.train(lambda _: None)
    resumed = make(tmp_path / "parts", adv="hinge", d_mask="prob", eval_every=2)
    resumed.run = Lines(tmp_path / "parts")
    resumed.load_state_dict(load_checkpoint(tmp_path / "parts" / "checkpoints" / "last.pt"))
    assert (resumed.step, resumed.pending is None) == (2, False)
    resumed.train(lambda _: None)
    assert [step for step, _ in whole.run.lines] == [1, 2, 3, 4]
    assert killed.run.lines + resumed.run.lines == whole.run.lines
    assert equal(resumed.generator.state_dict(), whole.generator.state_dict())
    states = [load_checkpoint(tmp_path / name / "checkpoints" / "last.pt") for name in ("whole", "parts")]
    assert states[0]["watchdog"] == states[1]["watchdog"]
    assert states[0]["pending"] is states[1]["pending"] is None


def test_the_last_two_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    trainer = make(tmp_path, steps=6, eval_every=2, save_every=1)
    scores = iter([0.3, 0.7, 0.5])
    trainer.validate = lambda: {"val/iou": next(scores)}  # type: ignore[method-assign]
    trainer.train(lambda _: None)
    folder = tmp_path / "checkpoints"
    steps = {path.name: load_checkpoint(path)["step"] for path in folder.iterdir()}
    assert steps == {"last.pt": 6, "before.pt": 5, "best.pt": 4}
    parts, sentence = load_last(folder / "last.pt")
    assert (parts["step"], sentence) == (6, "")
    for damage in (lambda: (folder / "last.pt").write_bytes(b"PK torn"), (folder / "last.pt").unlink):
        damage()
        parts, sentence = load_last(folder / "last.pt")
        assert parts["step"] == 5
        assert "last.pt" in sentence
        assert sentence.endswith("Going on from the one before it, of step 5.")
    (folder / "before.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"last\.pt"):
        load_last(folder / "last.pt")


@pytest.mark.parametrize("fault", ["segmentation", "generator's gradient"])
def test_a_bad_step_is_left_out_and_teaches_nothing(fault: str, tmp_path: Path) -> None:
    """A batch with infinity in its photo, or a gradient that is none: the discriminator has made its step by then."""
    trainer = make(tmp_path, adv="hinge", skip_bad_steps=1, steps=3)
    batches = trainer.batches

    def spoilt(steps: range) -> Iterator[Batch]:
        for number, batch in enumerate(batches(steps)):
            if number == 1 and fault == "segmentation":
                batch.image[0, 0, 0, 0] = float("inf")
            yield batch

    def copied() -> dict[str, torch.Tensor]:
        discriminator = trainer.adversary.state_dict()["discriminator"]
        named = {**trainer.generator.state_dict(), **{f"d.{name}": value for name, value in discriminator.items()}}
        return {name: value.clone() for name, value in named.items()}

    states: list[dict[str, torch.Tensor]] = []
    reports: list[StepReport] = []
    hooks = []

    def watch(report: StepReport) -> None:
        reports.append(report)
        states.append(copied())
        for hook in hooks:
            hook.remove()
        if report.step == 1 and fault != "segmentation":
            hooks.append(trainer.generator.head.bias.register_hook(lambda gradient: gradient * float("nan")))

    trainer.batches = spoilt
    trainer.train(watch)
    assert equal(states[0], states[1])
    assert not equal(states[1], states[2])
    assert [bool(report.metrics) for report in reports] == [True, False, True]
    (sentence,) = reports[1].skipped
    assert "step 2 (" in sentence
    assert "1 of at most 1" in sentence
    assert fault in sentence
    assert load_checkpoint(tmp_path / "checkpoints" / "last.pt")["bad_steps"] == 1


def test_the_watchdogs_memory_is_in_the_checkpoint(tmp_path: Path) -> None:
    won = {name: torch.tensor(1.0) for name in ("d/real_accuracy", "d/fake_accuracy", "d/spread", "d/gap")}
    reports: list[StepReport] = []
    for cut in (5, 7, 12, 14):
        trainer = make(tmp_path, adv="hinge", steps=14, eval_every=5)
        trainer.adversary.update = lambda *_: won  # type: ignore[method-assign]
        trainer.adversary.probe = lambda _: {"d/softness_auc": 0.95}  # type: ignore[method-assign]
        if reports:
            trainer.load_state_dict(load_checkpoint(tmp_path / "checkpoints" / "last.pt"))

        def watch(report: StepReport, cut: int = cut, trainer: Trainer = trainer) -> None:
            reports.append(report)
            trainer.stop_requested = report.step == cut - 1

        trainer.train(watch)
    assert [report.step for report in reports] == list(range(1, 15))
    assert [report.step for report in reports if report.alarm] == [5, 10]
    assert [report.metrics["d/alarm"] for report in reports] == [0.0] * 4 + [0.5] * 5 + [1.0] * 5


def test_the_two_players_first_weights_are_drawn_apart(tmp_path: Path) -> None:
    """Another generator does not change the discriminator's first weights, another seed does."""
    first, wide, other = (
        make(tmp_path, adv="hinge", **changes).adversary.state_dict()["discriminator"]
        for changes in ({}, {"memory": "previous", "clicks.rounds": 1}, {"seed": 1})
    )
    assert equal(first, wide)
    assert not equal(first, other)


def test_a_checkpoint_of_another_version_is_a_sentence(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    state = trainer.state_dict()
    del state["generator"]["head.bias"]
    with pytest.raises(InputError, match=r"head\.bias"):
        make(tmp_path).load_state_dict(state)


def test_training_mode_comes_back_after_validation(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    scores = trainer.validate()
    assert scores.keys() == {"val/iou", "val/dice", *(f"val/iou_{number}" for number in range(1, 6))}
    assert not trainer.generator.training
    before = trainer.generator.encoder.bn1.running_mean.clone()
    trainer.train_step(next(iter(trainer.batches(range(1)))))
    assert trainer.generator.training
    assert not torch.equal(before, trainer.generator.encoder.bn1.running_mean)


def test_resuming_on_other_data_is_refused(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    with pytest.raises(InputError, match="training data has changed"):
        trainer.load_state_dict(trainer.state_dict() | {"data_digest": "0" * 16})


def test_the_seed_recipes_schedule() -> None:
    plan = Plan.of(TrainConfig(), images=100_170)
    assert plan.steps == 20 * 100_170 // 4 == 500_850
    epoch = plan.steps / 20
    assert [plan.lr_at(ceil(epoch * e)) for e in (0, 4, 5, 10, 19)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6])
    assert plan.lr_at(ceil(epoch * 5) - 1) == 1e-3
    stretched = Plan.of(TrainConfig(steps=100), images=7)
    assert [stretched.lr_at(s) for s in (24, 25, 99)] == pytest.approx([1e-3, 1e-4, 1e-6])
    assert Plan.of(TrainConfig(epochs=1), images=1).steps == 1


def broken_folder(root: Path, count: int, broken: int) -> str:
    """Photos of which so many are cut off, none of those that are looked at before the run."""
    masks_folder(root, count)
    for number in range(1, broken + 1):
        (root / "images" / f"{number:03}.png").write_bytes(b"no picture")
    return str(root)


def test_an_unreadable_photo_is_skipped_and_counted(tmp_path: Path) -> None:
    changes = {
        "data": broken_folder(tmp_path / "photos", 101, 1), "val_data": "none", "batch_size": 20, "size": 32, "steps": 8,
    }  # fmt: skip
    trainer = make(tmp_path / "run", **changes, workers=1)
    reports: list[StepReport] = []
    trainer.train(reports.append)
    named = [(report.step, sentence) for report in reports for sentence in report.skipped]
    assert len(named) == 1, "met in each of two epochs, named once"
    assert "001.png: not readable as a picture" in named[0][1]
    first = named[0][0]
    assert [report.metrics["train/skipped"] for report in reports] == [float(step >= first) for step in range(1, 9)]
    second, again = in_parts(tmp_path / "parts", 7, **changes)
    assert equal(second.generator.state_dict(), trainer.generator.state_dict())
    assert [(report.skipped, report.metrics["train/skipped"]) for report in again] == [((), 1)]


def test_more_than_one_in_a_hundred_stops_with_a_checkpoint(tmp_path: Path) -> None:
    data = broken_folder(tmp_path / "photos", 101, 2)
    changes = {
        "data": data, "val_data": "none", "batch_size": 20, "size": 32, "steps": 8, "save_every": 100,
    }  # fmt: skip
    trainer = make(tmp_path / "run", **changes)
    reports: list[StepReport] = []
    with pytest.raises(
        InputError, match=r"^2 of 101 training images could not be read, more than 1 %.*00[12]\.png: not"
    ):
        trainer.train(reports.append)
    assert [len(report.skipped) for report in reports if report.skipped] in ([], [1])
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert saved["step"] == len(reports)
    masks_folder(tmp_path / "mended", 101)
    for name in ("001", "002"):
        (tmp_path / "mended" / "images" / f"{name}.png").replace(Path(data) / "images" / f"{name}.png")
    again = make(tmp_path / "run", **changes)
    again.load_state_dict(saved)
    again.train(reports.append)
    assert [report.step for report in reports] == list(range(1, 9))


def test_photos_that_vanish_during_the_run_end_it_with_a_checkpoint(tmp_path: Path) -> None:
    data = masks_folder(tmp_path / "photos", 5)
    trainer = make(tmp_path / "run", data=str(data), val_data="none", size=32, save_every=100)

    def unplug(report: StepReport) -> None:
        for path in (data / "images").glob("*.png"):
            path.unlink()

    with pytest.raises(InputError, match=r"could not be read.*\.png: no such file"):
        trainer.train(unplug)
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["step"] == 1


def test_an_epoch_is_as_long_as_its_samples() -> None:
    config = TrainConfig(epochs=3, batch_size=4, objects_per_image=5)
    assert Plan.of(config, images=7).steps == ceil(3 * 7 * 5 / 4)


def test_an_unreadable_validation_photo_loses_no_line(tmp_path: Path) -> None:
    """Its step's numbers are in no line yet; the run that goes on writes them, and validates after all."""
    changes = {**EVERYTHING, "steps": 4, "eval_every": 2, "save_every": 2, "val_images": 1, "log_every": 1}
    whole = make(tmp_path / "whole", **changes)
    lines: list[tuple[int, dict[str, float]]] = []
    whole.run.log = lambda metrics, step: lines.append((step, dict(metrics)))  # type: ignore[method-assign]
    whole.train(lambda _: None)

    broken = make(tmp_path / "broken", **changes)
    found: list[tuple[int, dict[str, float]]] = []
    broken.run.log = lambda metrics, step: found.append((step, dict(metrics)))  # type: ignore[method-assign]
    mended = broken.validation

    def unreadable() -> Iterator[Batch]:
        raise InputError("b.jpg: broken.")
        yield

    broken.validation = unreadable
    with pytest.raises(InputError, match=r"b\.jpg"):
        broken.train(lambda _: None)
    again = make(tmp_path / "broken", **changes)
    again.validation = mended
    again.run.log = broken.run.log  # type: ignore[method-assign]
    again.load_state_dict(load_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pt"))
    again.train(lambda _: None)
    timeless = [
        [(step, {k: v for k, v in line.items() if "second" not in k}) for step, line in run] for run in (lines, found)
    ]
    assert [step for step, _ in lines] == [1, 2, 3, 4]
    assert timeless[0] == timeless[1]


ODD_PARTS: dict[str, Any] = {
    "a moment of one number": lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(1)),
    "a moment of the discriminator of one number": lambda state: state["adversary"]["optimizer"]["state"][0].update(exp_avg_sq=torch.zeros(1)),
    "a moment that is no number": lambda state: state["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")),
    "a step that is a row": lambda state: state["optimizer"]["state"][0].update(step=torch.zeros(2)),
    "no second moment": lambda state: state["optimizer"]["state"][0].pop("exp_avg_sq"),
    "moments of a weight that is none": lambda state: state["optimizer"]["state"].update({10**6: {}}),
    "a state that is a list": lambda state: state["optimizer"].update(state=[]),
    "no groups": lambda state: state["optimizer"].update(param_groups=[]),
    "a rate that is a word": lambda state: state["optimizer"]["param_groups"][0].update(lr="fast"),
    "no optimizer of the discriminator": lambda state: state["adversary"].update(optimizer=None),
    "norms that are a number": lambda state: state["adversary"].update(norms=5),
    "a watchdog that counts words": lambda state: state["watchdog"].update(count="x"),
    "a watchdog's log without its numbers": lambda state: state["watchdog"].update(logs=[{}]),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD_PARTS)
def test_a_state_that_does_not_fit_is_refused_before_anything_computes_with_it(what: str, tmp_path: Path) -> None:
    """A fused optimizer reads past the end of a moment that is too short."""
    first = run_of(tmp_path)
    state = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert state["optimizer"]["state"], first
    ODD_PARTS[what](state)
    with pytest.raises(InputError, match="the checkpoint does not fit this version of mfpgan"):
        make(tmp_path, **SHORT).load_state_dict(state)


SHORT = {"adv": "hinge", "steps": 1, "val_data": "none"}


def run_of(folder: Path) -> Trainer:
    trainer = make(folder, **SHORT)
    trainer.train(lambda _: None)
    return trainer
