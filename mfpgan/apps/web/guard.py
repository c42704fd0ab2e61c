"""Who may ask the page's server, and how much may come: it is for people at this machine and for its own page alone."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost")
MOST_BODY = 32 * 2**20
"""Bytes of a photo's or a mask's file."""
MOST_WORDS = 64 * 2**10
"""Bytes of any other body."""
HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer. The page has all it needs from here, and nobody else may show it inside theirs."""


class Guard:
    """Lets an ASGI app answer only what comes from its own page or from no page, under this machine's own name.

    A page of somebody else, open in the same browser, could otherwise send clicks here (its requests tell their Origin), or
    read the answers, after its own name was made to mean 127.0.0.1 (its requests tell that name as Host).

    Args:
        files: ends of the paths that take a file as their body.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], files: tuple[str, ...] = ()) -> None:
        self._app = app
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no page of ours opens a web socket

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((key.encode(), text.encode()) for key, text in HEADERS.items()),
                ]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, with_headers)
            return
        status, sentence = refusal
        body = json.dumps({"error": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # A client that is cut off while it still sends never reads the answer, so some of the rest is let by.
        passed, more = 0, True
        while more and passed <= 4 * MOST_BODY:
            message = await receive()
            passed, more = passed + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.body", "body": b""})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence, or None."""
        headers = {key.decode("latin-1").lower(): text.decode("latin-1") for key, text in scope["headers"]}
        host = headers.get("host", "")
        if host.partition(":")[0] not in HOSTS:
            return 403, "this page answers to 127.0.0.1 and localhost only; open it under that address."
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "another page may not ask this one's server; use the page itself."
        length = headers.get("content-length", "")
        # With both headers the second counts, and a body may be endless.
        if not length.isdecimal() or "transfer-encoding" in headers:
            # It says in advance how much will come, and no more than that is read.
            return 411, "the request does not say how long it is; send a Content-Length."
        most = MOST_BODY if scope["path"].endswith(self._files) else MOST_WORDS
        if int(length) > most:
            limit = f"{most / 2**20:.0f} MiB" if most == MOST_BODY else f"{most // 2**10} KiB"
            return 413, f"the file has {int(length) / 2**20:.1f} MiB, at most {limit} are read; save it smaller."
        return None
