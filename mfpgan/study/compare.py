"""Runs that already are, compared like the arms of a study: those that differ in the seed alone are one arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfpgan import build, tracking
from mfpgan.config import TrainConfig
from mfpgan.study.origin import mixed
from mfpgan.types import InputError

NO_DIFFERENCE = {"seed", "device", "workers", "compile", "deterministic"}
"""Keys that make no other recipe."""


def arms_of(prefixes: Sequence[str], evaluation: str | None = None) -> tuple[dict[str, list[list[Path]]], list[str]]:
    """{arm: for each seed the reports of its run}, the first run's arm first, seeds in rising order; and sentences about what
    makes the runs differ beside their configs: code, and data of one name.

    An arm is called by what it has other than the first one: "adv=hinge", and the first by its own values of these keys.

    Args:
        prefixes: ids of runs, or their beginnings.
        evaluation: name of the folder in runs/ID/eval; left out: the only one that all runs have.

    Raises:
        InputError: no such run, runs that cannot be paired, or no evaluation that all of them have.
    """
    records = [tracking.find_run(prefix) for prefix in prefixes]
    if len({record.id for record in records}) < len(records):
        raise InputError("a run is named twice; name each once.")
    configs = [build.config_of(tracking.fetch(record)) for record in records]
    groups: dict[str, list[int]] = {}
    for number, config in enumerate(configs):
        groups.setdefault(str(_recipe(config)), []).append(number)
    if len(groups) < 2:
        raise InputError(
            "all these runs have one recipe and differ in their seeds only; name runs of two recipes at least."
        )
    members = list(groups.values())
    names = _names([_recipe(configs[group[0]]) for group in members])
    seeds = [sorted(configs[number].seed for number in group) for group in members]
    for name, there in zip(names, seeds, strict=True):
        if there != seeds[0] or len(set(there)) < len(there):
            raise InputError(
                f"{names[0]} has seeds {_listed(seeds[0])}, {name} has {_listed(there)}; arms are paired by seed, so name runs "
                "of the same seeds, each once."
            )
    folders = [record.folder / "eval" for record in records]
    chosen = evaluation or _common(folders)
    arms = {
        name: [
            [folders[number] / chosen / "report.json"] for number in sorted(group, key=lambda one: configs[one].seed)
        ]
        for name, group in zip(names, members, strict=True)
    }
    return arms, mixed({record.id[:8]: record for record in records})


def _recipe(config: TrainConfig) -> dict[str, Any]:
    return {key: value for key, value in config.model_dump(mode="json").items() if key not in NO_DIFFERENCE}


def _names(recipes: Sequence[dict[str, Any]]) -> list[str]:
    differing = [key for key in recipes[0] if any(recipe[key] != recipes[0][key] for recipe in recipes)]
    return [", ".join(f"{key}={recipe[key]}" for key in differing) for recipe in recipes]


def _common(folders: Sequence[Path]) -> str:
    there = [{path.parent.name for path in folder.glob("*/report.json")} for folder in folders]
    shared = sorted(set.intersection(*there))
    if len(shared) == 1:
        return shared[0]
    if not shared:
        raise InputError(
            "there is no evaluation that all these runs have; evaluate each alike: mfpgan eval --run-id ID."
        )
    raise InputError(f"these runs have several evaluations, {', '.join(shared)}; choose with --evaluation NAME.")


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
