"""A model card from a run's own records."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mfpgan.apps.card import UNKNOWN
from mfpgan.apps.card import card as write_card
from mfpgan.apps.card_numbers import reports_of, weaknesses
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
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["license"], front["library_name"], front["pipeline_tag"]) == ("other", "mfpgan", "mask-generation")
    assert "No evaluation of these weights was found" in err
    assert "These weights have not been evaluated" in text
    assert "With a discriminator (hinge, weight 0.01)" in text
    assert "Drawn shapes; nobody's." in text
    assert "| `memory` | `previous` |" in text
    assert "Trained on `synthetic train`, " in text
    assert "2 steps, weights as training left them." in text
    assert "validated during training on the val part beside it" in text
    assert f"`mfpgan eval --run-id {run_id[:8]} --zoom` does it" in text
    text = run(f"card --run-id {run_id[:8]} --weights ema", capsys, monkeypatch)[1]
    assert "mfpgan demo" not in text, "it shows the last weights"
    assert f"mfpgan predict --run-id {run_id[:8]} --weights ema photo.jpg" in text
    assert f'ClickSession.load("{run_id[:8]}", weights="ema")' in text
    assert f"`mfpgan eval --run-id {run_id[:8]} --zoom --weights ema` does it" in text

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
    assert f"| 85 % (NoC@85) | {mean:.2f} [{low:.2f}, {high:.2f}] |" in text
    mean, low, high = last.interactive.iou[2]
    assert f"| 3 | {mean:.3f} [{low:.3f}, {high:.3f}] |" in text
    assert len(re.findall("clicked by a robot", text)) == 1, "of the other weights nothing is said"
    assert f"| model | {last.single.scores['single']['model'].pooled['iou']:.3f} |" in text

    assert "mfpgan demo --run-id ./tiny\n" in text
    assert load_trained("./tiny").run_id == run_id
    model = load_trained(run_id, "ema")
    assert reports_of(model, "ema") == [report for name, report in reports.items() if "ema" in name.split("-")]
    assert reports_of(model._replace(step=3), "ema") == []

    shutil.rmtree("runs")  # and now it comes from MLflow
    code, fetched, err = run(f"card --run-id {run_id[:8]}", capsys, monkeypatch)
    assert code == 0, err
    assert fetched == text.replace("./tiny", run_id[:8])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    code, out, err = run(f"card --run-id {run_id[:8]} --hub other", capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert "its README.md is not known to be of a model of mfpgan" in err
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


def test_a_report_belongs_to_the_weights_that_its_folder_is_named_after(tmp_path: Path) -> None:
    from test_hub import trained

    report = Report("ab" * 16, 7, "fp32", "cpu", "folder best-ema photos", "0123456789")
    names = {
        "folder-best-ema-photos-012345": "last",
        "folder-best-ema-photos-012345-zoom-ema-first5": "ema",
        "folder-best-ema-photos-012345-zoom-best": "best",
        "bsds500-zoom-ema": "ema",
    }
    for name in names:
        (tmp_path / "eval" / name).mkdir(parents=True)
        data = "bsds500 test" if name.startswith("bsds500") else report.data
        (tmp_path / "eval" / name / "report.json").write_text(replace(report, data=data, precision=name).to_json())
    (tmp_path / "eval" / "damaged").mkdir()
    (tmp_path / "eval" / "damaged" / "report.json").write_text("{")
    model = trained()._replace(folder=tmp_path)
    for weights in ("last", "best", "ema"):
        found = [report.precision for report in reports_of(model, weights)]  # type: ignore[arg-type]
        assert found == sorted(name for name, of in names.items() if of == weights)


def test_numbers_on_known_photos_are_said_to_be() -> None:
    report = Report("ab" * 16, 7, "fp32", "cpu", "bsds500 test", "0123456789")
    assert weaknesses([report], "folder mix", "89") == []
    assert weaknesses([replace(report, data="folder a")], "folder b", "89") == []
    assert weaknesses([report], "", "") == []
    (sentence,) = weaknesses([report], "bsds500 train", "89")
    assert sentence.startswith("bsds500 test is of the data set that it was trained on")
    (sentence,) = weaknesses([report], "bsds500 test", "0123456789")
    assert sentence.startswith("It was trained on bsds500 test")
