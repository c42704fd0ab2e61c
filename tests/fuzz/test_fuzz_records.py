"""run.json and metrics.jsonl, damaged: a record that can be listed, and the lines that are whole."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hostile import FUZZ, STRANGE, damaged, mutated, to_json
from hypothesis import given
from hypothesis import strategies as st

from mfpgan.tracking.metrics_file import go_back, last_metrics, last_moment, read_lines
from mfpgan.tracking.run_folder import RunRecord, beginning, read_record, write_record

LINES = [
    {"step": 1, "time": 1_700_000_001.5, "train/loss": 0.5, "d/real_accuracy": None},
    {"step": 2, "time": 1_700_000_002.25, "train/loss": 0.25, "val/iou": 0.75},
    {"step": 1, "time": 1_700_000_003.0, "bsds500/iou": 0.5},
]
RECORD = RunRecord(
    "0" * 32, "a name", "RUNNING", 1_700_000_000.0, Path("runs"), None, {"lr": "0.1"}, {"val/iou": 0.5}, True, "1" * 32, "a host", {"arm": "off"}
)  # fmt: skip


def check(folder: Path) -> None:
    """All that `mfpgan runs` and a resumed run do first."""
    record = read_record(folder)
    texts = (record.id, record.name, record.status, record.mlflow_id, record.host)
    assert [type(text) for text in texts] == [str] * 5
    assert type(record.stored) is bool
    assert all(0 <= moment < 1e11 for moment in (record.started, record.ended or 0.0, last_moment(folder)))
    assert all(type(name) is type(value) is str for name, value in (*record.params.items(), *record.tags.items()))
    for metrics in (record.metrics, last_metrics(folder)):
        assert all(type(name) is str and type(value) is float for name, value in metrics.items())
        assert not any(map(math.isinf, metrics.values()))
    assert beginning(folder.parent) > 1_700_000_000
    lines = list(read_lines(folder))
    assert all(type(line["step"]) is int for line in lines)
    go_back(folder, 1)
    assert [line["step"] <= 1 for line in read_lines(folder)] == [True] * len(list(read_lines(folder)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RECORD.id).mkdir()
    return tmp_path / RECORD.id


def run_json(folder: Path) -> bytes:
    write_record(RunRecord(**{**asdict(RECORD), "folder": folder}))
    return (folder / "run.json").read_bytes()


def text_of(lines: list[Any]) -> bytes:
    return b"".join(to_json(line) + b"\n" for line in lines)


def test_the_valid_files_are_read(folder: Path) -> None:
    run_json(folder)
    (folder / "metrics.jsonl").write_bytes(text_of(LINES))
    assert list(read_lines(folder)) == LINES
    record = read_record(folder)
    assert (record.name, record.status, record.params) == ("a name", "RUNNING", {"lr": "0.1"})
    assert record.metrics["train/loss"] == 0.25
    assert math.isnan(record.metrics["d/real_accuracy"])
    assert last_moment(folder) == 1_700_000_003
    check(folder)


@FUZZ
@given(data=st.data(), kind=st.sampled_from(["damage", "mutation"]))
def test_a_damaged_run_json(folder: Path, data: st.DataObject, kind: str) -> None:
    whole = run_json(folder)
    change = damaged(whole) if kind == "damage" else mutated(json.loads(whole)).map(to_json)
    (folder / "run.json").write_bytes(data.draw(change))
    check(folder)


@FUZZ
@given(
    content=damaged(text_of(LINES))
    | mutated(LINES).map(lambda lines: text_of(lines if isinstance(lines, list) else [lines]))
)
def test_damaged_lines(folder: Path, content: bytes) -> None:
    run_json(folder)
    (folder / "metrics.jsonl").write_bytes(content)
    check(folder)


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_every_strange_value_in_every_field(folder: Path, number: int) -> None:
    whole = json.loads(run_json(folder))
    for key in whole:
        (folder / "run.json").write_bytes(to_json({**whole, key: STRANGE[number]}))
        check(folder)
    run_json(folder)
    for key in ("step", "time", "val/iou", "surprise"):
        (folder / "metrics.jsonl").write_bytes(text_of([*LINES, {**LINES[1], key: STRANGE[number]}]))
        check(folder)
