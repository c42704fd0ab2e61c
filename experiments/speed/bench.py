"""All benchmarks, one after the other, each in a fresh process: what `make bench` runs.

python experiments/speed/bench.py                     eight minutes; an LVIS file of 5,000 images drawn for the purpose
python experiments/speed/bench.py --full              the same with a file of LVIS's size: half an hour, 9 GB of memory
python experiments/speed/bench.py --quick             does everything run?
python experiments/speed/bench.py --only clicks --into experiments/README.md    into the page, between its markers

Times are taken in turn, so ratios hold on a busy machine; the seconds beside them hold for this machine and moment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from lvis_file import IMAGES, write_lvis, write_photos
from measure import machine

from mfpgan.files import write_atomically

HERE = Path(__file__).parent
BENCHMARKS = (
    "opening",
    "loading",
    "training_step",
    "precision",
    "memory",
    "clicks",
    "session",
    "large_photo",
    "demo",
    "evaluation",
)
SIZE_OF = {"quick": 300, "usual": 5_000, "full": IMAGES}
"""Images of the LVIS file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument(
        "--data", metavar="PATH", help="LVIS or COCO JSON with photos; left out: what mfpgan finds, or its sample"
    )
    parser.add_argument(
        "--into", type=Path, help="page with the markers `<!-- results: speed -->`; left out: runs/speed.md"
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_const", const="quick", dest="scale")
    scale.add_argument("--full", action="store_const", const="full", dest="scale")
    arguments = parser.parse_args()
    scale = arguments.scale or "usual"
    texts, failed = [machine()], []
    print(texts[0], flush=True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lvis.json"
        if {"opening", "memory"} & set(arguments.only):
            write_lvis(path, SIZE_OF[scale])
            write_photos(path.parent, SIZE_OF[scale])
        for name in arguments.only:
            start = time.perf_counter()
            words = [sys.executable, str(HERE / f"{name}.py"), *options(name, scale, path, arguments.data)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                failed.append(name)
                continue
            texts.append(done.stdout.strip())
            print(f"\n{texts[-1]}\n({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    text = "\n\n".join(texts)
    if arguments.into:
        sys.path.insert(0, str(HERE.parent))
        from page import put

        put(arguments.into, "speed", text)
    else:
        write_atomically(Path("runs/speed.md"), f"{text}\n".encode())
    print(f"\nWritten to {arguments.into or 'runs/speed.md'}.")
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


def options(name: str, scale: str, path: Path, data: str | None) -> list[str]:
    """The words of a benchmark's command line."""
    words = ["--quick"] if scale == "quick" else []
    if name in ("opening", "memory"):
        words += ["--file", str(path)]
        # At LVIS's size pycocotools takes a minute a turn.
        words += {"opening": ["--turns", "2"], "memory": ["--steps", "500"]}[name] if scale == "full" else []
    elif data is not None and name in ("loading", "clicks"):
        words += ["--data", data]
    elif data is not None and name == "training_step":
        words += ["--set", f"data={data}"]
    return words


if __name__ == "__main__":
    main()
