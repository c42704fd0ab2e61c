"""What all requests to the page's server share: the two kinds of threads, and whose request it is.

All that touches networks and sessions happens in one thread, in the order in which it was asked: a network is no faster in two,
and nobody's clicks overtake each other. Files are read and written in two other threads: a file of some kilobytes may be
hundreds of megabytes when it is unpacked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response

from mfpgan.apps.web.models import Models
from mfpgan.apps.web.sessions import People, Person

Answer = TypeVar("Answer")


class Demo:
    """What the requests share.

    Args:
        models: what can be chosen.
        people: who is there; their number and memory are limited.
    """

    def __init__(self, models: Models, people: People | None = None) -> None:
        self.models = models
        self.people = People() if people is None else people
        self._networks = ThreadPoolExecutor(1, "networks")
        self._files = ThreadPoolExecutor(2, "files")

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Do something with networks or sessions when it is its turn; what it raises is raised here."""
        return await asyncio.wrap_future(self._networks.submit(work))

    async def file(self, work: Callable[[], Answer]) -> Answer:
        """Read or write a file's content."""
        return await asyncio.wrap_future(self._files.submit(work))

    def load(self) -> None:
        """Load the first network before anybody asks.

        Raises:
            InputError: it cannot be used.
        """
        self._networks.submit(lambda: self.models.engine(self.models.first)).result()

    def close(self) -> None:
        """What is still waiting is not done."""
        for threads in (self._networks, self._files):
            threads.shutdown(wait=True, cancel_futures=True)


async def _demo(request: Request) -> Demo:
    demo: Demo = request.app.state.demo
    return demo


Here = Annotated[Demo, Depends(_demo)]


async def _person(name: str, demo: Here) -> Person:
    return demo.people.find(name)


async def _body(request: Request) -> bytes:
    return await request.body()  # of a length that the guard has looked at


Who = Annotated[Person, Depends(_person)]
Body = Annotated[bytes, Depends(_body)]


def as_json(values: Any, status: int = 200) -> Response:
    """Straight from plain types: FastAPI's own way looks at each number of a list."""
    return Response(json.dumps(values, separators=(",", ":")), status, media_type="application/json")
