"""The command that answers clicks which are known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mfpgan.apps.output import FORMATS
from mfpgan.cli.options import OTHERS, trained_model
from mfpgan.cli.process import computing
from mfpgan.types import InputError

NOT_ALL = 1
"""Exit code when some photos were answered and some could not be."""


@click.command()
@click.argument("photo", required=False, type=click.Path(path_type=Path))
@trained_model("small", (*OTHERS, "a file of `mfpgan export`"))
@click.option(
    "--click", "clicks", multiple=True, metavar="X,Y,SIGN",
    help="A click: pixels from the left, pixels from the top, + on the object or - beside it. May be repeated, in the order of "
    "the clicks.",
)  # fmt: skip
@click.option(
    "--mask", type=click.Path(path_type=Path), help="Begin with this mask, a picture that is 0 off the object."
)
@click.option(
    "--clicks", "file", type=click.Path(path_type=Path), metavar="FILE",
    help='Clicks of many photos and objects in JSON, instead of PHOTO: [{"image": "a.jpg", "clicks": [{"x": 120, "y": 80, '
    '"positive": true}, ...]}, {"image": "b.jpg", "objects": [{"clicks": [...], "mask": "start.png"}, ...]}], with paths '
    "relative to FILE.",
)  # fmt: skip
@click.option(
    "--out", required=True, type=click.Path(path_type=Path),
    help="A .png for one photo, a folder for a PNG a photo, or a .json for COCO's formats.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(list(FORMATS)),
    help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()) + ".  [default: rle for a .json, otherwise mask]",
)  # fmt: skip
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    help="Also the photo with objects and clicks drawn on it: a .png, or a folder.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option(
    "--zoom/--no-zoom", default=True, show_default=True,
    help="Look closely at the object from the second click on, or always at the whole photo at its own size.",
)  # fmt: skip
@computing
def predict(
    photo: Path | None,
    run_id: str,
    clicks: tuple[str, ...],
    mask: Path | None,
    file: Path | None,
    out: Path,
    kind: str | None,
    overlay: Path | None,
    **options: Any,
) -> int:
    """Answer clicks on a photo, or on many: masks as pictures, or as COCO's run lengths or polygons.

    \b
    mfpgan predict --run-id ID photo.jpg --click 120,80,+ --click 30,40,- --out mask.png
    mfpgan predict --run-id ID --clicks clicks.json --out masks --overlay seen
    mfpgan predict --run-id ID --clicks clicks.json --out masks.json

    Photos are turned upright as viewers show them. What --out named is printed on stdout, everything else on stderr. A photo
    that cannot be answered does not stop the others; the exit code is then 1.
    """
    from mfpgan.apps import predict as job
    from mfpgan.apps.click_file import clicks_on_photo, read_click_file
    from mfpgan.apps.loading import load_engine
    from mfpgan.apps.output import Output
    from mfpgan.cli import display

    if file is not None and (photo or clicks or mask):
        raise InputError("--clicks names photos, clicks and masks of its own; leave out PHOTO, --click and --mask.")
    if file is not None:
        photos = read_click_file(file)
    elif photo is not None:
        photos = [clicks_on_photo(photo, list(clicks), mask)]
    else:
        raise InputError("there is no photo; name one, or a file of photos and clicks as --clicks.")
    output = Output(photos, out, kind, overlay, file)
    engine = load_engine(run_id, **options)
    if len(photos) > 1:
        with display.Watch("predict") as watch:
            answered = job.predict(engine, output, display.say, watch.update)
    else:
        answered = job.predict(engine, output, display.say)
    display.say(
        f"{_count(answered.clicks, 'click')} on {_count(answered.photos, 'photo')} with {engine.name}: "
        f"{1000 * answered.seconds / answered.clicks:.0f} ms a click."
    )
    click.echo(out)
    if answered.photos < len(photos):
        display.say(
            f"{len(photos) - answered.photos} of {len(photos)} photos could not be answered, see above; the others are whole."
        )
        return NOT_ALL
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
