"""The Label Studio backend over HTTP, with what Label Studio posts."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from test_brush import mask_of
from test_replay import halves
from test_session import Paint

from mfpgan import photos
from mfpgan.apps.label_studio import Backend, __main__, backend, ml_backend, server
from mfpgan.apps.label_studio.tags import Tags, tags_for
from mfpgan.apps.replay import Photo, Replay
from mfpgan.inference import TorchEngine
from mfpgan.session import ClickSession
from mfpgan.types import Click, InputError
from mfpgan.zoom import View

WIDTH, HEIGHT = 60, 40
RGB = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

CONFIG = """
<View>
  <!-- Label Studio's own example for smart tools -->
  <Image name="image" value="$photo" zoom="true"/>
  <BrushLabels name="tag" toName="image">
    <Label value="Banana" background="#FF0000"/>
    <Label value="Orange" background="#0d14d3"/>
  </BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">
    <Label value="Banana" background="#000000" showInline="true"/>
    <Label value="Orange" background="#000000" showInline="true"/>
  </KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true">
    <Label value="Banana" background="#000000" showInline="true"/>
  </RectangleLabels>
</View>
"""


def png_of(rgb=RGB):
    file = io.BytesIO()
    PillowImage.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


DATA_URI = "data:image/png;base64," + base64.b64encode(png_of()).decode()


def point(x, y, positive=True, label="Banana", **changes):
    """A smart key point as web/libs/editor/src/regions/KeyPointRegion.jsx writes it; x and y in percent."""
    return {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.3189792663476874, "labels": [label], "keypointlabels": [label]},
        "is_positive": positive,
        "id": "fBWv1t0S2L",
        "from_name": "tag2",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
    } | changes


def rectangle(x, y, width, height, label="Banana", **changes):
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return point(0, 0) | {"value": place, "type": "rectanglelabels", "from_name": "tag3"} | changes


def body_of(*regions, photo=DATA_URI, **changes):
    """What Label Studio's MLApi.make_predictions posts when somebody has used a smart tool."""
    return {
        "tasks": [{"id": 7, "data": {"photo": photo}, "annotations": [], "predictions": []}],
        "model_version": "mfpgan network",
        "project": "3.1700000000",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": {"result": list(regions)}},
    } | changes


class Client:
    """Sends requests straight into the application; starlette's own client wants a package that httpx has not become yet."""

    def __init__(self, app):
        self.transport = httpx.ASGITransport(app)

    def request(self, method, path, **content):
        async def send():
            async with httpx.AsyncClient(transport=self.transport, base_url="http://backend") as client:
                return await client.request(method, path, **content)

        return asyncio.run(send())

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, **content):
        return self.request("POST", path, **content)


@pytest.fixture
def replay():
    return Replay(halves())


@pytest.fixture
def client(replay):
    return Client(server.make_app(replay, None))


def only_region(answer):
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["results"]
    ((prediction,),) = answer.json().values()
    (region,) = prediction["result"]
    return prediction, region


def session_of(replay, clicks, rgb=RGB):
    session = ClickSession(replay.engine)
    session.set_image(rgb)
    for click in clicks:
        session.click(*click)
    return session


def test_a_click_as_label_studio_posts_it(client, replay):
    prediction, region = only_region(client.post("/predict", json=body_of(point(50.2, 25.4))))
    session = session_of(replay, [Click(10, 30, True)])
    rle = region["value"].pop("rle")
    np.testing.assert_array_equal(mask_of(rle, HEIGHT, WIDTH), session.mask)
    assert 0.1 < session.mask.mean() < 0.9
    score = session.probability[session.mask].mean()
    assert prediction["score"] == pytest.approx(score)
    assert prediction["model_version"] == "mfpgan network"
    assert len(region.pop("id")) == 10
    assert region == {
        "from_name": "tag",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {"format": "rle", "brushlabels": ["Banana"]},
        "score": pytest.approx(score),
        "readonly": False,
    }


