"""`mfpgan predict` as people run it: what it writes, read back by other programs, is what a session answers."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from pycocotools.coco import COCO
from scipy import ndimage

from mfpgan import build
from mfpgan.apps import predict as predicting
from mfpgan.apps.click_file import clicks_on_photo, read_click_file
from mfpgan.apps.formats import overlay
from mfpgan.apps.output import FORMATS, Output
from mfpgan.cli import main
from mfpgan.cli.predict import predict as predict_command
from mfpgan.config import TrainConfig
from mfpgan.data.lvis import LvisDataSet
from mfpgan.inference import TorchEngine
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.types import Click, ClickEncoding, InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
HERE = ("--device", "cpu", "--precision", "fp32")
SIZES = {"a.png": (100, 80), "deep/b.png": (60, 90), "deep/a.png": (100, 80), "c.png": (150, 41), "d.png": (60, 90)}
"""Height and width of the photos."""
ENTRIES: list[dict[str, Any]] = [
    {"image": "a.png", "clicks": [{"x": 40, "y": 50}, {"x": 70, "y": 90, "positive": False}, {"x": 20, "y": 20}]},
    {"image": "deep/b.png", "objects": [
        {"clicks": [{"x": 80, "y": 50}]},
        {"clicks": [{"x": 10, "y": 10}, {"x": 1, "y": 2, "positive": False}], "mask": "start.png"},
        {"clicks": [{"x": 5, "y": 55, "positive": False}]},
    ]},
    {"image": "deep/a.png", "clicks": [{"x": 79, "y": 99, "positive": True}], "mask": "whole.png"},
    {"image": "c.png", "clicks": [{"x": 40, "y": 0}, {"x": 20, "y": 75}]},
    {"image": "d.png", "objects": [{"clicks": [{"x": 30, "y": 30}]}, {"clicks": [{"x": 60, "y": 30}]}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, masks to begin with, a file of clicks, and a network that does not say the same of all pixels."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    (folder / "deep").mkdir()
    for name, (height, width) in SIZES.items():
        noise = ndimage.gaussian_filter(rng.random((height, width, 3)), (5, 5, 0))
        pixels = 255 * (noise - noise.min()) / (noise.max() - noise.min())
        PillowImage.fromarray(pixels.astype(np.uint8)).save(folder / name)
    start = np.zeros((60, 90), np.uint8)
    start[5:20, 5:30] = 255
    PillowImage.fromarray(start).save(folder / "start.png")
    PillowImage.fromarray(np.full((100, 80), 3, np.uint8)).save(folder / "whole.png")
    (folder / "clicks.json").write_text(json.dumps(ENTRIES))
    config = TrainConfig(
        data="synthetic", size=64, width=0.1, encoder_weights="none", memory="modulated", clicks="mixed", adv="off"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = build.generator_of(config)[0].eval()
    pixels = torch.from_numpy(np.asarray(PillowImage.open(folder / "a.png")).copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        logits = generator(pixels, torch.zeros(1, 4, 100, 80))
        generator.head.weight *= 4 / logits.std()
        generator.head.bias.copy_(-generator(pixels, torch.zeros(1, 4, 100, 80)).median())
    save_checkpoint(folder / "kept.pt", {"step": 3, "config": config.to_yaml(), "generator": generator.state_dict()})
    return folder


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(folder)

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["mfpgan", "predict", "--run-id", "kept.pt", *HERE, *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, ClickSession]:
    """What a person who makes the same clicks gets."""
    session = ClickSession.load(folder / "kept.pt", device="cpu", precision="fp32")
    found = {}
    for entry in ENTRIES:
        session = session.another()
        for number, one in enumerate(entry.get("objects", [entry])):
            mask = read(folder / one["mask"]) > 0 if "mask" in one else None
            if number == 0:
                session.set_image(folder / entry["image"], mask)
            else:
                session.new_object(mask)
            for click in one["clicks"]:
                session.click(**click)
        found[entry["image"]] = session
    shares = [session.masks[0].mean() for session in found.values()]
    assert sum(0.02 < share < 0.98 for share in shares) >= 4, "masks that are worth comparing"
    return found


def read(path: Path) -> np.ndarray:
    with PillowImage.open(path) as picture:
        return np.asarray(picture)


def undecided(session: ClickSession) -> list[np.ndarray]:
    """For each object where its probability is so near to .5 that the order of sums may decide: in a batch it is another one."""
    found = []
    for number in range(1, session.objects + 1):
        session.select(number)
        found.append(abs(session.probability - 0.5) < 1e-4)
        assert found[-1].mean() < 0.01
    return found


def test_clicks_on_a_photo_give_the_mask_of_a_session(
    command: Command, answers: dict[str, ClickSession], tmp_path: Path
) -> None:
    out, seen = tmp_path / "mask.png", tmp_path / "seen.png"
    clicks = ("--click", "40,50,+", "--click", "70,90,-", "--click", "20,20,+")
    result = command("a.png", *clicks, "--out", out, "--overlay", seen)
    assert (result.code, result.out) == (0, f"{out}\n")
    assert result.err.startswith("3 clicks on 1 photo with kept.pt: ")
    assert result.err.endswith(" ms a click.\n")
    session = answers["a.png"]
    assert (read(out) == session.mask * 255).all()
    assert (read(seen) == overlay(session.image, session.label_map, session.clicks)).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png", "seen.png"]


def test_a_mask_to_begin_with(command: Command, answers: dict[str, ClickSession], tmp_path: Path) -> None:
    command("deep/a.png", "--click", "79,99,+", "--mask", "whole.png", "--out", tmp_path / "new")
    assert (read(tmp_path / "new" / "a.png") == answers["deep/a.png"].mask * 255).all()


def test_without_zoom_the_network_sees_the_whole_photo(command: Command, folder: Path, tmp_path: Path) -> None:
    session = ClickSession.load(folder / "kept.pt", device="cpu", precision="fp32", zoom=False)
    session.set_image(folder / "c.png")
    session.click(y=75, x=20)
    command("c.png", "--click", "20,75,+", "--no-zoom", "--out", tmp_path / "mask.png")
    assert (read(tmp_path / "mask.png") == session.mask * 255).all()


def test_pictures_of_many_photos_lie_in_a_folder_as_the_photos_do(
    command: Command, answers: dict[str, ClickSession], tmp_path: Path
) -> None:
    result = command("--clicks", "clicks.json", "--out", tmp_path / "mask", "--overlay", tmp_path / "seen")
    assert (result.code, result.out) == (0, f"{tmp_path / 'mask'}\n")
    assert "12 clicks on 5 photos with kept.pt: " in result.err
    assert "predict 5/5" in result.err
    command("--clicks", "clicks.json", "--out", tmp_path / "labels", "--format", "labels")
    for entry, (name, session) in zip(ENTRIES, answers.items(), strict=True):
        labels = read(tmp_path / "labels" / name)
        unlike = labels != session.label_map
        assert not (unlike & ~np.any(undecided(session), axis=0)).any(), name
        assert (read(tmp_path / "mask" / name) == (labels > 0) * 255).all()
        clicks = [
            Click(click["y"], click["x"], click.get("positive", True))
            for one in entry.get("objects", [entry])
            for click in one["clicks"]
        ]
        assert (read(tmp_path / "seen" / name) == overlay(session.image, labels, clicks)).all(), name
    for folder in ("mask", "labels", "seen"):
        assert len([path for path in (tmp_path / folder).rglob("*") if path.is_file()]) == len(SIZES)


def opened(path: Path) -> dict[tuple[str, int], np.ndarray]:
    """What pycocotools reads: the masks by photo and object."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert [image["file_name"] for image in coco.loadImgs(sorted(coco.imgs))] == list(SIZES)
    found = {}
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        mask = coco.annToMask(annotation).astype(np.bool_)
        assert mask.shape == (image["height"], image["width"]) == SIZES[image["file_name"]]
        found[image["file_name"], annotation["object"]] = mask
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1] if mask.any() else [0] * 4
        assert annotation["bbox"] == box
    return found


