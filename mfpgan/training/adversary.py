"""The adversary of a run: a discriminator with its optimizer and rules, or its quiet twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mfpgan import distributed
from mfpgan.losses.adversarial import AdversarialLoss, over_scales
from mfpgan.models.discriminator import Judgement, MFPDiscriminator
from mfpgan.models.presentation import Presentation
from mfpgan.training.checkpoint import load_optimizer
from mfpgan.training.finite import check_finite, gradient_norm
from mfpgan.training.health import accuracies, auc, differing, soften
from mfpgan.training.moves import STILL, Move, apply_moves, draw_move
from mfpgan.training.penalties import feature_matching, gradient_penalty, r1
from mfpgan.training.replicas import average_gradients
from mfpgan.training.rules import Rules
from mfpgan.types import Batch

UPDATE_STREAM, PUSH_STREAM, MOVE_STREAM = 6, 7, 8
"""Third entry of a seed, beside the streams of loader and clicks."""
BETAS = (0.0, 0.9)
BALANCE_DECAY, BALANCE_MOST = 0.9, 1e4


class Push(NamedTuple):
    """What the adversary adds to a step of the generator."""

    loss: Tensor
    """Scalar without gradient: the weighted adversarial loss."""
    gradient: Tensor
    """Its gradient at the generator's logits, (B, 1, H, W) float32, or a scalar 0 that broadcasts."""
    stats: dict[str, Tensor]
    """Scalars without gradient."""

    @classmethod
    def none(cls, logits: Tensor) -> Push:
        """No push at all."""
        return cls(logits.new_zeros(()), logits.new_zeros(()), {})


