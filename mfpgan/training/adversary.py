"""The adversary of a run: a discriminator with its optimizer and loss, or its quiet twin."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mfpgan.losses.adversarial import AdversarialLoss
from mfpgan.types import Batch


class AnyAdversary(Protocol):
    """What the trainer needs of an adversary; `off` is an object, not an `if`."""

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> dict[str, Tensor]:
        """Train the discriminator on one batch; only its weights change.

        Args:
            click_maps: (B, 2, H, W) float32 in [0, 1].
            prob: (B, 1, H, W) float32 in [0, 1], detached from the generator.
            step: number of this step, from 0.

        Returns:
            The discriminator's health as scalars without gradient.
        """
        ...

    def penalty(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> Tensor:
        """Weighted adversarial loss of the generator, a scalar; leaves no gradient in the discriminator."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on; tensors and plain types."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...


class NoAdversary:
    """`--adv off`: the plain baseline."""

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> dict[str, Tensor]:
        return {}

    def penalty(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> Tensor:
        return prob.new_zeros(())

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Adversary:
    """A discriminator that learns beside the generator and tells it where its masks look drawn by a machine.

    Args:
        discriminator: called as (image, click_maps, mask) -> logits.
        loss: what the two players minimise.
        weight: of the adversarial loss beside the segmentation loss, at least 0.
        lr: learning rate of the discriminator's Adam, betas (0, .9).
        warmup: steps before it starts; until then update and penalty do nothing.
        bf16: run the discriminator in bfloat16 autocast.
    """

    def __init__(
        self, discriminator: nn.Module, loss: AdversarialLoss, *, weight: float, lr: float, warmup: int, bf16: bool
    ) -> None:
        self.discriminator = discriminator.train()
        self.loss = loss
        self.weight = weight
        self.warmup = warmup
        self.bf16 = bf16
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr=lr, betas=(0.0, 0.9), fused=True)

    def update(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> dict[str, Tensor]:
        if step < self.warmup:
            return {}
        self.discriminator.requires_grad_(True).train()
        # Real and fake in one forward: spectral norm takes one power iteration, and both see the same weights.
        masks = torch.cat([show(batch.target, batch.valid), show(prob.detach(), batch.valid)])
        real, fake = self._logits(torch.cat([batch.image] * 2), torch.cat([click_maps] * 2), masks).chunk(2)
        loss = self.loss.discriminator(real, fake)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        real, fake = real.detach(), fake.detach()
        return {
            "d/loss": loss.detach(),
            "d/real_accuracy": (real > 0).float().mean(),
            "d/fake_accuracy": (fake < 0).float().mean(),
            "d/real_logit": real.mean(),
            "d/fake_logit": fake.mean(),
        }

    def penalty(self, batch: Batch, click_maps: Tensor, prob: Tensor, step: int) -> Tensor:
        if step < self.warmup:
            return prob.new_zeros(())
        # In eval mode: spectral norm's power iteration belongs to the discriminator's own step.
        self.discriminator.requires_grad_(False).eval()
        fake = self._logits(batch.image, click_maps, show(prob, batch.valid))
        return self.weight * self.loss.generator(fake)

    def _logits(self, image: Tensor, click_maps: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.discriminator(image, click_maps, mask)
        return logits.float()

    def state_dict(self) -> dict[str, Any]:
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])


def show(mask: Tensor, valid: Tensor) -> Tensor:
    """A mask as the discriminator sees it, real or predicted: hard, and empty where pixels do not count.

    A soft mask beside hard truth is told apart by its softness alone, and the generator would learn hardness instead of
    shape. The gradient passes straight through the threshold (Bengio et al. 2013).

    Args:
        mask: (B, 1, H, W) float in [0, 1].
        valid: (B, 1, H, W) float, 0 or 1.
    """
    hard: Tensor = _StraightThrough.apply(mask)
    return hard * valid


class _StraightThrough(torch.autograd.Function):
    # Not hard + prob - prob.detach(): rounding would leave traces of prob on predicted masks only.
    @staticmethod
    def forward(ctx: Any, prob: Tensor) -> Tensor:
        return (prob > 0.5).to(prob.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]
