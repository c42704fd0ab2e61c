"""The server of `mfpgan demo`, over HTTP: whose session is whose, and what is refused."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask
from test_session import Remember

from mfpgan import build
from mfpgan.apps.formats import overlay
from mfpgan.apps.web import clicking, server, sessions
from mfpgan.apps.web.desk import Demo
from mfpgan.apps.web.guard import MOST_BODY, MOST_WORDS
from mfpgan.apps.web.heat import heat
from mfpgan.apps.web.models import Choice, Models
from mfpgan.apps.web.server import running
from mfpgan.apps.web.sessions import People, Person
from mfpgan.cli.demo import demo as command
from mfpgan.config import TrainConfig
from mfpgan.inference import TorchEngine
from mfpgan.photos import MAX_PIXELS
from mfpgan.session import ClickSession
from mfpgan.tracking import RunRecord
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.types import Click, InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
PHOTOS = [np.random.default_rng(seed).integers(0, 256, (60 + seed, 90, 3), np.uint8) for seed in range(8)]


def png(pixels):
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def engine(key="one"):
    """Its answer is where the clicks are, disks of radius 5 at the size that it sees; the second one sees less."""
    memory = "none" if key == "forgetful" else "previous"
    return TorchEngine(Remember(memory), zoom=True, zoom_px=32 if key == "two.pt" else 64, name=key)


@pytest.fixture(scope="module")
def demo():
    # Checkpoints that are not there: only `load` is asked for them.
    return Demo(Models(["one.pt", "two.pt", "three.pt", "four.pt", "forgetful"], load=engine))


@pytest.fixture(scope="module")
def http(demo):
    with running(demo) as address, httpx.Client(base_url=address, timeout=20) as http:
        yield http


@pytest.fixture(scope="module")
def address(http):
    return str(http.base_url)


class Page:
    """A tab of a browser, without a browser."""

    def __init__(self, http, key="one.pt"):
        self.http = http
        self.name = self.http.post("/api/sessions", json={"key": key}).json()["name"]

    def get(self, what):
        return self.http.get(f"/api/sessions/{self.name}/{what}")

    def post(self, what, body=None, **words):
        address = f"/api/sessions/{self.name}/{what}"
        return self.http.post(address, json=words) if body is None else self.http.post(address, content=body)

    def did(self, what, body=None, **words):
        answer = self.post(what, body, **words)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, what, body=None, status=400, **words):
        answer = self.post(what, body, **words)
        assert answer.status_code == status, answer.text
        (sentence,) = answer.json().values()
        assert sentence.endswith(".")
        return sentence


@pytest.fixture
def page(http):
    page = Page(http)
    page.did("photo", png(PHOTOS[0]))
    yield page
    with suppress(httpx.TransportError):  # after a fault the server closes the line
        page.post("leave")


def labels(state):
    """(H, W) of the runs."""
    lengths, values = np.array(state["runs"]).reshape(-1, 2).T
    shape = [-(-state[side] // state["step"]) for side in ("height", "width")]
    return np.repeat(values, lengths).reshape(shape)


def test_the_page_shows_what_a_session_answers(page):
    session = ClickSession(engine())
    session.set_image(PHOTOS[0])
    for click in [(20, 30, True), (40, 60, True), (22, 30, False)]:
        session.click(*click)
        state = page.did("click", y=click[0], x=click[1], positive=click[2])
        np.testing.assert_array_equal(labels(state), session.label_map)
        assert state["objects"] == [{"clicks": len(session.clicks), "pixels": session.mask.sum()}]
        assert state["clicks"] == [list(click) for click in session.clicks]
        assert 0 < state["network_ms"] < 5000
    shown = np.frombuffer(page.get("probability").content, np.uint8).reshape(60, 90)
    np.testing.assert_array_equal(shown, np.rint(session.probability * 255))
    session.undo()
    state = page.did("undo")
    np.testing.assert_array_equal(labels(state), session.label_map)
    assert (state["can_undo"], state["can_redo"], state["network_ms"]) == (True, True, 0)
    session.redo()
    np.testing.assert_array_equal(labels(page.did("redo")), session.label_map)
    state = page.did("reset")
    assert (state["can_undo"], state["can_redo"], state["runs"]) == (False, False, [60 * 90, 0])


def test_objects_and_their_files(page):
    session = ClickSession(engine())
    session.set_image(PHOTOS[0])
    for place in [(20, 30), (22, 33)]:
        session.click(*place)
        page.did("click", y=place[0], x=place[1])
        session.new_object()
        state = page.did("object")
    assert (state["number"], len(state["objects"])) == (3, 3)
    session.select(1)
    state = page.did("select", number=1)
    assert state["clicks"] == [[20, 30, 1]]
    np.testing.assert_array_equal(labels(state), session.label_map)
    picture = PillowImage.open(io.BytesIO(page.get("mask.png").content))
    assert picture.mode == "L"
    np.testing.assert_array_equal(np.asarray(picture), 255 * session.mask)
    np.testing.assert_array_equal(PillowImage.open(io.BytesIO(page.get("labels.png").content)), session.label_map)
    coco = page.get("coco.json").json()
    assert coco["images"] == [{"id": 1, "width": 90, "height": 60, "file_name": "photo"}]
    assert [one["id"] for one in coco["annotations"]] == [1, 2], "the third has no pixel"
    for one, mask in zip(coco["annotations"], session.masks[:2], strict=True):
        np.testing.assert_array_equal(coco_mask.decode(one["segmentation"]), mask)
        assert one["area"] == mask.sum()
        assert one["bbox"] == coco_mask.toBbox(one["segmentation"]).tolist()
    clicks = [Click(20, 30, True), Click(22, 33, True)]
    drawn = overlay(PHOTOS[0], session.label_map, clicks, 0.3)
    np.testing.assert_array_equal(PillowImage.open(io.BytesIO(page.get("overlay.png?opacity=0.3").content)), drawn)
    assert "expected 0 to 1" in page.get("overlay.png?opacity=7").json()["error"]
    assert "no object 9" in page.refused("select", number=9)


def test_sessions_of_people_at_once_do_not_mix(http):
    """Everybody clicks at the same time on a photo of their own, and gets what a session alone answers."""
    wrong = []

    def click_away(number):
        page, session, rng = Page(http), ClickSession(engine()), np.random.default_rng(number)
        session.set_image(PHOTOS[number])
        page.did("photo", png(PHOTOS[number]))
        for _ in range(8):
            y, x = int(rng.integers(60)), int(rng.integers(90))
            session.click(y, x)
            state = page.did("click", y=y, x=x)
            if not np.array_equal(labels(state), session.label_map) or len(state["clicks"]) != len(session.clicks):
                wrong.append(number)

    threads = [threading.Thread(target=click_away, args=(number,)) for number in range(len(PHOTOS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_photo_comes_upright(http):
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    PillowImage.fromarray(PHOTOS[0]).save(file, "PNG", exif=exif)
    page = Page(http)
    state = page.did("photo", file.getvalue())
    assert (state["height"], state["width"]) == (90, 60)
    answer = page.get("photo")
    assert answer.headers["content-type"] == "image/jpeg"
    shown = np.asarray(PillowImage.open(io.BytesIO(answer.content)))
    assert shown.shape == (90, 60, 3)
    assert np.abs(shown.astype(int) - np.rot90(PHOTOS[0], -1)).mean() < 6


def test_every_example_opens(http):
    page = Page(http)
    count = page.http.get("/api/start").json()["examples"]
    assert count == len(clicking.EXAMPLES)
    sizes = [page.did("example", number=number) for number in range(count)]
    assert all(max(state["height"], state["width"]) == 320 for state in sizes)


def test_a_mask_to_begin_with(page):
    mask = np.zeros((60, 90), np.uint8)
    mask[5:20, 10:30] = 255
    state = page.did("mask", png(mask))
    assert state["objects"] == [{"clicks": 0, "pixels": 300}], "it takes the place of the untouched object"
    np.testing.assert_array_equal(labels(state) == 1, mask > 0)
    page.did("click", y=50, x=80)
    state = page.did("mask", png(mask))
    assert [one["clicks"] for one in state["objects"]] == [1, 0]
    assert page.did("reset")["objects"][1]["pixels"] == 300
    assert "is 90x59 pixels but the photo 90x60" in page.refused("mask", png(mask[:59]))
    assert "mask is in colour" in page.refused("mask", png(PHOTOS[0]))
    assert "no memory" in page.refused("model", key="forgetful")
    assert page.did("select", number=2)["model"] == "one.pt", "what is refused changes nothing"


def test_another_model_answers_the_same_clicks(page):
    page.did("click", y=20, x=30)
    page.did("object")
    page.did("click", y=40, x=60)
    before = page.did("click", y=42, x=64, positive=False)
    after = page.did("model", key="two.pt")
    session = ClickSession(engine("two.pt"))
    session.set_image(PHOTOS[0])
    session.click(20, 30)
    session.new_object()
    session.click(40, 60)
    session.click(42, 64, False)
    np.testing.assert_array_equal(labels(after), session.label_map)
    assert not np.array_equal(labels(after), labels(before))
    assert after["model"] == "two.pt"
    for what in ("photo", "number", "clicks"):
        assert after[what] == before[what]
    assert after["network_ms"] > 0
    session.undo()
    state = page.did("undo")
    assert state["clicks"] == [[40, 60, 1]]
    np.testing.assert_array_equal(labels(state), session.label_map)


def test_few_models_are_in_memory():
    loaded = []

    def load(key):
        loaded.append(key)
        return engine(key)

    models = Models(["a.pt", "b.pt", "c.pt"], most_loaded=2, load=load)
    people = [Person(models, key) for key in ("a.pt", "b.pt", "c.pt")]
    assert loaded == ["a.pt", "b.pt", "c.pt"]
    for person in people:
        person.open(PHOTOS[0])
    people[0].click(Click(20, 30, True))
    assert loaded == ["a.pt", "b.pt", "c.pt", "a.pt", "b.pt", "c.pt", "a.pt"], "who was forgotten is loaded again"
    assert len(models._loaded) == 2
    state = people[0].click(Click(20, 40, True))
    assert len(loaded) == 7
    assert state["objects"][0]["clicks"] == 2
    for number in (2, 1, 2):  # c is there, b takes the place of a, which was asked longest ago
        people[number].click(Click(20, 40, True))
    assert loaded[7:] == ["b.pt"]
    with pytest.raises(InputError, match="no such model in the list"):
        models.engine("../a.pt")


def test_what_is_no_photo_is_refused_and_changes_nothing(page, monkeypatch):
    before = page.did("click", y=20, x=30)
    text = png(PHOTOS[1])
    for bad in (b"", b"hello", b"<svg></svg>", text[: len(text) // 2], b"%!PS-Adobe-3.0 EPSF-3.0"):
        sentence = page.refused("photo", bad)
        assert re.match(r"the file: (not readable as a picture|the picture claims)", sentence), sentence
        assert "0x" not in sentence
    bomb = io.BytesIO()
    PillowImage.new("1", (MAX_PIXELS // 9000 + 1, 9000)).save(bomb, "PNG")
    assert len(bomb.getvalue()) < 2**20
    assert "more than 89 million pixels" in page.refused("photo", bomb.getvalue())
    assert page.did("select", number=1)["clicks"] == before["clicks"]


def test_clicks_outside_and_requests_of_another_form_are_refused(page):
    for y, x in [(60, 0), (-1, 5), (0, 90), (10**9, 0)]:
        assert "lies outside the photo of 90x60" in page.refused("click", y=y, x=x)
    for words in ({"y": 1}, {"y": "a", "x": 2}, {"y": 1.5, "x": 2}):
        assert "not as the page sends it" in page.refused("click", **words)
    assert "not as the page sends it" in page.refused("click", b"{")
    assert "not as the page sends it" in page.refused("click", b"[" * 10_000)
    empty = Page(page.http)
    for what in ("undo", "redo", "reset", "object"):
        assert "no photo yet" in empty.refused(what)
    for what in ("photo", "probability", "mask.png", "labels.png", "overlay.png", "coco.json", "heat"):
        assert empty.get(what).status_code == 400
    assert page.did("select", number=1)["clicks"] == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "localhost@evil"]
)
def test_another_host_is_refused(http, host):
    for method, path in [("GET", "/"), ("GET", "/api/start"), ("POST", "/api/sessions")]:
        answer = http.request(method, path, headers={"host": host}, json={"key": "one.pt"})
        assert answer.status_code == 403
        assert "127.0.0.1 and localhost only" in answer.json()["error"]


def test_the_machine_may_be_called_localhost(address):
    port = address.rsplit(":", 1)[1]
    assert httpx.get(address, headers={"host": f"localhost:{port}"}).status_code == 200


def test_other_pages_in_the_same_browser_are_refused(address):
    port = address.rsplit(":", 1)[1]
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": f"http://localhost:{port}"},  # not the name under which it is asked
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = httpx.post(f"{address}/api/sessions", json={"key": "one.pt"}, headers=headers)
        assert answer.status_code == 403, headers
    for headers in ({}, {"origin": address, "sec-fetch-site": "same-origin"}):
        assert httpx.post(f"{address}/api/sessions", json={"key": "one.pt"}, headers=headers).status_code == 201


def test_nothing_but_the_listed_files_is_served(address):
    port = int(address.rsplit(":", 1)[1])
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/..%2f..%2fetc/passwd",
                 "/static/", "/static/index.html/..", "/docs", "/openapi.json", "/api/sessions/../../etc/passwd"):  # fmt: skip
        with socket.create_connection(("127.0.0.1", port)) as line:  # a client would tidy the path up
            line.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: line.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 404"), path
        assert "nothing at this address" in answer
    for key in ("../../etc/passwd", "/etc/passwd", "three", "tests", ""):
        answer = httpx.post(f"{address}/api/sessions", json={"key": key})
        assert answer.status_code == 400
        assert "no such model in the list" in answer.json()["error"]


def test_how_much_may_come(address, page):
    """The length is looked at before a byte of the body is."""
    port = int(address.rsplit(":", 1)[1])
    for path, length, status in [
        ("photo", MOST_BODY + 1, 413), ("mask", MOST_BODY + 1, 413), ("click", MOST_WORDS + 1, 413), ("photo", None, 411),
        ("photo", -1, 400), ("photo", "10\r\ntransfer-encoding: chunked", 411),
    ]:  # fmt: skip
        with socket.create_connection(("127.0.0.1", port)) as line:
            said = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
            line.sendall(
                f"POST /api/sessions/{page.name}/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{said}\r\n\r\n".encode()
            )
            answer = line.recv(65536).decode()
        assert answer.startswith(f"HTTP/1.1 {status}"), answer
    assert "at most 32 MiB" in page.refused("photo", bytes(MOST_BODY + 1), status=413)


def test_headers_that_keep_others_out(address):
    for path in ("/", "/api/start", "/nothing"):
        headers = httpx.get(address + path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "set-cookie" not in headers


def test_names_of_sessions_cannot_be_guessed_and_end(http):
    pages = [Page(http) for _ in range(5)]
    assert len({page.name for page in pages}) == 5
    assert all(len(page.name) >= 22 for page in pages)  # 128 bits
    pages[0].did("photo", png(PHOTOS[0]))
    assert "no photo yet" in pages[1].refused("undo"), "another's photo is not seen"
    assert pages[0].post("leave").status_code == 204
    assert "this session is over" in pages[0].refused("undo", status=410)
    assert "this session is over" in Page.refused(_named(pages[1], "guess"), "undo", status=410)


def _named(page, name):
    page.name = name
    return page


def test_those_who_are_idle_longest_are_forgotten_first():
    models = Models(["one.pt"], load=engine)
    people = People(most=3)
    names = [people.join(Person(models, "one.pt")) for _ in range(3)]
    people.find(names[0])
    names.append(people.join(Person(models, "one.pt")))
    for name, there in zip(names, (True, False, True, True), strict=True):
        assert (name in people._people) == there
    with pytest.raises(sessions.Gone):
        people.find(names[1])


def test_photos_that_need_too_much_memory_send_idle_people_away():
    models = Models(["one.pt"], load=engine)
    one, two, three = (Person(models, "one.pt") for _ in range(3))
    for person in (one, two, three):
        assert person.bytes == 0
        person.open(PHOTOS[0])
        assert person.bytes == 7 * 60 * 90  # the photo twice, and a byte for each pixel that is shown
    one.click(Click(20, 30, True))
    assert one.bytes == 7 * 60 * 90 + 4 * 64 * 64
    people = People(most_bytes=one.bytes + two.bytes)
    names = [people.join(person) for person in (two, three, one)]
    people.make_room()
    assert list(people._people) == names[1:]
    people = People(most_bytes=1)
    name = people.join(one)
    people.make_room()
    assert list(people._people) == [name], "a single one has the limit of photos only"


def test_masks_send_idle_people_away_and_have_a_limit(demo, http, monkeypatch):
    idle, busy = Page(http), Page(http)
    mask = png(np.full((60, 90), 255, np.uint8))
    for page in (idle, busy):
        page.did("photo", png(PHOTOS[0]))
    monkeypatch.setattr(demo.people, "_most_bytes", sum(one.bytes for one in demo.people._people.values()))
    before = len(demo.people)
    busy.did("mask", mask)
    busy.did("mask", mask)
    assert len(demo.people) < before
    assert busy.name in demo.people._people
    monkeypatch.setattr(sessions, "MOST_BYTES", 5 * 60 * 90)
    assert "masks need too much memory" in busy.refused("mask", mask)


def test_objects_clicks_and_masks_have_limits(monkeypatch):
    monkeypatch.setattr(sessions, "MOST_OBJECTS", 3)
    monkeypatch.setattr(sessions, "MOST_CLICKS", 3)
    person = Person(Models(["one.pt"], load=engine), "one.pt")
    person.open(PHOTOS[0])
    person.click(Click(5, 5, True))
    person.new_object()
    for x in range(2):
        person.click(Click(5, x, True))
    with pytest.raises(InputError, match="there are 3 clicks"):
        person.click(Click(5, 9, True))
    person.undo()
    person.click(Click(5, 9, True))  # in the place of the one that was undone
    monkeypatch.setattr(sessions, "MOST_BYTES", 2 * person.bytes + 2 * 5 * 60 * 90 - 2)
    with pytest.raises(InputError, match="too much memory"):
        person.new_object(np.zeros((60, 90), bool))
    person.new_object()
    with pytest.raises(InputError, match="there are 3 objects"):
        person.new_object()


def test_large_photos_are_shown_at_fewer_pixels(monkeypatch):
    monkeypatch.setattr(sessions, "SHOWN_PIXELS", 1000)
    person = Person(Models(["one.pt"], load=engine), "one.pt")
    person.open(PHOTOS[0])  # 5400 pixels, so each third
    state = person.click(Click(20, 30, True))
    assert state["step"] == 3
    np.testing.assert_array_equal(labels(state), person.session.mask[1::3, 1::3])
    assert state["objects"][0]["pixels"] == person.session.mask.sum() > 50
    assert person.probability().shape == (20, 30)


def test_the_first_load_is_small_and_asks_nobody_else(address):
    """All that a browser fetches before somebody does something."""
    seen, wanted = {}, ["/", "/api/start"]
    while wanted:
        path = wanted.pop()
        answer = httpx.get(address + path)
        assert answer.status_code == 200, path
        seen[path] = len(answer.content) + len(str(answer.headers))
        text = answer.text
        assert not re.search(r"(src|href|url\(|import|from)\W{0,3}(https?:)?//", text), f"{path} names another server"
        found = re.findall(r'(?:src|href)="(/static/[^"]+)"', text) if path == "/" else []
        found += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', text)]
        wanted += [one for one in found if one not in seen]
    assert {path for path in seen if "/static/" in path} == {
        f"/static/{one.name}" for one in server.STATIC.iterdir() if one.name != "index.html"
    }
    assert sum(seen.values()) < 150_000


def adversarial(tmp_path):
    """Folder of a run with a discriminator, and its record."""
    config = TrainConfig(
        data="synthetic", size=96, width=0.1, encoder_weights="none", memory="previous", clicks="mixed"
    )
    generator = build.generator_of(config)[0]
    adversary = build.adversary_of(config, torch.device("cpu"))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    parts = {"step": 3, "generator": generator.state_dict(), "adversary": adversary.state_dict()}
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", parts)
    return RunRecord("ab" * 16, "name", "FINISHED", 0.0, tmp_path, params={"adv": "hinge"}, metrics={"val/iou": 0.5})


def test_the_heat_map_is_the_discriminators(tmp_path, monkeypatch):
    record = adversarial(tmp_path)
    monkeypatch.setattr("mfpgan.apps.web.models.tracking.list_runs", lambda root: [record])
    monkeypatch.setattr("mfpgan.apps.web.models.SMALL", tmp_path / "none")
    models = Models(load=lambda key: engine())
    (choice,) = models.choices()
    assert choice == Choice("ab" * 16, "abababab, name, adversary hinge, val IoU 0.50", record)
    assert choice.heat
    with running(Demo(models)) as address, httpx.Client(base_url=address, timeout=20) as http:
        page = Page(http, choice.key)
        page.did("photo", png(PHOTOS[0]))
        page.did("click", y=30, x=45)
        answer = page.get("heat")
        assert answer.status_code == 200, answer.text
    levels = np.frombuffer(answer.content, np.uint8).reshape(60, 90)
    assert (levels.min(), levels.max()) == (0, 255)
    assert float(answer.headers["x-low"]) < float(answer.headers["x-high"])
    person = Person(models, choice.key)
    person.open(PHOTOS[0])
    person.click(Click(30, 45, True))
    np.testing.assert_array_equal(levels, heat(person.session, models.critic(choice.key)).level)
    person.open(PHOTOS[0][:9])
    with pytest.raises(InputError, match="at least 32 pixels a side and would be shown 96x10"):
        heat(person.session, models.critic(choice.key))


def test_no_heat_map_without_a_discriminator(page):
    page.did("click", y=30, x=45)
    answer = page.get("heat")
    assert answer.status_code == 400
    assert "no discriminator" in answer.json()["error"]
    assert not any(one["heat"] for one in page.http.get("/api/start").json()["models"])


def test_no_answer_is_held_back(page):
    """Nagle's algorithm would hold the body of each back until the head is acknowledged: 40 ms on Linux."""
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        page.did("select", number=1)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.03


