"""The training loop: generator and adversary in turn, one page."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mfpgan import distributed
from mfpgan.clicks.guidance import encode
from mfpgan.config import TrainConfig
from mfpgan.inference import encoding_of
from mfpgan.losses.segmentation import SegmentationLoss
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.tracking import CHECKPOINT, Run
from mfpgan.training.adversary import AnyAdversary
from mfpgan.training.alarms import Watchdog
from mfpgan.training.checkpoint import BAD_STEP, BEST, load_optimizer, save_checkpoint
from mfpgan.training.ema import running_mean
from mfpgan.training.finite import NotFiniteError, check_finite, gradient_norm
from mfpgan.training.health import undecided
from mfpgan.training.pictures import clicks_sheet
from mfpgan.training.replicas import average_gradients, average_statistics, check_equal
from mfpgan.training.simulate import Play, play
from mfpgan.training.skips import Skips
from mfpgan.training.validation import Validation, validate, with_maps
from mfpgan.types import Batch, ClickStrategy, InputError


class StepReport(NamedTuple):
    """What a step tells the one who watches."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    metrics: dict[str, float]
    """Logged at this step; empty at most steps."""
    alarm: str = ""
    """A sentence when something has begun that a person should look at."""
    skipped: tuple[str, ...] = ()
    """A sentence about each image that turned out at this step to be unreadable."""


class _Stepped(NamedTuple):
    metrics: dict[str, Tensor]
    """Empty if the step was left out."""
    bad: tuple[str, ...] = ()
    """Then a sentence why."""


