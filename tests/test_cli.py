"""The commands as people run them: what is printed where, exit codes, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from filelock import FileLock

import mfpgan
from mfpgan.cli import main
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.devices import precision_on
from mfpgan.jobs import prefix_of
from mfpgan.training.checkpoint import load_checkpoint, save_checkpoint

TINY = ["--data", "synthetic", "--width", "0.1", "--size", "96", "--batch-size", "2", "--encoder-weights", "none",
        "--device", "cpu", "--workers", "0"]  # fmt: skip


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One working folder for the file: a new MLflow store takes seconds."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in the working folder."""
    monkeypatch.chdir(folder)
    for name in ("MFPGAN_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["mfpgan", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def trained(folder: Path) -> str:
    """Id of a small run with the adversary."""
    words = [sys.executable, "-m", "mfpgan", "train", *TINY, "--steps", "4", "--set", "save_every=2", "--name", "first"]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr
    return result.stdout.strip()


def test_train_prints_the_id_and_leaves_a_complete_run(trained: str, folder: Path) -> None:
    assert len(trained) == 32
    run = folder / "runs" / trained
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["data"], config["steps"], config["adv"]) == ("synthetic", 4, "hinge")
    assert config["precision"] in ("fp32", "bf16"), "what auto has come to on this machine"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {
        "train/loss",
        "train/seg",
        "train/adv",
        "train/lr",
        "d/real_accuracy",
        "d/fake_logit",
        "val/iou",
        "val/dice",
    } <= names
    assert (run / "checkpoints" / "last.pt").is_file()
    assert list((run / "figures").glob("val_triplet_0-*.png"))
    assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow uses what SQLAlchemy 2.1 deprecates
