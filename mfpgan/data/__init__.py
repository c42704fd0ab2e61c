"""Data sets: everything that can be named as training or evaluation data. `open_dataset` finds out what it is.

A new kind of data set is one file with a class that fulfils `mfpgan.types.DataSet`, and one line in DATASETS below.
Nothing here imports torch, except `transforms` and `loader`, which are not imported from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mfpgan.data.bsds500 import Bsds500DataSet, find_bsds500
from mfpgan.data.folder import FolderDataSet, is_masks_folder
from mfpgan.data.lvis import LvisDataSet
from mfpgan.data.synthetic import SyntheticDataSet
from mfpgan.types import DataSet, InputError

Role = Literal["train", "val", "eval"]
Progress = Callable[[int, int], None]
SAMPLE_FOLDER = Path(__file__).parent / "sample"
_LVIS_FOLDERS = (".", "annotations", "lvis", "lvis/annotations", "coco/annotations", "lvis_mini")


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for; the fields are those of `open_dataset`."""

    spec: str
    images: str | None = None
    split: str | None = None
    ignore_value: int | None = None
    role: Role = "train"
    progress: Progress | None = None

    @property
    def path(self) -> Path:
        """`spec` as a path."""
        return Path(self.spec).expanduser()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data set: how to recognise it, how to open it, and which options mean something to it."""

    describe: str
    """How to name it on the command line, for help and error messages."""
    recognises: Callable[[Request], bool]
    open: Callable[[Request], DataSet]
    options: frozenset[str] = frozenset()


def open_dataset(
    spec: str | None,
    *,
    images: str | None = None,
    split: str | None = None,
    ignore_value: int | None = None,
    role: Role = "train",
    progress: Progress | None = None,
) -> DataSet:
    """The data set that `spec` names.

    Args:
        spec: a path or word as listed in DATASETS; None takes what `find_default(role)` finds.
        images: folder of the photos of an LVIS or COCO JSON, if they do not lie beside it.
        split: part of the data set; None is its usual one for the role.
        ignore_value: mask value that does not count, for a masks folder.
        role: what it is for; decides the usual split (BSDS500: train, val or test; sample and synthetic: train or val).
        progress: called with (done, all) while a slow opening goes on.

    Raises:
        InputError: nothing usable there, an option that means nothing to this kind of data, or no object in it.
    """
    chosen = find_default(role)[0] if spec is None else spec
    request = Request(chosen, images, split, ignore_value, role, progress)
    data = DATASETS[recognise(request)].open(request)
    if not len(data):
        raise InputError(f"{chosen}: no usable object in it; `mfpgan data check` lists what is wrong.")
    return data


def recognise(request: Request) -> str:
    """The key in DATASETS of what was asked for.

    Raises:
        InputError: no such file or folder, of no known kind, or with an option that means nothing to the kind.
    """
    for name, kind in DATASETS.items():
        if kind.recognises(request):
            for option in ("images", "split", "ignore_value"):
                if getattr(request, option) is not None and option not in kind.options:
                    flag = option.replace("_", "-")
                    raise InputError(f"{request.spec}: --{flag} means nothing to {kind.describe}; leave it out.")
            return name
    came = "is of no known kind" if request.path.exists() else "does not exist"
    known = "; ".join(kind.describe for kind in DATASETS.values())
    raise InputError(f"data {request.spec!r} {came}, expected one of: {known}.")


def find_default(role: Role) -> tuple[str, str]:
    """What is taken if no data is named, and a sentence that says so.

    Searched in $MFPGAN_DATA, then in the working folder: for training an LVIS JSON (lvis_v1_train.json before the largest
    other *lvis*train*.json, in the folder itself, annotations/, lvis/, lvis/annotations/, coco/annotations/ or lvis_mini/),
    for evaluation BSDS500. Otherwise the sample that comes along.
    """
    wanted = "an LVIS JSON (lvis_v1_train.json)" if role == "train" else "BSDS500"
    named = os.environ.get("MFPGAN_DATA")
    word = {"train": "training", "val": "validation", "eval": "evaluation"}[role]
    for place, root in ((f"$MFPGAN_DATA ({named})", named), ("the working folder", ".")):
        if root:
            found = _lvis_json(Path(root)) if role == "train" else find_bsds500(Path(root))
            if found is not None:
                return str(found), f"{word} data: {found}, found in {place}"
    return (
        "sample",
        f"{word} data: the bundled sample; {wanted} was found neither in $MFPGAN_DATA nor in the working folder",
    )


def _lvis_json(root: Path) -> Path | None:
    folders = [root / folder for folder in _LVIS_FOLDERS]
    for folder in folders:
        if (folder / "lvis_v1_train.json").is_file():
            return folder / "lvis_v1_train.json"
    others = [path for folder in folders for path in sorted(folder.glob("*lvis*train*.json")) if path.is_file()]
    return max(others, key=lambda path: path.stat().st_size, default=None)


def _open_lvis(request: Request) -> DataSet:
    folder = None if request.images is None else Path(request.images).expanduser()
    return LvisDataSet(request.path, folder, progress=request.progress)


def _open_bsds500(request: Request) -> DataSet:
    usual = {"train": "train", "val": "val", "eval": "test"}[request.role]
    return Bsds500DataSet(request.path, request.split or usual, request.progress)


def _open_folder(request: Request) -> DataSet:
    return FolderDataSet(request.path, request.split, request.ignore_value, request.progress)


def sample_json(split: str) -> Path:
    """The LVIS JSON of the bundled sample; InputError for another split than train and val."""
    if split not in ("train", "val"):
        raise InputError(f"the sample has no split {split!r}; choose train or val.")
    return SAMPLE_FOLDER / f"{split}.json"


def _open_sample(request: Request) -> DataSet:
    data = LvisDataSet(sample_json(_usual_split(request)))
    data.name = f"sample {_usual_split(request)}"
    return data


def _open_synthetic(request: Request) -> DataSet:
    return SyntheticDataSet(_usual_split(request))


def _usual_split(request: Request) -> str:
    return request.split or ("train" if request.role == "train" else "val")


DATASETS: dict[str, Kind] = {
    "sample": Kind(
        "`sample` (24 photos that come along)",
        lambda request: request.spec == "sample",
        _open_sample,
        frozenset({"split"}),
    ),
    "synthetic": Kind(
        "`synthetic` (drawn shapes)", lambda request: request.spec == "synthetic", _open_synthetic, frozenset({"split"})
    ),
    "lvis": Kind(
        "an LVIS or COCO JSON",
        lambda request: request.path.suffix.lower() == ".json" and request.path.is_file(),
        _open_lvis,
        frozenset({"images"}),
    ),
    "bsds500": Kind(
        "a folder with BSDS500 (groundTruth/ and images/)",
        lambda request: find_bsds500(request.path) is not None,
        _open_bsds500,
        frozenset({"split"}),
    ),
    "folder": Kind(
        "a folder with images/ and masks/",
        lambda request: is_masks_folder(request.path),
        _open_folder,
        frozenset({"split", "ignore_value"}),
    ),
}
"""Every kind of data set by name; the first that recognises what was asked for opens it."""
