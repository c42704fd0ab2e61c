"""The diagnosis of a discriminator: measures by hand, the page, and the command on small runs."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from test_adversary import USUAL
from torch import Tensor, nn

from mfpgan.cli import main
from mfpgan.diagnosis.findings import KINDS, WRONG, diagnose, patch_logits
from mfpgan.diagnosis.measure import planted, right_way, wish
from mfpgan.diagnosis.planted import PLANTED
from mfpgan.figures.diagnosis import Answers, Look, diagnosis_page
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.discriminator import Judgement, MFPDiscriminator
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.training.adversary import Adversary
from mfpgan.types import Batch


class Likes(Adversary):
    """An adversary whose only logit, and only inner answer, is the mask's mean times `taste`."""

    def __init__(self, taste: float, loss: str = "hinge", **rules: Any) -> None:
        self.taste = taste
        self.loss = ADVERSARIAL[loss]
        self.rules = replace(USUAL, **rules)

    def judge(self, batch: Batch, click_maps: Tensor, mask: Tensor) -> Judgement:
        answer = self.taste * mask.mean((2, 3), keepdim=True)
        return Judgement([answer], [answer])


class Disks(nn.Module):
    """A generator that answers the disks of the positive clicks."""

    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        return 10 * guidance[:, :1] - 5


def squares(count: int, size: int = 96) -> Batch:
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(count, 1, size, size)
    target[:, :, 30:66, 30:66] = 1
    image = torch.rand(count, 3, size, size, generator=generator)
    return Batch(tuple(map(str, range(count))), image, target, torch.ones_like(target))


MAPS = torch.zeros(2, 2, 96, 96)


def grid(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 2, 2)


def test_right_way_by_hand() -> None:
    """Object above, mask on the left: top right is missed, bottom left too much."""
    target, mask, valid = grid(1, 1, 0, 0), grid(0.9, 0.1, 0.9, 0.1), grid(1, 1, 1, 1)
    assert right_way(grid(0, 1, -1, 0), mask, target, valid) == [1.0]
    assert right_way(grid(0, -1, 1, 0), mask, target, valid) == [0.0]
    assert right_way(grid(0, 1, 1, 0), mask, target, valid) == [0.5]
    assert right_way(grid(-1, 5, 0, 1), mask, target, valid) == [0.75], "right, and no push: half"
    assert right_way(grid(0, 1, 1, 0), mask, target, grid(1, 1, 0, 1)) == [1.0], "what does not count is left out"
    assert right_way(grid(1, 1, 1, 1), target, target, valid) == [], "nothing is wrong"


@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_who_likes_bright_masks_wishes_for_more_everywhere(loss: str) -> None:
    batch = squares(2)
    # Least squares wants a logit of 1, and the mean of a mask stays below that.
    for taste in (1.0, -1.0):
        pushed = wish(Likes(taste, loss), batch, MAPS, batch.target * 0.8)
        assert pushed.shape == batch.target.shape
        assert (torch.sign(pushed) == taste).all()


def test_the_wish_is_all_that_the_generator_minimises() -> None:
    batch = squares(2)
    # It likes masks, so the logit pulls up; the drawn masks are smaller than these, so matching pulls down, 5 times as strongly.
    larger = torch.ones_like(batch.target)
    alone, matched = (wish(Likes(1.0, feature_matching=weight), batch, MAPS, larger) for weight in (0.0, 5.0))
    assert torch.allclose(matched, -4 * alone)
    assert (alone > 0).all()


def test_planted_errors_depend_on_the_position_only() -> None:
    whole = squares(4)
    part = Batch(whole.ids[2:], whole.image[2:], whole.target[2:], whole.valid[2:])
    first = planted(whole, PLANTED["holes"], seed=1, position=10)
    assert torch.equal(first[2:], planted(part, PLANTED["holes"], seed=1, position=12))
    assert not torch.equal(first[2:], planted(part, PLANTED["holes"], seed=2, position=12))


def test_a_judge_of_size_rates_holes_below_and_blobs_above() -> None:
    """More mask is more drawn to it: every drawn mask is above every one with holes, and below every one with blobs."""
    done: list[int] = []
    found = diagnose(
        Disks(), Likes(1.0), [squares(3), squares(2)], device=torch.device("cpu"), drawn=(0, 4), progress=done.append
    )  # fmt: skip
    assert done == [3, 5]
    assert tuple(answer.kind for answer in found.answers) == KINDS
    answers = {answer.kind: answer for answer in found.answers}
    assert answers["drawn"].logits == pytest.approx([36 * 36 / 96**2] * 5)
    assert (answers["drawn"].auc, answers["holes"].auc, answers["blobs"].auc) == (None, 1.0, 0.0)
    assert answers["predicted"].auc == answers["predicted"].paired == 1.0, "one disk"
    assert (answers["drawn"].paired, answers["holes"].paired, answers["blobs"].paired) == (None, 1.0, 0.0)
    # It pushes up everywhere: right in a hole, wrong on a blob.
    assert answers["holes"].right_way == (1.0, 1.0, 1.0)
    assert answers["blobs"].right_way == (0.0, 0.0, 0.0)
    assert {answer.kind for answer in found.answers if answer.right_way} == set(WRONG)
    numbers = json.loads(json.dumps(found.numbers()))
    assert numbers["objects"] == ["0", "1", "2", "0", "1"]
    assert numbers["kinds"]["holes"]["auc"] == 1.0
    assert len(found.looks) == 2
    assert found.looks[0].prediction.sum() == 81, "a disk of radius 5"


