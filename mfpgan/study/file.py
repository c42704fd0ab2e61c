"""A study as a file: a base config, arms that differ from it by name, seeds, and what is evaluated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from mfpgan.config import (
    CHANGEABLE_ON_RESUME,
    PRESETS,
    EvalConfig,
    TrainConfig,
    check_values,
    did_you_mean,
    first_of,
    nearest,
)
from mfpgan.study.measures import measures_of
from mfpgan.types import InputError, quoted
from mfpgan.yaml_file import read_mapping

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _name(pattern: str, words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {words}")
        return text

    return check


def _mapping(values: Any) -> Any:
    if values is not None and not isinstance(values, dict):
        raise ValueError("expected keys and values, such as {adv: off}")
    return values or {}


StudyName = Annotated[
    str, AfterValidator(_name("[a-z0-9][a-z0-9-]{0,59}", "lower-case letters, digits and hyphens, such as my-study"))
]
"""Tag of its runs, and the folder of its files below studies/."""
ArmName = Annotated[
    str,
    AfterValidator(_name("[A-Za-z0-9][A-Za-z0-9._-]{0,59}", "letters, digits, dots and hyphens, such as hinge-0.1")),
]
"""Part of file names."""
Values = Annotated[dict[str, Any], BeforeValidator(_mapping)]
"""Keys of a config; nothing after the colon is an empty mapping."""


class Cell(NamedTuple):
    """One training of a study."""

    arm: str
    seed: int
    config: TrainConfig
    digest: str
    """12 hex digits of all that determines the result."""

    @property
    def name(self) -> str:
        """Of its run and its files."""
        return f"{self.arm}-s{self.seed}"


class Study(BaseModel):
    """A question, and the trainings that are to answer it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: StudyName
    """Tag of its runs, and the folder of its files below studies/."""
    question: Text
    """What is asked, for people."""
    expectation: Text
    """What its author expects, written before the first run."""
    base: Values = {}
    """Keys of TrainConfig that all arms share. In the file also `config`: a preset, or a YAML file beside the study's."""
    arms: dict[ArmName, Values]
    """Name to keys of TrainConfig that differ from `base`, in the order of the tables."""
    reference: str
    """The arm that all others are compared with."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32, strict=True)], ...]
    """Each arm is trained with each of them."""
    evaluate: tuple[dict[str, Any], ...]
    """Keys of EvalConfig, an entry for each evaluation of each training."""
    effect: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Measure to the difference that the question is about, such as NoC_85: 0.5; says how narrow an interval has to be."""

    @field_validator("seeds", "evaluate", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError(
                "input should be a list; put it in brackets, or each entry on a line that begins with '- '"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.seeds:
            raise ValueError("there are no seeds; write at least one, better three, such as seeds: [0, 1, 2]")
        twice = [seed for number, seed in enumerate(self.seeds) if seed in self.seeds[:number]]
        if twice:
            raise ValueError(f"the seed {twice[0]} is there twice; a second run of it would be the same, keep one")
        if self.reference not in self.arms:
            raise ValueError(f"reference={quoted(self.reference)} is none of the arms {first_of([*self.arms], str)}")
        if len(self.arms) < 2:
            raise ValueError(f"{self.reference} is the only arm; write another one to compare it with")
        self._check_keys()
        for first, second in combinations(self.cells[: len(self.arms)], 2):
            if first.digest == second.digest:
                raise ValueError(f"the arms {first.arm} and {second.arm} are the same training; leave one of them out")
        if not self.evaluate:
            raise ValueError("evaluate is empty; write at least one entry, such as - {data: bsds500}")
        for number, values in enumerate(self.evaluate, start=1):
            check_values(EvalConfig, values, f"evaluate, entry {number}")
        known = [one.name for entry in self.evaluations for one in measures_of(entry.protocol, entry.max_clicks)]
        for name in self.effect:
            if name not in known:
                hint = did_you_mean(nearest(name, known))
                raise ValueError(
                    f"effect: {quoted(name)} is no measure of these evaluations{hint}, expected one of {', '.join(dict.fromkeys(known))}"
                )
        return self

    def _check_keys(self) -> None:
        """Each part by itself, so that what is wrong with one is said of that one."""
        for name, values in (("base", self.base), *((f"arm {name}", values) for name, values in self.arms.items())):
            if "seed" in values:
                raise ValueError(f"{name}: all arms are trained with the same seeds; write them under seeds")
            check_values(TrainConfig, values, name, together=False)
        for cell in self.arms:
            check_values(TrainConfig, self.base | self.arms[cell], f"arm {cell}")

    @classmethod
    def load(cls, path: Path, settings: Sequence[str] = (), arms: str | None = None) -> Self:
        """A study out of its file.

        Args:
            settings: texts `base.KEY=VALUE`, which count more than the file.
            arms: only these, see `only`; None for all.

        Raises:
            InputError: not readable, or something in it is wrong.
        """
        values = read_mapping(path, "a study")
        if not values:
            raise InputError(
                f"{path}: nothing is in it; a study has {', '.join(cls.model_fields)}, see experiments/adversarial.yaml."
            )
        check_values(cls, values, str(path), together=False)
        base = dict(values.get("base") or {})
        config = base.pop("config", None)
        if config is not None:
            base = _config_of(path, config) | base
        for key, value in map(_setting, settings):
            base[key] = value
        values["base"] = base
        check_values(cls, values, str(path))
        study = cls(**values)
        return study if arms is None else study.only(arms)

    def to_yaml(self) -> str:
        """The study as a file, with what --set and --arms made of it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)

    def only(self, arms: str) -> Self:
        """The study with some of its arms; the reference is always one of them.

        Args:
            arms: names, with commas between them.

        Raises:
            InputError: one is none of the study's, or only the reference is left.
        """
        names = [name.strip() for name in arms.split(",")]
        for name in names:
            if name not in self.arms:
                raise InputError(
                    f"--arms {quoted(name)}: study {self.name} has no such arm, expected some of {', '.join(self.arms)}."
                )
        kept = {name: values for name, values in self.arms.items() if name in (*names, self.reference)}
        if len(kept) < 2:
            raise InputError(f"--arms {arms}: {self.reference} is the reference; name an arm to compare it with.")
        return self.model_copy(update={"arms": kept})

    @property
    def cells(self) -> list[Cell]:
        """All trainings; every arm has its first seed before one has its second, so that a study cut short compares."""
        return list(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for seed in self.seeds:
            for arm, values in self.arms.items():
                config = TrainConfig.from_mapping(self.base | values | {"seed": seed}, f"arm {arm}")
                yield Cell(arm, seed, config, _digest(config))

    @property
    def evaluations(self) -> list[EvalConfig]:
        """The entries of `evaluate`."""
        return [EvalConfig.from_mapping(values, "evaluate") for values in self.evaluate]


def _config_of(path: Path, config: Any) -> dict[str, Any]:
    """The keys of a file named relative to the study's, or of a preset."""
    if not isinstance(config, str):
        raise InputError(f"{path}: base.config={quoted(config)}: expected a preset or the name of a YAML file.")
    presets = {preset.stem: preset for preset in sorted(PRESETS.glob("*.yaml"))}
    beside = path.parent / config
    with contextlib.suppress(OSError):  # a name that no file can have
        if beside.is_file():
            return _without_seed(TrainConfig.from_yaml(beside))
    if config not in presets:
        raise InputError(
            f"{path}: base.config={quoted(config)}: no file beside the study, and no preset; presets are {', '.join(presets)}."
        )
    return _without_seed(TrainConfig.from_yaml(presets[config]))


def _without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run's own config names its seed, and a study has seeds of its own."""
    return {key: value for key, value in values.items() if key != "seed"}


def _setting(text: str) -> tuple[str, Any]:
    """Key of `base` and value."""
    name, equals, value = text.partition("=")
    key = name.strip().removeprefix("base.").replace("-", "_")
    if not equals or not name.strip().startswith("base.") or not key:
        raise InputError(f"--set {text}: expected base.KEY=VALUE, for example --set base.steps=500.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: the value is not readable; quote it as in YAML.") from None


def _digest(config: TrainConfig) -> str:
    """Of what is not left at its default, so that a new option of a later version changes no digest."""
    values = config.model_dump(mode="json", exclude_defaults=True, exclude=set(CHANGEABLE_ON_RESUME))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
