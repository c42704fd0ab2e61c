"""Protocol `interactive`: games in batches against the one-by-one loop in float32, in one process.

python experiments/speed/evaluation.py                                an untrained network on the bundled sample
python experiments/speed/evaluation.py --data bsds500/ --images 8     other data
python experiments/speed/evaluation.py --run-id 3f2a --zoom           a trained run

Printed for each way to play, over turns in which the ways alternate: milliseconds a click and how many times faster than the
loop it was in the same turn, median and range; and the share of the time outside the network. Reading photos is not counted.
An untrained network answers with nearly the same probability everywhere: times of robots and metrics are those of a
trained one only with --run-id.
Expected on a CPU: 1.8 times with bfloat16, from the number format (1.6 to 1.9) and from larger batches; on a GPU 5 times.
Result, width 1, untrained, 10 objects of BSDS500 test, one thread beside other busy processes, times of the loop: bfloat16 one by
one 1.77 [1.72, 1.95], 32 together 1.98 [1.96, 4.08], float32 together 0.97 [0.93, 1.90] (4 turns, 2 clicks, --memory none); with
--zoom 1.90 [1.79, 2.40], 2.48 [2.41, 3.86] and 1.22 [1.18, 1.26] (3 turns, 3 clicks). Not measured on a GPU.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch

from mfpgan import build, devices, tracking
from mfpgan.config import EvalConfig, TrainConfig
from mfpgan.data import open_dataset
from mfpgan.evaluation.interactive import evaluate_interactive
from mfpgan.jobs.runs import RUNS
from mfpgan.session import ClickSession


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--max-clicks", type=int, default=5)
    parser.add_argument("--batch-size", type=int, action="append", help="may be repeated; the default of mfpgan eval")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--run-id")
    parser.add_argument("--width", type=float, default=1.0, help="of the untrained network")
    parser.add_argument("--memory", default="modulated", help="of the untrained network")
    parser.add_argument("--zoom", action="store_true")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    device, data = devices.pick_device(arguments.device), open_dataset(arguments.data, role="eval")
    if arguments.run_id:
        generator, config, _ = build.load_generator(tracking.fetch(tracking.find_run(arguments.run_id, RUNS)), device)
    else:
        config = TrainConfig(width=arguments.width, encoder_weights="none", memory=arguments.memory, clicks="mixed")
        generator = devices.place(build.generator_of(config)[0], device)
    sizes = [1, *(arguments.batch_size or [EvalConfig().batch_size])]
    ways = [(precision, size) for size in sizes for precision in ("fp32", "bf16")]

    def milliseconds(precision: str, size: int, max_clicks: int) -> tuple[float, float]:
        session = ClickSession(generator, device, precision, arguments.zoom, config.size)
        result = evaluate_interactive(session, data, max_clicks=max_clicks, limit=arguments.images, batch_size=size)
        return 1000 * result.seconds_per_click, result.overhead_share

    for way in ways:
        milliseconds(*way, max_clicks=1)  # warms up
    taken, outside = defaultdict(list), defaultdict(list)
    for turn in range(arguments.turns):
        for way in ways if turn % 2 == 0 else ways[::-1]:
            time, share = milliseconds(*way, max_clicks=arguments.max_clicks)
            taken[way].append(time)
            outside[way].append(share)
    objects = sum(map(len, data.objects_of_image[: arguments.images]))
    print(
        f"{data.name}, {objects} objects, {arguments.max_clicks} clicks, width {config.width:g}, memory {config.memory}, "
        f"{'zoom, ' if arguments.zoom else ''}{device}, {torch.get_num_threads()} threads, {arguments.turns} turns"
    )
    for way in ways:
        times, ratio = np.array(taken[way]), np.array(taken["fp32", 1]) / taken[way]
        name = f"{way[0]}, one by one" if way[1] == 1 else f"{way[0]}, {way[1]} together"
        print(
            f"{name:20}{np.median(times):8.1f} ms [{times.min():.1f}, {times.max():.1f}]"
            f"{np.median(ratio):8.2f} times [{ratio.min():.2f}, {ratio.max():.2f}]"
            f"{100 * np.median(outside[way]):6.0f} % outside the network"
        )


if __name__ == "__main__":
    main()