def test_nothing_to_ask_about() -> None:
    with pytest.raises(ValueError, match="no object"):
        diagnose(Disks(), Likes(1.0), [], device=torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESENTATIONS)
def test_every_presentation_pushes_planted_errors(name: str) -> None:
    """Also `gumbel`, which has no slope at a pixel of exactly 0 or 1: without any push all shares would be .5."""
    presentation = PRESENTATIONS[name]
    torch.manual_seed(0)
    discriminator = MFPDiscriminator(0.1, mask_channels=presentation.channels)
    adversary = Adversary(discriminator, ADVERSARIAL["hinge"], presentation, USUAL, bf16=False)
    found = diagnose(Disks(), adversary, [squares(2)], device=torch.device("cpu"))
    shares = {answer.kind: answer.right_way for answer in found.answers}
    assert shares["holes"] is not None
    assert shares["holes"][0] != 0.5


def test_pairs_are_of_one_photo() -> None:
    """A judge whose logits differ more from photo to photo than from mask to mask."""

    class Bright(Likes):
        def judge(self, batch: Batch, click_maps: Tensor, mask: Tensor) -> Judgement:
            return Judgement([mask.mean((2, 3), keepdim=True) + 1000 * torch.arange(3.0).view(3, 1, 1, 1)], [])

    found = diagnose(Disks(), Bright(1.0), [squares(3)], device=torch.device("cpu"))
    holes = {answer.kind: answer for answer in found.answers}["holes"]
    assert holes.paired == 1.0
    assert holes.auc == pytest.approx(6 / 9)  # of 3 x 3 pairs the 3 of later photos above earlier ones, and the 3 own


@pytest.mark.parametrize("side", [256, 260])
@pytest.mark.parametrize(("scale", "centre", "reach"), [(0, 43.5, 35), (1, 87.5, 70)])
def test_a_logit_stands_in_the_middle_of_its_patch(scale: int, centre: float, reach: int, side: int) -> None:
    """Logit number 4 of a grid, high alone, is brightest at the middle of the 70 or 140 pixels that it sees."""
    torch.manual_seed(0)
    network = MFPDiscriminator(0.1, scales=2, sees=(), spectral=False)
    seen = torch.rand(1, 1, side, side, requires_grad=True)
    both = network(torch.zeros(1, 3, side, side), torch.zeros(1, 2, side, side), seen).logits
    logits = both[scale]
    logits[0, 0, 4, 4].backward()
    assert seen.grad is not None
    touched = np.nonzero(seen.grad[0, 0].numpy())[0]
    assert (touched.min(), touched.max()) == (centre - reach + 0.5, centre + reach - 0.5)

    class OneHigh:
        def judge(self, batch: Batch, click_maps: Tensor, mask: Tensor) -> Judgement:
            grids = [torch.zeros_like(grid) for grid in both]
            grids[scale][0, 0, 4, 4] = 2  # the mean over both scales
            return Judgement(grids, [])

    batch = squares(1, side)
    placed = patch_logits(OneHigh(), batch, MAPS[:1], batch.target)[0, 0]  # type: ignore[arg-type]
    assert placed.shape == (side, side)
    rows, columns = np.nonzero(placed.numpy() > 0.8)
    assert rows.mean() == columns.mean() == pytest.approx(centre)


def test_the_page_has_one_width_and_takes_odd_masks() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    empty, full = np.zeros((60, 60), np.bool_), np.ones((60, 60), np.bool_)
    flat = np.zeros((60, 60), np.float32)
    look = Look(photo, empty, full, flat, flat, "IoU 0.00\nlogit 0.00, drawn 0.00")
    answers = [Answers("drawn", [0.0], None, None, None), Answers("holes", [0.0], 0.5, 0.5, (0.5, 0.4, 0.6))]
    page = diagnosis_page(answers, [look], "title")
    assert page.dtype == np.uint8
    assert page.shape[1:] == (1248, 3)
    longer = diagnosis_page(answers, [look] * 6, "a title of many words " * 12)
    assert longer.shape[1:] == (1248, 3)
    assert len(longer) > len(page), "one line more of the title"
    np.testing.assert_array_equal(page, diagnosis_page(answers, [look], "title"))
    with pytest.raises(ValueError, match="1 to 6 photos, got 2 and 7"):
        diagnosis_page(answers, [look] * 7, "title")
    with pytest.raises(ValueError, match=r"push must be \(60, 60\)"):
        Look(photo, empty, full, flat, flat[1:], "")