def test_clicks_keep_their_order_and_going_on_costs_one_answer(client, replay):
    regions = [point(50.2, 25.4), point(10, 10, False), point(90, 90)]
    clicks = [Click(10, 30, True), Click(4, 6, False), Click(36, 54, True)]
    for count in (1, 2, 3):
        _, region = only_region(client.post("/predict", json=body_of(*regions[:count])))
        assert replay.answers == count
        wanted = session_of(replay, clicks[:count]).mask
        np.testing.assert_array_equal(mask_of(region["value"]["rle"], HEIGHT, WIDTH), wanted)


def test_a_key_point_that_is_not_smart_is_positive(client):
    plain = point(50.2, 25.4)
    del plain["is_positive"]
    masks = [only_region(client.post("/predict", json=body_of(one)))[1]["value"] for one in (plain, point(50.2, 25.4))]
    assert masks[0] == masks[1]


def test_a_rectangle_is_a_box_and_the_newest_counts(client, replay):
    box, corner = rectangle(20, 25, 50, 50), View(10, 12, 30, 42)
    photo = replay.photo(png_of(), "image")
    for regions, clicks in (
        ([box], []),
        ([rectangle(0, 0, 10, 10), box, point(50.2, 40)], [Click(16, 30, True)]),
    ):
        _, region = only_region(client.post("/predict", json=body_of(*regions)))
        wanted = replay.probability(photo, clicks, corner) > 0.5
        assert wanted.any()
        np.testing.assert_array_equal(mask_of(region["value"]["rle"], HEIGHT, WIDTH), wanted)


def test_an_empty_mask_is_no_region(client):
    answer = client.post("/predict", json=body_of(point(50, 25, False)))
    assert answer.json() == {"results": [{"result": [], "score": 0.0, "model_version": "mfpgan network"}]}


@pytest.mark.parametrize("context", [None, {}, {"result": []}, {"result": None}])
def test_nothing_is_predicted_before_somebody_clicks(client, context):
    assert client.post("/predict", json=body_of(params={"context": context})).json() == {"results": []}


def test_several_people_at_once_over_a_real_connection(replay):
    """As Label Studio's server does, which asks for all of its annotators."""
    server_of = uvicorn.Server(uvicorn.Config(server.make_app(replay, None), port=0, log_level="warning"))
    thread = threading.Thread(target=server_of.run)
    thread.start()
    try:
        while not server_of.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server_of.servers[0].sockets[0].getsockname()[1]}"
        got = {}

        def person(number):
            uri = "data:image/png;base64," + base64.b64encode(png_of(np.roll(RGB, number, 0))).decode()
            for regions in ([point(50.2, 25.4)], [point(50.2, 25.4), point(10, 10 + 10 * number, False)]):
                got[number] = httpx.post(f"{address}/predict", json=body_of(*regions, photo=uri), timeout=20)

        people = [threading.Thread(target=person, args=(number,)) for number in range(5)]
        for one in people:
            one.start()
        for one in people:
            one.join()
        for number in range(5):
            clicks = [Click(10, 30, True), Click(4 + 4 * number, 6, False)]
            wanted = session_of(replay, clicks, np.roll(RGB, number, 0)).mask
            np.testing.assert_array_equal(mask_of(only_region(got[number])[1]["value"]["rle"], HEIGHT, WIDTH), wanted)
        assert replay.answers == 10
    finally:
        server_of.should_exit = True
        thread.join()


def test_other_addresses(client):
    for path in ("/", "/health"):
        assert client.get(path).json() == {"status": "UP", "model_class": "MFPGAN"}
    posted = {"project": "3.1700000000", "schema": CONFIG, "hostname": "", "access_token": "", "extra_params": None}
    assert client.post("/setup", json=posted).json() == {"model_version": "mfpgan network"}
    for path in ("/docs", "/openapi.json", "/../README.md"):
        assert client.get(path).status_code == 404


