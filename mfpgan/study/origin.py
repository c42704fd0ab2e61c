"""With which code and on which data the cells of a study were made: a difference between them would count as one between arms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfpgan import tracking
from mfpgan.study.cells import Survey

_TRAINING_DATA = (
    "data", "images", "split", "ignore_value", "val_data", "val_split", "min_area", "max_area", "categories"
)  # fmt: skip


def differences(survey: Survey) -> list[str]:
    """Sentences about cells that were made with another version of the code, or on other data, than would be now.

    Raises:
        InputError: the training data cannot be used.
    """
    from mfpgan import build

    present = _code(tracking.environment())
    codes: dict[str, list[str]] = {}
    data: dict[tuple[Any, ...], list[str]] = {}
    digests: dict[tuple[Any, ...], tuple[str, str]] = {}
    for state in survey.states:
        key = tuple(getattr(state.cell.config, name) for name in _TRAINING_DATA)
        if key not in digests:
            digests[key] = _digests(build.training_data(state.cell.config.model_copy(update={"val_images": 1})))
        if state.record is None:
            continue
        code = _code(_read_environment(state.record.folder))
        if code != present:
            codes.setdefault(code, []).append(state.cell.name)
        made = tuple(state.record.params.get(name, "") for name in ("data_digest", "val_digest"))
        if made != digests[key]:
            data.setdefault((*made, *digests[key]), []).append(state.cell.name)
    sentences = [f"{_names(names)}: made with {code}, and this is {present}." for code, names in codes.items()]
    for (train, val, train_now, val_now), names in data.items():
        word, old, new = ("training", train, train_now) if train != train_now else ("validation", val, val_now)
        sentences.append(f"{_names(names)}: made with {word} data of digest {old}, and now it is {new}.")
    return sentences


def _digests(data: Any) -> tuple[str, str]:
    """As run.json has them."""
    return data.train.digest(), data.validation.digest() if data.validation else ""


def _read_environment(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _code(environment: dict[str, Any]) -> str:
    """Version of mfpgan that an environment.json names, for people and to compare."""
    packages = environment.get("packages")
    version = packages.get("mfpgan", "") if isinstance(packages, dict) else ""
    commit = str(environment.get("commit") or "")[:9]
    changes = " with changes" if environment.get("modified") else ""
    return f"mfpgan {version or 'of an unknown version'}{f', commit {commit}{changes}' if commit else ''}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
