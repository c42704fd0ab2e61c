"""Opening LVIS and reading one object's mask: mfpgan against pycocotools.

python experiments/speed/opening.py                    on a file of 5,000 images drawn for the purpose
python experiments/speed/opening.py --images 100170    of LVIS's size: pycocotools takes a minute and 7 GB each time
python experiments/speed/opening.py --file PATH        on a file that is there

Each opening happens in a fresh process, the two in turn. Seconds do not count imports; memory is the peak of the process above an
interpreter with NumPy, imports included. "first" builds mfpgan's index in an empty cache folder, "later" finds it there.
"One object" is drawn at random in an image of two: its mask is compared, and must be equal. Then masks alone, on loaded sets.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import Row, alone, in_turn, memory_mib, report
from numpy.typing import NDArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="an LVIS or COCO JSON")
    parser.add_argument("--images", type=int, default=5_000, help="of the file that is drawn, without --file")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--masks", type=int, default=200, help="objects drawn in a turn")
    parser.add_argument("--quick", action="store_true", help="one turn, 300 images: does it run?")
    parser.add_argument("--alone", choices=(*ALONE, "masks"), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        found = (
            masks(arguments.file, arguments.masks, arguments.turns)
            if arguments.alone == "masks"
            else open_alone(arguments.alone, arguments.file, arguments.seed)
        )
        print(json.dumps(found))
        return
    if arguments.quick:
        arguments.turns, arguments.images, arguments.masks = 1, 300, 20
    with TemporaryDirectory() as folder:
        path = arguments.file
        if path is None:
            from lvis_file import write_lvis

            path = Path(folder) / "lvis.json"
            write_lvis(path, arguments.images)
        print(measured(path, Path(folder), arguments.turns, arguments.masks))


def measured(path: Path, folder: Path, turns: int, count: int) -> str:
    """The table.

    Args:
        folder: for the index; must be empty but for the file.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("pycocotools", "first", "later")}
    for turn in range(turns):
        cache = {"MFPGAN_CACHE": str(folder / f"cache{turn}")}
        # Whoever reads the file first in a turn has it in memory for the others; by turns it is one and the other.
        order = ("pycocotools", "first", "later") if turn % 2 else ("first", "later", "pycocotools")
        for name in order:
            kind = "pycocotools" if name == "pycocotools" else "mfpgan"
            words = ("--alone", kind, "--file", path.resolve(), "--seed", turn)
            found[name].append(alone(__file__, *words, environment=cache))
        # Where mfpgan leaves objects out (crowds, what cannot be drawn), the two draw different ones.
        same = len({results[-1]["objects"] for results in found.values()}) == 1
        if same and len({results[-1]["mask"] for results in found.values()}) > 1:
            raise RuntimeError(f"the masks of turn {turn} differ: {found}")

    def column(name: str, key: str) -> list[float]:
        return [result[key] for result in found[name]]

    drawn = alone(__file__, "--alone", "masks", "--file", path.resolve(), "--masks", count, "--turns", max(turns, 2),
                  environment={"MFPGAN_CACHE": str(folder / "cache0")})  # fmt: skip
    kept = sum(file.stat().st_size for file in (folder / "cache0").rglob("*") if file.is_file())
    rows = [
        Row(f"{title}, {what}", column("pycocotools", key), column(name, key), unit)
        for title, name in (("open later", "later"), ("open first (builds the index)", "first"))
        for what, key, unit in (("time to one mask", "seconds", "s"), ("peak memory", "mib", "MiB"))
    ]
    if drawn["peer"]:
        rows.append(Row("a random object's mask at 640x480", drawn["peer"], drawn["mfpgan"], "ms"))
    title = (
        f"LVIS file of {drawn['images']:,} images, {drawn['objects']:,} objects, {path.stat().st_size / 1e6:,.0f} MB"
    )
    imports = (
        f"{name} {np.median(column(key, 'imports')):.2f} s"
        for name, key in (("pycocotools", "pycocotools"), ("mfpgan", "later"))
    )
    return report(
        title,
        rows,
        [
            f"Peer: `COCO(path)` and `annToMask`. Imports, not counted: {', '.join(imports)}. Index: {kept / 1e6:,.0f} MB."
        ],
    )


