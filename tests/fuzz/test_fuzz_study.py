"""Study files: cells that train and are all different, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile import FUZZ, damaged, mutated, reading
from hypothesis import given
from test_fuzz_config import ODD, VALUES, to_yaml

from mfpgan.study.file import Study

DOCUMENT: dict[str, Any] = {
    "name": "small", "question": "Does it help?", "expectation": "No.", "base": {"config": "strong", "steps": 2, "clicks.rounds": 2},
    "arms": {"off": {"adv": "off"}, "hinge": {"adv": "hinge"}}, "reference": "off", "seeds": [0, 7],
    "evaluate": [{"data": "synthetic", "protocol": "single"}, {"robot": "human", "robot.jitter": 0.24}], "effect": {"iou": 0.01},
}  # fmt: skip


def check(path: Path) -> None:
    study = reading(path, lambda: Study.load(path))
    if study is not None:
        assert study.reference in study.arms
        cells = study.cells
        assert len({cell.digest for cell in cells}) == len(cells) == len(study.arms) * len(study.seeds) >= 2
        assert len(study.evaluations) >= 1


def test_the_valid_document_is_read(tmp_path: Path) -> None:
    path = tmp_path / "valid.yaml"
    path.write_bytes(to_yaml(DOCUMENT))
    assert [cell.name for cell in Study.load(path).cells] == ["off-s0", "hinge-s0", "off-s7", "hinge-s7"]


@FUZZ
@given(document=mutated(DOCUMENT, VALUES))
def test_a_mutated_study(tmp_path: Path, document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mutated.yaml"
    path.write_bytes(to_yaml(document))
    check(path)
    assert not Path("canary").exists()


@FUZZ
@given(content=damaged(to_yaml(DOCUMENT)))
def test_a_damaged_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.yaml"
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("text", ODD)
def test_every_odd_value_in_every_place(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.yaml"
    whole = to_yaml(DOCUMENT).decode()
    places = [f"{key}: {text}\n" + whole.replace(f"{key}: ", "was: ", 1) for key in DOCUMENT]
    for content in [
        *places, whole.replace("strong", text), whole.replace("hinge: {", f"{text}: {{", 1), whole.replace("adv: hinge", f"adv: {text}"),
        whole.replace("adv: hinge", f"{text}: 1"), whole.replace("[0, 7]", f"[0, {text}]"), whole.replace("robot: human", f"{text}: 1"),
    ]:  # fmt: skip
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        check(path)
    assert not Path("canary").exists()
