"""Reports of trainings that were made: `mfpgan study report` and `mfpgan compare`, from runs to pages."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_study_run import GRID, run_command

from mfpgan import tracking
from mfpgan.evaluation.report import Report
from mfpgan.jobs import EvaluationJob, TrainingJob
from mfpgan.study import compare, sheets
from mfpgan.study.file import Study
from mfpgan.study.summary import summarise
from mfpgan.types import InputError

STUDY = f"""{GRID}seeds: [0, 1, 2]
evaluate:
- {{data: synthetic, limit: 3, max_clicks: 2, zoom: true, device: cpu, precision: fp32}}
"""
DONE = (("off", 0), ("hinge", 0), ("off", 1), ("hinge", 1), ("hinge", 2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A working folder in which all cells but one are done."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        shutil.copy(empty_database, "mlflow.db")
        Path("small.yaml").write_text(STUDY)
        study = Study.load(Path("small.yaml"))
        for cell in study.cells:
            if (cell.arm, cell.seed) not in DONE:
                continue
            tags = {"study": study.name, "arm": cell.arm, "seed": str(cell.seed), "cell": cell.digest}
            with TrainingJob.new(cell.config, cell.name, tags=tags).start() as trainer:
                trainer.train(lambda step: None)
            EvaluationJob.new(trainer.run.id, study.evaluations[0]).run(lambda protocol, done, total: None)
    return folder


@pytest.fixture
def there(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, worked in."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def id_of(name: str) -> str:
    return next(run.id for run in tracking.local_runs() if run.name == name)


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["evaluation"], row["measure"]): row for row in csv.DictReader(path.read_text().splitlines())}


def test_a_report_is_files_and_a_run(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command("study", "report", "small.yaml", "--effect", "IoU@1=0.5") == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[-1] == "studies/small/report/report.md"
    assert "seed 2 is left out: off not done." in said.err
    assert "2 seeds: the intervals are wide" in said.err
    folder = there / "studies/small/report"
    pictures = ["best_hinge.png", "clicks.png", "forest.png", "objects.png", "worst_hinge.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*pictures, "report.md", "results.csv", "study.yaml"]
    )
    for name in pictures:
        assert np.asarray(Image.open(folder / name)).std() > 5, "something is drawn"
    page = (folder / "report.md").read_text()
    for text in ("**Question.** Does it help?", "**Expected, before the first run.** No.", "seed 2 is left out"):
        assert text in page
    assert all(f"({name})" in page for name in pictures)

    table = rows(folder / "results.csv")
    reports = {
        (arm, seed): Report.from_json(next((there / "runs" / id_of(f"{arm}-s{seed}")).glob("eval/*/report.json")).read_text())
        for arm, seed in DONE
    }  # fmt: skip
    first = [
        np.mean([[row.iou[0] for row in reports[arm, seed].interactive.rows] for seed in (0, 1)])  # type: ignore[union-attr]
        for arm in ("off", "hinge")
    ]
    line = next(row for (_, measure), row in table.items() if measure == "IoU@1")
    assert float(line["difference"]) == pytest.approx(first[1] - first[0], abs=1e-12)
    assert (line["arm"], line["reference"], line["seeds"], line["effect"]) == ("hinge", "off", "2", "0.5")

    summaries = [run for run in tracking.list_runs() if run.tags.get("kind") == "summary"]
    assert [run.tags for run in summaries] == [{"study": "small", "kind": "summary"}]
    run = summaries[0]
    assert run.status == "FINISHED"
    assert run.metrics["hinge/IoU_1"] == pytest.approx(float(line["difference"]))
    assert run.folder is not None
    assert Study.load(folder / "study.yaml") == Study.load(Path("small.yaml"))
    stored = json.loads((run.folder / "run.json").read_text())
    assert stored["params"]["question"] == "Does it help?"

    again = summarise(Study.load(Path("small.yaml")), {})
    assert again.run_id == run.id, "a second report goes into the same run"


def test_a_sheet_shows_the_masks_that_were_counted(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caption's IoU is the report's; so must be the mask's, with the report's zoom and weights."""
    tiles: list[sheets.Tile] = []
    monkeypatch.setattr(sheets, "contact_sheet", lambda all_tiles, columns, title: tiles.extend(all_tiles))
    study = Study.load(Path("small.yaml"))
    folders = there / "runs" / id_of("off-s0"), there / "runs" / id_of("hinge-s0")
    pair = [Report.from_json(next(folder.glob("eval/*/report.json")).read_text()) for folder in folders]
    data = EvaluationJob.new(id_of("off-s0"), study.evaluations[0]).data
    sheets.sheet(folders, (pair[0], pair[1]), ("off", "hinge"), "last", data, [0, 2], 2, "")
    assert len(tiles) == 4
    for place, tile in enumerate(tiles):
        game = pair[place % 2].interactive
        assert game is not None
        counted = game.rows[(0, 2)[place // 2]].iou[1]
        seen = np.ones_like(tile.target) if tile.ignore is None else ~tile.ignore
        joined = np.sum((tile.prediction | tile.target) & seen)
        assert np.sum(tile.prediction & tile.target & seen) / joined == pytest.approx(counted, abs=1e-6)


def test_no_seed_in_all_arms(there: Path) -> None:
    for name in ("off-s0", "hinge-s1"):
        shutil.rmtree(there / "runs" / id_of(name))
    with pytest.raises(
        InputError, match=r"^study small: no seed is done in all arms \(seed 0 is left out: off not done; "
    ):
        summarise(Study.load(Path("small.yaml")), {})
    for run in tracking.local_runs():
        shutil.rmtree(run.folder or Path())
    with pytest.raises(InputError, match=r"^study small: no cell is done; run the study first, with the same --set\.$"):
        summarise(Study.load(Path("small.yaml")), {})
    assert not Path("studies").exists()


@pytest.mark.parametrize(
    ("file", "values", "expected"),
    [
        ("environment.json", {"source": "0" * 16}, "made with different code: off-s0, off-s1, hinge-s1 with mfpgan "),
        ("run.json", {"params": {"data_digest": "0" * 16}}, "trained on data of one name and different content: off-s0, off-s1, hinge-s1 on "),
    ],
)  # fmt: skip
def test_cells_of_two_kinds(
    there: Path, file: str, values: dict[str, Any], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = there / "runs" / id_of("hinge-s0") / file
    old = json.loads(path.read_text())
    new = {key: {**old[key], **value} if isinstance(value, dict) else value for key, value in values.items()}
    path.write_text(json.dumps({**old, **new}))
    study = Study.load(Path("small.yaml"))
    with pytest.raises(InputError, match=rf"^study small: {expected}.*; hinge-s0 .*; train them alike, or add --force"):
        summarise(study, {})
    assert not Path("studies").exists()
    page = summarise(study, {}, force=True).page
    assert f"**Careful:** {expected}" in page.read_text()
    assert run_command("compare", id_of("off-s0"), id_of("hinge-s0")) == 0
    assert expected.split(":", maxsplit=1)[0] in capfd.readouterr().err


def test_weights_that_are_gone_cost_only_the_sheets(there: Path) -> None:
    for path in (there / "runs" / id_of("off-s0") / "checkpoints").iterdir():
        path.unlink()
    summary = summarise(Study.load(Path("small.yaml")), {})
    assert any(sentence.startswith("no contact sheets (") for sentence in summary.careful)
    assert not (summary.page.parent / "best_hinge.png").exists()
    assert (summary.page.parent / "forest.png").is_file()


def test_entries_of_one_folder_are_told_once(there: Path) -> None:
    """Each part of a report counts for the entry that asked for it, though the file has both."""
    entry = STUDY[STUDY.index("- {data") + 3 :].strip("{}\n")
    Path("apart.yaml").write_text(
        f"{STUDY[: STUDY.index('- {data')]}- {{{entry}, protocol: interactive}}\n- {{{entry}, protocol: single}}\n"
    )
    found = summarise(Study.load(Path("apart.yaml")), {}).answer
    assert [evaluation.curves is None for evaluation in found.evaluations] == [False, True]
    measures = [line.measure.name for line in found.lines]
    assert len(set(measures)) == len(measures)


def test_runs_are_compared_like_a_study(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("off-s1", "hinge-s0", "off-s0", "hinge-s1")
    assert run_command("compare", *map(id_of, names), "--effect", "IoU@1=0.5") == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[-1] == "comparison/report.md"
    assert "adv=hinge less adv=off, IoU@1: " in said.err
    study = summarise(Study.load(Path("small.yaml")), {})
    ours, theirs = rows(Path("comparison/results.csv")), rows(study.page.parent / "results.csv")
    assert list(ours) == list(theirs)
    for key, row in ours.items():
        for column in ("difference", "low", "high", "p", "p_holm", "better", "objects", "images", "seeds"):
            assert row[column] == theirs[key][column], (key, column)


def test_arms_of_runs(there: Path) -> None:
    arms, careful = compare.arms_of([id_of(name)[:12] for name in ("hinge-s1", "off-s1", "off-s0", "hinge-s0")])
    found = {arm: [seed[0].parents[2].name for seed in seeds] for arm, seeds in arms.items()}
    assert found == {
        "adv=hinge": [id_of("hinge-s0"), id_of("hinge-s1")],
        "adv=off": [id_of("off-s0"), id_of("off-s1")],
    }
    assert careful == []


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("off-s0", "off-s0"), "a run is named twice; name each once."),
        (("off-s0", "off-s1"), "all these runs have one recipe and differ in their seeds only; name runs of two recipes at least."),
        (("off-s0", "hinge-s1"), "adv=off has seeds 0, adv=hinge has 1; arms are paired by seed, so name runs of the same seeds, "),
        (("off-s0", "hinge-s0", "hinge-s1"), "adv=off has seeds 0, adv=hinge has 0, 1; "),
    ],
)  # fmt: skip
def test_runs_that_are_no_pairs(there: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        compare.arms_of([id_of(name) for name in names])
    assert str(raised.value).startswith(sentence)


def test_which_evaluation(there: Path) -> None:
    pair = [id_of("off-s0"), id_of("hinge-s0")]
    folders = [there / "runs" / name / "eval" for name in pair]
    usual = next(folders[0].iterdir()).name
    for folder in folders:
        shutil.copytree(folder / usual, folder / "other")
    with pytest.raises(InputError, match=rf"^these runs have several evaluations, other, {usual}; choose with --eval"):
        compare.arms_of(pair)
    assert compare.arms_of(pair, "other")[0]["adv=off"] == [[Path("runs", pair[0], "eval/other/report.json")]]
    shutil.rmtree(folders[0] / "other")
    shutil.rmtree(folders[1] / usual)
    with pytest.raises(InputError, match=r"^there is no evaluation that all these runs have; evaluate each alike"):
        compare.arms_of(pair)
    assert run_command("compare", *pair, "--evaluation", "third") == 2
    assert not Path("comparison").exists()


@pytest.mark.parametrize("effect", ["IoU@1", "IoU@1=x", "IoU@1=0", "IoU@1=nan", "IoU@99=1"])
def test_effects_that_are_none(there: Path, effect: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command("compare", id_of("off-s0"), id_of("hinge-s0"), "--effect", effect) == 2
    said = capfd.readouterr().err
    assert effect in said or "effect IoU@99: no such measure" in said
    assert not Path("comparison").exists()
