"""A person who makes the benchmark's clicks gets the benchmark's masks, to the bit, in a session and from the shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from mfpgan.cli import main
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.data.lvis import LvisDataSet
from mfpgan.metrics import confusion, iou
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.tracking.mlflow_store import Store
from mfpgan.types import BoolMask, Probability

TINY = ("--data", "sample", "--width", "0.1", "--size", "64", "--batch-size", "2", "--encoder-weights", "none", "--adv", "off",
        "--memory", "modulated", "--clicks", "mixed", "--workers", "0", "--device", "cpu", "--steps", "2", "--set", "val_images=1")  # fmt: skip
CLICKS = 4


@pytest.fixture
def command(store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line, gives what it printed."""
    monkeypatch.delenv("MFPGAN_DATA", raising=False)

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mfpgan", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert not ended.value.code, said.err
        return said.out.strip()

    return run


_untrained = MFPResNetUNet.forward


def _marks_what_is_near(self: MFPResNetUNet, image: Tensor, guidance: Tensor) -> Tensor:
    """After two steps a network says nearly the same of all pixels; this one has learnt what a click is."""
    logits = _untrained(self, image, guidance)
    clicks = functional.avg_pool2d(guidance[:, :1] - guidance[:, 1:2], 7, 1, 3)
    return 20 * (logits - logits.mean()) + 8 * clicks - 4


class Recording(ClickSession):
    """Keeps every mask that the benchmark judges."""

    masks_judged: list[BoolMask]

    def click(self, y: int, x: int, positive: bool = True) -> Probability:
        answer = super().click(y, x, positive)
        self.masks_judged.append(answer > 0.5)
        return answer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow uses what SQLAlchemy 2.1 deprecates
def test_sessions_and_predict_give_the_masks_that_the_benchmark_judged(
    command: Callable[..., str], working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = command("train", *TINY)
    data = LvisDataSet(SAMPLE_FOLDER / "val.json")
    monkeypatch.setattr(MFPResNetUNet, "forward", _marks_what_is_near)
    monkeypatch.setattr("mfpgan.jobs.evaluation.ClickSession", Recording)
    monkeypatch.setattr(Recording, "masks_judged", [], raising=False)
    words = ("--data", "sample", "--protocol", "interactive", "--limit", 2, "--max-clicks", CLICKS, "--device", "cpu")
    report = json.loads(command("eval", "--run-id", run_id, *words, "--zoom", "--batch-size", 1, "--json"))
    judged = iter(Recording.masks_judged)
    rows = report["interactive"]["rows"]
    names = {
        image["id"]: image["file_name"] for image in json.loads((SAMPLE_FOLDER / "val.json").read_text())["images"]
    }
    session = ClickSession.load(run_id, device="cpu")
    shares, views = [], set()
    for number, row in enumerate(rows):
        sample = data[number]
        assert row["id"] == sample.id
        assert len(row["clicks"]) == CLICKS
        photo = SAMPLE_FOLDER / names[int(sample.id.split("/")[0])]
        session.set_image(photo)
        for (y, x, positive), score in zip(row["clicks"], row["iou"], strict=True):
            session.click(y, x, positive)
            mask = next(judged)
            assert (session.mask == mask).all()
            assert iou(confusion(session.mask, sample.target, sample.ignore)) == score
            shares.append(mask.mean())
            views.add(session._object().state.view)
        if number % 3 == 0:
            clicks = [f"--click={x},{y},{'+' if positive else '-'}" for y, x, positive in row["clicks"]]
            command("predict", "--run-id", run_id, photo, *clicks, "--out", "mask.png", "--device", "cpu")
            with PillowImage.open("mask.png") as picture:
                assert (np.asarray(picture) == mask * 255).all()
    assert next(judged, None) is None
    assert len(rows) >= 4
    assert np.mean([0.005 < share < 0.995 for share in shares]) > 0.5, "masks that are worth comparing"
    assert len(views) > len(rows), "and looked at closely"
