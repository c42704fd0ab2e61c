"""The benchmark's robot: mfpgan's `center` against RITM's clicker, on the same masks, with the same clicks.

python experiments/speed/clicks.py                 objects of the training data that mfpgan finds, otherwise of its sample
python experiments/speed/clicks.py --data PATH     an LVIS or COCO JSON or a folder with images/ and masks/

The peer does what RITM's clicker does (isegm/inference/clicker.py; Sofiiuk et al., ICIP 2022), written anew: errors of the whole mask,
padded by one pixel, an exact distance transform each, clicked pixels taken out, the first deepest pixel; once with OpenCV as there,
once with SciPy's transform, as others do. The situations are games of the robot with a user interface that sets right whatever lies
within 25 pixels of a click, starting from an object that is shifted and swollen. OpenCV's distances may be off by a unit in the last place, so of
equally deep pixels the peer may find another one: counted, and timed all the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from measure import Row, in_turn, report
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from mfpgan.clicks.center import Center
from mfpgan.data import find_default, open_dataset
from mfpgan.data.subset import spread
from mfpgan.types import BoolMask, Click

REACH_PX = 25
Transform = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


class Situation(NamedTuple):
    """What the robot looks at."""

    target: BoolMask
    prediction: BoolMask
    clicks: tuple[Click, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="PATH")
    parser.add_argument("--images", type=Path, help="folder of the photos, if they do not lie beside the JSON")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--clicks", type=int, default=10, help="most in a game")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one turn, two games of two clicks: does it run?")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.objects, arguments.clicks, arguments.turns = 2, 2, 1
    spec = arguments.data or find_default("train")[0]
    data = open_dataset(spec, images=None if arguments.images is None else str(arguments.images))
    situations: list[Situation] = []
    for number, index in enumerate(spread(len(data), arguments.objects)):
        situations += game(data[index].target, np.random.default_rng(number), arguments.clicks)
    cv2.setNumThreads(1)
    answers = [own_click(situation) for situation in situations]
    rows, same = [], []
    for name, transform in TRANSFORMS.items():
        equal = sum(
            peer_click(situation, transform) == answer for situation, answer in zip(situations, answers, strict=True)
        )
        same.append(f"{equal} of {len(answers)} with {name}")
        seconds = in_turn(
            lambda transform=transform: [peer_click(situation, transform) for situation in situations],
            lambda: [own_click(situation) for situation in situations],
            turns=arguments.turns,
        )
        rows.append(Row(f"a click of the robot, {name}", *(1000 * seconds / len(situations)), "ms"))
    print(
        report(
            f"{len(situations)} clicks on {data.name}",
            rows,
            [f"Peer: RITM's clicker. Equal clicks: {', '.join(same)}."],
        )
    )


def game(target: BoolMask, rng: np.random.Generator, most: int) -> list[Situation]:
    """The situations of one game, before each click."""
    down, right = rng.integers(-20, 21, 2)
    swollen = cv2.dilate(target.view(np.uint8), np.ones((9, 9), np.uint8)).view(np.bool_)
    prediction = np.roll(swollen, (int(down), int(right)), (0, 1))
    ys, xs = np.ogrid[: target.shape[0], : target.shape[1]]
    situations: list[Situation] = []
    clicks: tuple[Click, ...] = ()
    for _ in range(most):
        situations.append(Situation(target, prediction, clicks))
        click = own_click(situations[-1])
        if click is None:
            return situations[:-1]
        near = (ys - click.y) ** 2 + (xs - click.x) ** 2 <= REACH_PX**2
        prediction, clicks = np.where(near, target, prediction), (*clicks, click)
    return situations


ROBOT = Center()
CHANCE = np.random.default_rng(0)
"""Not used by this robot."""


def own_click(situation: Situation) -> Click | None:
    turn = ROBOT(situation.target, situation.prediction, situation.clicks, CHANCE)
    return turn[0] if turn else None


def peer_click(situation: Situation, transform: Transform) -> Click:
    missed = depth(situation.target & ~situation.prediction, situation.clicks, transform)
    surplus = depth(situation.prediction & ~situation.target, situation.clicks, transform)
    positive = missed.max() > surplus.max()
    deeper = missed if positive else surplus
    ys, xs = np.where(deeper == deeper.max())
    return Click(int(ys[0]), int(xs[0]), bool(positive))


def depth(error: BoolMask, clicks: Sequence[Click], transform: Transform) -> NDArray[np.floating]:
    distance = transform(np.pad(error, 1).astype(np.uint8))[1:-1, 1:-1]
    free = np.ones(error.shape, np.bool_)
    for click in clicks:
        free[click.y, click.x] = False
    return distance * free


TRANSFORMS: dict[str, Transform] = {
    "OpenCV": lambda mask: cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
    "SciPy": distance_transform_edt,
}


if __name__ == "__main__":
    main()
