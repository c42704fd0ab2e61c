"""The serverless interactor, called as nuclio calls it with what CVAT posts."""

import base64
import importlib.util
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as PillowImage
from test_replay import halves
from test_session import Paint

from mfpgan import photos
from mfpgan.apps import cvat
from mfpgan.apps.cvat.main import handler, init_context, rows_of
from mfpgan.apps.replay import Replay
from mfpgan.config import TrainConfig
from mfpgan.inference import TorchEngine
from mfpgan.models.generator import MFPResNetUNet
from mfpgan.session import ClickSession
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.types import Click, ClickEncoding, InputError
from mfpgan.zoom import View

RGB = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
FOLDER = Path(cvat.__file__).parent


class Response:
    """nuclio_sdk.Response: the arguments that CVAT's own functions give."""

    def __init__(self, headers=None, body=None, content_type=None, status_code=200):
        self.headers, self.body, self.content_type, self.status_code = headers, body, content_type, status_code


class Logger:
    """nuclio_sdk.Logger, as far as the function logs."""

    def __init__(self):
        self.lines = []

    def info(self, message):
        self.lines.append(("info", message))

    def warn(self, message):
        self.lines.append(("warn", message))


def new_context():
    return SimpleNamespace(Response=Response, logger=Logger(), user_data=SimpleNamespace())


@pytest.fixture(scope="module")
def engine():
    return halves()


@pytest.fixture
def context(engine):
    made = new_context()
    made.user_data.replay = Replay(engine)
    return made


def text_of(rgb, kind="PNG", **options):
    file = io.BytesIO()
    PillowImage.fromarray(rgb).save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode("utf-8")


def body_of(**changes):
    """What CVAT posts; a value of ... leaves the key out."""
    body = {"image": text_of(RGB), "pos_points": [[20.25, 10.75]], "neg_points": [], "obj_bbox": None} | changes
    return {key: value for key, value in body.items() if value is not ...}


def post(context, body):
    response = handler(context, SimpleNamespace(body=body))
    assert (response.headers, response.content_type) == ({}, "application/json")
    return response.status_code, json.loads(response.body)


def mask_in_a_session(engine, clicks, rgb=RGB, level=0.5):
    session = ClickSession(engine)
    session.set_image(rgb)
    for click in clicks:
        session.click(*click)
    return session.mask if level == 0.5 else session.probability > level


def test_a_click_as_cvat_posts_it(context, engine):
    status, reply = post(context, body_of())
    assert status == 200
    assert list(reply) == ["mask"]
    mask = np.array(reply["mask"])
    assert mask.shape == (40, 60)
    np.testing.assert_array_equal(mask == 1, mask_in_a_session(engine, [Click(10, 20, True)]))
    assert set(np.unique(mask)) == {0, 1}


def test_positive_clicks_come_first_each_kind_in_its_order(context, engine):
    body = body_of(pos_points=[[20.25, 10.75], [50, 30]], neg_points=[[5.5, 5.5], [40, 35]], obj_bbox=[])
    mask = np.array(post(context, body)[1]["mask"])
    clicks = [Click(10, 20, True), Click(30, 50, True), Click(5, 5, False), Click(35, 40, False)]
    np.testing.assert_array_equal(mask, mask_in_a_session(engine, clicks))


def test_going_on_costs_one_answer(context):
    replay = context.user_data.replay
    for count, body in enumerate(
        [
            body_of(),
            body_of(neg_points=[[3, 3]]),
            body_of(neg_points=[[3, 3], [8, 30]]),
        ],
        1,
    ):
        post(context, body)
        assert replay.answers == count


@pytest.mark.parametrize("level", [0.3, 0.5, 0.7, 0, 1, None])
def test_the_threshold_is_one_on_the_probability(context, engine, level):
    session = ClickSession(engine)
    session.set_image(RGB)
    probability = session.click(10, 20)
    if level is None:
        level = float(probability[10, 20])  # a pixel on the threshold is not in the mask
    mask = np.array(post(context, body_of(threshold=level))[1]["mask"])
    np.testing.assert_array_equal(mask == 1, probability > level)


def test_an_old_body_and_one_that_nuclio_did_not_read_are_understood(context):
    whole = post(context, body_of())
    assert post(context, body_of(obj_bbox=...)) == whole
    assert post(context, json.dumps(body_of()).encode()) == whole


