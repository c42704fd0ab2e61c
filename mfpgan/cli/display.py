"""What people see while they wait: progress, lines and warnings, all on stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)
"""For results."""
if not stdout.is_terminal and "COLUMNS" not in os.environ:
    stdout.width = 120  # in a file nothing has to fit a screen

PLAIN_SECONDS = 10.0
"""Without a terminal, progress is a line each so many seconds."""


def say(text: str) -> None:
    """A line for people, on stderr."""
    stderr.print(escape(text), soft_wrap=True)


def warn(text: str) -> None:
    """A box that nobody overlooks, on stderr."""
    stderr.print(Panel(escape(text), title="warning", border_style="bold yellow", style="yellow"))


class _Bar(Progress):
    """With the numbers on lines of their own below: there are more of them than a line holds."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["text"]:
                yield Text(task.fields["text"], style="dim")


class Watch:
    """Progress of long work: a bar on a terminal, otherwise a plain line now and then.

    Args:
        what: the word in front.
        done: where the work starts, for a resumed run.
    """

    def __init__(self, what: str, done: int = 0) -> None:
        self._what = what
        self._first = done
        self._start = self._spoken = time.monotonic()
        self._text = ""
        self._shown: dict[str, str] = {}
        self._bar: Progress | None = None
        if stderr.is_terminal:
            self._bar = _Bar(
                TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=stderr,
            )  # fmt: skip
            self._task = self._bar.add_task(what, total=None, completed=done, text="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def rename(self, what: str) -> None:
        """The next piece of work begins."""
        if what != self._what:
            self._what, self._first, self._start, self._text, self._shown = what, 0, time.monotonic(), "", {}
            if self._bar:
                self._bar.reset(self._task, description=what)

    def update(self, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
        """So much of so much is done; each of `metrics` is shown until it comes again."""
        for name, value in (metrics or {}).items():
            if name in SHOWN:
                self._shown[name] = f"{SHOWN[name]} {value:.3g}"
        self._text = "  ".join(self._shown.values())
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, text=self._text)
            return
        now = time.monotonic()
        if now - self._spoken >= PLAIN_SECONDS or done == total:
            self._spoken = now
            left = (now - self._start) / max(1, done - self._first) * (total - done)
            say(f"{self._what} {done}/{total}  {self._text}  {clock(now - self._start)} gone, {clock(left)} left")


SHOWN = {
    "train/seg": "loss", "train/samples_per_second": "samples/s", "val/iou": "val IoU", "val/iou_5": "at 5 clicks",
    "d/real_accuracy": "D right on real", "d/fake_accuracy": "on fake", "d/real_logit": "logit real",
    "d/fake_logit": "fake",
    "train/gradient_ratio": "adv/seg gradient", "train/undecided": "undecided", "d/softness_auc": "softness AUC",
}  # fmt: skip


def clock(seconds: float) -> str:
    """Minutes and seconds, from an hour on with hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
