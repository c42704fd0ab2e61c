"""The example page: an exported network in a real browser, held to ClickSession."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image

from mfpgan import ClickSession, build
from mfpgan.apps.hub import Trained
from mfpgan.apps.onnx import numpy_twins
from mfpgan.apps.onnx.export import export
from mfpgan.clicks.encoding import draw_clicks
from mfpgan.config import TrainConfig
from mfpgan.photos import as_photo
from mfpgan.types import Click
from mfpgan.zoom import View, clicks_in, crop_size, next_view

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "browser"
CLICKS = [(100, 160, True), (20, 30, False), (150, 220, True), (100, 160, False), (60, 60, True), (190, 10, False)]

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder with a model and a photo in it, and what npm installs."""
    folder = tmp_path_factory.mktemp("browser") / "page"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    values = {"width": 0.1, "memory": "modulated", "clicks": "mixed", "size": 96, "encoder_weights": "none"}
    config = TrainConfig.from_mapping(values, "a test")
    generator, _ = build.generator_of(config)
    with torch.no_grad():
        generator.head.weight *= 30  # masks of more than one kind
    export(Trained(generator.eval(), config, "tiny", "", 0), folder / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (210, 330, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder


@pytest.fixture
def page(example: Path) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are not installed")
    if not (example / "node_modules").is_dir():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        done = subprocess.run(command, cwd=example, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install onnxruntime-web here: {done.stderr.strip()[:200]}")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(example)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = selenium.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        yield driver
    finally:
        driver.quit()
        server.shutdown()
        server.server_close()


def wait(driver: Any, words: Callable[[str], bool]) -> str:
    from selenium.webdriver.support.ui import WebDriverWait

    def said(one: Any) -> str | None:
        text: str = one.find_element("id", "status").text
        return text if words(text) else None

    found: str = WebDriverWait(driver, 60, 0.05).until(said)
    return found


def test_the_same_clicks_give_the_same_mask(example: Path, page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    wait(page, lambda text: text == "Open a photo.")
    page.find_element("id", "photo").send_keys(str(example / "photo.png"))
    wait(page, lambda text: text == "Click on an object.")
    session = ClickSession.load(example / "model.onnx")
    session.set_image(example / "photo.png")

    # What the network says, through the page's own session, click after click.
    script = """
    const [clicks, done] = arguments;
    (async () => {
      const ort = await import("./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
      const { Session, loadNetwork } = await import("./session.js");
      const bytes = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
      const canvas = document.getElementById("canvas");
      const photo = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const session = new Session(await loadNetwork(ort, bytes), photo.data, photo.height, photo.width);
      const answers = [];
      for (const [y, x, positive] of clicks) {
        await session.click(y, x, positive);
        answers.push([...session.probability().data]);
      }
      return answers;
    })().then(done, (error) => done(String(error.stack)));
    """
    page.set_script_timeout(120)
    answers = page.execute_async_script(script, CLICKS)
    assert isinstance(answers, list), answers
    masks = set()
    for (y, x, positive), answer in zip(CLICKS, answers, strict=True):
        wanted = session.click(y, x, positive)
        found = np.array(answer, np.float32).reshape(wanted.shape)
        assert np.abs(found - wanted).max() < 1e-3
        sure = np.abs(wanted - 0.5) > 1e-3
        assert np.array_equal((found > 0.5)[sure], (wanted > 0.5)[sure])
        masks.add((wanted > 0.5).tobytes())
    assert len(masks) > 3

    # And with the mouse: a left click, a right click, undo.
    canvas = page.find_element("id", "canvas")

    def pixels() -> Any:
        return page.execute_script(
            "const c = document.getElementById('canvas');"
            "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )

    before = pixels()
    ActionChains(page).move_to_element(canvas).click().perform()
    wait(page, lambda text: text.startswith("1 click"))
    once = pixels()
    ActionChains(page).move_to_element_with_offset(canvas, -100, -50).context_click().perform()
    wait(page, lambda text: text.startswith("2 click"))
    assert pixels() != once
    page.find_element("id", "undo").click()
    wait(page, lambda text: text.startswith("1 click"))
    assert pixels() == once != before

    # A click that fails says so; the next one is answered.
    page.execute_async_script("""
    const done = arguments[0];
    import("./session.js").then(({ Session }) => {
      const whole = Session.prototype.click;
      Session.prototype.click = () => { Session.prototype.click = whole; throw new Error("broken on purpose"); };
      done();
    });
    """)
    ActionChains(page).move_to_element_with_offset(canvas, -100, -50).context_click().perform()
    wait(page, lambda text: text == "That did not work (broken on purpose).")
    ActionChains(page).move_to_element_with_offset(canvas, -100, -50).context_click().perform()
    wait(page, lambda text: text.startswith("2 click"))

    page.find_element("id", "photo").send_keys(str(example / "README.md"))
    wait(page, lambda text: text.startswith("This photo cannot be read"))
    page.find_element("id", "model").send_keys(str(example / "photo.png"))
    wait(page, lambda text: text.startswith("This is no model of mfpgan"))
    problems = [
        line for line in page.get_log("browser") if line["level"] == "SEVERE" and "favicon" not in line["message"]
    ]
    assert problems == []


def test_photos_have_the_pixels_that_python_reads(example: Path, page: Any) -> None:
    """Transparent, of another gamma, and turned by EXIF: each would be another photo if the browser had its way."""
    rng = np.random.default_rng(1)
    png = BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 30, 4), np.uint8)).save(png, "PNG")
    gamma = b"gAMA" + (100_000).to_bytes(4, "big")
    chunk = (4).to_bytes(4, "big") + gamma + crc32(gamma).to_bytes(4, "big")
    (example / "clear.png").write_bytes(png.getvalue()[:33] + chunk + png.getvalue()[33:])  # behind the header
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(example / "turned.jpg", exif=turned)
    wait(page, lambda text: text == "Open a photo.")
    for name in ("clear.png", "turned.jpg"):
        wanted = as_photo(example / name)
        page.execute_script("document.getElementById('status').textContent = '...'")
        page.find_element("id", "photo").send_keys(str(example / name))
        wait(page, lambda text: text == "Click on an object.")
        height, width, found = page.execute_script(
            "const c = document.getElementById('canvas');"
            "return [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
        )
        difference = np.array(found).reshape(height, width, 4)[:, :, :3] - wanted.astype(int)
        assert np.abs(difference).max() <= 1, name  # laid on white, halves are rounded either way


def node(program: str, cases: list[Any]) -> list[Any]:
    """What a function of session.js answers to each case."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    text = f"import * as js from {json.dumps((EXAMPLE / 'session.js').as_uri())};\n" + (
        'import { readFileSync } from "node:fs";\n'
        'const cases = JSON.parse(readFileSync(0, "utf8"));\n'
        f"const answer = (c) => {{ {program} }};\n"
        "console.log(JSON.stringify(cases.map(answer)));"
    )
    command = ["node", "--input-type=module", "--eval", text]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def random_clicks(rng: np.random.Generator, height: int, width: int) -> list[Click]:
    count = rng.integers(0, 11)
    return [Click(int(rng.integers(height)), int(rng.integers(width)), bool(rng.random() < 0.6)) for _ in range(count)]


def as_json(clicks: Any) -> list[dict[str, Any]]:
    return [click._asdict() for click in clicks]


def test_rounding_is_pythons() -> None:
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, 2.6, -2.6, 7]
    assert node("return js.round(c)", values) == [round(value) for value in values]


def test_click_maps_and_modulation_are_those_of_python() -> None:
    rng = np.random.default_rng(3)
    cases, maps, modulated = [], [], []
    for number in range(60):
        shape, radius = (("disk", 5.0), ("gaussian", 3.0), ("distance", 40.0))[number % 3]
        clicks = random_clicks(rng, 40, 50)
        previous = rng.random((40, 50), np.float32) if number % 2 else (rng.random((40, 50)) > 0.5).astype(np.float32)
        cases.append({"clicks": as_json(clicks), "shape": shape, "radius": radius, "data": previous.ravel().tolist()})
        maps.append(draw_clicks(clicks, 40, 50, shape, radius).ravel())  # type: ignore[arg-type]
        modulated.append(numpy_twins.modulate(previous, clicks).ravel())
    found = node("return [...js.drawClicks(c.clicks, 40, 50, c.shape, c.radius)]", cases)
    np.testing.assert_allclose(np.array(found), np.array(maps), atol=1e-6)
    program = "return [...js.modulate({height: 40, width: 50, data: Float32Array.from(c.data)}, c.clicks).data]"
    np.testing.assert_allclose(np.array(node(program, cases)), np.array(modulated), atol=1e-5)


def test_views_and_crops_are_those_of_python() -> None:
    rng = np.random.default_rng(4)
    cases, views, moved, crops = [], [], [], []
    for number in range(30):
        height, width = int(rng.integers(3, 500)), int(rng.integers(3, 500))
        previous = np.zeros((height, width), np.float32)
        top, left = rng.integers(height), rng.integers(width)
        previous[top : top + rng.integers(1, 200), left : left + rng.integers(1, 300)] = 0.9
        clicks = random_clicks(rng, height, width)
        last = next_view(previous, [Click(int(top), int(left), True)] * 2, None) if number % 2 else None
        view = next_view(previous, clicks, last)
        size = int(rng.integers(8, 120))
        shown = view or View(0, 0, height, width)
        cases.append(
            {
                "height": height,
                "width": width,
                "data": previous.ravel().tolist(),
                "clicks": as_json(clicks),
                "last": last and last._asdict(),
                "shown": shown._asdict(),
                "size": size,
            }
        )
        views.append(view and view._asdict())
        moved.append(as_json(clicks_in(clicks, shown, size)))
        crops.append([crop_size(shown, size), numpy_twins.crop(previous, shown, size)])
    assert node("return js.nextView(c, c.clicks, c.last)", cases) == views
    assert node("return js.clicksIn(c.clicks, c.shown, c.size)", cases) == moved
    program = (
        "const s = js.cropSize(c.shown, c.size); return [s, [...js.resize(c.data, c.width, 1, 1, 1, c.shown, s)[0]]]"
    )
    for (size, found), (wanted_size, wanted) in zip(node(program, cases), crops, strict=True):
        assert tuple(size) == wanted_size
        np.testing.assert_allclose(np.array(found, np.float32).reshape(wanted.shape), wanted, atol=3e-5)
