"""Protocol `interactive`: games in batches and bfloat16 against the one-by-one loop in float32.

python experiments/speed/evaluation.py                                untrained, width 1, four photos of the sample
python experiments/speed/evaluation.py --data bsds500/ --images 2     other data
python experiments/speed/evaluation.py --set memory=modulated         anything else of a config
python experiments/speed/evaluation.py --run-id 3f2a --zoom           a trained run

Every way to play is a whole evaluation, from reading the photos to the intervals, by the same robot. An untrained network
answers with nearly the same probability everywhere, so the share of robots and metrics is not that of a trained one; the
network's own time is.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from measure import Row, in_turn, report

from mfpgan import build, devices, tracking
from mfpgan.cli.options import resolve
from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.data import open_dataset
from mfpgan.evaluation.interactive import evaluate_interactive
from mfpgan.evaluation.report import InteractiveResult
from mfpgan.jobs.runs import RUNS
from mfpgan.session import ClickSession
from mfpgan.types import DataSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample", metavar="PATH")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--max-clicks", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=EvalConfig().batch_size, help="default: that of mfpgan eval")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--run-id")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--zoom", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one turn of one click, one photo, width .1: does it run?")
    arguments = parser.parse_args()
    settings = ("encoder_weights=none", "clicks=mixed", *arguments.settings)
    if arguments.quick:
        settings = (*settings, "width=0.1")
        arguments.images, arguments.max_clicks, arguments.turns = 1, 1, 1
    config = resolve(TrainConfig, {}, None, settings)
    device = devices.pick_device(config.device)
    if arguments.run_id:
        generator, config, _ = build.load_generator(tracking.fetch(tracking.find_run(arguments.run_id, RUNS)), device)
    else:
        generator = devices.place(build.generator_of(config)[0], device)
    data = open_dataset(arguments.data, role="eval")
    together = arguments.batch_size
    ways = [
        Way(ClickSession(generator, device, precision, arguments.zoom, config.size), size)
        for precision, size in (("fp32", 1), ("bf16", 1), ("bf16", together), ("fp32", together))
    ]
    seconds = in_turn(
        *(partial(way.play, data, arguments.images, arguments.max_clicks) for way in ways), turns=arguments.turns
    )
    peer, *own = (1000 * taken / way.clicks for taken, way in zip(seconds, ways, strict=True))
    rows = [Row(f"a click, {way}", peer, times, "ms") for way, times in zip(ways[1:], own, strict=True)]
    seen = f"{config.size} px by zoom" if arguments.zoom else "the photos' size"
    outside = ", ".join(f"{100 * way.outside:.1f} % ({way})" for way in ways)
    notes = [
        f"Peer: {ways[0]}. {len(ways[0].results[0].rows)} objects of {data.name}, {arguments.max_clicks} clicks on each; "
        f"{torch.get_num_threads()} threads. Share of the time outside the network: {outside}."
    ]
    print(report(f"evaluation, {seen}, width {config.width:g}, memory {config.memory}, {device}", rows, notes))


@dataclass
class Way:
    """One way to play, and what came of it turn by turn; the first turn is not counted."""

    session: ClickSession
    batch_size: int
    results: list[InteractiveResult] = field(default_factory=list)

    def __str__(self) -> str:
        together = f"{self.batch_size} together" if self.batch_size > 1 else "one by one"
        return f"{self.session.engine.precision}, {together}"

    def play(self, data: DataSet, images: int, max_clicks: int) -> None:
        self.results.append(
            evaluate_interactive(self.session, data, limit=images, max_clicks=max_clicks, batch_size=self.batch_size)
        )

    @property
    def clicks(self) -> int:
        """In a turn: the robot is the same every time, so all turns have equally many."""
        return sum(len(row.clicks) for row in self.results[0].rows)

    @property
    def outside(self) -> float:
        """Median share of the time outside the network, reading photos not counted."""
        return float(np.median([result.overhead_share for result in self.results[1:]]))


if __name__ == "__main__":
    main()
