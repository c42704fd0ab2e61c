"""A model card from a run's own records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mfpgan.apps.card import UNKNOWN
from mfpgan.apps.card import card as write_card
from mfpgan.apps.loading import load_trained
from mfpgan.cli import main
from mfpgan.evaluation.report import Report

TRAIN = (
    "--size 96 --width 0.1 --steps 2 --batch-size 2 --encoder-weights none --clicks mixed --memory previous --ema 0.9"
)


def run(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["mfpgan", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_a_card_says_what_the_run_knows_and_the_folder_loads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(f"train --data synthetic --adv hinge {TRAIN}", capsys, monkeypatch)
    assert code == 0, err
    run_id = out.strip()

    code, text, err = run(f"card --run-id {run_id[:8]}", capsys, monkeypatch)
    assert code == 0
    assert text.startswith("---\nlicense: other\n")
    assert "No evaluation of these weights was found" in err
    assert "These weights have not been evaluated" in text
    assert "With a discriminator (hinge, weight 0.01)" in text
    assert "Drawn shapes; nobody's." in text
    assert "| `memory` | `previous` |" in text

    evaluate = f"eval --run-id {run_id} --data synthetic --limit 2 --max-clicks 3 --zoom"
    assert run(f"{evaluate} --protocol both", capsys, monkeypatch)[0] == 0
    assert run(f"{evaluate} --weights ema", capsys, monkeypatch)[0] == 0
    reports = {
        path.parent.name: Report.from_json(path.read_text())
        for path in (tmp_path / "runs" / run_id / "eval").glob("*/report.json")
    }
    assert len(reports) == 2
    code, out, err = run(f"card --run-id {run_id[:8]} --out card.md --hub tiny", capsys, monkeypatch)
    assert (code, out) == (0, "card.md\n"), err
    text = (tmp_path / "card.md").read_text()
    assert text == (tmp_path / "tiny" / "README.md").read_text()
    (last,) = (report for name, report in reports.items() if "ema" not in name.split("-"))
    assert last.interactive is not None
    assert last.single is not None
    mean, low, high = last.interactive.noc["85"]
    assert f"| 85 % (NoC_85) | {mean:.2f} [{low:.2f}, {high:.2f}] |" in text
    mean, low, high = last.interactive.iou[2]
    assert f"| 3 | {mean:.3f} [{low:.3f}, {high:.3f}] |" in text
    assert len(re.findall("clicked by a robot", text)) == 1, "of the other weights nothing is said"
    assert f"| model | {last.single.scores['single']['model'].pooled['iou']:.3f} |" in text

    assert load_trained("tiny").run_id == run_id
    code, _, err = run("card --run-id tiny", capsys, monkeypatch)
    assert (code, err) == (
        2,
        "mfpgan: tiny: a card is made of a run, expected a run's id; a folder's own card is its README.md.\n",
    )


def test_a_card_names_no_folder_of_the_machine_and_asks_for_terms_that_it_does_not_know(tmp_path: Path) -> None:
    from test_hub import trained

    model = trained(data=str(tmp_path / "secret" / "photos"))
    (tmp_path / "run.json").write_text(json.dumps({"name": "mine", "params": {"data_name": "folder photos"}}))
    text = write_card(model._replace(folder=tmp_path), [])
    assert UNKNOWN in text
    assert "# mine:" in text
    assert "`photos`" in text
    assert "secret" not in text
    assert UNKNOWN not in write_card(model, [], data_terms="Mine, CC0.")