def test_negative_clicks_alone_give_an_empty_mask(context):
    status, reply = post(context, body_of(pos_points=[], neg_points=[[3, 3]]))
    assert status == 200
    assert not np.array(reply["mask"]).any()


def test_a_box_ends_the_mask(context):
    box = [[40.2, 10], [12.6, 30]]  # corners in any order
    status, reply = post(context, body_of(obj_bbox=box))
    assert status == 200
    mask = np.array(reply["mask"])
    replay = context.user_data.replay
    photo = replay.photo(base64.b64decode(text_of(RGB)), "image")
    wanted = replay.probability(photo, [Click(10, 20, True)], View(10, 12, 30, 41)) > 0.5
    np.testing.assert_array_equal(mask == 1, wanted)
    assert wanted.any()
    assert mask.sum() == mask[10:30, 12:41].sum()
    alone = post(context, body_of(pos_points=[], obj_bbox=box))
    assert alone == post(context, body_of(pos_points=[[26, 19]], obj_bbox=box)), "the middle counts as a click"


def test_a_click_on_the_rim_is_inside(context, engine):
    # CVAT lets people click from half a pixel outside on: it rounds before it looks.
    mask = np.array(post(context, body_of(pos_points=[[-0.4, 39.9]], neg_points=[[59.4, -0.5]]))[1]["mask"])
    np.testing.assert_array_equal(mask, mask_in_a_session(engine, [Click(39, 0, True), Click(0, 59, False)]))


def test_photos_of_other_kinds(context, engine):
    grey = RGB[:, :, 0]
    mask = np.array(post(context, body_of(image=text_of(grey)))[1]["mask"])
    np.testing.assert_array_equal(mask, mask_in_a_session(engine, [Click(10, 20, True)], np.stack([grey] * 3, 2)))
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = np.array(post(context, body_of(image=text_of(RGB, "JPEG", exif=exif)))[1]["mask"])
    assert turned.shape == (60, 40), "as a viewer shows it"


