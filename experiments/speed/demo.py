"""A click through the page of `mfpgan demo` against the same click in a session of one's own, and many people at once.

python experiments/speed/demo.py                              width 1, bf16, a photo of 256x256 pixels, 20 people
python experiments/speed/demo.py --set width=0.25             anything else of a config
python experiments/speed/demo.py --run-id small               a trained network

Server, session and people share one process and its cores. What is measured of the page is all but the browser: the request
over HTTP, the answer, and the labels of all pixels from it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import Row, in_turn, memory_mib, report, spread

from mfpgan import build, devices
from mfpgan.apps.loading import load_engine
from mfpgan.apps.web.desk import Demo
from mfpgan.apps.web.models import Models
from mfpgan.apps.web.server import running
from mfpgan.cli.options import resolve
from mfpgan.config import TrainConfig
from mfpgan.data.synthetic import SyntheticDataSet
from mfpgan.engine import Engine
from mfpgan.inference import TorchEngine, predict
from mfpgan.session import ClickSession
from mfpgan.types import Click

KEY = "network"


class Page:
    """A tab of a browser, without a browser."""

    def __init__(self, address: str, photo: np.ndarray) -> None:
        self._line = http.client.HTTPConnection(address.removeprefix("http://"), timeout=300)
        self._name = self._ask("/api/sessions", json.dumps({"key": KEY}).encode())["name"]
        self.ask("photo", b"P6 %d %d 255\n" % photo.shape[1::-1] + photo.tobytes())

    def ask(self, what: str, body: bytes = b"{}") -> dict[str, Any]:
        return self._ask(f"/api/sessions/{self._name}/{what}", body)

    def click(self, place: Click) -> np.ndarray:
        """(H, W) uint8, the label map after it."""
        words = {"y": place.y, "x": place.x, "positive": place.positive}
        state = self.ask("click", json.dumps(words).encode())
        lengths, labels = np.array(state["runs"]).reshape(-1, 2).T
        shown: np.ndarray = np.repeat(labels.astype(np.uint8), lengths).reshape(state["height"], state["width"])
        return shown

    def close(self) -> None:
        self._line.close()

    def _ask(self, path: str, body: bytes) -> dict[str, Any]:
        self._line.request("POST", path, body, {"content-type": "application/json"})
        answer = self._line.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {found['error']}")
        return found


class Crowd(NamedTuple):
    """What many people at once met."""

    seconds: np.ndarray
    """(answers,) of each click."""
    errors: list[str]
    mixed: int
    """Answers that are not those of a session of one's own."""
    different: int
    """How many of the expected answers differ from one another."""
    memory: list[float]
    """(laps,) MiB of the process at the end of each lap."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument(
        "--run-id", help="a trained network, as in mfpgan demo; left out: one of width 1 that is not trained"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels of a side of the photos")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "auto"))
    parser.add_argument("--clicks", type=int, default=3, help="in a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10, help="clicks of each of them; then all begin anew")
    parser.add_argument("--laps", type=int, default=3, help="how often")
    parser.add_argument("--quick", action="store_true", help="64 px, width .1, three people: does it run?")
    arguments = parser.parse_args()
    settings = ["encoder_weights=none", "clicks=mixed", f"size={arguments.size}", *arguments.settings]
    if arguments.quick:
        settings += ["width=0.1", "size=64", "adv=off"]
        arguments.size, arguments.clicks, arguments.turns = 64, 1, 1
        arguments.people, arguments.rounds, arguments.laps = 3, 2, 2
    engine, what = network(arguments.run_id, settings, arguments.precision)
    drawn = SyntheticDataSet(images=arguments.people, size_px=arguments.size)
    photos = [drawn[image[0]].image for image in drawn.objects_of_image]
    with running(Demo(Models([KEY], load=lambda _: engine))) as address:
        own, through = one_person(engine, address, photos[0], arguments.clicks, arguments.turns)
        crowd = many_people(engine, address, photos, arguments.rounds, arguments.laps)
    title = f"{arguments.size}x{arguments.size} px, {what}"
    more = 1000 * (through - own) / arguments.clicks
    row = Row("a click: session, page", 1000 * own / arguments.clicks, 1000 * through / arguments.clicks, "ms")
    late, last = 1000 * np.quantile(crowd.seconds, [0.5, 0.95])
    ready = 1000 * np.median(own) / arguments.clicks * arguments.people
    notes = [
        f"Peer: a session of one's own. The page takes {spread(more)} ms more; {torch.get_num_threads()} threads.",
        f"{arguments.people} people at once, {arguments.laps} x {arguments.rounds} clicks each: {len(crowd.errors)} errors, {crowd.mixed} answers "
        f"of {len(crowd.seconds)} that are not their own session's ({crowd.different} different ones); an answer after "
        f"{late:.0f} ms (median), {last:.0f} ms (95 %), where {arguments.people} clicks of one person take {ready:.0f} ms; "
        f"memory {', '.join(f'{size:.0f}' for size in crowd.memory)} MiB after each {arguments.rounds}.",
        *crowd.errors[:3],
    ]
    print(report(title, [row], notes))


def network(run_id: str | None, settings: Sequence[str], precision: str) -> tuple[Engine, str]:
    """What answers, and what it is."""
    if run_id is not None:
        return load_engine(run_id, precision=precision), f"{run_id}, {precision}"
    config = resolve(TrainConfig, {}, None, tuple(settings))
    device = devices.pick_device(config.device)
    generator = devices.place(build.generator_of(config)[0], device)
    # Untrained it says the same of all pixels; about its middle, each photo and click gets a mask of its own.
    photo = (
        torch.from_numpy(SyntheticDataSet(images=1, size_px=config.size)[0].image).permute(2, 0, 1)[None].float() / 255
    )
    middle = predict(generator, photo.to(device), [[Click(config.size // 2, config.size // 2, True)]]).logit().median()
    with torch.no_grad():
        generator.head.bias -= middle
    engine = TorchEngine(generator, device, devices.precision_on(device, precision), zoom=True, zoom_px=config.size)
    return engine, f"width {config.width:g}, memory {config.memory}, {engine.precision}, {device}"


def places(count: int, size: int, seed: int) -> list[Click]:
    """The clicks of a person; the first one adds."""
    rng = np.random.default_rng(seed)
    return [Click(*map(int, rng.integers(size, size=2)), number % 3 != 2) for number in range(count)]


def one_person(
    engine: Engine, address: str, image: np.ndarray, clicks: int, turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """(turns,) seconds of so many clicks in a session, and through the page; from the second click on."""
    session, page = ClickSession(engine), Page(address, image)
    session.set_image(image)
    todo = places((turns + 1) * clicks + 1, len(image), seed=0)
    session.click(*todo[0])
    page.click(todo[0])
    turn = {"own": iter(todo[1:]), "through": iter(todo[1:])}

    def own() -> None:
        for _ in range(clicks):
            session.click(*next(turn["own"]))

    def through() -> None:
        for _ in range(clicks):
            page.click(next(turn["through"]))

    seconds = in_turn(own, through, turns=turns)
    page.close()
    return seconds[0], seconds[1]


def many_people(engine: Engine, address: str, photos: Sequence[np.ndarray], rounds: int, laps: int) -> Crowd:
    """Everybody clicks at the same moment, so many times; then all begin anew."""
    todo = [places(rounds, len(image), seed) for seed, image in enumerate(photos)]
    expected = [answers(engine, image, clicks) for image, clicks in zip(photos, todo, strict=True)]
    pages = [Page(address, image) for image in photos]
    seconds: list[float] = []
    errors: list[str] = []
    mixed: list[int] = []
    memory: list[float] = []
    ready, done = (
        threading.Barrier(len(photos)),
        threading.Barrier(len(photos), lambda: memory.append(memory_mib("VmRSS"))),
    )

    def person(number: int) -> None:
        for _ in range(laps):
            for place, answer in zip(todo[number], expected[number], strict=True):
                ready.wait()
                start = time.perf_counter()
                try:
                    shown = pages[number].click(place)
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    errors.append(f"person {number}: {error}")
                    continue
                seconds.append(time.perf_counter() - start)
                if not np.array_equal(shown, answer):
                    mixed.append(number)
            done.wait()
            pages[number].ask("reset")
        pages[number].close()

    people = [threading.Thread(target=person, args=(number,)) for number in range(len(photos))]
    for one in people:
        one.start()
    for one in people:
        one.join()
    different = len({answer.tobytes() for all_of_one in expected for answer in all_of_one})
    return Crowd(np.array(seconds), errors, len(mixed), different, memory)


def answers(engine: Engine, image: np.ndarray, clicks: Sequence[Click]) -> list[np.ndarray]:
    """The label maps of a session alone, after each click."""
    session = ClickSession(engine)
    session.set_image(image)
    found = []
    for click in clicks:
        session.click(*click)
        found.append(session.label_map)
    return found


if __name__ == "__main__":
    main()
