"""An exported network: the file, and the engine that answers clicks with it where torch is not."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mfpgan import ClickSession, build
from mfpgan.apps.hub import Trained, save_folder
from mfpgan.apps.onnx import numpy_twins as twins
from mfpgan.apps.onnx.engine import OnnxEngine
from mfpgan.apps.onnx.export import export
from mfpgan.apps.onnx.facts import Facts
from mfpgan.cli import app, main
from mfpgan.clicks import modulation
from mfpgan.config import TrainConfig
from mfpgan.crop import crop, paste
from mfpgan.inference import TorchEngine
from mfpgan.types import Click, ClickEncoding, InputError, MemoryName
from mfpgan.zoom import View

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MEMORIES = ("none", "previous", "modulated")


class Flat(nn.Module):
    """Two layers at the picture's size: exported in a fraction of the time that a U-Net takes."""

    def __init__(self, memory: MemoryName) -> None:
        super().__init__()
        self.click_encoding = ClickEncoding(memory=memory)
        self.first = nn.Conv2d(3 + self.click_encoding.channels, 8, 5, padding=2)
        self.head = nn.Conv2d(8, 1, 5, padding=2)

    def forward(self, image: Tensor, guidance: Tensor) -> Tensor:
        logits: Tensor = self.head(self.first(torch.cat([image - 0.5, guidance], 1)).relu())
        return logits


