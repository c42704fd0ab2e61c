"""python -m mfpgan.apps.label_studio --run-id ID --port 9090 --images FOLDER"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mfpgan.apps.loading import load_engine
from mfpgan.apps.replay import Replay
from mfpgan.types import InputError

BAD_INPUT = 2
"""Exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until somebody stops it; the exit code."""
    parser = argparse.ArgumentParser(
        "python -m mfpgan.apps.label_studio", description="Masks by clicks, for Label Studio."
    )
    parser.add_argument("--run-id", default="small", help="what ClickSession.load takes (default: small)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="the only folder that photos are read from")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=9090, help="default: 9090")
    options = parser.parse_args(arguments)
    try:
        if options.images is not None and not options.images.is_dir():
            raise InputError(f"--images {options.images}: there is no such folder; name the one that holds the photos.")
        replay = Replay(load_engine(options.run_id))
    except InputError as error:
        print(f"mfpgan: {error}", file=sys.stderr)
        return BAD_INPUT
    import uvicorn

    from mfpgan.apps.label_studio.server import make_app

    here = options.host in ("127.0.0.1", "localhost")
    app = make_app(replay, options.images, hosts=("127.0.0.1", "localhost") if here else ("*",))
    uvicorn.run(app, host=options.host, port=options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
