"""A run's folder is complete whatever MLflow does, and MLflow has the same when it answers."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from mfpgan import tracking
from mfpgan.tracking import mlflow_store, run_folder, sender
from mfpgan.tracking.mlflow_store import Store, StoreError
from mfpgan.types import InputError

CONFIG = "seed: 3\n"


@pytest.fixture(autouse=True)
def folder(working_folder: Path) -> Path:
    return working_folder


def start(**options: Any) -> tracking.TrackedRun:
    return tracking.start_run({"seed": 3, "data": None}, config=CONFIG, **options)


def stop_with(error: BaseException, run: tracking.TrackedRun, steps: int) -> None:
    """A run that logs `steps` steps and is stopped by `error`."""
    with run:
        for step in range(1, steps + 1):
            run.log({"train/loss": float(step)}, step)
        raise error


def history(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store._client.get_metric_history(run_id, name)]


def lines(run: tracking.TrackedRun | tracking.RunRecord) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (run.folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def status(store: Store, run_id: str) -> str:
    return store.run(run_id, Path("runs")).status


def until(true: Callable[[], bool]) -> bool:
    """Whether it comes true within ten seconds."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False


def test_import_needs_neither_mlflow_nor_torch() -> None:
    code = "import mfpgan.tracking, sys; print({'mlflow', 'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_first_run_makes_a_store_without_a_word(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with start(name="first") as run:
        run.log({"train/loss": 0.5}, step=1)
    assert capfd.readouterr() == ("", "")
    assert (folder / "mlflow.db").is_file()
    assert (folder / "mlartifacts" / run.id / "artifacts" / "config.yaml").read_text() == CONFIG
    assert not (folder / "mlruns").exists()


def test_runs_that_start_together_share_one_new_store(folder: Path) -> None:
    code = "from mfpgan import tracking; tracking.start_run({}, config='seed: 3').finish()"
    runs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[1] for run in runs] == ["", ""]
    assert [(record.status, record.stored) for record in tracking.list_runs()] == [("FINISHED", True)] * 2
    assert sorted(path.name for path in folder.iterdir()) == ["mlartifacts", "mlflow.db", "runs"]


def test_numbers_come_back_equal_at_their_steps(store: Store) -> None:
    values = {step: float(np.random.default_rng(step).normal()) for step in range(0, 900, 3)}
    with start() as run:
        for step, value in values.items():
            run.log({"train/loss": value, "val/NoC_90": value * 2}, step)
    assert history(store, run.id, "train/loss") == list(values.items())
    assert history(store, run.id, "val/NoC_90") == [(step, 2 * value) for step, value in values.items()]
    assert [(line["step"], line["train/loss"]) for line in lines(run)] == list(values.items())
    assert status(store, run.id) == "FINISHED"


def test_numbers_arrive_while_the_run_goes_on(store: Store) -> None:
    with start() as run:
        for step in range(200):
            run.log({"train/loss": 1.0}, step)
        assert until(lambda: len(history(store, run.id, "train/loss")) == 200)
        assert status(store, run.id) == "RUNNING"


def test_few_numbers_arrive_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.1)
    with start() as run:
        run.log({"train/loss": 1.0}, 1)
        assert until(lambda: history(store, run.id, "train/loss") == [(1, 1.0)])


def test_parameters(store: Store) -> None:
    with tracking.start_run({"data": None, "lr": 1e-3, "long": "x" * 7000}, config=CONFIG) as run:
        pass
    params = store.run(run.id, Path("runs")).params
    assert (params["data"], params["lr"]) == ("", "0.001")
    assert len(params["long"]) == 6000
    assert params["long"].endswith("x…")
    assert tracking.find_run(run.id).params == params


