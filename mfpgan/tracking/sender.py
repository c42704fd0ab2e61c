"""The thread that brings MLflow up to date while a run goes on. Nothing that a training step calls ever waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mfpgan.tracking.mirror import Mirror
from mfpgan.tracking.run_folder import Status

LOOK_SECONDS = 10.0
"""Numbers wait so long at most; single ones cost MLflow 20 ms each."""
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds until MLflow is asked again after a failure: the first pause, doubled at each further failure, and the longest."""
PATIENCE = 30.0
"""At the end: seconds without anything arriving."""
LONGEST_END = {"KILLED": 10.0}
"""Seconds in all, where the run was stopped: who pressed Ctrl-C waits, and SLURM kills 30 s after it asked to stop."""
LONGEST_END_OTHERWISE = 300.0


@dataclass
class _Channel:
    """Numbers or files. Apart, since files may have another host and a full disk there must not blind the charts."""

    send: Callable[[], bool]
    """Send a piece; False if there was none."""
    pause: float
    next_try: float = 0.0
    problem: str = ""
    """Why the last piece did not arrive."""


class Sender:
    """Sends what a mirror's outbox holds, until `finish`.

    Args:
        complain: called once, with the reason, when MLflow fails for the first time.
    """

    def __init__(self, mirror: Mirror, complain: Callable[[str], None] | None) -> None:
        self._mirror = mirror
        self._complain = complain
        self._channels = (_Channel(self._send_lines, FIRST_PAUSE), _Channel(self._send_file, FIRST_PAUSE))
        self._wake, self._closing, self._done = threading.Event(), threading.Event(), threading.Event()
        self._given_up = False
        self._end: tuple[Status, float] | None = None
        self._arrived = time.monotonic()
        self._problem = ""
        # A daemon: a store that hangs for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="mfpgan-mlflow", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something worth sending now."""
        self._wake.set()

    def finish(self, end: tuple[Status, float] | None) -> str:
        """Send the rest and how the run ended, and stop; why not all arrived, or "".

        Waits while things arrive, see the constants above.

        Args:
            end: status and moment; None if MLflow's stay as they are.
        """
        self._end = end
        self._arrived = began = time.monotonic()
        longest = LONGEST_END.get(end[0], LONGEST_END_OTHERWISE) if end else LONGEST_END_OTHERWISE
        self._closing.set()
        self._wake.set()
        while not self._done.wait(0.1):
            now = time.monotonic()
            if now - self._arrived > PATIENCE or now - began > longest:
                self._given_up = True
                return self._problem or f"no answer in {now - began:.0f} s"
        return self._problem

    def _work(self) -> None:
        while not self._given_up:
            closing = self._closing.is_set()
            now = time.monotonic()
            for channel in self._channels:
                if closing or now >= channel.next_try:
                    self._empty(channel)
            if closing:
                if self._end and not self._channels[0].problem:
                    self._try(self._channels[0], self._say_end)
                self._problem = next((channel.problem for channel in self._channels if channel.problem), "")
                self._done.set()
                return
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def _empty(self, channel: _Channel) -> None:
        while self._try(channel, channel.send) and not self._given_up:
            self._arrived = time.monotonic()

    def _try(self, channel: _Channel, send: Callable[[], bool]) -> bool:
        """Whether a piece arrived."""
        try:
            sent = send()
        except Exception as error:  # mostly StoreError; whatever it is, it must not end the thread
            channel.problem = str(error) or type(error).__name__
            channel.next_try = time.monotonic() + channel.pause
            channel.pause = min(2 * channel.pause, LONGEST_PAUSE)
            if self._complain is not None:
                self._complain(channel.problem)
                self._complain = None
            return False
        channel.problem, channel.pause = "", FIRST_PAUSE
        return sent

    def _send_lines(self) -> bool:
        self._mirror.open()  # a run without numbers has parameters too
        return self._mirror.send_lines()

    def _send_file(self) -> bool:
        # Until the run is there, once a round is enough to ask.
        return bool(self._mirror.mlflow_id) and self._mirror.send_file()

    def _say_end(self) -> bool:
        assert self._end is not None
        self._mirror.end(*self._end)
        return True
