"""Where the discriminator of a run dislikes a mask."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mfpgan import build
from mfpgan.clicks.guidance import click_maps
from mfpgan.config import TrainConfig
from mfpgan.crop import crop, in_unit_range, paste
from mfpgan.diagnosis.findings import patch_logits
from mfpgan.session import ClickSession
from mfpgan.training.adversary import Adversary
from mfpgan.types import Batch, InputError
from mfpgan.zoom import View, clicks_in, next_view


class Critic(NamedTuple):
    """The discriminator of a run, and how the run was trained."""

    adversary: Adversary
    config: TrainConfig

    @classmethod
    def load(cls, folder: Path) -> Critic:
        """On the CPU, from the folder of a run.

        Raises:
            InputError: it has none, or its checkpoint is of no use.
        """
        return cls(build.load_adversary(folder, torch.device("cpu")), build.config_of(folder))


class Heat(NamedTuple):
    """What a discriminator says round every pixel."""

    level: NDArray[np.uint8]
    """(H, W), 255 where it dislikes the mask most, 0 where least, and where it did not look."""
    low: float
    """The logit at 255: "made by a machine"."""
    high: float
    """The logit at 0: "drawn"."""


def heat(session: ClickSession, critic: Critic) -> Heat:
    """The discriminator's answer to the present mask of the selected object.

    It is shown the part of the photo round mask and positive clicks that the network would look at next, at the size that both
    were trained at; without a mask the whole photo.

    Raises:
        InputError: that part is too narrow for it.
    """
    adversary, size_px = critic.adversary, critic.config.size
    height, width = session.image.shape[:2]
    probability = session.probability
    view = next_view(probability, session.clicks, None, 0) or View(0, 0, height, width)
    planes = torch.from_numpy(np.ascontiguousarray(session.image.transpose(2, 0, 1))[None])
    image = in_unit_range(crop(planes, view, size_px))
    mask = crop(torch.from_numpy(probability)[None, None], view, size_px)
    rows, columns = mask.shape[-2:]
    least = 32 * 2 ** (len(adversary.discriminator.scales) - 1)
    if min(rows, columns) < least:
        raise InputError(
            f"the discriminator judges pictures of at least {least} pixels a side and would be shown {columns}x{rows}; "
            "open a photo that is less narrow."
        )
    encoding = build.click_encoding(critic.config)
    maps = click_maps([clicks_in(session.clicks, view, size_px)], rows, columns, encoding.shape, encoding.radius)
    logits = patch_logits(adversary, Batch(("",), image, mask, torch.ones_like(mask)), maps, mask)
    low, high = (float(end) for end in np.quantile(logits.numpy(), [0.01, 0.99]))
    levels = ((high - logits) / max(high - low, 1e-6)).clamp(0, 1)
    whole = paste(levels, view, height, width)[0, 0]
    return Heat(np.rint(whole.numpy() * 255).astype(np.uint8), low, high)