def test_files_of_a_run(store: Store) -> None:
    with start(name="pear", device="Some Card") as run:
        run.log({"train/loss": 1.0}, 1)
    assert (run.folder / "config.yaml").read_text() == CONFIG
    surroundings = json.loads((run.folder / "environment.json").read_text())
    assert surroundings["device"] == "Some Card"
    assert surroundings["packages"]["numpy"] == np.__version__
    assert {"python", "platform", "cpus", "command"} <= set(surroundings)
    assert len(run.id) == 32
    assert run.folder == Path("runs") / run.id


def test_images_stand_at_their_steps(store: Store) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8)
    with start() as run:
        run.image("val_clicks", picture, step=10)
        run.image("val_clicks", picture[::-1], step=20)
        with pytest.raises(ValueError, match="uint8"):
            run.image("val_clicks", picture.astype(np.float32), step=30)
        with pytest.raises(ValueError, match="no /"):
            run.image("val/clicks", picture, step=30)
    stored = [item.path for item in store._client.list_artifacts(run.id, "images") if item.path.endswith(".png")]
    assert sorted(path.split("+timestamp")[0] for path in stored) == [
        "images/val_clicks+step+10",
        "images/val_clicks+step+20",
    ]
    assert np.array_equal(np.asarray(PillowImage.open(run.folder / "figures" / "val_clicks-000010.png")), picture)


def test_nan_and_infinity(store: Store) -> None:
    with start() as run:
        run.log({"a": math.nan, "b": math.inf, "c": -math.inf}, 1)
    (line,) = lines(run)
    assert (line["a"], line["b"], line["c"]) == (None, sys.float_info.max, -sys.float_info.max)
    assert math.isnan(history(store, run.id, "a")[0][1])
    assert history(store, run.id, "b") == [(1, sys.float_info.max)]
    metrics = tracking.find_run(run.id).metrics
    assert math.isnan(metrics["a"])
    assert metrics["b"] == sys.float_info.max


@pytest.mark.parametrize("name", ["NoC@90", "a=b", "", "step", "time", "a/../b", "/a", "a//b", "a\n", "ä"])
def test_names_that_mlflow_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with start() as run, pytest.raises(ValueError, match="metric name"):
        run.log({"good": 1.0, name: 1.0}, 1)
    assert lines(run) == []


def test_dead_server_loses_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    began = time.monotonic()
    with start() as run:
        for step in range(100):
            run.log({"train/loss": step / 7}, step)
        run.image("val_clicks", np.zeros((8, 8, 3), np.uint8), 1)
    assert time.monotonic() - began < 10
    assert [line["train/loss"] for line in lines(run)] == [step / 7 for step in range(100)]
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith("mfpgan: MLflow cannot be used (http://127.0.0.1:9: ")
    assert "Connection refused); the run is kept in runs, and MLflow is asked again from time to time." in errors
    assert errors.splitlines()[-1].endswith(
        f"nothing is lost, later bring it up to date with: mfpgan sync {run.id[:8]}"
    )
    assert errors.count("\n") == 2
    assert "secret" not in errors
    found = tracking.find_run(run.id)
    assert (found.status, found.stored, found.metrics) == ("FINISHED", False, {"train/loss": 99 / 7})


def test_lost_files_do_not_stop_numbers_nor_the_status(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Store, *_: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(Store, "log_artifact", fail)
    with start() as run:
        for step in range(200):
            run.log({"train/loss": 1.0}, step)
        assert until(lambda: len(history(store, run.id, "train/loss")) == 200)
    assert status(store, run.id) == "FINISHED"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (ValueError("x"), "FAILED"),
        (SystemExit(2), "FAILED"),
    ],
)
def test_status_tells_how_it_ended(store: Store, error: BaseException, expected: str) -> None:
    run = start()
    with pytest.raises(type(error)):
        stop_with(error, run, steps=1)
    assert status(store, run.id) == expected
    assert tracking.find_run(run.id).status == expected
    assert history(store, run.id, "train/loss") == [(1, 1.0)]