class AnyAdversary(Protocol):
    """What the trainer needs of an adversary; `off` is an object, not an `if`."""

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int, position: int) -> dict[str, Tensor]:
        """Train the discriminator on one batch; only its weights change.

        Args:
            click_maps: (B, 2, H, W) float32 in [0, 1].
            prob: (B, 1, H, W) float32 in [0, 1], detached from the generator.
            step: number of this step, from 0.
            position: position in the run of the batch's first sample; chance is a function of (seed, position).

        Returns:
            The discriminator's health as scalars without gradient.

        Raises:
            NotFiniteError: its loss or its gradient is no number; its weights are as they were, the running numbers of
                spectral norm may not be.
        """
        ...

    def push(
        self,
        batch: Batch,
        click_maps: Tensor,
        logits: Tensor,
        step: int,
        position: int,
        pull: Tensor,
        norm: Callable[[Tensor], Tensor],
    ) -> Push:
        """Where the adversary wants the generator to go; leaves no gradient in the discriminator.

        Args:
            logits: (B, 1, H, W) float32, the generator's answer, detached.
            pull: (B, 1, H, W) float32, the segmentation loss's gradient there.
            norm: of a gradient at the logits, what it makes of the generator's last layer: the norm there, a scalar, the same
                in all processes.
        """
        ...

    def probe(self, batches: Callable[[], Iterable[tuple[Batch, Tensor]]]) -> dict[str, float]:
        """How the discriminator answers to softness alone, on batches with their click maps; nothing changes. Where masks are
        shown hard there is nothing to ask: a softened mask is shown as the mask itself."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on; tensors and plain types."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...


class NoAdversary:
    """`--adv off`: the plain baseline."""

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int, position: int) -> dict[str, Tensor]:
        return {}

    def push(
        self,
        batch: Batch,
        click_maps: Tensor,
        logits: Tensor,
        step: int,
        position: int,
        pull: Tensor,
        norm: Callable[[Tensor], Tensor],
    ) -> Push:
        return Push.none(logits)

    def probe(self, batches: Callable[[], Iterable[tuple[Batch, Tensor]]]) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Adversary:
    """A discriminator that learns beside the generator and tells it where its masks look drawn by a machine.

    Args:
        discriminator: its mask channels are those of the presentation.
        loss: what the two players minimise.
        presentation: how masks are shown to the discriminator.
        rules: all else.
        bf16: run the discriminator in bfloat16 autocast; steps with a penalty on its slope run in float32.
    """

    def __init__(
        self,
        discriminator: MFPDiscriminator,
        loss: AdversarialLoss,
        presentation: Presentation,
        rules: Rules,
        *,
        bf16: bool,
    ) -> None:
        self.discriminator = discriminator.train()
        self.loss = loss
        self.presentation = presentation
        self.rules = rules
        self.bf16 = bf16
        # Lazy R1 needs no correction of rate and betas here: StyleGAN2's belongs to an optimizer step of R1's own, and ours
        # is part of the one step.
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr=rules.lr, betas=BETAS, fused=True)
        self._norms: list[float] = []
        """Of the segmentation's and of the adversarial gradient at the last layer, smoothed; empty before the first."""

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int, position: int) -> dict[str, Tensor]:
        if step < self.rules.warmup:
            return {}
        self.discriminator.requires_grad_(True).train()
        count, chance = len(batch.ids), self._chance(batch, position, UPDATE_STREAM)
        # All in one forward: spectral norm takes one power iteration, and all see the same weights.
        moves = self._moves(batch, position)
        masks = apply_moves(self._present(batch, torch.cat([batch.target, prob.detach()]), chance), moves * 2)
        if self.rules.gradient_penalty:
            real, fake = masks.chunk(2)
            share = torch.stack([torch.rand(1, 1, 1, generator=one) for one in chance]).to(masks.device)
            masks = torch.cat([masks, real + share * (fake - real)])
        lazy = self.rules.r1 > 0 and (step - self.rules.warmup) % self.rules.r1_every == 0
        sloped = lazy or self.rules.gradient_penalty > 0
        judgement = self._ask(batch, click_maps, masks.requires_grad_(sloped), moves, exact=sloped)
        reals = [logits[:count] for logits in judgement.logits]
        fakes = [logits[count : 2 * count] for logits in judgement.logits]
        loss = over_scales(self.loss.discriminator, reals, fakes)
        stats = {
            "d/loss": distributed.mean(loss),
            **self._health(reals, fakes, masks[:count], masks[count : 2 * count]),
        }
        if lazy:
            slope = r1(reals, masks)
            loss = loss + self.rules.r1_every * self.rules.r1 / 2 * slope
            stats["d/r1"] = distributed.mean(slope)
        if self.rules.gradient_penalty:
            slope = gradient_penalty([logits[2 * count :] for logits in judgement.logits], masks)
            loss = loss + self.rules.gradient_penalty * slope
            stats["d/gradient_penalty"] = distributed.mean(slope)
        self.optimizer.zero_grad(set_to_none=True)
        # Named, or a penalty's masks would be given a gradient too.
        loss.backward(inputs=list(self.discriminator.parameters()))  # type: ignore[no-untyped-call]
        average_gradients(self.discriminator)
        advice = f"Lower --d-lr (now {self.rules.lr:g}) or the penalty's weight"
        check_finite(distributed.mean(loss), "discriminator's loss", step, advice)
        check_finite(gradient_norm(self.discriminator), "discriminator's gradient", step, advice)
        self.optimizer.step()
        return stats

    def push(
        self,
        batch: Batch,
        click_maps: Tensor,
        logits: Tensor,
        step: int,
        position: int,
        pull: Tensor,
        norm: Callable[[Tensor], Tensor],
    ) -> Push:
        weight = self.rules.weight_at(step)
        if not weight:
            return Push.none(logits)
        # In eval mode: spectral norm's power iteration belongs to the discriminator's own step.
        self.discriminator.requires_grad_(False).eval()
        answer = logits.detach().requires_grad_()
        moves = self._moves(batch, position)

        def moved(mask: Tensor) -> Judgement:
            shown = self._present(batch, mask, self._chance(batch, position, PUSH_STREAM))
            return self._ask(batch, click_maps, apply_moves(shown, moves), moves)

        fake = moved(answer.sigmoid())
        real = None
        if self.loss.pairs or self.rules.feature_matching:
            with torch.no_grad():
                real = moved(batch.target)
        loss = self.objective(real, fake)
        (gradient,) = torch.autograd.grad(loss, answer)
        pull_norm, push_norm = norm(pull), norm(gradient)
        if self.rules.balance == "grad":
            weight *= self._balance([float(pull_norm), float(push_norm)])
        return Push(
            weight * distributed.mean(loss),
            weight * gradient,
            {
                "train/adv_weight": torch.tensor(weight),
                "train/gradient_ratio": weight * push_norm / pull_norm.clamp(min=1e-12),
            },
        )

    def probe(self, batches: Callable[[], Iterable[tuple[Batch, Tensor]]]) -> dict[str, float]:
        if self.presentation.hard:
            return {}
        real: list[float] = []
        soft: list[float] = []
        for batch, maps in batches():
            real += self.judge(batch, maps, batch.target).score().tolist()
            soft += self.judge(batch, maps, soften(batch.target)).score().tolist()
        return {"d/softness_auc": auc(real, soft)} if real else {}

    def objective(self, real: Judgement | None, fake: Judgement) -> Tensor:
        """What the generator minimises, before its weight: the loss's formula and feature matching, a scalar with a graph.

        Args:
            real: of the drawn masks; not needed where the loss does not pair and features are not matched.
        """
        loss = over_scales(self.loss.generator, (real or fake).logits, fake.logits)
        if real and self.rules.feature_matching:
            loss = loss + self.rules.feature_matching * feature_matching(real.features, fake.features)
        return loss

    def judge(self, batch: Batch, click_maps: Tensor, mask: Tensor) -> Judgement:
        """What the discriminator says of masks, as it is, without moves; gradient flows to the mask if it wants one.

        Args:
            mask: (B, 1, H, W) float32 in [0, 1].
        """
        self.discriminator.requires_grad_(False).eval()
        chance = torch.Generator().manual_seed(self.rules.seed)
        shown = self._present(batch, mask, [chance] * len(batch.ids))
        return self._ask(batch, click_maps, shown, [STILL] * len(batch.ids))

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "norms": self._norms,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        load_optimizer(self.optimizer, state["optimizer"])
        norms = state["norms"]
        if type(norms) is not list or len(norms) not in (0, 2) or any(type(norm) is not float for norm in norms):
            raise ValueError("the adversary's smoothed norms are no two numbers")
        self._norms = norms

    def _present(self, batch: Batch, masks: Tensor, chance: list[torch.Generator]) -> Tensor:
        """One or more masks for each photo, one after the other, as they are shown; empty where pixels do not count.

        Args:
            chance: of each photo.
        """
        times = len(masks) // len(batch.ids)
        valid = torch.cat([batch.valid] * times)
        # Before, or a blur would carry what is ignored into what counts; after, or it would spread over what is ignored.
        return self.presentation.show(masks * valid, torch.cat([batch.image] * times), chance * times) * valid

    def _ask(
        self, batch: Batch, click_maps: Tensor, shown: Tensor, moves: list[Move], *, exact: bool = False
    ) -> Judgement:
        """Shown masks, already moved, beside their photos and clicks, which are moved here."""
        times = len(shown) // len(batch.ids)
        image, maps = (torch.cat([apply_moves(part, moves)] * times) for part in (batch.image, click_maps))
        with torch.autocast(shown.device.type, torch.bfloat16, enabled=self.bf16 and not exact):
            judgement: Judgement = self.discriminator(image, maps, shown)
        return Judgement([logits.float() for logits in judgement.logits], judgement.features)

    def _moves(self, batch: Batch, position: int) -> list[Move]:
        height, width = batch.image.shape[-2:]
        return [
            draw_move(rng, height, width, self.rules.augment) for rng in self._streams(batch, position, MOVE_STREAM)
        ]

    def _chance(self, batch: Batch, position: int, stream: int) -> list[torch.Generator]:
        """One for each sample, on the CPU."""
        seeds = [int(rng.integers(2**63)) for rng in self._streams(batch, position, stream)]
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def _streams(self, batch: Batch, position: int, stream: int) -> list[np.random.Generator]:
        return [np.random.default_rng([self.rules.seed, position + item, stream]) for item in range(len(batch.ids))]

    def _health(
        self, reals: list[Tensor], fakes: list[Tensor], real_masks: Tensor, fake_masks: Tensor
    ) -> dict[str, Tensor]:
        real, fake = (torch.cat([logits.detach().flatten() for logits in scales]) for scales in (reals, fakes))
        differs = differing(real_masks.detach(), fake_masks.detach(), reals)
        real, fake, differs = (distributed.gathered(one) for one in (real, fake, differs))
        real_accuracy, fake_accuracy = accuracies(real, fake, differs, self.loss.boundary)
        return {
            "d/differing": differs.mean(),
            "d/real_accuracy": real_accuracy,
            "d/fake_accuracy": fake_accuracy,
            "d/real_logit": real.mean(),
            "d/fake_logit": fake.mean(),
            "d/gap": real.mean() - fake.mean(),
            "d/spread": torch.cat([real, fake]).std(),
        }

    def _balance(self, norms: list[float]) -> float:
        pairs = zip(self._norms or norms, norms, strict=True)
        self._norms = [BALANCE_DECAY * old + (1 - BALANCE_DECAY) * new for old, new in pairs]
        pull, push = self._norms
        return min(pull / max(push, 1e-12), BALANCE_MOST)
