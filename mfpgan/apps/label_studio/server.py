"""The backend as a small web server, with the addresses that Label Studio asks for: /health, /setup, /predict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse

from mfpgan.apps.label_studio.backend import Backend, version_of
from mfpgan.apps.label_studio.photos import read_task_photo
from mfpgan.apps.replay import Replay, request_of
from mfpgan.types import InputError, quoted

AT_ONCE = 2
"""Requests that are answered at once: a file of some kilobytes may be a gigabyte when it is unpacked."""
MOST_BYTES = 2**25
"""A larger request is refused. A photo in a data: URI takes a third more than its file."""

_log = logging.getLogger(__name__)


def make_app(replay: Replay, images: Path | None, hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The web server's application.

    Args:
        replay: answers clicks.
        images: the only folder that photos are read from; None: only those in data: URIs.
        hosts: names that it answers to, without port. For a server of this machine only: a page whose own name was made to
            mean 127.0.0.1 tells that name.
    """
    app = FastAPI(title="mfpgan for Label Studio", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    turns = asyncio.Semaphore(AT_ONCE)

    @app.exception_handler(InputError)
    async def refuse(_: Request, error: InputError) -> JSONResponse:
        _log.warning("%s", error)  # Label Studio shows the status only
        return JSONResponse({"error": str(error)}, 400)

    @app.get("/")
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "MFPGAN"}

    @app.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        await _body(request)
        return {"model_version": version_of(replay)}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        body = await _body(request)
        parameters = body.get("params") or {}
        if not isinstance(parameters, dict):
            raise InputError(f"params: expected an object, got {quoted(parameters)}.")
        config = body.get("label_config") or ""
        if not isinstance(config, str):
            raise InputError(f"label_config: expected XML, got {quoted(config)}.")
        backend = Backend(replay, config, lambda value: read_task_photo(value, images))
        tasks, context = body.get("tasks") or [], parameters.get("context")
        async with turns:
            return {"results": await run_in_threadpool(backend.predict, tasks, context)}

    return app


async def _body(request: Request) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        InputError: it is none, or too large.
    """
    # A page in somebody's browser cannot send this type to another site without asking, and nobody here answers that.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InputError("expected a request of type application/json; send what Label Studio sends.")
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MOST_BYTES:
            raise InputError(f"the request is larger than {MOST_BYTES // 2**20} MiB; use --images for large photos.")
    return request_of(received, "Label Studio", "tasks and params")
