"""The page of `mfpgan demo` in a real Chromium: what a person does, and what they then see."""

import io
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask
from test_session import Remember

from mfpgan.apps.formats import OBJECT_COLOURS
from mfpgan.apps.web.desk import Demo
from mfpgan.apps.web.models import Models
from mfpgan.apps.web.server import running
from mfpgan.inference import TorchEngine
from mfpgan.session import ClickSession

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or chromedriver is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
PHOTO = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
ORIGIN = """
const box = document.getElementById("world").getBoundingClientRect();
return [box.left, box.top, box.width, box.height];
"""
ALPHAS = """
const layer = document.getElementById("layer");
const data = layer.getContext("2d").getImageData(0, 0, layer.width, layer.height).data;
return Array.from({length: data.length / 4}, (_, at) => [...data.subarray(4 * at, 4 * at + 4)]);
"""
SIGNS = """
const signs = [...document.querySelectorAll("#marks g:not(.waits) circle:nth-of-type(2)")];
return signs.map((sign) => sign.classList.contains("add") ? "+" : "-").join("");
"""
BEYOND = """
const width = document.documentElement.clientWidth, texts = [];
if (document.documentElement.scrollWidth > width) texts.push("the page scrolls sideways");
for (const one of document.querySelectorAll("button, select, input, p, h1, h2, #help-text, #stage, .tools")) {
  const box = one.getBoundingClientRect();
  if (one.checkVisibility() && box.width > 1 && (box.left < 0 || box.right > width + 0.5)) texts.push(one.outerHTML);
}
return texts;
"""


def engine(key):
    """Its answer is where the clicks are, disks of radius 5."""
    return TorchEngine(Remember("none" if key == "forgetful" else "previous"), zoom=True, zoom_px=90, name=key)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("headless=new", "no-sandbox", "disable-background-networking", "disable-gpu", "disable-dev-shm-usage",
                 "window-size=1200,800"):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address():
    with running(Demo(Models(["one.pt", "forgetful"], load=engine))) as address:
        yield address