def test_a_fault_of_the_server_is_one_sentence(page, monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(Person, "undo", fail)
    answer = page.post("undo")
    assert answer.json() == {"error": "the server failed at this; what happened stands in its terminal."}
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (500, "nosniff")
    end = time.monotonic() + 5  # it is logged after it is answered
    while "a secret of the machine" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    assert "a secret of the machine" in caplog.text


def test_bad_input_of_the_command_is_one_sentence(working_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = CliRunner().invoke(command, ["--port", str(port)])
        assert isinstance(answer.exception, InputError)
        assert re.fullmatch(rf"127\.0\.0\.1:{port} cannot be used .*; choose another --port\.", str(answer.exception))
    for words in (["--run-id", "abcd"], ["--run-id", "nowhere.pt"], ["--run-id", "no such"]):
        answer = CliRunner().invoke(command, [*words, "--port", "8123"])
        assert isinstance(answer.exception, InputError), answer.exception


def test_the_command_serves_until_ctrl_c(tmp_path):
    config = TrainConfig(data="synthetic", size=64, width=0.1, encoder_weights="none", clicks="mixed", adv="off")
    parts = {"step": 1, "config": config.to_yaml(), "generator": build.generator_of(config)[0].state_dict()}
    save_checkpoint(tmp_path / "tiny.pt", parts)
    with server.listen(0) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mfpgan", "demo", "--run-id", "tiny.pt", "--port", str(port)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert f"http://127.0.0.1:{port} " in process.stderr.readline()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            page = Page(http, "tiny.pt")
            page.did("photo", png(PHOTOS[0]))
            page.did("click", y=20, x=30)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, *said) == (0, "", ""), "no traceback, no log"


def test_two_servers_cannot_begin_at_one_port():
    with server.listen(0) as first, pytest.raises(InputError, match="cannot be used"):
        server.listen(first.getsockname()[1])


def test_without_any_model_the_command_says_so(working_folder, monkeypatch):
    monkeypatch.setattr("mfpgan.apps.web.models.SMALL", working_folder / "none")
    with pytest.raises(InputError, match=r"there is no model to show; train one"):
        Models()