def test_start_that_fails_half_way_leaves_no_running_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("mfpgan.tracking.start.write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        start()
    assert [record.status for record in store.runs(Path("runs"))] == ["FAILED"]


def test_resume_goes_on_in_the_same_run(store: Store) -> None:
    first = start()
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "last.pt").write_bytes(b"weights")
    with pytest.raises(KeyboardInterrupt):
        stop_with(KeyboardInterrupt(), first, steps=5)
    with (first.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "tra')  # power cut
    with tracking.resume_run(first.id[:12], step=3) as run:
        assert (run.id, run.folder) == (first.id, first.folder)
        assert [line["step"] for line in lines(run)] == [1, 2, 3]
        assert until(lambda: status(store, run.id) == "RUNNING")
        assert tracking.find_run(run.id).status == "RUNNING"
        run.log({"train/loss": 4.5}, 4)
    assert [(line["step"], line["train/loss"]) for line in lines(run)] == [(1, 1), (2, 2), (3, 3), (4, 4.5)]
    assert status(store, run.id) == "FINISHED"
    assert tracking.find_run(run.id).status == "FINISHED"


def test_tags_stay_through_a_resume_and_are_found_by_mlflow(store: Store) -> None:
    first = start(tags={"study": "clicks", "arm": "multi"})
    with pytest.raises(KeyboardInterrupt):
        stop_with(KeyboardInterrupt(), first, steps=1)
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "last.pt").write_bytes(b"weights")
    start().finish()
    tracking.resume_run(first.id, step=1).finish()
    assert [record.tags for record in tracking.local_runs()] == [{"study": "clicks", "arm": "multi"}, {}]
    assert [record.id for record in store.runs(Path("runs")) if record.tags == {"study": "clicks", "arm": "multi"}] == [
        first.id
    ]
    assert [run.info.run_id for run in store._search("tags.study = 'clicks'")] == [first.id]


def test_a_record_without_tags_is_read() -> None:
    run = start()
    run.finish()
    values = json.loads((run.folder / "run.json").read_text())
    del values["tags"]
    (run.folder / "run.json").write_text(json.dumps(values))
    record = run_folder.read_record(run.folder)
    assert (record.status, record.tags) == ("FINISHED", {})


@pytest.mark.parametrize("key", ["mlflow.runName", "mfpgan.version", "", "/a", "a=b", "é", "x" * 251])
def test_tags_of_names_that_are_not_the_users_are_refused(folder: Path, key: str) -> None:
    with pytest.raises(InputError, match=r"^tag "):
        start(tags={key: "1"})
    with pytest.raises(InputError, match=r"^tag long: its value has 5001 characters"):
        start(tags={"long": "x" * 5001})
    assert not list(folder.iterdir())


def test_going_back_sets_evaluations_of_the_later_checkpoint_aside(store: Store) -> None:
    first = start()
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "last.pt").write_bytes(b"weights")
    first.finish("KILLED")
    with tracking.reopen_run(first.id) as run:
        run.log({"train/loss": 1.0}, 1)
        run.log({"bsds500/NoC_90": 9.0}, 2)
        for click in range(1, 21):
            run.log({"bsds500/iou": 0.5}, click)
    (first.folder / "eval" / "bsds500").mkdir(parents=True)
    (first.folder / "eval" / "bsds500" / "report.json").write_text("{}")
    with tracking.resume_run(first.id, step=2) as run:
        assert [line.keys() for line in lines(run)] == [{"step", "time", "train/loss"}]
    assert not (first.folder / "eval").exists()
    assert (first.folder / "eval-step2" / "bsds500" / "report.json").is_file()


def test_only_one_process_trains_a_run(store: Store) -> None:
    with start() as run:
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / "last.pt").write_bytes(b"weights")
        run.log({"train/loss": 1.0}, 1)
        with pytest.raises(InputError, match="another process is training it"):
            tracking.resume_run(run.id, step=0)
        assert [line["step"] for line in lines(run)] == [1]
    with tracking.resume_run(run.id, step=1):
        pass


