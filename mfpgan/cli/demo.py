"""The command that shows a network's answers to clicks in a browser."""

from __future__ import annotations

import click

from mfpgan.cli.process import computing


@click.command()
@click.option(
    "--run-id",
    "sources",
    multiple=True,
    metavar="ID",
    help="A run, `small`, a checkpoint, a model.onnx or a folder of `card --hub`; may be repeated. Left out: small and all runs.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@computing
def demo(sources: tuple[str, ...], port: int) -> None:
    """Click on your own photos in a browser, at http://127.0.0.1:PORT (Ctrl-C ends it).

    The page is for people at this machine; it asks nothing of the internet, and photos stay in memory.
    """
    from mfpgan.apps.web.desk import Demo
    from mfpgan.apps.web.models import Models
    from mfpgan.apps.web.server import listen, serve
    from mfpgan.cli import display

    with listen(port) as place:  # first: torch and the model take seconds
        shown = Demo(Models(sources))
        shown.load()
        display.say(f"The page is at http://127.0.0.1:{port}  (Ctrl-C ends it)")
        serve(shown, place)