TINY = ("--data", "synthetic", "--width", "0.1", "--size", "96", "--batch-size", "2", "--encoder-weights", "none",
        "--device", "cpu", "--workers", "0", "--val-images", "2", "--set", "val_clicks=1")  # fmt: skip


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, str]:
    """Ids of small runs: with an adversary, without, and with one that never woke up."""
    more = {
        "hinge": ("--steps", "4", "--d-mask", "ste"),
        "off": ("--steps", "1", "--adv", "off"),
        "asleep": ("--steps", "2", "--adv-warmup", "9", "--val-data", "none"),
    }
    ids = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MFPGAN_DATA", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, words in more.items():
            patch.setattr(sys, "argv", ["mfpgan", "train", *TINY, *words, "--name", name])
            out = io.StringIO()
            with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0
            ids[name] = out.getvalue().strip()
    return ids


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`mfpgan diagnose` in the folder of the runs."""
    monkeypatch.chdir(folder)
    for name in ("MFPGAN_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["mfpgan", "diagnose", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capfd.readouterr())

    return run


def numbers_of(folder: Path, run_id: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "runs" / run_id / "diagnosis" / "numbers.json").read_text())
    return values


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow uses what SQLAlchemy 2.1 deprecates
def test_page_and_numbers_are_the_same_twice_and_in_mlflow(
    runs: dict[str, str], command: Callable[..., Outcome], folder: Path
) -> None:
    from mlflow import MlflowClient

    result = command("--run-id", runs["hinge"][:8], "--limit", "7")
    assert result.code == 0, result.err
    page = folder / result.out.strip()
    assert page == folder / "runs" / runs["hinge"] / "diagnosis" / "page.png"
    with Pillow.open(page) as picture:
        assert picture.size[0] == 1248
    assert "diagnose 7/7" in result.err
    assert "pushed the right way" in result.err
    values = numbers_of(folder, runs["hinge"])
    assert (values["run_id"], values["step"], values["adv"], values["d_mask"]) == (runs["hinge"], 4, "hinge", "ste")
    assert len(values["objects"]) == 7, "more than the run validated on"
    assert list(values["kinds"]) == list(KINDS)
    assert {len(kind["logits"]) for kind in values["kinds"].values()} == {7}
    before = page.with_name("numbers.json").read_bytes(), page.read_bytes()
    assert command("--run-id", runs["hinge"], "--limit", "7").code == 0
    assert (page.with_name("numbers.json").read_bytes(), page.read_bytes()) == before
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    stored = {Path(item.path).name for item in client.list_artifacts(runs["hinge"], "diagnosis")}
    assert stored == {"page.png", "numbers.json"}


def test_a_discriminator_that_never_trained_gets_a_page_too(
    runs: dict[str, str], command: Callable[..., Outcome], folder: Path
) -> None:
    refused = command("--run-id", runs["asleep"])
    assert (refused.code, refused.out) == (2, "")
    assert "trained with --val-data none and has no validation data of its own; give --data" in refused.err
    result = command("--run-id", runs["asleep"], "--data", "synthetic", "--split", "val", "--limit", "1")
    assert result.code == 0, result.err
    assert "never trained: --adv-warmup 9, saved at step 2" in result.err
    assert (folder / result.out.strip()).is_file()
    assert numbers_of(folder, runs["asleep"])["data"] == "synthetic val"


def test_bad_input_is_one_sentence(runs: dict[str, str], command: Callable[..., Outcome]) -> None:
    cases = [
        (("--run-id", runs["off"]), "was trained with --adv off and has no discriminator"),
        (("--run-id", "0123456789"), "no run begins so"),
        (("--run-id", runs["hinge"], "--data", "nowhere"), "data 'nowhere' does not exist"),
        (("--run-id", runs["hinge"], "--split", "val"), "--split says how to read --data"),
        (("--run-id", runs["hinge"], "--device", "abacus"), "--device abacus: not usable"),
        (("--run-id", runs["hinge"], "--limit", "0"), "--limit"),
    ]
    for words, sentence in cases:
        result = command(*words)
        assert (result.code, result.out) == (2, ""), words
        assert sentence in result.err
        assert "Traceback" not in result.err


def test_data_that_is_gone_is_said(runs: dict[str, str], command: Callable[..., Outcome], folder: Path) -> None:
    lost = folder / "runs" / ("f" * 32)
    shutil.copytree(folder / "runs" / runs["hinge"], lost)
    record = json.loads((lost / "run.json").read_text())
    (lost / "run.json").write_text(json.dumps(record | {"id": lost.name}))
    config = lost / "config.yaml"
    config.write_text(config.read_text().replace("data: synthetic", "data: gone", 1))
    result = command("--run-id", lost.name)
    shutil.rmtree(lost)
    assert (result.code, result.out) == (2, "")
    assert "its own data cannot be used (data 'gone' does not exist" in result.err
    assert result.err.strip().endswith("; give --data.")