def test_an_evaluation_beside_a_training_keeps_both(store: Store) -> None:
    with start() as run:
        run.log({"train/loss": 1.0}, 1)
        with tracking.reopen_run(run.id) as evaluation:
            evaluation.log({"bsds500/NoC_90": 9.0}, 1)
        run.log({"train/loss": 0.5}, 2)
    after = tracking.find_run(run.id)
    assert after.status == "FINISHED"
    assert after.metrics == {"train/loss": 0.5, "bsds500/NoC_90": 9.0}


def test_reopened_run_keeps_its_status(store: Store) -> None:
    first = start()
    with pytest.raises(ValueError, match="x"):
        stop_with(ValueError("x"), first, steps=1)
    before = tracking.find_run(first.id)
    with tracking.reopen_run(first.id) as run:
        run.log({"bsds500/iou": 0.25}, 1)
    after = tracking.find_run(first.id)
    assert (after.status, after.ended) == ("FAILED", before.ended)
    assert after.metrics == {"train/loss": 1.0, "bsds500/iou": 0.25}
    assert status(store, run.id) == "FAILED"
    assert history(store, run.id, "bsds500/iou") == [(1, 0.25)]


def test_prefixes() -> None:
    for number in ("ab" + "0" * 30, "ab1" + "0" * 29, "cd" + "0" * 30):
        folder = Path("runs") / number
        run_folder.write_record(run_folder.RunRecord(number, f"run {number[:3]}", "FINISHED", 1.0, folder, ended=2.0))
    assert tracking.find_run("CD").id == "cd" + "0" * 30
    with pytest.raises(
        InputError, match=r"'ab': 2 runs begin so: ab.* \(run ab.\), ab.*; give more digits, `mfpgan runs`"
    ):
        tracking.find_run("ab")
    with pytest.raises(InputError, match=r"'ef': no run begins so; the newest are .*cd0.*; choose one, `mfpgan runs`"):
        tracking.find_run("ef")
    for wrong in ("", "../runs", "xyz", "a" * 33):
        with pytest.raises(InputError, match="hex digits"):
            tracking.find_run(wrong)
    with pytest.raises(InputError, match="train first"):
        tracking.find_run("ab", Path("elsewhere"))


def test_looking_creates_nothing(folder: Path) -> None:
    assert tracking.list_runs() == []
    with pytest.raises(InputError):
        tracking.find_run("ab")
    with pytest.raises(InputError, match="train first"):
        tracking.ui_command()
    assert list(folder.iterdir()) == []


def test_list_merges_folder_and_store(store: Store) -> None:
    with start(name="both"):
        pass
    with start(name="only in the store") as away:
        away.log({"train/loss": 2.0}, 1)
    shutil.rmtree(away.folder)
    bare = Path("runs") / ("e" * 32)
    bare.mkdir()
    (bare / "config.yaml").write_text(CONFIG)
    store.create_run("of another program", {})
    records = {record.name: record for record in tracking.list_runs()}
    assert set(records) == {"both", "only in the store", ""}
    assert records["only in the store"].metrics == {"train/loss": 2.0}
    assert records[""].status == "UNKNOWN"
    started = [record.started for record in tracking.list_runs()]
    assert started == sorted(started, reverse=True)


def test_fetch_brings_a_run_to_another_machine(store: Store) -> None:
    with start(name="away") as run:
        checkpoint = run.folder / "checkpoints" / "last.pt"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"weights")
        run.artifact(checkpoint, "checkpoints")
    shutil.rmtree("runs")
    record = tracking.find_run(run.id[:8])
    assert tracking.fetch(record) == run.folder
    assert checkpoint.read_bytes() == b"weights"
    assert (run.folder / "config.yaml").read_text() == CONFIG
    assert sorted(path.name for path in Path("runs").iterdir()) == [run.id]
    with tracking.reopen_run(run.id) as again:
        again.log({"bsds500/iou": 0.5}, 1)
    found = tracking.find_run(run.id)
    assert (found.name, found.status, found.metrics["bsds500/iou"]) == ("away", "FINISHED", 0.5)


