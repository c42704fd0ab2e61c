"""Skipped images are named once each, and too many end the run with the names of the last."""

from __future__ import annotations

import pytest
import torch

from mfpgan.training.skips import Skips
from mfpgan.types import Batch, InputError, Skipped


def batch(*images: int) -> Batch:
    one = torch.zeros(1, 1, 2, 2)
    skipped = tuple(Skipped(image, f"{image}.jpg: damaged.") for image in images)
    return Batch(("a",), torch.zeros(1, 3, 2, 2), one, one, skipped=skipped)


def test_each_image_is_named_once() -> None:
    skips = Skips(300)
    assert skips.look(batch(7, 7, 4)) == ("7.jpg: damaged.", "4.jpg: damaged.")
    assert skips.look(batch(4, 9)) == ("9.jpg: damaged.",)
    assert skips.look(batch(9)) == ()
    assert (skips.count, skips.state_dict()) == (3, [4, 7, 9])


def test_all_that_a_step_adds_are_named_when_it_stops() -> None:
    skips = Skips(300)
    skips.look(batch(1, 2))
    with pytest.raises(InputError, match=r"^4 of 300 .*The last: 3\.jpg: damaged\. 4\.jpg: damaged\.$"):
        skips.look(batch(2, 3, 4))
    with pytest.raises(InputError, match=r"The last: 0\.jpg: .* 4\.jpg: damaged\. And 8 more\.$"):
        Skips(300).look(batch(*range(13)))


def test_a_run_that_stopped_because_of_them_counts_anew() -> None:
    for skipped, kept in (([1, 2, 3], 3), ([1, 2, 3, 4], 0)):
        skips = Skips(300)
        skips.load_state_dict(skipped)
        assert skips.count == kept
