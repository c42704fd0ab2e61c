"""Words when somebody should look at the discriminator."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # of typing, pydantic takes those from Python 3.12 on only

WINDOW = 10
"""Logged steps that an alarm looks back on."""
WATCHED = ("d/real_accuracy", "d/fake_accuracy", "d/spread", "d/gap")
WINS_ACCURACY = 0.98
DEAD_SPREAD = 1e-3
PATIENCE = 30
"""Logged steps that a discriminator has for a start."""
BLIND_ACCURACY, BLIND_GAP = 0.52, 0.05
"""Mean accuracy, and gap as a share of the logits' spread, below which it is blind to the mask."""
SOFTNESS_AUC = 0.9

_Log = TypedDict("_Log", dict.fromkeys(WATCHED, float))  # type: ignore[misc]


class _Told(TypedDict):
    """What `Watchdog.state_dict` says."""

    logs: list[_Log]
    count: int
    softness: float
    said: list[float]


_STATE = TypeAdapter(_Told)


class Watchdog:
    """Speaks in words when the discriminator wins, dies, or looks at softness: once, until that has passed."""

    def __init__(self) -> None:
        self._logs: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._count = 0
        self._softness = 0.5
        self._said: set[float] = set()
        self.level = 0.0
        """1: it wins; -1: it is dead; .5: it judges softness; 0: nothing to say."""

    def look(self, metrics: Mapping[str, float]) -> str:
        """What is new with these metrics of one logged step, in words; otherwise empty.

        Args:
            metrics: as logged; steps without `d/` metrics are passed over.
        """
        # Equal masks say nothing about who judges them.
        if "d/real_accuracy" in metrics and metrics.get("d/differing", 1):
            self._logs.append({name: metrics[name] for name in WATCHED})
            self._count += 1
        self._softness = metrics.get("d/softness_auc", self._softness)
        alarms = self._alarms()
        self.level = next(iter(alarms), 0.0)
        words = " ".join(sentence for level, sentence in alarms.items() if level not in self._said)
        self._said = set(alarms)
        return words

    def state_dict(self) -> dict[str, Any]:
        """What it has seen and said; plain types."""
        return {
            "logs": list(self._logs), "count": self._count, "softness": self._softness, "said": sorted(self._said)
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises ValueError if it is none."""
        told = _STATE.validate_python(state, strict=True)
        self._logs.clear()
        self._logs.extend({name: float(log[name]) for name in WATCHED} for log in told["logs"])  # type: ignore[literal-required]
        self._count, self._softness, self._said = told["count"], told["softness"], set(told["said"])

    def _alarms(self) -> dict[float, str]:
        """What there is to say now, by level, the most serious first."""
        alarms = {}
        if len(self._logs) == WINDOW:
            real, fake, spread, gap = (sum(log[name] for log in self._logs) / WINDOW for name in WATCHED)
            if min(real, fake) >= WINS_ACCURACY:
                alarms[1.0] = (
                    f"The discriminator wins: over the last {WINDOW} logs it was right on {real:.1%} of real and "
                    f"{fake:.1%} of predicted patches that differ, so its gradient says little. Try a lower --d-lr, --d-augment 0.5, another "
                    "--d-mask, or --d-r1 1 where no --d-gp is in force."
                )
            if not max(spread, abs(gap)) >= DEAD_SPREAD:  # also if they are no numbers
                alarms[-1.0] = (
                    f"The discriminator is dead: over the last {WINDOW} logs its logits differed by {spread:.1g} only, "
                    "whatever it saw, so the adversarial term does nothing. Try a higher --d-lr, less --d-r1, or another "
                    "--adv."
                )
            elif self._count >= PATIENCE and (real + fake) / 2 <= BLIND_ACCURACY and gap <= BLIND_GAP * spread:
                alarms[-1.0] = (
                    f"The discriminator is dead: over the last {WINDOW} logs it was right on {(real + fake) / 2:.1%} of the "
                    "patches where real and predicted masks differ, no better than a guess, so the adversarial term says "
                    "nothing about masks. Try a higher --d-lr, less --d-r1, or --d-input clicks-mask."
                )
        if max(self._softness, 1 - self._softness) > SOFTNESS_AUC:
            alarms[0.5] = (
                f"The discriminator judges softness: it tells drawn masks from the same masks softened with AUC "
                f"{self._softness:.2f}, so the generator learns hardness instead of shape. Try --d-mask ste or ste-blur."
            )
        return alarms