def open_alone(kind: str, path: Path, seed: int) -> dict[str, Any]:
    """Open the file and draw one object; for a fresh process."""
    before, start = memory_mib(), time.perf_counter()
    opened = ALONE[kind]()
    imports, start = time.perf_counter() - start, time.perf_counter()
    mask = opened.load(path).one(np.random.default_rng(seed))
    seconds, mib = time.perf_counter() - start, memory_mib() - before
    digest = hashlib.sha256(mask.tobytes()).hexdigest()
    return {"seconds": seconds, "imports": imports, "mib": mib, "mask": digest, "objects": opened.count()}


class Mfpgan:
    def __init__(self) -> None:
        from mfpgan.data.lvis import LvisDataSet

        self._kind = LvisDataSet

    def load(self, path: Path) -> Mfpgan:
        self.data = self._kind(path)
        return self

    def one(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """The first object's mask of a random image of two."""
        groups = self.data.objects_of_image
        while len(group := groups[int(rng.integers(len(groups)))]) != 2:
            pass
        return self.mask(group[1])

    def count(self) -> int:
        return len(self.data)

    def mask(self, other: int) -> NDArray[np.bool_]:
        """The mask of the object beside number `other` in an image of two: reads no photo."""
        return self.data.others(other)


class Pycocotools:
    def __init__(self) -> None:
        from pycocotools.coco import COCO

        self._kind = COCO
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # its own, at every mask under NumPy 2

    def load(self, path: Path) -> Pycocotools:
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = self._kind(str(path))
        # Images in the file's order that have an object, as mfpgan counts them.
        self.groups = [entry["id"] for entry in self.coco.dataset["images"] if self.coco.imgToAnns.get(entry["id"])]
        return self

    def one(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        while len(group := self.coco.imgToAnns[self.groups[int(rng.integers(len(self.groups)))]]) != 2:
            pass
        return self.coco.annToMask(group[0]).astype(np.bool_)

    def count(self) -> int:
        return len(self.coco.anns)


ALONE = {"mfpgan": Mfpgan, "pycocotools": Pycocotools}


def masks(path: Path, count: int, turns: int) -> dict[str, Any]:
    """Milliseconds for a mask, turn by turn; the same objects for both, of 640x480 images, compared before they are timed.
    None if mfpgan leaves objects out."""
    peer, own = Pycocotools().load(path), Mfpgan().load(path)
    counts = {"images": len(peer.coco.dataset["images"]), "objects": peer.count()}
    if own.count() != peer.count():
        return {"peer": [], "mfpgan": [], **counts}
    sizes = {entry["id"]: {entry["height"], entry["width"]} for entry in peer.coco.dataset["images"]}
    pairs = [
        (peer.coco.imgToAnns[identity][0], group[1])
        for identity, group in zip(peer.groups, own.data.objects_of_image, strict=True)
        if len(group) == 2 and sizes[identity] == {480, 640}
    ]
    rng = np.random.default_rng(0)
    chosen = [pairs[number] for number in rng.permutation(len(pairs))[:count]]
    for annotation, other in chosen:
        if not np.array_equal(peer.coco.annToMask(annotation), own.mask(other)):
            raise RuntimeError(f"the masks of annotation {annotation['id']} differ")
    seconds = in_turn(
        lambda: [peer.coco.annToMask(annotation) for annotation, _ in chosen],
        lambda: [own.mask(other) for _, other in chosen],
        turns=3 * turns,
    )
    each = 1000 * seconds / len(chosen)
    return {"peer": each[0].tolist(), "mfpgan": each[1].tolist(), **counts}


if __name__ == "__main__":
    main()
