"""The server of `mfpgan demo`: the page's files, what the page asks, and where it listens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mfpgan.apps.web import clicking, looking
from mfpgan.apps.web.desk import Demo, as_json
from mfpgan.apps.web.guard import Guard
from mfpgan.apps.web.sessions import Gone
from mfpgan.types import InputError

STATIC = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def make_app(demo: Demo) -> FastAPI:
    """The page and what it asks."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.demo = demo
    app.include_router(clicking.router)
    app.include_router(looking.router)
    for path in sorted(STATIC.iterdir()):  # these and no others, read once: no path of a request is ever opened
        if path.suffix in KINDS:
            address = "/" if path.name == "index.html" else f"/static/{path.name}"
            app.get(address)(_serving(path.read_bytes(), KINDS[path.suffix]))
    for kind, status in (
        (Gone, 410),
        (InputError, 400),
        (RequestValidationError, 400),
        (HTTPException, 404),
        (ClientDisconnect, 400),
        (Exception, 500),
    ):
        app.add_exception_handler(kind, _refusing(status))
    return app


def listen(port: int) -> socket.socket:
    """Where the page will be, on this machine only; port 0 for any that is free. Who comes before it is served waits.

    Raises:
        InputError: the port is taken.
    """
    # By its full name: only then asyncio switches Nagle's algorithm off, which holds each answer's body back for 40 ms.
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page closed a moment ago does not count
    try:
        place.bind(("127.0.0.1", port))
        place.listen(2048)  # as uvicorn does, but now: two that are only bound may share a port
    except OSError as error:
        place.close()
        raise InputError(f"127.0.0.1:{port} cannot be used ({error.strerror}); choose another --port.") from None
    return place


def serve(demo: Demo, place: socket.socket) -> None:
    """Until Ctrl-C."""
    try:
        with suppress(KeyboardInterrupt):
            _server(demo).run(sockets=[place])
    finally:
        demo.close()


@contextmanager
def running(demo: Demo) -> Iterator[str]:
    """Meanwhile the page is served from a thread; its address."""
    place = listen(0)
    server = _server(demo)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        demo.close()
        place.close()


def _server(demo: Demo) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            # Round all of it: what answers when a request failed without being foreseen stands outside of FastAPI's own parts.
            Guard(make_app(demo), clicking.FILES), log_level="error", access_log=False, lifespan="off", server_header=False, ws="none",
            http="h11", timeout_graceful_shutdown=2,
        )
    )  # fmt: skip


def _serving(data: bytes, kind: str) -> Callable[[], Response]:
    return lambda: Response(data, media_type=kind)


def _refusing(status: int) -> Callable[[Request, Exception], Response]:
    """One sentence about what went wrong."""

    def answer(_: Request, error: Exception) -> Response:
        if isinstance(error, InputError):
            sentence = str(error)
        elif isinstance(error, RequestValidationError):
            sentence = "the request is not as the page sends it; reload the page."
        elif isinstance(error, HTTPException):
            sentence = "there is nothing at this address; open the page itself."
        elif isinstance(error, ClientDisconnect):  # a tab that was closed while it sent a photo
            sentence = "the file did not come whole; send it again."
        else:
            sentence = "the server failed at this; what happened stands in its terminal."
        return as_json({"error": sentence}, status)

    return answer
