"""Every field of a config is an option; read when a command runs, so that `mfpgan --help` stays instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click
import yaml

from mfpgan.types import InputError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from mfpgan.config import EvalConfig, TrainConfig

    Config = TypeVar("Config", TrainConfig, EvalConfig)


Command = TypeVar("Command", bound=Callable[..., Any])


OTHERS = ("small (the model that comes along)", "a checkpoint", "a folder of `mfpgan card --hub`")
"""What `mfpgan.apps.loading.load_trained` takes beside runs."""


class ConfigCommand(click.Command):
    """A command whose options are the fields of a config of `mfpgan.config`, besides its own.

    Args:
        config: name of the class.
    """

    def __init__(self, *args: Any, config: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.config = config
        self._own = list(self.params)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from mfpgan import config  # pydantic and OpenCV cost half a second
        from mfpgan.clicks.strategies import STRATEGIES

        model = getattr(config, self.config)
        strategies = {model.strategy_field: tuple(STRATEGIES)}  # asked each time: a user may have added one
        options = [
            _option(name, field, strategies.get(name, ()))
            for name, field in model.model_fields.items()
            if name != "parameters"
        ]
        self.params = [*options, *self._own]
        return super().get_params(ctx)


def _option(name: str, field: FieldInfo, choices: tuple[str, ...]) -> click.Option:
    kind = field.annotation
    optional = type(None) in get_args(kind)
    if optional:
        kind = next(part for part in get_args(kind) if part is not type(None))
    text = (field.description or "").removesuffix(".")
    if not optional:
        text += f"  [default: {field.default}]"
    if get_origin(kind) is Literal:
        choices = get_args(kind)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    return click.Option([flag], type=click.Choice(choices) if choices else kind, help=text)


def trained_model(default: str | None = None, others: Sequence[str] = OTHERS) -> Callable[[Command], Command]:
    """`--run-id` and `--weights` of commands that take any trained model.

    Args:
        default: the model if none is named; None: one must be.
        others: what it may be beside a run, for the help.
    """

    def with_options(command: Command) -> Command:
        command = click.option(
            "--weights",
            type=click.Choice(("last", "best", "ema")),
            default="last",
            show_default=True,
            help="Of a run: as training left them, as they were when val/iou was highest, or their running mean.",
        )(command)
        return click.option(
            "--run-id",
            metavar="MODEL",
            required=default is None,
            default=default,
            show_default=default is not None,
            help="; or ".join(filter(None, ["The run, a unique prefix of its id is enough", ", ".join(others)])) + ".",
        )(command)

    return with_options


def tags_of(texts: tuple[str, ...]) -> dict[str, str]:
    """The tags that `--tag KEY=VALUE` names.

    Raises:
        InputError: one is no such text, or a key is there twice.
    """
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--tag {text}: expected KEY=VALUE, for example --tag study=clicks.")
        if key in tags:
            raise InputError(f"--tag {text}: {key} has a value already, {tags[key]}; give one of the two.")
        tags[key] = value
    return tags


def resolve(model: type[Config], given: Mapping[str, Any], file: Path | None, settings: tuple[str, ...]) -> Config:
    """One config from, in rising order: the defaults, a YAML file, `--set key=value`, and the options.

    Raises:
        InputError: unknown key, value of the wrong type or out of range, unreadable file.
    """
    from mfpgan.config import find_config

    values = model.from_yaml(find_config(file)) if file else {}
    origin = str(file) if file else "config"
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise InputError(f"--set {setting}: expected key=value, for example --set lr=0.0005.")
        try:
            values[key.strip().replace("-", "_")] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {setting}: the value is not readable; quote it as in YAML.") from None
    values |= {key: value for key, value in given.items() if value is not None}
    return model.from_mapping(values, origin)