@given(row=st.integers(0, HEIGHT - 1), column=st.integers(0, WIDTH - 1), share=st.floats(0.001, 0.999))
def test_percent_inside_a_pixel_is_that_pixel(row, column, share):
    region = point((column + share) * 100 / WIDTH, (row + share) * 100 / HEIGHT)
    assert backend._click(region, Photo("", RGB)) == Click(row, column, True)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), data=st.data())
def test_percent_on_the_edge_of_a_pixel_is_that_pixel(width, height, data):
    """Where Label Studio snaps to, in spite of the rounding of its division."""
    photo = Photo("", np.broadcast_to(np.uint8(0), (height, width, 3)))
    column, row = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    assert backend._click(point(column / width * 100, row / height * 100), photo) == Click(row, column, True)
    box = rectangle(column / width * 100, row / height * 100, 100 - column / width * 100, 100 / height)
    assert backend._box(box, photo) == View(row, column, row + 1, width)


@pytest.mark.parametrize(
    ("x", "y", "click"),
    [(100, 100, Click(39, 59, True)), (0, 0, Click(0, 0, True)), (99.999, 0.001, Click(0, 59, True))],
)
def test_percent_at_the_rims(x, y, click):
    assert backend._click(point(x, y), Photo("", RGB)) == click


ANOTHER = CONFIG.replace('value="$photo"', 'value="photo"')
SECOND = point(1, 1) | {"to_name": "other"}
BAD = {
    "no task": (body_of(point(1, 1), tasks=[]), "tasks: expected a task with a photo as its 'photo', got None."),
    "a task as text": (body_of(point(1, 1), tasks=["x"]), "tasks: expected a task with a photo"),
    "no photo": (body_of(point(1, 1), tasks=[{"data": {"image": "a.png"}}]), "tasks: expected a task with a photo"),
    "a photo as a list": (body_of(point(1, 1), photo=["a.png"]), "tasks: expected a task with a photo"),
    "not base64": (body_of(point(1, 1), photo="data:image/png;base64,%"), "the data: URI is not base64"),
    "a data URI as text": (body_of(point(1, 1), photo="data:text/plain,x"), "the data: URI is not in base64"),
    "cut off": (body_of(point(1, 1), photo=DATA_URI[: 22 + 2000]), "the task's photo: not readable as a picture"),
    "params as a list": (body_of(params=[1]), "params: expected an object, got [1]."),
    "a context as text": (body_of(params={"context": "x"}), "context: expected an object with a result, got 'x'."),
    "regions as text": (body_of(params={"context": {"result": "x"}}), "context: expected a list of regions"),
    "no regions": (body_of(3), "context: expected a list of regions as its result, got [3]."),
    "an ellipse": (body_of(point(1, 1, type="ellipselabels")), "context: it holds a region of type 'ellipselabels'"),
    "no type": (body_of({"value": {}}), "context: it holds a region of type None"),
    "no value": (body_of(point(1, 1, value=None)), "context: a region needs a value with its place, got None."),
    "no label": (body_of(point(1, 1, value={"x": 1, "y": 1})), "context: a region needs one label, got None;"),
    "no x": (body_of(point(1, 1, value={"y": 1, "keypointlabels": ["Banana"]})), "x: expected a number, got None."),
    "y as text": (body_of(point(1, "1")), "y: expected a number, got '1'."),
    "outside": (body_of(point(102, 1)), "a key point: x=61.2, y=0.4 lies outside the image of width 60 and height 40"),
    "a box outside": (body_of(rectangle(50, 50, 60, 10)), "a rectangle: x="),
    "a turned box": (
        body_of(rectangle(5, 5, 6, 6) | {"value": rectangle(5, 5, 6, 6)["value"] | {"rotation": 30}}),
        "a rectangle is turned",
    ),
    "a sign as text": (body_of(point(1, 1, "yes")), "context: is_positive must be true or false, got 'yes'."),
    "another size": (
        body_of(point(1, 1, original_width=61)),
        "the task's photo is 60x40 pixels and Label Studio showed",
    ),
    "a turned photo": (body_of(point(1, 1, image_rotation=90)), "the photo is turned by 90 degrees"),
    "two images": (body_of(SECOND, point(1, 1)), "context: regions on two images"),
    "no to_name": (body_of(point(1, 1, to_name=None)), "context: a region needs a to_name, got None."),
    "no such image": (body_of(SECOND), "the labelling config has no Image tag of the name 'other'"),
    "no such label": (body_of(point(1, 1, label="Plum")), "the labelling config has no BrushLabels tag of 'image'"),
    "no XML": (body_of(point(1, 1), label_config="<View>"), "the labelling config is not readable as XML"),
    "no config": (body_of(point(1, 1), label_config=None), "the labelling config is not readable as XML"),
    "a config as a number": (body_of(point(1, 1), label_config=3), "label_config: expected XML, got 3."),
    "a fixed photo": (body_of(point(1, 1), label_config=ANOTHER), "the Image tag 'image' shows 'photo', expected"),
    "entities": (
        body_of(point(1, 1), label_config='<!DOCTYPE v [<!ENTITY a "aaaa">]><View>&a;</View>'),
        "the labelling config declares a document type or entities",
    ),
    "too many": (body_of(*[point(1, 1)] * 101), "the request has 101 clicks, expected at most 100"),
    "a list": ([1], "expected an object with tasks and params, got [1]."),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_status_400_and_one_sentence(client, replay, caplog, name):
    body, sentence = BAD[name]
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    text = answer.json()["error"]
    assert text.startswith(sentence)
    assert text.endswith(".")
    assert "\n" not in text
    assert text in caplog.text, "Label Studio shows only the status"
    assert replay.answers == 0
    assert client.post("/predict", json=body_of(point(50, 25))).status_code == 200


def test_what_is_no_json_is_refused(client, monkeypatch):
    for content in (b"{", b"\xff", b"[" * 100_000):
        answer = client.post("/predict", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"][:15]) == (400, "the request is ")
    # What a form on a foreign page may send without asking.
    answer = client.post("/predict", content=json.dumps(body_of(point(1, 1))), headers={"content-type": "text/plain"})
    assert (answer.status_code, "application/json" in answer.json()["error"]) == (400, True)
    monkeypatch.setattr(server, "MOST_BYTES", 2**20)
    large = body_of(point(50, 25), note="x" * 2**20)
    answer = client.post("/predict", json=large)
    assert (answer.status_code, answer.json()["error"][:38]) == (400, "the request is larger than 1 MiB; use ")


def test_a_photo_of_too_many_pixels_is_refused(client, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    answer = client.post("/predict", json=body_of(point(50, 25)))
    assert (answer.status_code, "claims more than" in answer.json()["error"]) == (400, True)


def test_a_photo_in_the_named_folder(tmp_path):
    (tmp_path / "a b.png").write_bytes(png_of())
    client = Client(server.make_app(Replay(TorchEngine(Paint())), tmp_path))
    _, region = only_region(client.post("/predict", json=body_of(point(50.2, 25.4), photo="/data/a%20b.png")))
    assert mask_of(region["value"]["rle"], HEIGHT, WIDTH).sum() == 81


def test_a_page_that_calls_itself_this_machine_is_refused(replay):
    client = Client(server.make_app(replay, None, hosts=("127.0.0.1", "localhost")))
    assert client.get("/health").status_code == 400  # it says that it asks `backend`
    asked = client.request("GET", "/health", headers={"host": "127.0.0.1:9090"})
    assert (asked.status_code, asked.json()["status"]) == (200, "UP")


def test_tags_of_other_configs():
    two = """<View><Image name="left" value="$a"/><Image name="right" value="$b"/>
    <BrushLabels name="one" toName="right"><Label value="x"/></BrushLabels>
    <brushlabels name="two" toName="right"><View><Label value="long name" alias="y"/></View></brushlabels></View>"""
    assert tags_for(two, "right", "x") == Tags("one", "right", "b")
    assert tags_for(two, "right", "y") == Tags("two", "right", "b")
    for image, label in (("left", "x"), ("right", "long name")):
        with pytest.raises(InputError, match="has no BrushLabels tag"):
            tags_for(two, image, label)


def test_a_class_for_label_studio_ml(monkeypatch, tmp_path):
    """With a stand-in of its base class: one is made for each request, and it finds photos in its own way."""
    (tmp_path / "c.png").write_bytes(png_of())
    with pytest.raises(InputError, match=r"label-studio-ml is not installed; install it, or use python -m"):
        ml_backend()

    class LabelStudioMLBase:
        def __init__(self, project_id=None, label_config=None):
            self.kept, self.label_config = {}, label_config
            self.setup()

        def set(self, key, value):
            self.kept[key] = value

        def get_local_path(self, url, task_id=None):
            assert (url, task_id) == ("s3://bucket/a.png", 7)
            return str(tmp_path / "c.png")

    stand_in = ModuleType("label_studio_ml.model")
    stand_in.LabelStudioMLBase = LabelStudioMLBase
    monkeypatch.setitem(sys.modules, "label_studio_ml", ModuleType("label_studio_ml"))
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", stand_in)
    monkeypatch.setattr(backend, "load_engine", lambda source: {"a name": halves()}[source])
    made = ml_backend("a name")
    assert issubclass(made, LabelStudioMLBase)
    for photo in ("s3://bucket/a.png", DATA_URI):
        model = made(project_id="3", label_config=CONFIG)
        assert model.kept == {"model_version": "mfpgan network"}
        body = body_of(point(50.2, 25.4), photo=photo)
        (prediction,) = model.predict(body["tasks"], context=body["params"]["context"], login=None, password=None)
        wanted = session_of(Replay(halves()), [Click(10, 30, True)]).mask
        np.testing.assert_array_equal(mask_of(prediction["result"][0]["value"]["rle"], HEIGHT, WIDTH), wanted)


def test_the_class_alone_predicts_like_label_studio_mls(replay):
    alone = Backend(replay, CONFIG, lambda value: {"anything": png_of()}[value])
    body = body_of(point(50.2, 25.4), photo="anything")
    (prediction,) = alone.predict(body["tasks"], body["params"]["context"])
    assert prediction["result"][0]["type"] == "brushlabels"
    assert json.loads(json.dumps(prediction)) == prediction
    assert alone.predict(body["tasks"]) == []


def test_the_command_says_what_is_wrong(capsys, tmp_path):
    assert __main__.main(["--images", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.endswith("none: there is no such folder; name the one that holds the photos.\n")
    assert __main__.main(["--run-id", "nowhere.pt", "--images", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mfpgan: nowhere.pt: ")
    assert error.count("\n") == 1


def test_the_command_listens_on_this_machine_only(monkeypatch, tmp_path):
    (tmp_path / "c.png").write_bytes(png_of())
    served = []
    monkeypatch.setattr(__main__, "load_engine", lambda source: halves())
    monkeypatch.setattr("uvicorn.run", lambda app, **options: served.append((app, options)))
    assert __main__.main(["--images", str(tmp_path)]) == 0
    ((app, options),) = served
    assert options == {"host": "127.0.0.1", "port": 9090}
    named = {"host": "127.0.0.1:9090"}
    asked = Client(app).post("/predict", json=body_of(point(50, 25), photo="c.png"), headers=named)
    assert asked.status_code == 200
    assert Client(app).get("/health").status_code == 400, "another name"


def test_importing_it_needs_neither_torch_nor_label_studio_ml():
    program = (
        "import sys; sys.modules['torch'] = sys.modules['label_studio_ml'] = None; "
        "import mfpgan.apps.label_studio.server, mfpgan.apps.cvat.main; print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr
