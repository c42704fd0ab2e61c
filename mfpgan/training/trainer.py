"""The training loop: generator and adversary in turn, one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mfpgan.clicks.guidance import encode
from mfpgan.config import TrainConfig
from mfpgan.losses.segmentation import SegmentationLoss
from mfpgan.session import encoding_of
from mfpgan.tracking import CHECKPOINT, Run
from mfpgan.training.adversary import AnyAdversary
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.training.pictures import clicks_sheet
from mfpgan.training.simulate import Play, play
from mfpgan.training.validation import validate
from mfpgan.types import Batch, ClickStrategy, InputError


class NotFiniteError(RuntimeError):
    """The loss became infinite or NaN; the generator is as it was before the step."""


class StepReport(NamedTuple):
    """What a step tells the one who watches."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    metrics: dict[str, float]
    """Logged at this step; empty at most steps."""


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
        """The plan of a config on a data set of so many images."""
        steps = config.steps or max(1, -(-config.epochs * images // config.batch_size))
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
    """

    config: TrainConfig
    plan: Plan
    generator: nn.Module
    adversary: AnyAdversary
    loss: SegmentationLoss
    strategy: ClickStrategy
    batches: Callable[[range], Iterable[Batch]]
    """The training batches of a range of steps."""
    validation: Callable[[], Iterable[Batch]]
    """Batches to validate on, the same at every call."""
    data_digest: str
    """Of the training data; a run goes on only with the same."""
    run: Run
    device: torch.device
    bf16: bool
    step: int = 0
    stop_requested: bool = False
    """Set from outside (a signal): the loop ends after the present step, with a checkpoint."""
    optimizer: torch.optim.Optimizer = field(init=False)
    _last_play: tuple[Batch, Play] | None = field(init=False, default=None)
    """The users of the last batch, to be drawn."""

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(  # without decay it is Adam, to the bit
            self.generator.parameters(), lr=self.plan.lr, weight_decay=self.config.weight_decay, fused=True
        )

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    def train(self, watch: Callable[[StepReport], None]) -> None:
        """Run from the present step to the end of the plan, or until a stop is requested.

        Raises:
            NotFiniteError: the loss left the numbers; the weights before that step are saved first.
            InputError: a sample cannot be read.
        """
        log_started, log_step = time.perf_counter(), self.step
        for batch in self.batches(range(self.step, self.plan.steps)):
            try:
                stats = self.train_step(batch)
            except NotFiniteError:
                self.save()
                raise
            self.step += 1
            last, stop = self.step == self.plan.steps, self.stop_requested  # looked at once: signals come at any time

            metrics: dict[str, float] = {}
            if last or stop or self.step % self.plan.log_every == 0:
                metrics = {name: float(value) for name, value in stats.items()}
                seconds = time.perf_counter() - log_started
                metrics["train/samples_per_second"] = (self.step - log_step) * self.config.batch_size / seconds
            if last or stop or self.step % self.plan.save_every == 0:
                self.save()  # before the validation: who stops a run may not wait for that
            if last or self.step % self.plan.eval_every == 0:
                metrics |= self.validate()
            if metrics:
                self.run.log(metrics, self.step)
                log_started, log_step = time.perf_counter(), self.step
            watch(StepReport(self.step, self.plan.steps, metrics))
            if stop:
                break

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the discriminator and one of the generator, after the user's turns."""
        lr = self.plan.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        users, batch = batch, batch.to(self.device)
        played = play(
            users, batch.image, self.strategy, self.generator, self.precision,
            seed=self.config.seed, position=self.step * self.config.batch_size,
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
            logits = self.generator(batch.image, guidance)
        prob = logits.float().sigmoid()
        segmentation = self.loss(logits, batch.target, batch.valid, pos_weight=self.config.pos_weight)
        self._check_finite(segmentation, "segmentation", lr)
        stats = self.adversary.update(batch, maps, prob.detach(), self.step)
        penalty = self.adversary.penalty(batch, maps, prob, self.step)
        self._check_finite(penalty, "adversarial", lr)
        loss = segmentation + penalty
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {
            "train/loss": loss.detach(),
            "train/seg": segmentation.detach(),
            "train/adv": penalty.detach(),
            "train/lr": torch.tensor(lr),
            "train/clicks": torch.tensor(float(np.mean([len(clicks) for clicks in played.clicks]))),
            "train/rounds": torch.tensor(float(np.mean(played.rounds))),
            **stats,
        }

    def _check_finite(self, loss: Tensor, name: str, lr: float) -> None:
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"the {name} loss became {loss.item()} at step {self.step + 1}; the weights before it are saved. Lower "
                f"--lr (now {lr:g}) or --adv-weight, or use --precision fp32."
            )

    def validate(self) -> dict[str, float]:
        """Validate, and draw the first validation objects and the clicks of the last training batch."""
        found = validate(
            self.generator, self.validation(),
            device=self.device, precision=self.precision, max_clicks=self.config.val_clicks,
        )  # fmt: skip
        for number, picture in enumerate(found.pictures):
            self.run.image(f"val_triplet_{number}", picture, self.step)
        if self._last_play:
            title = f"simulated clicks ({self.config.clicks}), step {self.step}"
            self.run.image("train_clicks", clicks_sheet(*self._last_play, title), self.step)
        return found.metrics

    def save(self) -> None:
        """Write the checkpoint of the present step."""
        path = self.run.folder / CHECKPOINT
        save_checkpoint(path, {"config": self.config.to_yaml(), **self.state_dict()})

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on; tensors and plain types."""
        return {
            "step": self.step,
            "data_digest": self.data_digest,
            "generator": self.generator.state_dict(),
            "adversary": self.adversary.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

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
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[-1].strip().rstrip(".")
            raise InputError(
                f"the checkpoint does not fit this version of mfpgan ({reason}); start a new run."
            ) from None
