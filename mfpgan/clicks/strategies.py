"""The table of simulated users. Training plays them and the benchmark's robot is one of them; a new one is a class in a
file of its own and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from mfpgan.clicks.adaptive import Adaptive
from mfpgan.clicks.center import Center
from mfpgan.clicks.human import Human
from mfpgan.clicks.mixed import Mixed
from mfpgan.clicks.multi import Multi
from mfpgan.clicks.random import Random
from mfpgan.types import ClickStrategy, InputError, quoted

STRATEGIES: dict[str, type[ClickStrategy]] = {
    "random": Random,
    "multi": Multi,
    "adaptive": Adaptive,
    "mixed": Mixed,
    "center": Center,
    "human": Human,
}


def make_strategy(name: str, parameters: Mapping[str, Any] | None = None, origin: str = "clicks") -> ClickStrategy:
    """A simulated user with these parameters, the fields of its class; what is left out has the class's default.

    Args:
        name: a key of STRATEGIES.
        origin: option that the name and the parameters came from, for the error.

    Raises:
        InputError: no such strategy, no such parameter, or a value of the wrong type or out of range.
    """
    given = dict(parameters or {})
    if name not in STRATEGIES:
        raise InputError(f"--{origin} {name}: no such strategy, expected one of {', '.join(STRATEGIES)}.")
    known = [field.name for field in fields(STRATEGIES[name])]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            has = f"has {', '.join(f'{origin}.{field}' for field in known)}" if known else "has no parameters"
            raise InputError(f"{origin}.{key if key.isidentifier() else quoted(key)}: no such parameter, {name} {has}.")
    try:
        return STRATEGIES[name](**given)
    except ValidationError as error:
        first = error.errors()[0]
        field, message = first["loc"][0], first["msg"]
        raise InputError(
            f"{origin}.{field}={quoted(first['input'])}: {message[:1].lower()}{message[1:]} (--{origin} {name})."
        ) from None