IMAGE = text_of(RGB)
BAD = {
    "nothing": (None, "expected an object with image, pos_points and neg_points, got None."),
    "a list": ([1], "expected an object"),
    "no JSON": (b"{", "the request is not readable as JSON"),
    "deep JSON": (b"[" * 100_000, "the request is not readable as JSON"),
    "no image": (body_of(image=...), "image: expected a photo's file in base64, got None."),
    "an empty image": (body_of(image=""), "image: expected a photo's file in base64, got ''."),
    "a number": (body_of(image=3), "image: expected a photo's file in base64, got 3."),
    "no base64": (body_of(image="%%%"), "image: it is not base64"),
    "not ASCII": (body_of(image="ä" * 40), "image: it is not base64"),
    "base64 cut off": (body_of(image=IMAGE[:101]), "image: it is not base64, or cut off"),
    "a photo cut off": (body_of(image=IMAGE[:2000]), "image: not readable as a picture"),
    "no photo": (body_of(image=base64.b64encode(b"x" * 50).decode()), "image: not readable as a picture"),
    "no pos_points": (body_of(pos_points=...), "pos_points: expected a list of [x, y], got None"),
    "no neg_points": (body_of(neg_points=...), "neg_points: expected a list of [x, y], got None"),
    "nothing clicked": (body_of(pos_points=[]), "pos_points: it is empty and there is no obj_bbox"),
    "a flat list": (body_of(pos_points=[20, 10]), "pos_points: expected [x, y], got 20."),
    "three numbers": (body_of(pos_points=[[1, 2, 3]]), "pos_points: expected [x, y], got [1, 2, 3]."),
    "text": (body_of(neg_points=[["1", 2]]), "neg_points: expected a number, got '1'."),
    "NaN": (json.dumps(body_of(pos_points=[[float("nan"), 2]])).encode(), "pos_points: expected a number, got nan."),
    "outside": (body_of(pos_points=[[61.5, 2]]), "pos_points: x=61.5, y=2 lies outside the image of width 60 and"),
    "far outside": (body_of(neg_points=[[1, -1e300]]), "neg_points: expected a number, got -1e+300"),
    "too many": (body_of(pos_points=[[1, 2]] * 101), "the request has 101 clicks, expected at most 100"),
    "half a box": (body_of(obj_bbox=[[1, 2]]), "obj_bbox: expected two corners, [[x, y], [x, y]], got [[1, 2]]."),
    "a flat box": (body_of(obj_bbox=[1, 2, 3, 4]), "obj_bbox: expected two corners"),
    "a box outside": (body_of(obj_bbox=[[1, 2], [90, 9]]), "obj_bbox: x="),
    "threshold 2": (body_of(threshold=2), "threshold: expected 0 to 1, got 2."),
    "threshold as text": (body_of(threshold="0.5"), "threshold: expected a number, got '0.5'."),
    "threshold true": (body_of(threshold=True), "threshold: expected a number, got True."),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_status_400_and_one_sentence(context, name):
    body, sentence = BAD[name]
    status, reply = post(context, body)
    assert status == 400
    assert list(reply) == ["error"]
    assert reply["error"].startswith(sentence)
    assert reply["error"].endswith(".")
    assert "\n" not in reply["error"]
    assert "Traceback" not in reply["error"]
    assert context.logger.lines == [("warn", f"mfpgan: {reply['error']}")], "CVAT shows only the status"
    assert context.user_data.replay.answers == 0
    assert post(context, body_of())[0] == 200, "the next request is answered"


def test_a_photo_of_too_many_pixels_is_refused(context, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PIXELS", 40 * 60 - 1)
    status, reply = post(context, body_of())
    assert status == 400
    assert reply["error"].startswith("image: the picture claims more than")


def test_the_model_is_named_in_the_environment(tmp_path, monkeypatch):
    config = TrainConfig(
        data="synthetic", size=64, width=0.1, encoder_weights="none", memory="previous", clicks="mixed", adv="off"
    )
    generator = MFPResNetUNet(0.1, ClickEncoding(memory="previous"))
    path = tmp_path / "kept.pt"
    save_checkpoint(path, {"step": 3, "config": config.to_yaml(), "generator": generator.state_dict()})
    monkeypatch.setenv("MFPGAN_MODEL", str(path))
    context = new_context()
    init_context(context)
    assert context.logger.lines == [("info", f"mfpgan: {path} is loaded")]
    mask = np.array(post(context, body_of())[1]["mask"])
    session = ClickSession.load(path)
    session.set_image(RGB)
    session.click(10, 20)
    np.testing.assert_array_equal(mask, session.mask)
    monkeypatch.setenv("MFPGAN_MODEL", "nowhere.pt")
    with pytest.raises(InputError, match=r"nowhere\.pt"):
        init_context(new_context())


@given(mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_rows_are_json(mask):
    assert json.loads(rows_of(mask)) == {"mask": mask.astype(int).tolist()}


def test_the_function_is_described_as_cvat_reads_it():
    """cvat/apps/lambda_manager/views.py, LambdaFunction: what it takes from a function's metadata, and how."""
    text = (FOLDER / "function.yaml").read_text()
    function = yaml.safe_load(text)
    notes = function["metadata"]["annotations"]
    assert all(isinstance(value, str) for value in notes.values()), "nuclio's annotations are texts"
    assert notes["type"] == "interactor"
    assert json.loads(notes["spec"] or "[]") == []
    assert (int(notes["min_pos_points"]), int(notes["min_neg_points"]), int(notes["version"])) == (1, 0, 2)
    assert not bool(notes.get("startswith_box", False)), "any text there is a yes to CVAT"
    assert function["metadata"]["namespace"] == "cvat"
    assert function["spec"]["env"][0] == {"name": "MFPGAN_MODEL", "value": "small"}
    assert "://" not in text, "no host is named"
    module, _, name = function["spec"]["handler"].partition(":")
    # nuclio imports the file by itself, from the folder that it was given.
    spec = importlib.util.spec_from_file_location(module, FOLDER / f"{module}.py")
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    assert callable(getattr(alone, name))
    assert callable(alone.init_context)


def test_what_is_drawn_is_what_was_clicked():
    """With a network that paints disks: x and y are not mixed up."""
    context = new_context()
    context.user_data.replay = Replay(TorchEngine(Paint()))
    mask = np.array(post(context, body_of(pos_points=[[45, 12]]))[1]["mask"])
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 17, 40, 50)
