"""What the README says can be done: its commands parse, its Python runs, its files are there."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from test_strategies import check_turn, random_case
from torch import Tensor

from mfpgan.cli import app, main
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.crop import crop
from mfpgan.zoom import View

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(set(re.findall(r"^mfpgan .*$", README, re.MULTILINE)))


def test_there_are_commands_to_test() -> None:
    assert {line.split()[1] for line in COMMANDS} == {
        "train",
        "eval",
        "runs",
        "sync",
        "ui",
        "data",
        "clicks",
        "diagnose",
        "study",
        "compare",
        "demo",
        "predict",
        "export",
        "card",
    }


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
    block = next(block for block in BLOCKS if "import mfpgan\n" in block)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["mask"].shape == names["sample"].target.shape  # type: ignore[attr-defined]


def test_the_click_strategy_of_the_readme_trains_and_plays_and_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = next(block for block in BLOCKS if "class Edge" in block)
    (tmp_path / "edge.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    strategy = importlib.import_module("edge").Edge
    assert '`"edge": Edge,`' in README
    monkeypatch.setitem(STRATEGIES, "edge", strategy)  # the line in the table

    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    train = (
        "mfpgan train --data synthetic --size 96 --width 0.1 --adv off --steps 2 --batch-size 2 --encoder-weights none"
    )
    code, out, _ = run(f"{train} --clicks edge --set clicks.depth=2")
    run_id = out.strip()
    assert code == 0
    assert "clicks.depth: 2" in (tmp_path / "runs" / run_id / "config.yaml").read_text()
    code, _, err = run(f"{train} --clicks edge --set clicks.depth=0")
    assert code == 2
    assert "clicks.depth=0: input should be greater than or equal to 1" in err

    play = f"mfpgan eval --run-id {run_id} --data synthetic --protocol interactive --limit 1 --max-clicks 2 --json"
    code, out, _ = run(f"{play} --robot edge --set robot.depth=2")
    result = json.loads(out)["interactive"]
    assert (code, result["robot"], result["parameters"]) == (0, "edge", {"depth": 2})
    assert len(result["loss"]) == 3, "its clicks more than those of center"
    views: list[View] = []
    sizes: list[int] = []

    def watched(planes: Tensor, view: View, size_px: int) -> Tensor:
        views.append(view)
        sizes.append(size_px)
        return crop(planes, view, size_px)

    monkeypatch.setattr("mfpgan.inference.crop", watched)
    code, out, _ = run(f"{play} --zoom")
    result = json.loads(out)["interactive"]
    assert (code, result["zoom"], result["robot"]) == (0, True, "center")
    assert views, "the network looked closely"
    assert set(sizes) == {96}, "at the size it was trained at"

    assert run("mfpgan clicks preview --data synthetic --size 96 --count 1 --rounds 1 --clicks edge")[:2] == (
        0,
        "clicks.png\n",
    )

    for case in range(60):
        target, prediction, clicks, ignore = random_case(case)
        turn = strategy()(target, prediction, clicks, np.random.default_rng(case), ignore)
        check_turn("edge", target, prediction, clicks, ignore, turn)
        assert len(turn) <= 1
        assert turn == strategy()(target, prediction, clicks, np.random.default_rng(case), ignore)
    target = np.zeros((30, 30), np.bool_)
    target[5:25, 5:25] = True
    for seed in range(50):
        (click_,) = strategy(depth=2)(target, None, (), np.random.default_rng(seed))
        assert click_.positive
        assert min(click_.y - 4, 25 - click_.y, click_.x - 4, 25 - click_.x) in (1, 2)
    assert strategy()(target, target, (), np.random.default_rng(0)) == ()


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
