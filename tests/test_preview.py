"""The preview of clicks: what training would show the network first, as a PNG, and plain words for bad input."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from mfpgan.cli import main
from mfpgan.clicks.strategies import STRATEGIES
from mfpgan.config import TrainConfig
from mfpgan.data import open_dataset
from mfpgan.data.loader import training_batches
from mfpgan.evaluation.references import grabcut
from mfpgan.preview import Preview, Turn, preview
from mfpgan.training.simulate import CLICK_STREAM, first_turns
from mfpgan.types import Click, Sample

SYNTHETIC = ("--data", "synthetic", "--size", "64", "--count", "2")


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`mfpgan clicks preview` in an empty folder; exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MFPGAN_DATA", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mfpgan", "clicks", "preview", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_a_png_is_written_the_same_for_the_same_seed(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    words = (*SYNTHETIC, "--clicks", "adaptive", "--rounds", "1")
    code, out, err = command(*words)
    assert (code, out) == (0, "clicks.png\n"), err
    assert "2 samples, 1.5 clicks each, " in err, "one of the two answers is right already"
    first = (tmp_path / "clicks.png").read_bytes()
    assert command(*words, "--out", "again.png")[1] == "again.png\n"
    assert (tmp_path / "again.png").read_bytes() == first
    assert command(*words, "--seed", "1")[0] == 0
    assert (tmp_path / "clicks.png").read_bytes() != first, "the older file is replaced"
    assert {path.name for path in tmp_path.iterdir()} == {"clicks.png", "again.png"}
    # Two samples of two turns: in rows of one sample, tiles of 64 pixels enlarged three times.
    assert Pillow.open(io.BytesIO(first)).size[0] == 12 + 192 + 10 + 192 + 12


def test_the_first_turn_is_that_of_training() -> None:
    config = TrainConfig(data="sample", clicks="multi", size=96, seed=3, parameters={"points": 5})
    data = open_dataset("sample")
    shown = preview(data, config, 3, None, None)
    (batch,) = training_batches(data, seed=3, size=96, batch_size=3, steps=range(1), workers=0, others=True)
    assert tuple(sample.id for sample in shown.samples) == batch.ids
    assert [turns[0].clicks for turns in shown.turns] == first_turns(batch, config.strategy(), seed=3, position=0)
    assert all(turns[0].seen is None for turns in shown.turns)
    assert [len(turns) for turns in shown.turns] == [1, 1, 1], "multi has no rounds of its own"


def test_later_turns_answer_grabcut() -> None:
    config = TrainConfig(clicks="center", size=96)
    shown = preview(open_dataset("synthetic"), config, 1, 2, None)
    (first, second, third), sample = shown.turns[0], shown.samples[0]
    np.testing.assert_array_equal(second.seen, grabcut(sample.image, first.clicks))
    np.testing.assert_array_equal(third.seen, grabcut(sample.image, first.clicks + second.clicks))
    assert second.seen is not None
    for click in second.clicks:
        assert click.positive == (sample.target[click.y, click.x] and not second.seen[click.y, click.x])
    assert "GrabCut" in shown.title
    assert len(preview(open_dataset("synthetic"), config, 1, None, None).turns[0]) == 1 + 3, "its own rounds"


@pytest.mark.parametrize("memory", ["none", "previous", "modulated"])
def test_every_turn_has_the_chance_that_training_gives_it(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    @dataclass(frozen=True)
    class Draw:
        rounds: int = 3

        def __call__(self, *arguments: Any) -> tuple[Click, ...]:
            drawn.append(arguments[3].random())
            return (Click(20, 20, True),)

    monkeypatch.setitem(STRATEGIES, "draw", Draw)
    config = TrainConfig(clicks="draw", size=96, seed=5, memory=memory)  # type: ignore[arg-type]
    preview(open_dataset("synthetic"), config, 2, None, None)
    streams = [[5, position, CLICK_STREAM, *turn] for position in range(2) for turn in ([], [1], [2], [3])]
    assert drawn == [np.random.default_rng(stream).random() for stream in streams]
    assert len(set(drawn)) == 8


def test_summary_by_hand() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    sample = Sample("a/1", np.zeros((40, 40, 3), np.uint8), mask)
    plus, minus = Click(15, 15, True), Click(0, 0, False)
    shown = Preview(
        "title",
        [sample, sample],
        [[Turn(None, (plus, minus)), Turn(mask, ())], [Turn(None, (plus,)), Turn(mask, (plus,))]],
    )
    assert shown.summary() == "2 samples, 2.0 clicks each, 75% positive, turns: 2"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--clicks", "nobody"), "'nobody' is not one of 'random'"),
        (
            ("--clicks", "center", "--set", "clicks.spread=1"),
            "clicks.spread: no such parameter, center has clicks.rounds",
        ),
        (("--clicks", "adaptive", "--set", "clicks.spread=2"), "clicks.spread=2: "),
        (("--set", "lr=1"), "--set lr=1: expected a parameter of the user"),
        (("--data", "nowhere"), "data 'nowhere' does not exist"),
        (("--size", "8"), "size=8: "),
        (("--out", "none/clicks.png"), "there is no folder none"),
        (("--out", "clicks.jpg"), "expected a name that ends in .png"),
        (("--out", "folder.png"), "this is a folder"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...], sentence: str, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "folder.png").mkdir()
    code, out, err = command(*SYNTHETIC, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_help_says_that_no_network_answers(command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = command("--help")
    assert code == 0
    assert "GrabCut" in out
    assert "validation data" in " ".join(out.split()), "another choice of it holds out other photos"
    assert "--lr" not in out, "only what decides on samples and clicks"
