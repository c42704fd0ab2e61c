"""Which networks the page offers, and the few of them that are in memory."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpgan import tracking
from mfpgan.apps.loading import EXPECTED, SMALL, expanded, load_engine
from mfpgan.apps.web.heat import Critic
from mfpgan.engine import Engine
from mfpgan.jobs.runs import RUNS
from mfpgan.tracking import RunRecord
from mfpgan.types import BoolMask, Click, Image, InputError

MOST_LOADED = 3
"""Networks in memory at once; the one that was asked longest ago goes first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A network that a person may choose."""

    key: str
    """What the page sends back: "small", a run's id, or what the command line was given."""
    text: str
    """For people."""
    record: RunRecord | None = None
    """Of a run."""

    @property
    def heat(self) -> bool:
        """Whether a discriminator was trained beside it."""
        return self.record is not None and self.record.params.get("adv", "off") != "off"


class Models:
    """The networks by their keys. Only what was listed can be asked for: nothing that a page sends is taken for a path.

    Args:
        sources: as in `mfpgan.session.ClickSession.load`; none: "small" and the runs of ./runs and MLflow, looked up again
            whenever somebody asks.
        most_loaded: networks in memory at once.
        load: makes an engine of a key.

    Raises:
        InputError: one of `sources` is the beginning of no run's id, or of several; or there is nothing at all.
    """

    def __init__(
        self,
        sources: Sequence[str] = (),
        most_loaded: int = MOST_LOADED,
        load: Callable[[str], Engine] = load_engine,
    ) -> None:
        self._load = load
        self._most_loaded = most_loaded
        self._given = [_choice(source) for source in sources]
        self._known: dict[str, Choice] = {}
        self._loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()
        listed = self.choices()
        if not listed:
            raise InputError(f"there is no model to show; train one (`mfpgan train`), or give --run-id: {EXPECTED}.")
        self.first = listed[0].key
        """The one that a new page begins with."""

    def choices(self) -> list[Choice]:
        """What can be chosen, the first one first."""
        found = self._given or [*_small(), *_runs()]
        with self._lock:
            self._known |= {choice.key: choice for choice in found}
        return found

    def choice(self, key: str) -> Choice:
        """What was listed under a key.

        Raises:
            InputError: nothing was.
        """
        with self._lock:
            known = self._known.get(key)
        if known is None:
            raise InputError("there is no such model in the list; choose one that is.")
        return known

    def engine(self, key: str) -> Engine:
        """The network of a key, loaded if it is not in memory. To be called from one thread.

        Raises:
            InputError: it is not in the list, or cannot be used.
        """
        self.choice(key)
        engine: Engine = self._kept(("engine", key), lambda: self._load(key))
        return engine

    def critic(self, key: str) -> Critic:
        """The discriminator of a run. To be called from the same thread.

        Raises:
            InputError: it has none, or its checkpoint is of no use.
        """
        record = self.choice(key).record
        if record is None or not self.choice(key).heat:
            raise InputError("this model has no discriminator; choose a run that was trained with one.")

        critic: Critic = self._kept(("critic", key), lambda: Critic.load(tracking.fetch(record)))
        return critic

    def _kept(self, what: tuple[str, str], load: Callable[[], Any]) -> Any:
        if what not in self._loaded:
            # Before loading, so that there are never more in memory than there may be.
            while sum(kind == what[0] for kind, _ in self._loaded) >= self._most_loaded:
                del self._loaded[next(one for one in self._loaded if one[0] == what[0])]
            self._loaded[what] = load()
        self._loaded.move_to_end(what)
        return self._loaded[what]


class Borrowed:
    """An `Engine` that is looked up at every click: no session keeps a network in memory that has to go.

    Raises:
        InputError: as `Models.engine`; of a method as well, since what has to be loaded again may be gone.
    """

    def __init__(self, models: Models, key: str) -> None:
        engine = models.engine(key)
        self._models = models
        self.key = key
        self.name = engine.name
        self.zoom_px = engine.zoom_px
        self.forward_seconds = 0.0
        """Spent on answers to whoever holds this one."""

    def start(self, rgb: Image, mask: BoolMask | None = None, beside: Any = None) -> Any:
        return self._models.engine(self.key).start(rgb, mask, beside)

    def answer(self, states: Sequence[Any], clicks: Sequence[Click]) -> list[Any]:
        engine = self._models.engine(self.key)
        before = engine.forward_seconds
        answers = engine.answer(states, clicks)
        self.forward_seconds += engine.forward_seconds - before
        return answers


def _choice(source: str) -> Choice:
    """What the command line names, in the order of `mfpgan.apps.loading`: a path that exists is one."""
    if source == "small" or expanded(source).exists() or not re.fullmatch(r"\s*[0-9a-fA-F]{1,32}\s*", source):
        return Choice(source, "small, comes with mfpgan" if source == "small" else Path(source).name)
    return _of_run(tracking.find_run(source, RUNS))


def _small() -> list[Choice]:
    return [_choice("small")] if SMALL.is_dir() else []


def _runs() -> list[Choice]:
    return [_of_run(record) for record in tracking.list_runs(RUNS) if record.has_checkpoint or record.mlflow_id]


def _of_run(record: RunRecord) -> Choice:
    adv = record.params.get("adv", "")
    words = [
        record.id[:8],
        "" if record.name in ("", record.id[:8]) else record.name,
        {"": "", "off": "no adversary"}.get(adv, f"adversary {adv}"),
        f"val IoU {record.metrics['val/iou']:.2f}" if "val/iou" in record.metrics else "",
    ]
    return Choice(record.id, ", ".join(word for word in words if word), record)
