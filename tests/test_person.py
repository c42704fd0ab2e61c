"""What a person does in a session beyond clicking: objects, redo, a mask to begin with, photos of any kind and size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from test_session import RGB, Look, Paint, Remember

from mfpgan import build
from mfpgan.config import TrainConfig
from mfpgan.crop import crop
from mfpgan.devices import place
from mfpgan.inference import TorchEngine
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.photos import upright_photo
from mfpgan.session import ClickSession
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.types import Click, InputError
from mfpgan.zoom import SHRUNK, View, averaging, next_view


@pytest.fixture
def session():
    session = ClickSession(Paint())
    session.set_image(RGB)
    return session


def test_redo_brings_back_what_undo_took(session):
    assert (session.can_undo, session.can_redo) == (False, False)
    first, second = session.click(4, 4), session.click(10, 20)
    np.testing.assert_array_equal(session.undo(), first)
    assert (session.can_undo, session.can_redo) == (True, True)
    np.testing.assert_array_equal(session.redo(), second)
    np.testing.assert_array_equal(session.redo(), second)
    assert session.clicks == (Click(4, 4, True), Click(10, 20, True))
    session.undo()
    session.click(15, 8, False)
    assert not session.can_redo, "a new click ends what could be redone"
    session.undo()
    session.undo()
    session.undo()
    assert session.clicks == ()
    assert not session.can_undo
    session.redo()
    assert session.clicks == (Click(4, 4, True),)
    session.reset()
    assert (session.can_undo, session.can_redo, session.clicks) == (False, False, ())


def test_objects_have_clicks_of_their_own_and_become_one_label_map(session):
    assert (session.objects, session.number) == (1, 1)
    session.click(6, 6)
    assert session.new_object() == 2
    assert session.clicks == ()
    session.click(6, 9)  # disks of radius 5 overlap
    first, second = session.masks
    assert (first.sum(), second.sum()) == (81, 81)
    labels = session.label_map
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == 2, second)  # the later one is on top
    np.testing.assert_array_equal(labels == 1, first & ~second)
    session.select(1)
    session.click(15, 25)
    session.undo()
    session.select(2)
    assert session.clicks == (Click(6, 9, True),)
    session.select(1)
    assert session.can_redo
    with pytest.raises(ValueError, match=r"no object 3, expected 1 to 2"):
        session.select(3)
    session.set_image(RGB)
    assert (session.objects, session.number, session.label_map.any()) == (1, 1, False)


def test_a_label_map_of_many_objects_has_16_bits(session):
    for _ in range(255):
        session.new_object()
    session.click(10, 10)
    assert session.label_map.dtype == np.uint16
    assert session.label_map.max() == 256


def test_nothing_without_an_image():
    session = ClickSession(Paint())
    assert (session.objects, session.number, session.can_undo, session.can_redo) == (0, 0, False, False)
    for what in ("image", "probability", "label_map", "redo", "new_object"):
        with pytest.raises(ValueError, match="no image is set"):  # a property says it when it is looked at
            getattr(session, what)()


GIVEN = np.zeros((20, 30), np.bool_)
GIVEN[5:9, 10:20] = True


@pytest.mark.parametrize("memory", ["previous", "modulated"])
def test_a_given_mask_is_the_answer_before_the_first_click(memory):
    session = ClickSession(Remember(memory))
    session.set_image(RGB, GIVEN)
    np.testing.assert_array_equal(session.mask, GIVEN)
    np.testing.assert_array_equal(session.probability, GIVEN.astype(np.float32))
    session.click(15, 4)
    (seen,) = session.engine.generator.seen  # once: with an answer before it, it is no first click
    np.testing.assert_array_equal(seen[0, 2].numpy(), GIVEN.astype(np.float32))
    assert session.mask[GIVEN].all()
    assert session.mask[15, 4]
    np.testing.assert_array_equal(session.undo() > 0.5, GIVEN)
    less = session.click(6, 12, False)
    assert (less <= GIVEN).all(), "negative clicks take away from it"
    assert not session.mask[6, 12]
    assert session.mask[6, 19] == (memory == "previous")  # modulated takes all that is alike away
    session.reset()
    np.testing.assert_array_equal(session.mask, GIVEN)


def test_a_given_mask_is_looked_at_closely_at_once():
    photo = np.zeros((900, 900, 3), np.uint8)
    mask = np.zeros((900, 900), np.bool_)
    mask[400:500, 300:400] = True
    session = ClickSession(Look("previous"), zoom=True, zoom_px=100)
    session.set_image(photo, mask)
    session.click(450, 350, False)
    assert session._object().state.view == View(350, 250, 551, 451)
    assert session._object().state.view == next_view(mask.astype(np.float32), [Click(450, 350, False)], None, 0)
    again = ClickSession(Look("previous"), zoom=True, zoom_px=100)
    again.set_image(photo, mask)
    again.click(10, 10, False)  # outside of what the network looks at
    np.testing.assert_array_equal(again.mask, mask)


def test_a_session_keeps_the_photo_that_it_was_given(session):
    frame = RGB.copy()
    session.set_image(frame)
    frame[:] = 0
    np.testing.assert_array_equal(session.image, RGB)


def test_a_photo_is_in_memory_once_for_all_its_objects():
    session = ClickSession(Remember("previous"))
    session.set_image(RGB)
    session.new_object()
    session.new_object(np.zeros((30, 20), np.bool_).T[:, ::-1])
    first, *others = (one.state.image for one in session._objects)
    assert [one.data_ptr() for one in others] == [first.data_ptr()] * 2


def test_a_network_without_memory_takes_no_mask():
    session = ClickSession(Paint())
    session.set_image(RGB)
    session.click(4, 4)
    with pytest.raises(InputError, match=r"no memory.*--memory previous"):
        session.set_image(RGB, GIVEN)
    assert session.clicks == (Click(4, 4, True),), "what raises leaves no trace"
    for wrong in (GIVEN[:5], GIVEN.astype(np.uint8)):
        with pytest.raises(ValueError, match=r"mask must be \(20, 30\) bool"):
            ClickSession(Remember("previous")).set_image(RGB, wrong)


def test_another_person_has_the_network_and_nothing_else(session):
    session.click(4, 4)
    other = session.another()
    assert other.engine is session.engine
    assert other.objects == 0
    other.set_image(RGB[:9])
    other.click(2, 2)
    assert session.mask.shape == (20, 30)
    assert other.forward_seconds == session.forward_seconds > 0


def test_latency_is_told(session):
    assert session.seconds == 0
    session.click(4, 4)
    assert 0 < session.engine.forward_seconds <= session.seconds < 5


ORIENTATION = 0x0112


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_photos_come_upright_as_viewers_show_them(tmp_path, suffix):
    exif = PillowImage.Exif()
    exif[ORIENTATION] = 6  # the camera was held on its side: turn by 90 degrees clockwise
    path = tmp_path / f"photo{suffix}"
    PillowImage.fromarray(RGB).save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    session = ClickSession(Paint())
    upright = np.rot90(RGB, -1).astype(int)
    for photo in (path, str(path), PillowImage.open(path)):
        session.set_image(photo)
        assert session.image.shape == (30, 20, 3)
        assert abs(session.image.astype(int) - upright).max() <= (0 if suffix != ".jpg" else 60)
        assert abs(session.image.astype(int) - upright).mean() < 2
    np.testing.assert_array_equal(upright_photo(path.read_bytes(), "what came"), upright_photo(path))


def test_what_is_no_photo_is_refused_in_one_sentence(tmp_path):
    session = ClickSession(Paint())
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.jpg: not readable as a picture"):
        session.set_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"what came: not readable as a picture"):
        upright_photo(b"nothing", "what came")
    with pytest.raises(InputError, match="no such file"):
        session.set_image("there/is/none.png")
    with pytest.raises(ValueError, match="a NumPy array, a path or a PIL image, got list"):
        session.set_image([[1, 2]])


@given(shorter=st.integers(2, 40), times=st.floats(SHRUNK, 40))
def test_averaging_weighs_all_pixels_and_keeps_a_ramp(shorter, times):
    length = round(shorter * times)
    weights = averaging(length, shorter)
    assert weights.shape == (shorter, length)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights.sum(0) > 0).all(), "no pixel is left out"
    step = (length - 1) / (shorter - 1)
    ramp = weights[1:-1] @ np.arange(length, dtype=np.float32)  # at the ends there is only one side
    np.testing.assert_allclose(ramp, np.arange(1, shorter - 1) * step, atol=0.05 * step)


def test_a_photo_much_larger_than_what_the_network_sees_is_averaged():
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 640, 960), np.uint8)
    planes = torch.from_numpy(noise)
    view = View(0, 0, 640, 960)
    small = crop(planes, view, 960 // (SHRUNK + 2))
    twin = np.einsum(
        "rh,bkhw,sw->bkrs",
        averaging(640, small.shape[2]).astype(np.float64), noise / 255, averaging(960, small.shape[3]).astype(np.float64), optimize=True,
    )  # fmt: skip
    np.testing.assert_allclose(small.numpy(), twin, atol=1e-6)
    assert small.std() < 0.15 < crop(planes, view, 960 // SHRUNK).std(), "noise is smoothed, not sampled"
    assert torch.equal(crop(planes.float() / 255, view, 160), crop(planes, view, 160))


@pytest.fixture
def checkpoint(tmp_path):
    config = TrainConfig(
        data="synthetic", size=64, width=0.1, encoder_weights="none", memory="previous", clicks="mixed", adv="off"
    )
    generator = build.generator_of(config)[0]
    path = tmp_path / "kept.pt"
    save_checkpoint(path, {"step": 3, "config": config.to_yaml(), "generator": generator.state_dict()})
    return path, generator


def test_a_session_with_a_checkpoint_that_lies_anywhere(checkpoint):
    path, generator = checkpoint
    session = ClickSession.load(path, device="cpu", precision="fp32")
    same = ClickSession(place(generator, torch.device("cpu")), zoom=True, zoom_px=64)
    for one in (session, same):
        one.set_image(np.random.default_rng(1).integers(0, 256, (100, 80, 3), np.uint8))
        one.click(50, 40)
    np.testing.assert_array_equal(session.click(60, 30, False), same.click(60, 30, False))
    assert (session.engine.name, session.engine.zoom_px) == ("kept.pt", 64)
    whole = ClickSession.load(path, device="cpu", zoom=False)
    assert isinstance(whole.engine, TorchEngine)
    assert not whole.engine.zoom
    with pytest.raises(InputError, match=r"kept\.pt: a checkpoint is either the last or the best"):
        ClickSession.load(path, weights="best")
    with pytest.raises(InputError, match=r"kept\.pt: it holds no running mean"):
        ClickSession.load(path, weights="ema")


def test_a_checkpoint_without_a_config_is_refused(tmp_path):
    path = tmp_path / "bare.pt"
    save_checkpoint(path, {"step": 0, "generator": MFPResNetUNet(0.1).state_dict()})
    with pytest.raises(InputError, match=r"bare\.pt: it holds no config; give the id of its run"):
        ClickSession.load(path)


@pytest.mark.parametrize("name", ["smal", "runs/none", "", "nowhere.pt"])
def test_what_is_not_there_is_told_in_one_sentence(working_folder, name):
    with pytest.raises(InputError, match=r"there is no such|small"):
        ClickSession.load(name)


def test_the_session_needs_no_torch_to_be_imported():
    program = "import sys; sys.modules['torch'] = None; from mfpgan import ClickSession; print(ClickSession.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ClickSession"), done.stderr
