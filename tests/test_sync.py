"""MLflow comes up to date with a run's folder: nothing missing, nothing twice, against real stores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfpgan import tracking
from mfpgan.cli import main
from mfpgan.tracking import run_folder, sender, start
from mfpgan.tracking.mirror import Counts
from mfpgan.tracking.mlflow_store import Store, StoreError
from mfpgan.tracking.run_folder import lock_folder
from mfpgan.types import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 31, 3)).astype(np.uint8)
WRITING = ("create_run", "log_params", "log_metrics", "log_image", "log_artifact", "set_digests", "set_running", "end")


@pytest.fixture(autouse=True)
def folder(working_folder: Path) -> Path:
    return working_folder


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """MLflow does not answer, until this is called."""

    def fail(create: bool = False) -> Store:
        raise StoreError("away")

    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "open_store", fail)
        yield patch.undo


def trained(steps: int = 5) -> tracking.TrackedRun:
    """A run with everything that a run can have."""
    with tracking.start_run({"seed": 3, "lr": 1e-3}, config="seed: 3\n", name="pear", tags={"arm": "off"}) as run:
        for step in range(1, steps + 1):
            run.log({"train/loss": 1 / step, "val/iou": float("nan")}, step)
        run.image("val_triplet_0", PICTURE, steps)
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / "last.pt").write_bytes(b"weights")
        run.artifact(run.folder / "checkpoints" / "last.pt", "checkpoints")
    return run


def evaluated(run: tracking.TrackedRun, noc: float) -> None:
    with tracking.reopen_run(run.id) as again:
        report = run.folder / "eval" / "bsds500" / "report.json"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps({"NoC_90": noc}))
        again.log({"bsds500/NoC_90": noc}, 5)
        again.artifact(report, "eval/bsds500")
        again.image("bsds500_clicks", PICTURE, 5)


def history(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in store.history(run_id, name))


def artifacts(store: Store, run_id: str, place: str = "") -> set[str]:
    """Paths of all artifacts, pictures of the gallery as key and step."""
    items = store._client.list_artifacts(run_id, place or None)
    files = {item.path for item in items if not item.is_dir}
    files = {path for path in files if not path.startswith("images/")}
    for item in items:
        if item.is_dir:
            files |= artifacts(store, run_id, item.path)
    return files | {f"{key} {step}" for key, step in store.images(run_id)}


def pictures(store: Store, run_id: str) -> list[str]:
    return [item.path for item in store._client.list_artifacts(run_id, "images") if item.path.endswith(".png")]


def test_a_run_that_mlflow_never_heard_of_is_made_there(store: Store, away: Callable[[], None]) -> None:
    run = trained()
    evaluated(run, 9.0)
    away()
    assert store.find(run.id, Path("runs")) is None
    seen: list[tuple[int, int]] = []
    done = tracking.sync(tracking.find_run(run.id), lambda *progress: seen.append(progress))
    assert done.sent == Counts(numbers=11, pictures=2, files=4)
    assert seen[-1] == (7, 7), "one piece of lines and six files"

    assert done.mlflow_id != run.id
    made = store.run(done.mlflow_id, Path("runs"))
    folder = tracking.find_run(run.id)
    assert (made.id, made.name, made.status) == (run.id, "pear", "FINISHED")
    assert (made.params, made.folder) == ({"seed": "3", "lr": "0.001"}, run.folder)
    assert made.tags == {"arm": "off"}
    assert made.started == pytest.approx(folder.started, abs=1e-3)
    assert made.ended == pytest.approx(folder.ended, abs=1e-3)
    assert history(store, done.mlflow_id, "train/loss") == [(step, 1 / step) for step in range(1, 6)]
    assert [step for step, _ in history(store, done.mlflow_id, "val/iou")] == [1, 2, 3, 4, 5]
    assert artifacts(store, done.mlflow_id) == {
        "config.yaml", "environment.json", "checkpoints/last.pt", "eval/bsds500/report.json",
        "val_triplet_0 5", "bsds500_clicks 5",
    }  # fmt: skip

    assert [record.id for record in tracking.list_runs()] == [run.id]
    assert tracking.find_run(done.mlflow_id[:8]).folder == run.folder
    shutil.rmtree("runs")
    found = tracking.find_run(run.id[:8])
    assert (tracking.fetch(found) / "checkpoints" / "last.pt").read_bytes() == b"weights"


def test_a_second_sync_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained()
    evaluated(run, 9.0)
    evaluated(run, 8.0)
    first = tracking.sync(tracking.find_run(run.id))
    assert not first.sent, "the run itself has sent everything"
    assert first.mlflow_id == run.id
    for name in WRITING:
        monkeypatch.setattr(Store, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    assert not tracking.sync(tracking.find_run(run.id)).sent


def test_only_what_is_missing_is_sent(store: Store) -> None:
    run = trained()
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "time": 1.0, "train/loss": 0.5, "a": null}\n{"step": 7, "ti')
    (run.folder / "checkpoints" / "last.pt").write_bytes(b"WEIGHTS")  # as long as the old one
    done = tracking.sync(tracking.find_run(run.id))
    assert done.sent == Counts(numbers=2, files=1)
    assert len(history(store, run.id, "train/loss")) == 6
    stored = store.download(run.id, "checkpoints/last.pt", run.folder)
    assert stored.read_bytes() == b"WEIGHTS"


def test_a_repeated_evaluation_is_there_too_and_its_report_is_the_new_one(store: Store, tmp_path: Path) -> None:
    run = trained()
    evaluated(run, 9.0)
    evaluated(run, 8.5)
    assert history(store, run.id, "bsds500/NoC_90") == [(5, 8.5), (5, 9.0)]
    assert store.run(run.id, Path("runs")).metrics["bsds500/NoC_90"] == 8.5
    assert json.loads(store.download(run.id, "eval/bsds500/report.json", tmp_path).read_text()) == {"NoC_90": 8.5}
    assert len(pictures(store, run.id)) == 2


def test_half_a_picture_is_sent_again(store: Store) -> None:
    run = trained()
    for copy in Path("mlartifacts").rglob("*.webp"):
        copy.unlink()
    assert tracking.sync(tracking.find_run(run.id)).sent == Counts(pictures=1)
    assert not tracking.sync(tracking.find_run(run.id)).sent


def test_a_run_of_an_older_version_is_not_sent_again(store: Store) -> None:
    run = trained()
    store.set_digests(run.id, {})
    assert not tracking.sync(tracking.find_run(run.id)).sent
    assert set(store.digests(run.id)) == {"config.yaml", "environment.json", "checkpoints/last.pt"}


def test_a_run_that_was_made_although_the_answer_was_lost_is_taken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.05)

    def lost(self: Store, *arguments: Any) -> Any:
        create(self, *arguments)
        raise StoreError("timed out")

    create = Store.create_run
    with monkeypatch.context() as patch:
        patch.setattr(Store, "create_run", lost)
        run = tracking.start_run({"seed": 3}, config="")
        run.log({"train/loss": 1.0}, 1)
        run.finish()
    (record,) = store.runs(Path("runs"))
    assert (record.id, record.status, record.metrics) == (run.id, "FINISHED", {"train/loss": 1.0})
    assert record.mlflow_id != run.id


def test_steps_done_again_after_kill_9_are_there_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import os, signal, time
from pathlib import Path
from mfpgan import tracking
from mfpgan.tracking import sender
from mfpgan.tracking.mlflow_store import Store, store_uri
sender.LOOK_SECONDS = 0.05
run = tracking.start_run({}, config="")
print(run.id, flush=True)
(run.folder / "checkpoints").mkdir()
for step in range(1, 21):
    run.log({"train/loss": 1 / step}, step)
    if step == 10:
        (run.folder / "checkpoints" / "last.pt").write_bytes(b"step 10")
store = Store(store_uri())
while len(store.history(run.id, "train/loss")) < 20:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_id = killed.stdout.strip()
    assert store.run(run_id, Path("runs")).status == "RUNNING"
    for _ in range(2):
        (record,) = tracking.list_runs()
        assert record.status == "INTERRUPTED"
        assert store.run(run_id, Path("runs")).status == "KILLED"

    with tracking.resume_run(run_id, step=10) as run:
        for step in range(11, 31):
            run.log({"train/loss": 1 / step, "val_ema/iou": 0.5}, step)
    assert history(store, run_id, "train/loss") == [(step, 1 / step) for step in range(1, 31)]
    assert [line["step"] for line in tracking.read_lines(run.folder)] == list(range(1, 31))
    assert store.run(run_id, Path("runs")).status == "FINISHED"
    assert tracking.sync(tracking.find_run(run_id)).sent == Counts(files=1), "the checkpoint, which nobody sent"


def test_a_resume_brings_what_was_lost(store: Store, away: Callable[[], None]) -> None:
    run = trained()
    away()
    with tracking.resume_run(run.id, step=5) as again:
        again.log({"train/loss": 0.1}, 6)
    (record,) = store.runs(Path("runs"))
    assert history(store, record.mlflow_id, "train/loss") == [*((step, 1 / step) for step in range(1, 6)), (6, 0.1)]
    assert "val_triplet_0 5" in artifacts(store, record.mlflow_id)
    assert record.status == "FINISHED"


def test_a_run_in_training_is_running_whatever_mlflow_says(store: Store) -> None:
    run = trained()
    record = tracking.find_run(run.id)
    run_folder.write_record(replace(record, status="RUNNING", ended=None))
    with lock_folder(run.folder):
        (listed,) = tracking.list_runs()
        assert listed.status == "RUNNING"


def test_a_run_that_goes_on_elsewhere_is_left_alone(store: Store) -> None:
    run = trained()
    record = tracking.find_run(run.id)
    run_folder.write_record(replace(record, status="RUNNING", ended=None))
    store.set_running(run.id, "elsewhere")
    (listed,) = tracking.list_runs()
    assert (listed.status, listed.host) == ("RUNNING", "elsewhere")
    assert store.run(run.id, Path("runs")).status == "RUNNING"


def test_evaluations_of_a_running_run_keep_to_their_own(store: Store, away: Callable[[], None]) -> None:
    """Two threads that both make the run in MLflow would make two."""
    run = tracking.start_run({}, config="")
    run.log({"train/loss": 1.0}, 1)
    away()
    with tracking.reopen_run(run.id) as evaluation:
        evaluation.log({"bsds500/NoC_90": 9.0}, 1)
    assert store.runs(Path("runs")) == []
    run.finish()
    tracking.sync(tracking.find_run(run.id))
    (record,) = store.runs(Path("runs"))
    assert record.metrics == {"train/loss": 1.0, "bsds500/NoC_90": 9.0}


def test_sync_refuses_a_run_in_training_and_one_that_is_not_here(store: Store) -> None:
    run = trained()
    with lock_folder(run.folder), pytest.raises(InputError, match="another process is training it"):
        tracking.sync(tracking.find_run(run.id))
    shutil.rmtree(run.folder)
    with pytest.raises(InputError, match="not on this machine"):
        tracking.sync(tracking.find_run(run.id))


def test_command(
    store: Store,
    away: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mfpgan", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out + captured.err

    runs = [trained(), trained()]
    away()
    code, told = command("sync")
    assert code == 0
    assert told.count("MLflow lacked 10 numbers, 1 pictures and 3 files; MLflow calls it") == 2
    code, told = command("sync", runs[0].id[:8])
    assert (code, "MLflow lacked nothing" in told) == (0, True)

    record = tracking.find_run(runs[0].id)
    run_folder.write_record(replace(record, status="RUNNING", ended=None))
    record = next(record for record in tracking.list_runs() if record.id == runs[1].id)
    run_folder.write_record(replace(record, status="RUNNING", ended=None, host="elsewhere"))
    store.set_running(record.mlflow_id, "elsewhere")
    code, told = command("runs")
    assert "interrupted" in told
    assert "running on elsewhere?" in told
    assert f"mfpgan train --resume ID   (ID: {runs[0].id[:8]})" in told
    assert "Whether a run on elsewhere still runs can only be seen there." in told
    with lock_folder(runs[0].folder):
        code, told = command("sync", runs[0].id)
        assert (code, "another process is training it" in told) == (2, True)
        code, told = command("sync")
        assert (code, told.count("another process"), told.count("MLflow lacked")) == (1, 1, 1)


def test_a_server_that_comes_late_and_is_killed_in_the_middle(
    folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.1)
    shutil.copy(empty_database, folder / "server.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    run = tracking.start_run({"seed": 3}, config="seed: 3\n")
    run.log({"train/loss": 1.0}, 1)
    words = ["-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1",
             "--no-serve-artifacts", "--default-artifact-root", str(folder / "files"), "--port", str(port)]  # fmt: skip
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    server = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except urllib.error.URLError:
                time.sleep(0.25)
        store = Store(address)
        number = 1
        while True:  # training goes on
            number += 1
            run.log({"train/loss": 1 / number}, number)
            found = store.find(run.id, Path("runs"))
            if found and len(store.history(found.mlflow_id, "train/loss")) > 20:
                break
            time.sleep(0.05)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # with its worker, in the middle of whatever it does
        server.wait()
    last = number + 499
    for step in range(number + 1, last + 1):
        run.log({"train/loss": 1 / step}, step)
    run.image("val_clicks", PICTURE, last)
    run.finish()
    told = capsys.readouterr().err
    assert f"later bring it up to date with: mfpgan sync {run.id[:8]}" in told
    assert [line["step"] for line in tracking.read_lines(run.folder)] == list(range(1, last + 1))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'server.db'}")  # what the server has left
    store = Store(tracking.store_uri())
    done = tracking.sync(tracking.find_run(run.id))
    assert 499 <= done.sent.numbers < last
    assert store.images(done.mlflow_id) == {("val_clicks", last)}
    assert len(pictures(store, done.mlflow_id)) == 1
    assert history(store, done.mlflow_id, "train/loss") == [(step, 1 / step) for step in range(1, last + 1)]
    assert store.run(done.mlflow_id, Path("runs")).status == "FINISHED"


@pytest.mark.parametrize(
    "line",
    ['{"step": 3, "time": null, "train/loss": 1}', '{"step": 3, "time": "x", "train/loss": 1}', '{"step": 3, "time": NaN, "train/loss": 1}',
     '{"step": 3, "time": 1e300, "train/loss": 1}', '{"step": 1e99, "time": 5, "train/loss": 1}', '{"step": 99999999999999999999, "time": 5, "a": 1}',
     '{"step": -1, "time": 5, "train/loss": 1}', '{"step": 3, "time": 5, "NoC@90": 1, "": 1, "../..": 1}'],
)  # fmt: skip
def test_a_line_that_nobody_wrote_stops_no_sync(line: str, store: Store, away: Callable[[], None]) -> None:
    run = trained(2)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    away()
    done = tracking.sync(tracking.find_run(run.id))
    assert done.sent.numbers == 4
    assert history(store, done.mlflow_id, "train/loss") == [(1, 1.0), (2, 0.5)]