def trained(memory: MemoryName) -> Trained:
    """A network whose answers are far from one half, so that masks are not all of one kind; with modulated memory ours."""
    values = {"width": 0.1, "memory": memory, "clicks": "mixed", "size": 96, "encoder_weights": "none"}
    config = TrainConfig.from_mapping(values, "a test")
    generator: Any = build.generator_of(config)[0]
    if memory != "modulated":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            generator = Flat(memory)
    with torch.no_grad():
        generator.head.weight *= 30
    return Trained(generator.eval(), config, "tiny", "ab" * 16, 7)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file for each kind of memory; ours is exported by the command, from a folder in Hugging Face's layout."""
    folder = tmp_path_factory.mktemp("onnx")
    for memory in ("none", "previous"):
        export(trained(memory), folder / f"{memory}.onnx")  # type: ignore[arg-type]
    save_folder(folder / "tiny", trained("modulated"), "# A card\n")
    path, printed = folder / "modulated.onnx", StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr("sys.argv", ["mfpgan", "export", "--run-id", str(folder / "tiny"), "--onnx", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code, printed.getvalue()) == (0, f"{path}\n")
    return {memory: folder / f"{memory}.onnx" for memory in MEMORIES}


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_file_says_what_it_is_and_its_sides_are_free(files: dict[str, Path], memory: str) -> None:
    session = onnxruntime.InferenceSession(files[memory], providers=["CPUExecutionProvider"])
    names = ["image", "clicks", "previous", "has_previous", "modulated"]
    count = {"none": 2, "previous": 4, "modulated": 5}[memory]
    assert [one.name for one in session.get_inputs()] == names[:count]
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert session.get_outputs()[0].shape == ["batch", 1, "height", "width"]
    facts = Facts.from_metadata(session.get_modelmeta().custom_metadata_map, "file")
    assert (facts.run_id, facts.step, facts.size, facts.memory) == ("ab" * 16, 7, 96, memory)
    assert facts.name == "tiny"
    assert "MIT" in facts.licence


def test_without_a_previous_answer_what_stands_there_is_not_looked_at(files: dict[str, Path]) -> None:
    session = onnxruntime.InferenceSession(files["modulated"], providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    fed = {
        "image": rng.random((2, 3, 50, 70), np.float32),
        "clicks": rng.random((2, 2, 50, 70), np.float32),
        "previous": rng.random((2, 1, 50, 70), np.float32),
        "has_previous": np.array([0, 1], np.float32),
        "modulated": rng.random((2, 1, 50, 70), np.float32),
    }
    before = session.run(None, fed)[0]
    fed["previous"] = np.full((2, 1, 50, 70), np.nan, np.float32)
    after = session.run(None, fed)[0]
    assert np.array_equal(after[0], before[0])
    assert np.isnan(after[1]).any()


@pytest.mark.parametrize("zoom", [True, False])
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_session_of_the_file_answers_as_one_of_torch(files: dict[str, Path], memory: str, zoom: bool) -> None:
    model = trained(memory)
    of_torch = ClickSession(TorchEngine(model.generator, "cpu", "fp32", zoom, 96))
    of_file = ClickSession.load(files[memory], zoom=zoom)
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (150, 260, 3), np.uint8)
    clicks = [(75, 130, True), (10, 12, False), (80, 40, True), (75, 130, False), (80, 40, False), (20, 200, True)]
    for begin in [False, True] if memory != "none" else [False]:
        start = np.zeros((150, 260), np.bool_)
        start[40:100, 60:150] = True
        for session in (of_torch, of_file):
            session.set_image(image, start if begin else None)
        answers = []
        for y, x, positive in clicks:
            ours, theirs = of_file.click(y, x, positive), of_torch.click(y, x, positive)
            assert ours.dtype == np.float32
            assert np.abs(ours - theirs).max() < 1e-4, (begin, y, x)
            answers.append(ours)
        assert len({answer.tobytes() for answer in answers}) > 3, "the answers differ from click to click"
        assert np.array_equal(of_file.undo(), answers[-2])
        assert np.array_equal(of_file.mask, answers[-2] > 0.5)


def test_it_works_where_torch_cannot_be_imported(files: dict[str, Path]) -> None:
    program = f"""
import sys
for name in ("torch", "torchvision", "scipy", "cv2", "mlflow", "pydantic", "albumentations", "onnx", "safetensors"):
    sys.modules[name] = None                                  # importing it raises
import numpy as np
from mfpgan import ClickSession
session = ClickSession.load({str(files["modulated"])!r})
session.set_image(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8))
session.click(150, 100)
session.click(20, 20, positive=False)
print(session.probability.shape, len(session.clicks))
try:
    ClickSession.load("small")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = "small: this model needs torch, which is not installed; install mfpgan with its dependencies, or use an .onnx file."
    assert (done.stdout.splitlines(), done.returncode) == (["(300, 200) 2", said], 0), done.stderr


def test_what_an_exported_file_does_not_have_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="one set of weights; leave --weights out"):
        ClickSession.load(files["none"], weights="ema")
    with pytest.raises(InputError, match="computed on the CPU, got --device cuda"):
        ClickSession.load(files["none"], device="cuda")


def test_a_file_that_answers_otherwise_is_not_written(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        """What torch's exporter would return if it took the weights of another network."""

        model_proto = onnx.load(files["none"])

    other = trained("none")
    with torch.no_grad():
        other.generator.head.bias += 0.01
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: Wrong)
    with pytest.raises(InputError, match=r"otherwise than torch \(by 2\..e-03, .* nothing was written"):
        export(other, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_networks_of_ours(tmp_path: Path, files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"there is no such file, expected one that `mfpgan export` made"):
        OnnxEngine(tmp_path / "missing.onnx")
    whole = files["none"].read_bytes()
    for name, data in (("empty", b""), ("half", whole[: len(whole) // 2]), ("text", b"hello")):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"\.onnx: (not readable as an ONNX file|it is no model)"):
            OnnxEngine(path)
    model = onnx.load(files["none"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"it is no model of mfpgan .*`mfpgan export`"):
        OnnxEngine(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("name", "value"), [("memory", "all"), ("size", "0"), ("size", "x"), ("click_radius", "nan"), ("click_shape", "")]
)
def test_metadata_that_nobody_wrote(name: str, value: str) -> None:
    facts = Facts("n", "", 0, "1", "none", "disk", 5.0, 96, 0.5, "")
    assert Facts.from_metadata(facts.to_metadata(), "m") == facts
    with pytest.raises(InputError, match=r"^m: .*\.$"):
        Facts.from_metadata(facts.to_metadata() | {f"mfpgan.{name}": value}, "m")


def test_a_mask_to_begin_with_needs_memory(files: dict[str, Path]) -> None:
    session = ClickSession.load(files["none"])
    with pytest.raises(InputError, match="no memory"):
        session.set_image(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.bool_))


views = st.tuples(*[st.integers(0, 60), st.integers(1, 90)] * 2).map(
    lambda four: View(four[0], four[2], four[0] + four[1], four[2] + four[3])
)


@settings(max_examples=150, deadline=None)
@given(view=views, size=st.integers(1, 120), seed=st.integers(0, 99))
def test_crop_and_paste_are_twins_of_those_of_torch(view: View, size: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (150, 150, 3), np.uint8)
    wanted = crop(torch.from_numpy(pixels).permute(2, 0, 1)[None], view, size)[0].permute(1, 2, 0).numpy()
    found = twins.crop(pixels, view, size)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    small = np.ascontiguousarray(found[:, :, 0])
    back = paste(torch.from_numpy(small)[None, None], view, 150, 150)[0, 0].numpy()
    np.testing.assert_allclose(twins.paste(small, view, 150, 150), back, atol=2e-5)


def test_the_constants_of_the_modulation_are_one() -> None:
    names = ("MAX_RADIUS_PX", "SIMILARITY_CLICKS", "SURE")
    assert [getattr(twins, name) for name in names] == [getattr(modulation, name) for name in names]
    assert (twins.LOWEST, twins.HIGHEST) == (modulation._LOWEST, modulation._HIGHEST)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 999),
    clicks=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 59), st.booleans()), max_size=10),
    kind=st.sampled_from(["soft", "sure", "flat", "zero"]),
)
def test_modulation_is_a_twin_of_that_of_torch(seed: int, clicks: list[tuple[int, int, bool]], kind: str) -> None:
    noise = np.random.default_rng(seed).random((40, 60), np.float32)
    previous = {
        "soft": noise,
        "sure": np.where(noise > 0.5, np.float32(1), np.float32(0)),
        "flat": np.full_like(noise, 0.25),
        "zero": np.zeros_like(noise),
    }[kind]
    made = [Click(*one) for one in clicks]
    wanted = modulation.modulate(torch.from_numpy(previous)[None, None], [made])[0, 0].numpy()
    np.testing.assert_allclose(twins.modulate(previous, made), wanted, atol=2e-6)


def test_a_folder_to_write_to_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", "--run-id", "nothing", "--onnx", str(tmp_path)])
    assert done.exit_code == 2
    assert "is a directory" in done.output
    assert "nothing" not in done.output
