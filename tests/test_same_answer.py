"""A person who makes the benchmark's clicks gets the benchmark's masks, to the bit, in a session and from the shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from mfpgan import build
from mfpgan.cli import app, main
from mfpgan.cli.predict import predict as predict_command
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.data.lvis import LvisDataSet
from mfpgan.metrics import confusion, iou
from mfpgan.session import ClickSession
from mfpgan.tracking.mlflow_store import Store
from mfpgan.training.checkpoint import load_checkpoint, save_checkpoint
from mfpgan.types import BoolMask, Probability

TINY = ("--data", "sample", "--width", "0.1", "--size", "64", "--batch-size", "2", "--encoder-weights", "none", "--adv", "off",
        "--memory", "modulated", "--clicks", "mixed", "--workers", "0", "--device", "cpu", "--steps", "2", "--set", "val_images=1")  # fmt: skip
CLICKS = 4


@pytest.fixture
def command(store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line, gives what it printed."""
    monkeypatch.delenv("MFPGAN_DATA", raising=False)
    monkeypatch.setitem(app.commands, "predict", predict_command)

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mfpgan", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert not ended.value.code, said.err
        return said.out.strip()

    return run


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
    checkpoint = working_folder / "runs" / run_id / "checkpoints" / "last.pt"
    data = LvisDataSet(SAMPLE_FOLDER / "val.json")
    _with_an_opinion(checkpoint, data[0].image)
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


def _with_an_opinion(checkpoint: Path, image: np.ndarray) -> None:
    """After two steps a network says nearly the same of all pixels; this one says it louder, and differs between them."""
    parts = load_checkpoint(checkpoint)
    generator, _, _ = build.generator_of_checkpoint(checkpoint, torch.device("cpu"))
    planes = torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 255
    with torch.inference_mode():
        logits = generator.eval()(planes, torch.zeros(1, 4, *image.shape[:2]))
    scale = 4 / logits.std()
    weights = dict(parts["generator"])
    weights["head.weight"] = weights["head.weight"] * scale
    weights["head.bias"] = scale * (weights["head.bias"] - logits.quantile(0.9))
    save_checkpoint(checkpoint, {**parts, "generator": weights})