class Page:
    """What a person sees and does."""

    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder

    def __getitem__(self, name):
        return self.driver.find_element("css selector", name if name[0] in "[.#" else f"#{name}")

    def until(self, what):
        end = time.monotonic() + 20
        while not what():
            assert time.monotonic() < end, self["error"].text or "it did not happen"
            time.sleep(0.01)

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def open(self, pixels=PHOTO, name="garden.png"):
        self["photo-file"].send_keys(self.file(name, png(pixels)))
        self.until(lambda: self["world"].is_displayed() and self.size == pixels.shape[:2])

    @property
    def size(self):
        return tuple(
            self.driver.execute_script("const l = document.getElementById('layer'); return [l.height, l.width]")
        )

    @property
    def layer(self):
        """(H, W, 4) uint8, what is drawn over the photo."""
        return np.array(self.driver.execute_script(ALPHAS), np.uint8).reshape(*self.size, 4)

    @property
    def mask(self):
        return self.layer[..., 3] > 0

    @property
    def clicks(self):
        """Signs of the marks on the photo."""
        return self.driver.execute_script(SIGNS)

    def point(self, y, x):
        """Where a pixel of the photo lies on the screen."""
        left, top, width, height = self.driver.execute_script(ORIGIN)
        return round(left + (x + 0.5) * width / PHOTO.shape[1]), round(top + (y + 0.5) * height / PHOTO.shape[0])

    def mouse(self, y, x, button="left", key=None):
        from selenium.webdriver.common.action_chains import ActionChains

        actions = ActionChains(self.driver, duration=0)
        actions.w3c_actions.pointer_action.move_to_location(*self.point(y, x))
        if key:
            actions.key_down(key)
        getattr(actions, "context_click" if button == "right" else "click")()
        if key:
            actions.key_up(key)
        actions.perform()

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def chord(self, letter, *held):
        from selenium.webdriver.common.action_chains import ActionChains

        actions = ActionChains(self.driver, duration=0)
        for key in held:
            actions.key_down(key)
        actions.send_keys(letter)
        for key in held:
            actions.key_up(key)
        actions.perform()

    def saved(self, button, downloads, name):
        path = downloads / name
        path.unlink(missing_ok=True)
        self[f'[data-file="{button}"]'].click()
        self.until(path.is_file)
        return path.read_bytes()

    @property
    def complaints(self):
        """What the browser has to say of the page, besides of how this file reads its canvas."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        return [text for text in said if "getImageData" not in text]


@pytest.fixture
def page(chromium, address, tmp_path):
    page = Page(chromium, tmp_path)
    assert page.complaints is not None  # those of the test before
    chromium.get(address)
    page.until(page["model"].is_enabled)
    assert not page.complaints
    return page


@pytest.fixture
def opened(page):
    page.open()
    return page


@pytest.fixture
def session():
    session = ClickSession(engine("one.pt"))
    session.set_image(PHOTO)
    return session


def png(pixels):
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_click_shows_the_mask_that_a_session_gives(opened, session):
    assert not opened.mask.any()
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    session.click(20, 30)
    np.testing.assert_array_equal(opened.mask, session.mask)
    colours = opened.layer[session.mask][:, :3].astype(int)
    assert np.abs(colours - OBJECT_COLOURS[0]).max() <= 3, "a canvas rounds what is transparent"
    opened.mouse(40, 60)
    opened.until(lambda: opened.clicks == "++")
    session.click(40, 60)
    opened.mouse(22, 32, "right")
    opened.until(lambda: opened.clicks == "++-")
    session.click(22, 32, False)
    np.testing.assert_array_equal(opened.mask, session.mask)
    assert opened["network"].text.endswith(" ms")
    assert float(opened["trip"].text.split()[0]) > 0
    assert "Removed. Object 1" in opened["said"].get_attribute("textContent")
    assert not opened.complaints


def test_alt_removes_too_and_the_switch_chooses_what_a_click_does(opened):
    from selenium.webdriver.common.keys import Keys

    opened.mouse(20, 30)
    opened.mouse(21, 31, key=Keys.ALT)
    opened["removes"].click()
    opened.mouse(22, 32)
    opened["adds"].click()
    opened.mouse(50, 80)
    opened.until(lambda: opened.clicks == "+--+")


def test_undo_redo_and_reset(opened, session):
    from selenium.webdriver.common.keys import Keys

    assert not opened["undo"].is_enabled()
    for place in [(20, 30), (40, 60)]:
        opened.mouse(*place)
        session.click(*place)
    opened.until(lambda: opened.clicks == "++")
    both = session.mask
    session.undo()
    opened["undo"].click()
    opened.until(lambda: opened.clicks == "+")
    np.testing.assert_array_equal(opened.mask, session.mask)
    opened["redo"].click()
    opened.until(lambda: opened.clicks == "++")
    np.testing.assert_array_equal(opened.mask, both)
    opened.chord("z", Keys.CONTROL)
    opened.until(lambda: opened.clicks == "+")
    opened.chord("z", Keys.CONTROL, Keys.SHIFT)
    opened.until(lambda: opened.clicks == "++")
    opened.chord("z", Keys.CONTROL)
    opened.chord("y", Keys.CONTROL)
    opened.until(lambda: opened.clicks == "++" and not opened["redo"].is_enabled())
    opened["reset"].click()
    opened.until(lambda: opened.clicks == "")
    assert not opened.mask.any()
    assert not opened["undo"].is_enabled()


def test_several_objects(opened, session):
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    opened["new-object"].click()
    opened.until(lambda: opened.clicks == "")
    opened.mouse(40, 60)
    opened.until(lambda: opened.clicks == "+")
    session.click(20, 30)
    session.new_object()
    session.click(40, 60)
    layer, labels = opened.layer, session.label_map
    for number in (1, 2):
        colours = layer[labels == number][:, :3].astype(int)
        assert np.abs(colours - OBJECT_COLOURS[number - 1]).max() <= 3
    assert not layer[labels == 0].any()
    assert [row.text.split("\n")[0] for row in opened["objects"].find_elements("tag name", "button")] == [
        "Object 1",
        "Object 2",
    ]
    opened['[data-number="1"]'].click()
    chosen = '[data-number="1"][aria-pressed="true"]'
    opened.until(lambda: opened.driver.find_elements("css selector", chosen))
    opened["undo"].click()
    opened.until(lambda: opened.clicks == "")
    np.testing.assert_array_equal(opened.mask, labels == 2)


def test_files_are_what_is_seen(opened, session, downloads):
    opened.mouse(20, 30)
    opened["new-object"].click()
    opened.mouse(40, 60)
    opened.until(lambda: opened.clicks == "+")
    session.click(20, 30)
    session.new_object()
    session.click(40, 60)

    def picture(data):
        return np.asarray(PillowImage.open(io.BytesIO(data)))

    np.testing.assert_array_equal(picture(opened.saved("mask.png", downloads, "garden-mask.png")), 255 * session.mask)
    np.testing.assert_array_equal(
        picture(opened.saved("labels.png", downloads, "garden-labels.png")), session.label_map
    )
    overlay = picture(opened.saved("overlay.png", downloads, "garden-overlay.png"))
    assert (overlay != PHOTO).any(-1)[session.masks[0]].mean() > 0.9
    coco = json.loads(opened.saved("coco.json", downloads, "garden-coco.json"))
    for entry, mask in zip(coco["annotations"], session.masks, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]), mask)


def test_what_is_no_photo_is_told_and_nothing_is_lost(opened):
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    opened["photo-file"].send_keys(opened.file("song.png", b"no picture at all"))
    opened.until(opened["error"].is_displayed)
    assert opened["error"].find_element("tag name", "span").text.startswith("The file: not readable as a picture")
    assert opened["error"].get_attribute("role") == "alert"
    assert opened.mask.any()
    opened.mouse(40, 60)
    opened.until(lambda: opened.clicks == "++")
    assert not opened["error"].is_displayed(), "it goes when something works again"
    opened.driver.execute_script("window.fetch = () => Promise.reject(new TypeError())")
    opened["undo"].click()
    opened.until(opened["error"].is_displayed)
    assert "does not answer" in opened["error"].text
    opened["error"].find_element("tag name", "button").click()
    assert not opened["error"].is_displayed()


def test_an_example_is_two_clicks_away(page):
    assert page["empty"].is_displayed()
    page["example-2"].click()
    page.until(page["world"].is_displayed)
    assert max(page.size) == 320
    assert not page["empty"].is_displayed()
    before = page.size
    page["example"].click()
    page.until(lambda: page.size != before)


def test_keys_alone_are_enough(opened):
    from selenium.webdriver.common.keys import Keys

    opened.driver.execute_script("document.activeElement.blur()")
    for _ in range(40):
        opened.keys(Keys.TAB)
        if opened.driver.switch_to.active_element.get_attribute("id") == "stage":
            break
    assert opened.driver.switch_to.active_element.get_attribute("id") == "stage"
    assert opened.driver.find_elements("css selector", "#marks .cross"), "the crosshair shows where Enter clicks"
    assert opened.driver.execute_script("return getComputedStyle(stage).outlineStyle") == "solid"
    opened.keys(Keys.ENTER)
    opened.until(lambda: opened.clicks == "+")
    assert opened.mask[30, 45]
    opened.keys(*[Keys.ARROW_LEFT] * 9, *[Keys.ARROW_UP] * 5)
    opened.keys(Keys.ENTER)
    opened.until(lambda: opened.clicks == "++")
    opened.chord(Keys.ARROW_RIGHT, Keys.SHIFT)  # one pixel
    opened.keys(Keys.DELETE)
    opened.until(lambda: opened.clicks == "++-")
    opened.keys(Keys.BACKSPACE)
    opened.chord(Keys.ENTER, Keys.SHIFT)
    opened.until(lambda: opened.clicks == "++---")
    opened.keys("n")
    opened.until(lambda: opened.clicks == "")
    opened.keys("?")
    opened.until(opened["help-text"].is_displayed)
    opened.keys(Keys.ESCAPE)
    opened.until(lambda: not opened["help-text"].is_displayed())


def test_clicks_land_where_they_are_seen_after_zoom_and_move(opened, session):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    width = opened.driver.execute_script(ORIGIN)[2]
    under = opened.point(20, 30)
    wheel = ScrollOrigin.from_viewport(*under)
    ActionChains(opened.driver).scroll_from_origin(wheel, 0, -400).perform()
    opened.until(lambda: opened.driver.execute_script(ORIGIN)[2] > 1.5 * width)
    assert np.abs(np.subtract(opened.point(20, 30), under)).max() <= 12, "the point under the pointer stays"
    before = opened.point(20, 30)
    drag = ActionChains(opened.driver, duration=0)
    drag.w3c_actions.pointer_action.move_to_location(*before).pointer_down().move_to_location(
        before[0] + 60, before[1] + 40
    )
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    assert np.abs(np.subtract(opened.point(20, 30), (before[0] + 60, before[1] + 40))).max() <= 1
    assert opened.clicks == "", "to drag is not to click"
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    session.click(20, 30)
    np.testing.assert_array_equal(opened.mask, session.mask)
    opened["fit"].click()
    assert opened.driver.execute_script(ORIGIN)[2] == pytest.approx(width)


def test_fingers(opened):
    def touch(kind, *points):
        values = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        opened.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": values})

    opened["removes"].click()
    touch("touchStart", opened.point(20, 30))
    touch("touchEnd")
    opened.until(lambda: opened.clicks == "-")
    width = opened.driver.execute_script(ORIGIN)[2]
    x, y = opened.point(30, 45)
    touch("touchStart", (x - 40, y))
    touch("touchStart", (x - 40, y), (x + 40, y))
    touch("touchMove", (x - 80, y), (x + 80, y))
    touch("touchEnd")
    assert opened.driver.execute_script(ORIGIN)[2] == pytest.approx(2 * width, rel=0.05)
    assert opened.clicks == "-", "two fingers never click"


@pytest.mark.parametrize("width", [360, 820, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(page, width, scheme):
    driver = page.driver
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for step in (lambda: None, page.open, page["help"].click):
            step()
            assert driver.execute_script(BEYOND) == []
        paper, ink = driver.execute_script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        )
        (light, dark) = (paper, ink) if scheme == "light" else (ink, paper)
        assert sum(map(int, light[4:-1].split(","))) > 600
        assert sum(map(int, dark[4:-1].split(","))) < 200
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_photo_may_be_dropped_or_pasted(page):
    for kind, field, pixels in [("drop", "dataTransfer", PHOTO), ("paste", "clipboardData", PHOTO[:50])]:
        page.driver.execute_script(
            """
            const [bytes, kind, field] = arguments, carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "photo.png", {type: "image/png"}));
            const Kind = kind === "drop" ? DragEvent : ClipboardEvent;
            document.dispatchEvent(new Kind(kind, {[field]: carried, bubbles: true, cancelable: true}));
            """,
            list(png(pixels)), kind, field,
        )  # fmt: skip
        page.until(lambda pixels=pixels: page["world"].is_displayed() and page.size == pixels.shape[:2])


def test_a_mask_to_begin_with_and_a_network_that_would_not_read_it(opened):
    from selenium.webdriver.support.ui import Select

    mask = np.zeros((60, 90), np.uint8)
    mask[5:20, 10:30] = 255
    opened["mask-file"].send_keys(opened.file("mask.png", png(mask)))
    opened.until(lambda: opened.mask[5, 10])
    np.testing.assert_array_equal(opened.mask, mask > 0)
    Select(opened["model"]).select_by_value("forgetful")
    opened.until(opened["error"].is_displayed)
    assert "has no memory" in opened["error"].text
    assert opened["model"].get_attribute("value") == "one.pt"
    np.testing.assert_array_equal(opened.mask, mask > 0)


def test_views_and_models(opened, session):
    from selenium.webdriver.support.ui import Select

    assert not opened['[data-view="heat"]'].is_enabled(), "no discriminator"
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    opened['[data-view="probability"]'].click()
    opened.until(opened["legend"].is_displayed)
    layer = opened.layer
    assert (layer[..., 3] > 0).all()
    session.click(20, 30)
    for place in [(20, 30), (50, 80)]:
        inside = session.probability[place] > 0.5
        assert (layer[place][1] > 150) == inside, "yellow and green are likely, violet is not"
    opened['[data-view="mask"]'].click()
    opened.until(lambda: not opened["legend"].is_displayed())
    Select(opened["model"]).select_by_value("forgetful")
    opened.until(lambda: "another model" in opened["said"].get_attribute("textContent"))
    assert opened.clicks == "+"
    assert opened.mask[20, 30]


def test_opacity(opened):
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    inner = (20, 30)
    assert opened.layer[inner][3] == 128
    opened.driver.execute_script("opacity.value = 100; opacity.dispatchEvent(new Event('input'))")
    assert opened.layer[inner][3] == 255
    opened.driver.execute_script("opacity.value = 0; opacity.dispatchEvent(new Event('input'))")
    assert opened.layer[inner][3] == 0
    assert opened.mask.any(), "the edge stays"


def test_tabs_have_sessions_of_their_own(opened, address):
    opened.mouse(20, 30)
    opened.until(lambda: opened.clicks == "+")
    first = opened.driver.current_window_handle
    opened.driver.switch_to.new_window("tab")
    try:
        opened.driver.get(address)
        opened.until(opened["model"].is_enabled)
        opened.open(PHOTO[:40])
        opened.mouse(5, 5)
        opened.mouse(30, 30)
        opened.until(lambda: opened.clicks == "++")
    finally:
        opened.driver.close()
        opened.driver.switch_to.window(first)
    opened.mouse(40, 60)
    opened.until(lambda: opened.clicks == "++")
    assert opened.size == (60, 90)
    assert opened.mask[20, 30]


def test_nothing_is_asked_of_anybody_else(opened, address):
    asked = opened.driver.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked
    assert all(one.startswith(f"{address}/") for one in asked)
    assert opened.driver.execute_script("return document.cookie + JSON.stringify(localStorage)") == "{}"
    assert not opened.complaints