def test_pycocotools_reads_the_masks_of_many_photos_from_one_file(
    command: Command, answers: dict[str, ClickSession], tmp_path: Path
) -> None:
    said = command("--clicks", "clicks.json", "--out", tmp_path / "rle.json")
    assert (said.code, said.out) == (0, f"{tmp_path / 'rle.json'}\n")
    assert "entry 2, 'deep/b.png': 1 of 3 masks have no pixel.\n" in said.err, "one has but a negative click"
    runs = opened(tmp_path / "rle.json")
    assert runs.keys() == {(name, number + 1) for name in answers for number in range(answers[name].objects)}
    for name, session in answers.items():
        for number, (mask, near) in enumerate(zip(session.masks, undecided(session), strict=True), 1):
            assert not ((runs[name, number] != mask) & ~near).any(), name
    said = command("--clicks", "clicks.json", "--out", tmp_path / "polygons.json", "--format", "polygons")
    assert "left out" in said.err
    outlines = opened(tmp_path / "polygons.json")
    for key, mask in runs.items():
        if not mask.any():
            assert key not in outlines
            continue
        background, _ = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))
        assert (outlines[key] == (background != background[0, 0])[1:-1, 1:-1]).all(), "holes are filled"


def test_mfpgan_reads_the_file_as_data(command: Command, folder: Path, tmp_path: Path) -> None:
    command("--clicks", "clicks.json", "--out", tmp_path / "masks.json")
    data = LvisDataSet(tmp_path / "masks.json", images=folder)
    masks = [mask for mask in opened(tmp_path / "masks.json").values() if mask.any()]
    assert len(data) == len(masks) == 7
    for index, mask in enumerate(masks):
        assert (data[index].target == mask).all()