@dataclass(frozen=True)
class Plan:
    """How long a run is and when it does what, in steps."""

    steps: int
    epochs: int
    log_every: int
    eval_every: int
    save_every: int
    lr: float
    lr_step: int
    lr_gamma: float

    @classmethod
    def of(cls, config: TrainConfig, images: int) -> Plan:
        """The plan of a config.

        Args:
            images: of an epoch; those that come more than once in it count as often.
        """
        samples = config.epochs * images * config.objects_per_image
        steps = config.steps or max(1, -(-samples // config.batch_size))
        eval_every = config.eval_every or max(1, steps // 10)
        return cls(
            steps, config.epochs, config.log_every, eval_every, config.save_every or eval_every,
            config.lr, config.lr_step, config.lr_gamma,
        )  # fmt: skip

    def lr_at(self, step: int) -> float:
        """StepLR over the epochs of the run: falls by `lr_gamma` each `lr_step` of `epochs`, stretched over `steps`."""
        epoch = step * self.epochs // self.steps
        return self.lr * self.lr_gamma ** (epoch // self.lr_step)


@dataclass
class Trainer:
    """Alternates discriminator and generator over the batches of a run.

    Four steps equal two, a checkpoint and two more, to the bit on CPU float32: nothing here keeps a state of chance.

    Several processes each hold one and call `train` together. Every number that a step decides by is the whole batch's, the
    same in all of them; validation, tracking and checkpoints are the leading one's.
    """

    config: TrainConfig
    plan: Plan
    generator: MFPResNetUNet
    adversary: AnyAdversary
    loss: SegmentationLoss
    strategy: ClickStrategy
    batches: Callable[[range], Iterable[Batch]]
    """The training batches of a range of steps; of each this process's share."""
    validation: Callable[[], Iterable[Batch]]
    """Batches to validate on, the same at every call."""
    data_digest: str
    """Of the training data; a run goes on only with the same."""
    images: int
    """Of the training data, each counted once."""
    run: Run
    device: torch.device
    bf16: bool
    check_every: int = 0
    """Steps between checks that the processes have not drifted apart; 0: only at the start."""
    step: int = 0
    stop_requested: bool = False
    """Set from outside (a signal), in any process: all end after the same step, with a checkpoint."""
    optimizer: torch.optim.Optimizer = field(init=False)
    ema: AveragedModel | None = field(init=False)
    """Running mean of the generator's weights."""
    training_pass: Callable[[Tensor, Tensor], Tensor] = field(init=False)
    """The generator as a step calls it: itself, or compiled."""
    _last_play: tuple[Batch, Play] | None = field(init=False, default=None)
    """The users of the last batch, to be drawn."""
    _watchdog: Watchdog = field(init=False, default_factory=Watchdog)
    _skips: Skips = field(init=False)
    pending: dict[str, float] | None = field(init=False, default=None)
    """In a checkpoint that was saved before the validation of its step: that step's numbers, not logged yet."""
    _best: float = field(init=False, default=-1.0)
    """The highest val/iou so far."""
    _bad_steps: int = field(init=False, default=0)
    _saved_step: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self._skips = Skips(self.images)
        self.optimizer = torch.optim.AdamW(  # without decay it is Adam, to the bit
            self.generator.parameters(), lr=self.plan.lr, weight_decay=self.config.weight_decay, fused=True
        )
        self.ema = running_mean(self.generator, self.config.ema)
        # Only this pass has one size from first to last; users and validation would compile anew for each of theirs.
        self.training_pass = torch.compile(self.generator, dynamic=False) if self.config.compile else self.generator

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    def train(self, watch: Callable[[StepReport], None]) -> None:
        """Run from the present step to the end of the plan, or until a stop is requested.

        Raises:
            NotFiniteError: a loss or a gradient left the numbers, more often than `skip_bad_steps` allows. The state of that
                moment and the ids of the batch are in `BAD_STEP`, to look into; the last checkpoint stays as it is, for the
                step's forward pass has already reached the running numbers of batch and spectral norm.
            InputError: too many samples cannot be read; the weights before that step are saved first.
            ProcessLostError: another process has ended. Nothing is saved: this step may be half done.
            DriftError: the processes are not equal. Nothing is saved.
        """
        check_equal({"config": self.config.to_yaml(), "data": self.data_digest} | self._networks(), self.step)
        try:
            self._train(watch)
            distributed.any_process(False)  # nobody leaves before the leading one has saved
        except InputError:  # of a batch before its step, or of a validation: the files can be mended and the run go on
            self.save()
            raise

    def _train(self, watch: Callable[[StepReport], None]) -> None:
        if self.pending is not None:  # stopped between a checkpoint and the end of its validation
            metrics = dict(self.pending)
            alarm = distributed.together(lambda: self._validate(metrics))
            self._log(metrics)
            self.save()
            watch(StepReport(self.step, self.plan.steps, metrics, alarm))
        if not self.step:
            self.save()  # so that a run can go on from whatever moment it was killed at
        log_started, log_step = time.perf_counter(), self.step
        for batch in self._batches():
            skipped = self._skips.look(batch)
            stats = self._step(batch)
            self.step += 1
            # Looked at once: signals come at any time.
            last, stop = self.step == self.plan.steps, distributed.any_process(self.stop_requested)
            if self.check_every and self.step % self.check_every == 0:
                check_equal(self._networks(), self.step)

            metrics = {}
            if stats.metrics and (last or stop or self.step % self.plan.log_every == 0):
                metrics = {name: float(value) for name, value in stats.metrics.items()}
                seconds = time.perf_counter() - log_started
                metrics["train/skipped"] = float(self._skips.count)
                metrics["train/samples_per_second"] = (self.step - log_step) * self.config.batch_size / seconds
            alarm = self._watchdog.look(metrics)
            due = last or stop or self.step % self.plan.save_every == 0
            if last or self.step % self.plan.eval_every == 0:
                self.pending = dict(metrics)  # until its line is written, whatever happens meanwhile
                self._draw_clicks()
                if due:  # before the validation: who stops a run may not wait for that
                    self.save()
                found = distributed.together(partial(self._validate, metrics))
                alarm = " ".join(filter(None, (alarm, found)))
            if metrics:
                self._log(metrics)
                log_started, log_step = time.perf_counter(), self.step
            if due:  # after the line of this step, which a run that goes on from here does not write again
                self.save()
            watch(StepReport(self.step, self.plan.steps, metrics, alarm, skipped + stats.bad))
            if stop:
                break

    def _batches(self) -> Iterator[Batch]:
        """The batches to come. What one process cannot read all know of, before any of them makes a step."""
        mine = iter(self.batches(range(self.step, self.plan.steps)))
        while (batch := distributed.together(lambda: next(mine, None))) is not None:
            if distributed.any_process(bool(batch.skipped)):
                batch = replace(batch, skipped=sum(distributed.told(batch.skipped), ()))
            yield batch

    def _log(self, metrics: dict[str, float]) -> None:
        if "d/real_accuracy" in metrics:
            metrics["d/alarm"] = self._watchdog.level
        self.run.log(metrics, self.step)
        self.pending = None

    def _validate(self, metrics: dict[str, float]) -> str:
        """Validate into `metrics`, keep the weights if they are the best so far; what there is to say about it."""
        validated = self.validate()
        metrics |= validated
        if validated.get("val/iou", -math.inf) > self._best:
            self._best = validated["val/iou"]
            parts = {name: value for name, value in self.state_dict().items() if name in ("step", "generator", "best")}
            save_checkpoint((self.run.folder / CHECKPOINT).with_name(BEST), parts | {"config": self.config.to_yaml()})
        return self._watchdog.look(validated)

    def _step(self, batch: Batch) -> _Stepped:
        """A training step; or none, where a loss or a gradient is no number and the run may leave such steps out."""
        may = self._bad_steps < self.config.skip_bad_steps
        # Weights and the generator's optimizer are still as they were when a number turns out to be none.
        kept = copy.deepcopy((dict(self.generator.named_buffers()), self.adversary.state_dict())) if may else None
        try:
            return _Stepped(self.train_step(batch))
        except NotFiniteError as error:
            ids, what = [name for names in distributed.told(batch.ids) for name in names], str(error)
            self.optimizer.zero_grad(set_to_none=True)
            if kept is None:
                distributed.together(lambda: self._save_bad_step(ids, what))  # nobody leaves before it is there
                left = f" All {self._bad_steps} steps that may be left out were." if self._bad_steps else ""
                raise NotFiniteError(f"{what}{left} Its state and batch are in checkpoints/{BAD_STEP}.") from error
            buffers, adversary = kept
            for name, buffer in self.generator.named_buffers():
                buffer.copy_(buffers[name])
            self.adversary.load_state_dict(adversary)
            self._bad_steps += 1
            count = f"{self._bad_steps} of at most {self.config.skip_bad_steps}"
            return _Stepped({}, (f"{what.split(';', maxsplit=1)[0]} ({count}; objects {', '.join(ids)}).",))

    def _save_bad_step(self, ids: list[str], what: str) -> None:
        if distributed.leads():
            state = {**self.state_dict(), "config": self.config.to_yaml(), "ids": ids, "what": what}
            save_checkpoint((self.run.folder / CHECKPOINT).with_name(BAD_STEP), state)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the discriminator and one of the generator, after the user's turns."""
        lr = self.plan.lr_at(self.step)
        position = self.step * self.config.batch_size + distributed.share(self.config.batch_size).start
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        users, batch = batch, batch.to(self.device)
        played = play(
            users, batch.image, self.strategy, self.generator, self.precision,
            seed=self.config.seed, position=position,
        )  # fmt: skip
        self._last_play = users, played
        height, width = batch.image.shape[-2:]
        guidance = encode(
            encoding_of(self.generator), played.clicks, played.previous,
            height=height, width=width, device=self.device,
        )  # fmt: skip
        maps = guidance[:, :2]  # the adversary judges a mask by photo and clicks; the memory is the generator's own
        self.generator.train()  # play and validation leave it in eval mode
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.training_pass(batch.image, guidance)
        # The losses meet at the logits, so that each player's gradient is known there, the discriminator's graph is gone
        # before the generator goes back through its own, and no part of either is walked twice.
        logits = logits.float()
        answer = logits.detach().requires_grad_()
        mine = self.loss(answer, batch.target, batch.valid, pos_weight=self.config.pos_weight)
        segmentation = distributed.mean(mine)
        lower = f"Lower --lr (now {lr:g})"
        check_finite(segmentation, "segmentation loss", self.step, lower)
        (pull,) = torch.autograd.grad(mine, answer)
        answer = answer.detach()
        prob = answer.sigmoid()
        stats = self.adversary.update(batch, maps, prob, self.step, position)
        push = self.adversary.push(batch, maps, answer, self.step, position, pull, self._norm_at_last_layer(logits))
        check_finite(push.loss, "adversarial loss", self.step, "Lower --d-lr or --adv-weight")
        torch.autograd.backward(logits, pull + push.gradient)
        average_gradients(self.generator)
        average_statistics(self.generator)
        check_finite(gradient_norm(self.generator), "generator's gradient", self.step, f"{lower} or --adv-weight")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # now: the next step's graph finds their memory free
        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        return {
            "train/loss": segmentation + push.loss,
            "train/seg": segmentation,
            "train/adv": push.loss,
            "train/undecided": undecided(prob, batch.valid),
            "train/lr": torch.tensor(lr),
            "train/clicks": _mean([len(clicks) for clicks in played.clicks]),
            "train/rounds": _mean(played.rounds),
            **stats,
            **push.stats,
        }

    def _norm_at_last_layer(self, logits: Tensor) -> Callable[[Tensor], Tensor]:
        def norm(gradient: Tensor) -> Tensor:
            weight = self.generator.head.weight
            (at_weight,) = torch.autograd.grad(logits, weight, gradient, retain_graph=True)
            length: Tensor = distributed.mean(at_weight).norm()  # of the mean: the mean of lengths is longer
            return length

        return norm

    def _draw_clicks(self) -> None:
        """Those of the last training batch, while they are known: a validation that is made good later does not know them."""
        if distributed.leads() and self._last_play:
            title = f"simulated clicks ({self.config.clicks}), step {self.step}"
            self.run.image("train_clicks", clicks_sheet(*self._last_play, title), self.step)

    def validate(self) -> dict[str, float]:
        """Validate, and draw the first validation objects.

        In the leading process alone, so that the numbers are to the bit those of one process: the others find nothing.
        """
        if not distributed.leads():
            return {}
        found = self._validated(self.generator)
        for number, picture in enumerate(found.pictures):
            self.run.image(f"val_triplet_{number}", picture, self.step)
        metrics = found.metrics | self.adversary.probe(
            lambda: with_maps(self.validation(), encoding_of(self.generator), self.device)
        )
        if self.ema is not None:
            averaged = self._validated(self.ema.module).metrics
            metrics |= {name.replace("val/", "val_ema/"): value for name, value in averaged.items()}
        return metrics

    def _validated(self, generator: nn.Module) -> Validation:
        return validate(
            generator, self.validation(),
            device=self.device, precision=self.precision, max_clicks=self.config.val_clicks,
        )  # fmt: skip

    def save(self) -> None:
        """Write the checkpoint of the present step, which all processes hold alike; that of an earlier step stays beside it."""
        if not distributed.leads():
            return
        self.run.flush()  # a run that goes on from here does not write the lines before it again
        path = self.run.folder / CHECKPOINT
        parts = {"config": self.config.to_yaml(), **self.state_dict()}
        save_checkpoint(path, parts, keep=self._saved_step != self.step)
        self._saved_step = self.step

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on; tensors and plain types."""
        return {
            "step": self.step,
            "data_digest": self.data_digest,
            "generator": self.generator.state_dict(),
            "adversary": self.adversary.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": {} if self.ema is None else self.ema.state_dict(),
            "watchdog": self._watchdog.state_dict(),
            "skipped": self._skips.state_dict(),
            "best": self._best,
            "pending": self.pending,
            "bad_steps": self._bad_steps,
        }

    def _networks(self) -> dict[str, Any]:
        """What all processes hold alike."""
        state = self.state_dict()
        return {name: state[name] for name in ("generator", "adversary", "optimizer", "ema", "skipped")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`.

        Raises:
            InputError: the training data is not what it was, or another version of mfpgan made the state.
        """
        if state.get("data_digest") != self.data_digest:
            raise InputError(
                f"the training data has changed since the run stopped (digest {self.data_digest}, was "
                f"{state.get('data_digest')}); bring the old data back, or start a new run."
            )
        try:
            self.step = state["step"]
            self.generator.load_state_dict(state["generator"])
            self.adversary.load_state_dict(state["adversary"])
            load_optimizer(self.optimizer, state["optimizer"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self._watchdog.load_state_dict(state["watchdog"])
            self._skips.load_state_dict(state["skipped"])
            self._best, self.pending, self._bad_steps = state["best"], state["pending"], state["bad_steps"]
            self._saved_step = self.step
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[-1].strip().rstrip(".")
            raise InputError(
                f"the checkpoint does not fit this version of mfpgan ({reason}); start a new run."
            ) from None


def _mean(values: Sequence[int]) -> Tensor:
    """Over the samples of all processes."""
    return distributed.mean(torch.tensor(float(np.mean(values))))