def test_mlflow_has_the_same(trained: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(folder)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    run = client.get_run(trained)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    assert run.data.params["adv"] == "hinge"
    assert len(run.data.params["data_digest"]) == 16
    assert [m.step for m in client.get_metric_history(trained, "train/loss")] == [4]
    paths = {item.path for item in client.list_artifacts(trained)}
    assert {"config.yaml", "environment.json", "images", "checkpoints"} <= paths


def test_eval_puts_both_protocols_into_the_run(trained: str, command: Command, folder: Path) -> None:
    result = command("eval", "--run-id", trained[:8], "--data", "synthetic", "--limit", "2", "--max-clicks", "3")
    assert result.code == 0, result.err
    assert "grabcut" in result.out
    assert "never reached" in result.out
    prefix = "synthetic-first2-3clicks"
    report = json.loads((folder / "runs" / trained / "eval" / prefix / "report.json").read_text())
    assert len(report["single"]["rows"]) == 2
    assert all(len(row["iou"]) == 3 for row in report["interactive"]["rows"])
    lines = [json.loads(line) for line in (folder / "runs" / trained / "metrics.jsonl").read_text().splitlines()]
    curve = {line["step"]: line[f"{prefix}/iou"] for line in lines if f"{prefix}/iou" in line}
    assert list(curve) == [1, 2, 3], "the step of the curve is the click"
    figures = {path.name.split("-0")[0] for path in (folder / "runs" / trained / "figures").iterdir()}
    assert {f"{prefix}_confusion_single", f"{prefix}_triplet_00", f"{prefix}_clicks"} <= figures


def test_eval_with_another_robot(trained: str, command: Command, folder: Path) -> None:
    words = ("--data", "synthetic", "--limit", "2", "--max-clicks", "3", "--protocol", "interactive")
    luck = ("--robot", "adaptive", "--repeats", "2", "--set", "robot.spread=1")
    result = command("eval", "--run-id", trained[:8], *words, *luck)
    assert result.code == 0, result.err
    assert "robot adaptive (spread 1.0), 2 repeats, 3 clicks" in result.out
    assert "Against the robot center" in result.out
    assert "s a click (32 games together), " in result.out
    prefix = "synthetic-adaptive-spread1.0-2repeats-first2-3clicks"
    report = json.loads((folder / "runs" / trained / "eval" / prefix / "report.json").read_text())["interactive"]
    assert report["batch_size"] == 32
    assert [row["repeat"] for row in report["rows"]] == [0, 1] * len(report["center"]["rows"])
    assert f"interactive {len(report['rows'])}/{len(report['rows'])}" in result.err, "objects x repeats"
    assert set(report["loss"]) == {"80", "85", "90"}
    lines = [json.loads(line) for line in (folder / "runs" / trained / "metrics.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    assert {f"{prefix}/NoC_90_spread", f"{prefix}/loss_90_low", f"{prefix}/center/NoC_90"} <= names
    assert list((folder / "runs" / trained / "figures").glob(f"{prefix}_clicks-*"))
    noted = command("eval", "--run-id", trained, *words, "--repeats", "2", "--batch-size", "1")
    assert "all 2 repeats will be the same" in noted.err
    assert "s a click, " in noted.out


def test_only_equal_evaluations_share_a_name() -> None:
    data = mfpgan.open_dataset("synthetic", split="val")

    def prefix(**values: Any) -> str:
        return prefix_of(data, mfpgan.EvalConfig.from_mapping(values, "test"))

    assert prefix() == prefix(robot="center") == prefix(**{"robot.rounds": 0}) == "synthetic"
    assert prefix(robot="human") == prefix(robot="human", **{"robot.wrong": 0.0}) == "synthetic-human"
    assert prefix(robot="human", repeats=10, zoom=True) == "synthetic-human-10repeats-zoom"
    assert prefix(robot="human", **{"robot.wrong": 0.25}) == "synthetic-human-wrong0.25"
    assert prefix(robot="adaptive", **{"robot.spread": 1}) == prefix(robot="adaptive", **{"robot.spread": 1.0})
    assert prefix(robot="random", limit=5, max_clicks=3, seed=9) == "synthetic-random-first5-3clicks-seed9"


def test_eval_json_is_the_report_alone(trained: str, command: Command) -> None:
    words = ("eval", "--run-id", trained, "--data", "sample", "--limit", "1", "--protocol", "single", "--json")
    first, second = json.loads(command(*words).out), json.loads(command(*words).out)
    assert first == second
    assert (first["data"], first["step"], first["precision"]) == ("sample val", 4, precision_on(torch.device("cpu")))
    assert first["interactive"] is None


def test_an_evaluation_on_the_training_data_says_so(trained: str, command: Command) -> None:
    words = ("eval", "--run-id", trained, "--data", "synthetic", "--protocol", "single", "--limit", "1")
    assert "trained on this data" in command(*words, "--split", "train").err
    assert "trained on this data" not in command(*words).err


def test_one_protocol_after_the_other_is_the_report_of_both(trained: str, command: Command, folder: Path) -> None:
    for protocol in ("single", "interactive"):
        words = ("--data", "synthetic", "--limit", "1", "--max-clicks", "2", "--protocol", protocol)
        assert command("eval", "--run-id", trained, *words).code == 0
    path = folder / "runs" / trained / "eval" / "synthetic-first1-2clicks" / "report.json"
    report = json.loads(path.read_text())
    assert report["single"]
    assert report["interactive"]
    other = ("--data", "synthetic", "--limit", "1", "--max-clicks", "2", "--protocol", "single", "--seed", "9")
    assert command("eval", "--run-id", trained, *other).code == 0
    assert json.loads(path.read_text()) == report, "another seed has another place"
    path.write_text('{"of": "another version"}')
    assert command("eval", "--run-id", trained, *other[:-2]).code == 0
    assert json.loads(path.read_text())["single"] == report["single"]


def test_a_run_is_found_wherever_the_store_is(trained: str, command: Command, folder: Path) -> None:
    (folder / "runs" / trained).rename(folder / "aside")
    try:
        result = command("eval", "--run-id", trained[:8], "--data", "synthetic", "--limit", "1", "--protocol", "single")
        assert result.code == 0, result.err
        fetched, original = (
            load_checkpoint(path / "checkpoints" / "last.pt") for path in (folder / "runs" / trained, folder / "aside")
        )
        assert all(torch.equal(fetched["generator"][name], value) for name, value in original["generator"].items())
    finally:
        shutil.rmtree(folder / "runs" / trained)
        (folder / "aside").rename(folder / "runs" / trained)


def test_the_library_loads_a_run(trained: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    generator, config = mfpgan.load_run(trained[:8], device="cpu")
    assert config.steps == 4
    session = mfpgan.ClickSession(generator)
    sample = mfpgan.open_dataset("synthetic")[0]
    session.set_image(sample.image)
    assert session.click(5, 5, True).shape == sample.target.shape


def test_without_data_the_sample_is_taken_and_said(trained: str, command: Command) -> None:
    result = command("train", "--adv", "off", "--dry-run", "--encoder-weights", "none")
    assert result.code == 0
    assert "bundled sample" in result.out
    assert yaml.safe_load(result.out)["adv"] == "off", "the dry run is a config file"
    evaluated = command("eval", "--run-id", trained, "--protocol", "single", "--limit", "1")
    assert evaluated.code == 0
    assert "bundled sample" in evaluated.err


def test_default_data_is_found_where_mfpgan_data_says(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "lvis")
    (tmp_path / "lvis" / "train.json").rename(tmp_path / "lvis" / "lvis_v1_train.json")
    monkeypatch.setenv("MFPGAN_DATA", str(tmp_path))
    result = command("train", "--adv", "off", "--dry-run", "--encoder-weights", "none", "--val-data", "none")
    assert "lvis_v1_train.json" in result.out
    assert "16 images" in result.out


def test_options_beat_set_beats_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("data: synthetic\nlr: 0.5\nseed: 1\nbatch_size: 3\nencoder_weights: none\n")
    words = ("--config", str(tmp_path / "my.yaml"), "--set", "seed=2", "--set", "lr=0.25", "--seed", "3")
    config = yaml.safe_load(command("train", *words, "--dry-run").out)
    assert (config["batch_size"], config["lr"], config["seed"]) == (3, 0.25, 3)


def test_dry_run_writes_nothing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("train", *TINY, "--dry-run").code == 0
    assert not list(Path().glob("runs")) or not list(Path("runs").iterdir())


def test_runs_lists_and_compares(trained: str, command: Command) -> None:
    listed, compared = command("runs"), command("runs", trained[:6], trained)
    assert trained[:8] in listed.out
    assert "first" in listed.out
    assert "training data" in compared.out
    assert compared.out.count(trained[:8]) == 2


def test_a_stopped_run_goes_on_to_the_same_end(folder: Path, command: Command, trained: str) -> None:
    words = [
        sys.executable,
        "-m",
        "mfpgan",
        "train",
        *TINY,
        "--steps",
        "4",
        "--deterministic",
    ]  # changes nothing on a CPU
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert f"--resume {run_id[:8]}" in err
    run = folder / "runs" / run_id
    assert json.loads((run / "run.json").read_text())["status"] == "KILLED"
    assert load_checkpoint(run / "checkpoints" / "last.pt")["step"] < 4

    assert command("train", "--resume", run_id[:8], "--dry-run").code == 0
    refused = command("train", "--resume", run_id[:8], "--lr", "0.1")
    assert (refused.code, "--lr" in refused.err) == (2, True)
    resumed = command("train", "--resume", run_id[:8])
    assert (resumed.code, resumed.out.strip()) == (0, run_id), resumed.err
    assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"
    there, whole = (load_checkpoint(folder / "runs" / name / "checkpoints" / "last.pt") for name in (run_id, trained))
    assert there["step"] == whole["step"] == 4
    assert all(torch.equal(there["generator"][name], whole["generator"][name]) for name in whole["generator"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--data", "nowhere"], ["'nowhere'", "does not exist", "sample"]),
        (["train", "--data", "sample", "--split", "test"], ["split", "train or val"]),
        (["train", "--adv", "wgan"], ["--adv", "hinge"]),
        (["train", "--set", "speed=9"], ["speed", "unknown key"]),
        (["train", "--set", "lr"], ["key=value"]),
        (["train", "--tag", "study"], ["--tag study", "KEY=VALUE"]),
        (["train", "--tag", "arm=a", "--tag", "arm=b"], ["arm=b", "has a value already"]),
        (["train", "--data", "sample", "--tag", "mlflow.user=me"], ["mlflow.user"]),
        (["train", "--resume", "ffffffff", "--tag", "arm=a"], ["--resume", "--tag"]),
        (["train", "--size", "20"], ["size=20", "32"]),
        (["train", "--config", "none.yaml"], ["none.yaml"]),
        (["train", "--resume", "ffffffff"], ["ffffffff", "mfpgan runs"]),
        (["train", "--data", "sample", "--encoder-weights", "no.pth"], ["no.pth", "imagenet"]),
        (["train", "--data", "sample", "--device", "cuda:77"], ["cuda:77", "cpu"]),
        (["eval", "--run-id", "zz"], ["'zz'", "hex"]),
        (["eval"], ["--run-id"]),
        (["data", "check", "nowhere"], ["nowhere", "does not exist"]),
        (["data", "bsds-png", "nowhere", "out"], ["nowhere"]),
        (["runs", "0000"], ["0000"]),
        (["nonsense"], ["nonsense"]),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence_and_code_2(
    words: list[str], expected: list[str], command: Command, folder: Path, trained: str
) -> None:
    before = sorted(folder.rglob("*"))
    result = command(*words)
    assert result.code == 2
    assert result.out == ""
    assert all(word in result.err for word in expected), result.err
    assert "Traceback" not in result.err
    assert sorted(folder.rglob("*")) == before, "something was written"


def test_a_broken_checkpoint_is_named(trained: str, folder: Path, command: Command) -> None:
    path = folder / "runs" / trained / "checkpoints" / "last.pt"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:1000])
        result = command("eval", "--run-id", trained, "--data", "synthetic", "--limit", "1")
        assert result.code == 2
        assert "last.pt" in result.err
    finally:
        path.write_bytes(content)


def test_data_check_finds_and_exits_1(command: Command, tmp_path: Path) -> None:
    assert command("data", "check", "sample").code == 0
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "s")
    photo = next((tmp_path / "s" / "train").glob("*.jpg"))
    photo.write_bytes(photo.read_bytes()[:2000])
    result = command("data", "check", str(tmp_path / "s" / "train.json"))
    assert result.code == 1
    assert photo.name in result.out


def test_a_loss_that_explodes_is_a_sentence_and_a_failed_run(command: Command, folder: Path) -> None:
    result = command("train", *TINY, "--steps", "5", "--lr", "1e30", "--adv", "off", "--name", "explodes")
    assert result.code == 1
    assert "--lr" in result.err
    assert "Traceback" not in result.err
    run = folder / "runs" / result.out.strip()
    assert json.loads((run / "run.json").read_text())["status"] == "FAILED"
    assert (run / "checkpoints" / "last.pt").is_file()


def test_a_run_in_training_cannot_be_resumed_beside_it(trained: str, folder: Path, command: Command) -> None:
    finished = command("train", "--resume", trained)
    assert (finished.code, "has done all its 4 steps" in finished.err) == (2, True)
    path = folder / "runs" / trained / "checkpoints" / "last.pt"
    content = path.read_bytes()
    parts = load_checkpoint(path)
    try:
        save_checkpoint(path, {**parts, "step": 2})
        with FileLock(folder / "runs" / trained / "lock"):
            result = command("train", "--resume", trained)
        assert result.code == 2
        assert "another process is training it" in result.err
    finally:
        path.write_bytes(content)


def test_a_place_that_cannot_be_written_is_a_sentence(command: Command, tmp_path: Path, real_data: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command("data", "bsds-png", str(real_data / "bsds500"), str(tmp_path / "file" / "out"))
    assert result.code == 2
    assert "Traceback" not in result.err


def test_version_module_and_help() -> None:
    version = subprocess.run([sys.executable, "-m", "mfpgan", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.strip() == f"mfpgan, version {mfpgan.__version__}"
    checkout = Path(__file__).resolve().parent.parent / "cli.py"
    assert (
        "train" in subprocess.run([sys.executable, checkout, "-h"], capture_output=True, text=True, check=True).stdout
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mfpgan.cli import app; app.main(['--help'], standalone_mode=False);"
        "print([m for m in ('torch', 'mlflow', 'pydantic', 'cv2', 'rich', 'scipy', 'albumentations') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")


def test_every_public_name_is_there_and_documented() -> None:
    for name in mfpgan.__all__:
        value = getattr(mfpgan, name)
        assert name.isupper() or name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        _ = mfpgan.nothing
