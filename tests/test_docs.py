"""What the README says can be done: its commands parse, its Python runs, its files are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mfpgan.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^mfpgan .*$", README, re.MULTILINE)))


def test_there_are_commands_to_test() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"train", "eval", "runs", "ui", "data"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = app
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, line
        command, words = found, words[1:]
    command.make_context(command.name, words)


def test_the_python_of_the_readme_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["mask"].shape == names["sample"].target.shape  # type: ignore[attr-defined]


def test_every_file_that_the_readme_names_is_there() -> None:
    listed = re.findall(r"^(\S+(?:/|\.py)) {2,}", README, re.MULTILINE)
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    linked = [path for path in re.findall(r"\]\(([^)]+)\)", prose) if "://" not in path]
    assert len(listed) > 12
    assert [path for path in [*listed, *linked] if not (ROOT / path).exists()] == []


def test_the_file_map_names_every_part_of_the_package() -> None:
    parts = {path.name for path in (ROOT / "mfpgan").iterdir() if path.suffix == ".py" or path.is_dir()}
    ours = {name for name in parts if not name.startswith(("_", ".")) and name != "version.py"}
    assert sorted(name for name in ours if f"mfpgan/{name}" not in README) == []
