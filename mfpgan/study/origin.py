"""With which code and on which data the cells of a study were made: a difference between them would count as one between arms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mfpgan import tracking
from mfpgan.study.cells import Survey
from mfpgan.tracking import RunRecord

_TRAINING_DATA = (
    "data", "images", "split", "ignore_value", "val_data", "val_split", "min_area", "max_area", "categories"
)  # fmt: skip


def differences(survey: Survey) -> list[str]:
    """Sentences about cells that were made with another version of the code, or on other data, than would be now.

    Raises:
        InputError: the training data cannot be used.
    """
    from mfpgan import build

    present = tracking.environment()
    codes: dict[str, list[str]] = {}
    data: dict[tuple[Any, ...], list[str]] = {}
    digests: dict[tuple[Any, ...], tuple[str, str]] = {}
    for state in survey.states:
        key = tuple(getattr(state.cell.config, name) for name in _TRAINING_DATA)
        if key not in digests:
            digests[key] = _digests(build.training_data(state.cell.config.model_copy(update={"val_images": 1})))
        if state.record is None or not (state.record.status in ("FINISHED", "RUNNING") or state.resumable):
            continue  # nothing of it will be kept
        made_with = _read_environment(state.record.folder)
        if not _alike(made_with, present):
            codes.setdefault(_code(made_with), []).append(state.cell.name)
        made = tuple(state.record.params.get(name, "") for name in ("data_digest", "val_digest"))
        if made != digests[key]:
            data.setdefault((*made, *digests[key]), []).append(state.cell.name)
    sentences = [f"{_names(names)}: made with {code}, and this is {_code(present)}." for code, names in codes.items()]
    for (train, val, train_now, val_now), names in data.items():
        word, old, new = ("training", train, train_now) if train != train_now else ("validation", val, val_now)
        sentences.append(f"{_names(names)}: made with {word} data of digest {old}, and now it is {new}.")
    return sentences


def mixed(runs: Mapping[str, RunRecord]) -> list[str]:
    """Sentences about runs that were made with different versions of the code, or on data of one name and different content.

    Args:
        runs: by what they are called.
    """
    codes: list[tuple[dict[str, Any], list[str]]] = []
    data: dict[tuple[str, ...], dict[tuple[str, ...], list[str]]] = {}
    for name, record in runs.items():
        made_with = _read_environment(record.folder)
        group = next((names for other, names in codes if _alike(made_with, other)), None)
        if group is None:
            codes.append((made_with, [name]))
        else:
            group.append(name)
        key = tuple(record.params.get(option, "") for option in _TRAINING_DATA)
        digests = tuple(record.params.get(digest, "") for digest in ("data_digest", "val_digest"))
        data.setdefault(key, {}).setdefault(digests, []).append(name)
    sentences = []
    if len(codes) > 1:
        told = "; ".join(f"{_names(names)} with {_code(code)}" for code, names in codes)
        sentences.append(f"made with different code: {told}.")
    for groups in data.values():
        if len(groups) > 1:
            told = "; ".join(
                f"{_names(names)} on {' and '.join(filter(None, digests))}" for digests, names in groups.items()
            )
            sentences.append(f"trained on data of one name and different content: {told}.")
    return sentences


def _digests(data: Any) -> tuple[str, str]:
    """As run.json has them."""
    return data.train.digest(), data.validation.digest() if data.validation else ""


def _read_environment(folder: Path | None) -> dict[str, Any]:
    """A run's environment.json; empty where there is none that can be read."""
    if folder is None:
        return {}
    try:
        values = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two environments ran the same code: by the digest of the sources, of older runs by version and commit."""
    if one.get("source") and other.get("source"):
        return bool(one["source"] == other["source"])
    return _code(one) == _code(other)


def _code(environment: dict[str, Any]) -> str:
    """Version of mfpgan that an environment.json names, for people and to compare."""
    packages = environment.get("packages")
    version = packages.get("mfpgan", "") if isinstance(packages, dict) else ""
    commit = str(environment.get("commit") or "")[:9]
    changes = " with changes" if environment.get("modified") else ""
    source = f", sources {str(environment['source'])[:8]}" if environment.get("source") else ""
    return f"mfpgan {version or 'of an unknown version'}{f', commit {commit}{changes}' if commit else ''}{source}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