def test_evaluations_and_the_environment_come_from_another_machine(store: Store) -> None:
    with start(name="away") as run:
        (run.folder / "checkpoints").mkdir()
        for name, text in {
            "checkpoints/last.pt": "w",
            "eval/a/report.json": "1",
            "eval/b-ema/report.json": "2",
        }.items():
            (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (run.folder / name).write_text(text)
            run.artifact(run.folder / name, str(Path(name).parent))
    environment = (run.folder / "environment.json").read_text()
    shutil.rmtree("runs")
    tracking.fetch(tracking.find_run(run.id))
    (run.folder / "eval" / "a").mkdir(parents=True)
    (run.folder / "eval" / "a" / "report.json").write_text("mine")
    assert tracking.fetch_notes(run.folder) == ""
    assert {path.parent.name: path.read_text() for path in run.folder.glob("eval/*/report.json")} == {
        "a": "mine",
        "b-ema": "2",
    }
    assert (run.folder / "environment.json").read_text() == environment
    assert not list(run.folder.glob(".*"))


def test_notes_of_a_run_when_mlflow_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with start() as run:
        pass
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert tracking.fetch_notes(run.folder) == ""  # nobody is asked: the run is of this machine
    (run.folder / "environment.json").unlink()
    assert tracking.fetch_notes(run.folder).startswith("MLflow did not answer (http://127.0.0.1:1: ")
    other = run.folder.rename(run.folder.with_name("a copy"))
    assert tracking.fetch_notes(other) == ""


def test_fetch_says_what_is_nowhere(store: Store) -> None:
    with start() as run:
        pass
    with pytest.raises(InputError, match=r"checkpoints/last.pt not in runs.*MLFLOW_TRACKING_URI"):
        tracking.fetch(tracking.find_run(run.id))
    assert sorted(path.name for path in Path("runs").iterdir()) == [run.id]


def test_page_command(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, environment = tracking.ui_command(port=5055)
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{folder / 'mlflow.db'}"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(InputError, match="choose another --port"):
            tracking.open_ui(port=busy.getsockname()[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@runs.example.org")
    with pytest.raises(InputError, match=r"server https://runs\.example\.org; open"):
        tracking.ui_command()


def test_page_is_served_and_goes_with_its_command(store: Store) -> None:
    with start(name="on the page") as run:
        pass
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from mfpgan.tracking import open_ui; open_ui(port={port})"
    page = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={run.id}"
        assert json.loads(wait_for(address))["run"]["info"]["run_name"] == "on the page"
    finally:
        page.terminate()
    assert page.wait(20) == 143
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def wait_for(address: str) -> bytes:
    """What the address answers, within half a minute."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(address) as answer:
                text: bytes = answer.read()
                return text
        except urllib.error.URLError:
            time.sleep(0.25)
    raise AssertionError(f"{address} does not answer")


def test_unwritable_root(folder: Path) -> None:
    (folder / "runs").write_text("a file")
    with pytest.raises(InputError, match="start mfpgan in a folder that can"):
        start()
    assert not (folder / "mlflow.db").exists()


def test_relative_store_stays_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///deep.db")
    assert tracking.store_uri() == f"sqlite:///{folder / 'deep.db'}"
    assert mlflow_store.artifact_folder(tracking.store_uri()) == folder / "mlartifacts"


def test_no_run_does_nothing(folder: Path) -> None:
    with tracking.NoRun() as run:
        run.log({"train/loss": 1.0}, 1)
        run.image("val_clicks", np.zeros((4, 4, 3), np.uint8), 1)
        run.artifact(Path("nowhere"))
    checked: tracking.Run = run
    assert checked.folder == Path("runs/untracked")
    assert list(folder.iterdir()) == []