class Noted(TorchEngine):
    """Remembers the size of its batches and its last answers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batches: list[int] = []
        self.last: dict[tuple[Click, ...], Any] = {}

    def answer(self, states: Any, clicks: Any) -> Any:
        self.batches.append(len(states))
        result = super().answer(states, clicks)
        self.last |= {state.clicks: state for state in result}
        return result


def test_photos_in_a_batch_are_answered_as_if_alone(folder: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = MFPResNetUNet(0.1, ClickEncoding(memory="modulated"))
    photos = read_click_file(folder / "clicks.json")
    found = []
    for most in (1, predicting.BATCH_PIXELS):
        engine = Noted(generator, zoom=True, zoom_px=64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predicting, "BATCH_PIXELS", most)
            answered = predicting.predict(engine, Output(photos, tmp_path / str(most)), lambda text: None)
        assert (answered.photos, answered.clicks) == (5, 12)
        found.append(engine)
    alone, together = found
    assert alone.batches == [1] * 12
    assert together.batches == [8, 3, 1], "eight objects; three have a second click, and one a third"
    assert alone.last.keys() == together.last.keys()
    for clicks, state in alone.last.items():
        np.testing.assert_allclose(together.last[clicks].probability, state.probability, atol=1e-5)


def test_a_photo_that_cannot_be_answered_does_not_stop_the_others(
    command: Command, answers: dict[str, ClickSession], folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes((folder / "c.png").read_bytes()[:3000])
    PillowImage.new("RGB", (50, 40)).save(tmp_path / "plain.png")
    PillowImage.new("RGB", (50, 40)).save(tmp_path / "other.png")
    fine = {"clicks": [{"x": 1, "y": 1}]}
    entries = [
        {**ENTRIES[0], "image": str(folder / "a.png")},
        {"image": "broken.png", **fine},
        {"image": "plain.png", "objects": [fine, {"clicks": [{"x": 49, "y": 39}, {"x": 49, "y": 40}]}]},
        {"image": "other.png", "objects": [fine, {"mask": str(folder / "start.png"), **fine}]},
        {**ENTRIES[3], "image": str(folder / "c.png")},
    ]
    (tmp_path / "clicks.json").write_text(json.dumps(entries))
    result = command("--clicks", tmp_path / "clicks.json", "--out", tmp_path / "out", "--overlay", tmp_path / "seen")
    assert (result.code, result.out) == (1, f"{tmp_path / 'out'}\n")
    sentences = [line for line in result.err.splitlines() if "clicks.json: entry" in line]
    for sentence, words in zip(sentences, [
        "entry 2, 'broken.png': not readable as a picture",
        "entry 3, 'plain.png': the click at x=49, y=40 lies outside the photo of 50x40 pixels; x comes first and goes from 0 at the left to 49",
        "entry 4, 'other.png': the mask " + str(folder / "start.png") + " is 90x60 pixels, but the photo is 50x40",
    ], strict=True):  # fmt: skip
        assert words in sentence
    assert "3 of 5 photos could not be answered, see above; the others are whole." in result.err
    for name in ("out", "seen"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a.png", "c.png"]
    for name in ("a.png", "c.png"):
        unlike = read(tmp_path / "out" / name) != answers[name].mask * 255
        assert not (unlike & ~undecided(answers[name])[0]).any()
    result = command("--clicks", tmp_path / "clicks.json", "--out", tmp_path / "out.json")
    assert result.code == 1
    content = json.loads((tmp_path / "out.json").read_text())
    assert [Path(image["file_name"]).name for image in content["images"]] == ["a.png", "c.png"]
    (tmp_path / "clicks.json").write_text(json.dumps(entries[1:4]))
    result = command("--clicks", tmp_path / "clicks.json", "--out", tmp_path / "none.json")
    assert (result.code, result.out) == (2, "")
    assert result.err.endswith("mfpgan: none of the 3 photos could be answered.\n")
    assert not (tmp_path / "none.json").exists()


PLUS = ("--click", "4,5,+")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "there is no photo; name one, or a file of photos and clicks as --clicks."),
        (("a.png",), "a.png: there is no click; give one as --click X,Y,+"),
        (("a.png", *PLUS, "--clicks", "clicks.json"), "--clicks names photos, clicks and masks of its own"),
        (("a.png", "--click", "80,5,+"), "a.png: the click at x=80, y=5 lies outside the photo of 80x100 pixels; x comes first"),
        (("a.png", "--click", "5,100,-"), "x=5, y=100 lies outside the photo of 80x100 pixels"),
        (("a.png", "--click", "5,6"), "--click '5,6': expected X,Y,SIGN"),
        (("a.png", "--click", "-5,6,+"), "--click '-5,6,+': expected X,Y,SIGN"),
        (("a.png", "--click", "5.5,6,+"), "--click '5.5,6,+': expected X,Y,SIGN"),
        (("a.png", "--click", f"{'9' * 5000},6,+"), "expected X,Y,SIGN"),
        (("nowhere.png", *PLUS), "nowhere.png: no such file"),
        (("kept.pt", *PLUS), "kept.pt: not readable as a picture"),
        (("a.png", *PLUS, "--mask", "nowhere.png"), "nowhere.png: no such file"),
        (("a.png", *PLUS, "--mask", "start.png"), "a.png: the mask start.png is 90x60 pixels, but the photo is 80x100"),
        (("a.png", *PLUS, "--mask", "c.png"), "c.png: the mask is in colour"),
        (("a.png", *PLUS, "--out", "new.jpg"), "--out new.jpg: pictures are written as .png"),
        (("a.png", *PLUS, "--out", "new.png", "--overlay", "seen.jpg"), "--overlay seen.jpg: pictures are written as .png"),
        (("a.png", *PLUS, "--out", "new.png", "--format", "rle"), "--out new.png: format rle is one file for all photos"),
        (("a.png", *PLUS, "--out", "new.json", "--format", "labels"), "--out new.json: pictures are written as .png"),
        (("a.png", *PLUS, "--out", "a.png"), "a.png: this is read, and would be written onto"),
        (("a.png", *PLUS, "--out", "."), "a.png: this is read, and would be written onto"),
        (("deep/a.png", *PLUS, "--out", "new", "--overlay", "deep"), "deep/a.png: this is read, and would be written onto"),
        (("a.png", *PLUS, "--out", "start.png", "--mask", "start.png"), "start.png: this is read"),
        (("a.png", *PLUS, "--out", "new.png", "--overlay", "new.png"), "new.png: two pictures would have this name"),
        (("--clicks", "clicks.json", "--out", "new.png"), "--out new.png: there are 5 photos, expected a folder"),
        (("--clicks", "clicks.json", "--out", "new.json", "--overlay", "new.png"), "--overlay new.png: there are 5 photos"),
        (("--clicks", "clicks.json", "--out", "clicks.json"), "clicks.json: this is read"),
        (("--clicks", "nowhere.json"), "nowhere.json: there is no such file"),
        (("--clicks", "deep"), "deep: not readable as JSON (Is a directory)"),
        (("--clicks", "a.png"), "a.png: not readable as JSON"),
        (("a.png", *PLUS, "--weights", "best"), "kept.pt: a checkpoint is either the last or the best"),
        (("a.png", *PLUS, "--run-id", "nothing"), "nothing: there is no such model"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_no_file(
    words: tuple[str, ...], sentence: str, command: Command, folder: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    result = command(*(() if "--out" in words else ("--out", "new")), *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("mfpgan: ")
    assert sentence in result.err
    assert result.err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_link_to_a_photo_is_not_written_onto(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(folder / "a.png")
    with pytest.raises(InputError, match=r"link\.png: this is read"):
        Output([clicks_on_photo(folder / "a.png", ["1,2,+"], None)], tmp_path / "link.png")


def test_every_format_has_a_line_of_help() -> None:
    option = next(option for option in predict_command.params if option.name == "kind")
    assert all(f"{name}: {text}" in str(option.help) for name, text in FORMATS.items())  # type: ignore[attr-defined]
