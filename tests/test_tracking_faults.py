"""Tracking never holds training up and never loses a number: stores that fail, sleep or hang, full disks, wrong clocks."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfpgan import tracking
from mfpgan.tracking import run_folder, sender, start
from mfpgan.tracking.metrics_file import MetricsFile, Span, read_lines, read_span
from mfpgan.tracking.mirror import Outbox
from mfpgan.tracking.mlflow_store import Point, StoreError
from mfpgan.tracking.run_folder import RunRecord, read_record, write_record
from mfpgan.types import InputError

HERE = platform.node()
PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(autouse=True)
def folder(working_folder: Path) -> Path:
    return working_folder


class FakeStore:
    """A store in memory. `before` is called with the name of each method first, to fail, sleep or hang."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda name: None
        self.calls: list[str] = []
        self.made: list[str] = []
        self.points: list[Point] = []
        self.gallery: list[tuple[str, int]] = []
        self.artifacts: dict[str, bytes] = {}
        self.params: dict[str, str] = {}
        self.status = ""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = type(self).METHODS[name]

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            self.before(name)
            return method(self, *arguments)

        return call

    def _create(self, name: str | None, tags: dict[str, str], started: float) -> RunRecord:
        self.made.append(uuid.uuid4().hex)
        return RunRecord(self.made[-1], name or "fake", "RUNNING", started, Path(), mlflow_id=self.made[-1])

    METHODS: dict[str, Callable[..., Any]] = {  # noqa: RUF012
        "create_run": _create,
        "find": lambda self, run_id, root: None,
        "log_params": lambda self, run_id, params: self.params.update(params),
        "log_metrics": lambda self, run_id, points: self.points.extend(points),
        "log_image": lambda self, run_id, path, key, step: self.gallery.append((key, step)),
        "images": lambda self, run_id: set(self.gallery),
        "log_artifact": lambda self, run_id, path, place: self.artifacts.update({path.name: path.read_bytes()}),
        "sizes": lambda self, run_id, place: {},
        "set_digests": lambda self, run_id, digests: None,
        "end": lambda self, run_id, status, ended: setattr(self, "status", status),
    }


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    fake = FakeStore()
    monkeypatch.setattr(start, "open_store", lambda create=False: fake)
    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.02)
    return fake


def start_run() -> tracking.TrackedRun:
    return tracking.start_run({"seed": 3}, config="seed: 3\n")


def steps(place: Path) -> list[int]:
    return [line["step"] for line in read_lines(place)]


def until(true: Callable[[], bool]) -> bool:
    """Whether it comes true within ten seconds."""
    for _ in range(500):
        if true():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("seconds", [3.0, 1e6])
def test_no_step_waits_for_a_slow_or_hanging_store(
    seconds: float, fake: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sender, "PATIENCE", 0.3)
    run = start_run()
    never = threading.Event()
    fake.before = lambda name: never.wait(seconds) and None  # type: ignore[assignment, return-value]
    waits = []
    for step in range(400):
        began = time.perf_counter()
        run.log({"train/loss": step / 7, "train/seg": 1.0}, step)
        if step % 100 == 0:
            run.image("val_clicks", PICTURE, step)
            run.artifact(run.folder / "config.yaml")
        waits.append(time.perf_counter() - began)
    assert sorted(waits)[-4] < 0.05, "all but three, when another process had the core"
    assert max(waits) < 1
    began = time.perf_counter()
    run.finish()
    assert time.perf_counter() - began < 2
    assert f"bring it up to date with: mfpgan sync {run.id[:8]}" in capsys.readouterr().err
    assert [line["train/loss"] for line in read_lines(run.folder)] == [step / 7 for step in range(400)]
    assert len(list((run.folder / "figures").iterdir())) == 4
    assert read_record(run.folder).status == "FINISHED"
    never.set()


def test_a_store_that_hangs_does_not_keep_the_process(folder: Path) -> None:
    code = """
import threading
from pathlib import Path
from mfpgan import tracking
from mfpgan.tracking import sender, start
from mfpgan.tracking.mlflow_store import StoreError
class Store:
    def create_run(self, *_): raise StoreError("away")
    def find(self, *_): threading.Event().wait()
sender.PATIENCE = 0.1
start.open_store = lambda create: Store()
with tracking.start_run({}, config="") as run:
    run.log({"a": 1.0}, 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.count("\n") == 2


def test_a_stopped_run_waits_less(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LONGEST_END", {"KILLED": 0.2})
    run = start_run()
    fake.before = lambda name: time.sleep(30)
    began = time.perf_counter()
    run.finish("KILLED")
    assert time.perf_counter() - began < 2


def test_what_was_lost_in_the_middle_arrives_when_the_server_is_back(
    fake: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.05)
    with start_run() as run:
        run.log({"a": 0.0}, 0)
        assert until(lambda: len(fake.points) == 1)

        def fail(name: str) -> None:
            raise StoreError("server is tired")

        fake.before = fail
        for step in range(1, 300):
            run.log({"a": float(step)}, step)
        run.image("val_clicks", PICTURE, 7)
        asked = len(fake.calls)
        assert until(lambda: len(fake.calls) > asked + 1), "it is asked again"
        fake.before = lambda name: None
        assert until(lambda: len(fake.points) == 300)
        assert until(lambda: fake.gallery == [("val_clicks", 7)])
    assert [(point.step, point.value) for point in fake.points] == [(step, float(step)) for step in range(300)]
    assert fake.status == "FINISHED"
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "MLflow failed (server is tired); the run goes on" in told


def test_a_picture_that_arrived_without_an_answer_is_there_once(
    fake: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.05)
    send = FakeStore.METHODS["log_image"]

    def lost(*arguments: Any) -> None:
        send(*arguments)
        raise StoreError("timed out")

    with start_run() as run:
        monkeypatch.setitem(FakeStore.METHODS, "log_image", lost)
        run.image("val_clicks", PICTURE, 7)
        run.image("val_clicks", PICTURE, 8)
        assert until(lambda: len(fake.gallery) == 2)
        monkeypatch.setitem(FakeStore.METHODS, "log_image", send)
    assert fake.gallery == [("val_clicks", 7), ("val_clicks", 8)]


def test_pauses_between_attempts_grow(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.1)
    moments: list[float] = []

    def fail(name: str) -> None:
        moments.append(time.monotonic())
        raise StoreError("away")

    run = start_run()
    fake.before = fail
    run.log({"a": 1.0}, 1)
    time.sleep(2)
    # At 0, .1, .3, .7 and 1.5 s, for numbers and for files.
    assert 4 <= len([name for name in fake.calls if name == "log_metrics"]) <= 6
    run.finish()


def test_a_server_that_was_away_at_the_start_gets_the_run_later(
    fake: FakeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE", 0.05)

    def fail(name: str) -> None:
        raise StoreError("away")

    fake.before = fail
    with start_run() as run:
        run.log({"a": 1.0}, 1)
        fake.before = lambda name: None
        assert until(lambda: len(fake.points) == 1)
    assert fake.params == {"seed": "3"}
    assert fake.artifacts["config.yaml"] == b"seed: 3\n"
    assert fake.status == "FINISHED"
    assert (len(fake.made), run.id in fake.made) == (1, False)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_outbox_stays_small() -> None:
    outbox = Outbox()
    for number in range(20_000):
        outbox.add_lines(Span(10 * number, 10 * number + 10))
        outbox.add_file(Path("last.pt"), "checkpoints")
    assert (outbox._spans, len(outbox._files)) == ([Span(0, 200_000)], 1)
    outbox.add_lines(Span(200_050, 200_060))  # an evaluation has written between
    outbox.lines_sent(400)
    assert outbox._spans == [Span(400, 200_000), Span(200_050, 200_060)]
    outbox.lines_sent(200_000)
    assert outbox.lines() == Span(200_050, 200_060)


def test_pieces_are_whole_lines(folder: Path) -> None:
    file = MetricsFile(folder)
    spans = [file.write({"a": 1 / (step + 1)}, step, 1.0) for step in range(50)]
    other = MetricsFile(folder)
    between = other.write({"b": 1.0}, 99, 1.0)
    after = file.write({"a": 0.5}, 50, 1.0)
    assert spans[-1].end == between.start
    assert between.end == after.start
    for most in (1, 64, 1000, 10_000):
        start_, seen = 0, []
        while start_ < between.start:
            lines, start_ = read_span(folder, Span(start_, between.start), most)
            seen += [line["step"] for line in lines]
        assert (start_, seen) == (between.start, list(range(50)))
    assert [line["step"] for line in read_span(folder, after, 1000)[0]] == [50]


@contextmanager
def room(path: Path, free: int) -> Iterator[None]:
    """No file grows beyond the present size of `path` and so many bytes, as on a full disk."""
    import resource  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


full_disk = pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")


@full_disk
@pytest.mark.parametrize("free", [0, 1, 45, 60, 120, 300])
def test_lines_wait_until_a_full_disk_has_room(free: int, folder: Path) -> None:
    file = MetricsFile(folder)
    spans = [file.write({"a": 1.0}, 0, 1.0)]
    with room(file.path, free):
        for step in range(1, 20):
            try:
                spans.append(file.write({"a": 1.0}, step, 1.0))
            except OSError:
                continue
        with pytest.raises(OSError, match=r"metrics\.jsonl"):
            file.flush()
    spans.append(file.write({"a": 1.0}, 20, 1.0))
    assert steps(folder) == list(range(21))
    told = [line["step"] for span in spans for line in read_span(folder, span, 1 << 20)[0]]
    assert told == list(range(21)), "every line is in one span"
    assert file.flush().start == file.path.stat().st_size


@full_disk
def test_training_goes_on_with_a_full_disk_and_ends_with_a_sentence(
    fake: FakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run()
    run.log({"a": 1.0}, 1)
    with room(run.folder / "metrics.jsonl", 10):
        run.log({"a": 2.0}, 2)
        run.log({"a": 3.0}, 3)
        run.image("val_clicks", np.random.default_rng(0).integers(0, 255, (99, 99, 3)).astype(np.uint8), 3)
        with pytest.raises(OSError, match=r"metrics\.jsonl"):
            run.flush()  # a checkpoint would come now
    run.log({"a": 4.0}, 4)
    run.finish()
    assert steps(run.folder) == [1, 2, 3, 4]
    assert [point.step for point in fake.points] == [1, 2, 3, 4]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "metrics.jsonl" in told
    assert list(run.folder.glob("figures/*")) == []


@full_disk
def test_a_disk_that_stays_full_is_told_at_the_end(fake: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    run = start_run()
    run.log({"a": 1.0}, 1)
    with room(run.folder / "metrics.jsonl", 0):
        with pytest.raises(OSError, match=r"metrics\.jsonl"), run:
            run.log({"a": 2.0}, 2)
        assert fake.status == "FINISHED"
    assert not run_folder.is_held(run.folder)
    assert read_record(run.folder).status == "INTERRUPTED", "run.json could not be written either"


@full_disk
def test_what_stopped_a_run_says_more_than_the_disk(fake: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    run = start_run()
    with room(run.folder / "metrics.jsonl", 0):
        run.log({"a": 2.0}, 2)
        run.__exit__(ValueError, ValueError("the reason"), None)  # it raises nothing of its own
    assert fake.status == "FAILED"


def test_a_clock_that_is_set_back(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_run()
    first.log({"a": 1.0}, 1)
    with monkeypatch.context() as changed:
        changed.setattr(time, "time", lambda: first._clock.now() - 3600)
        first.log({"a": 1.0}, 2)
        first.finish()
        with start_run() as second:
            second.log({"a": 1.0}, 1)
    moments = [line["time"] for line in read_lines(first.folder)]
    assert moments == sorted(moments)
    ended = read_record(first.folder)
    assert ended.ended is not None
    assert 0 <= ended.ended - ended.started < 60
    assert read_record(second.folder).started > ended.started, "runs stay in their order"
    # A date that is wrong by years is not handed on.
    write_record(RunRecord("e" * 32, "", "FINISHED", time.time() + 1e8, Path("runs") / ("e" * 32), ended=1.0))
    assert abs(run_folder.beginning(Path("runs")) - time.time()) < 60


def lying(status: str, host: str, folder: Path = Path("runs") / ("a" * 32)) -> Path:
    """A run that says so in its run.json."""
    write_record(RunRecord(folder.name, "x", status, 100.0, folder, host=host))
    (folder / "metrics.jsonl").write_text('{"step": 1, "time": 150.5, "train/loss": 1}\n')
    return folder


def test_a_run_whose_process_is_gone_is_interrupted() -> None:
    run = lying("RUNNING", HERE)
    record = read_record(run)
    assert (record.status, record.ended, record.metrics) == ("INTERRUPTED", 150.5, {"train/loss": 1})
    assert not (run / "lock").exists(), "looking creates nothing"
    lock = run_folder.lock_folder(run)
    assert read_record(run).status == "RUNNING"
    lock.release()
    assert read_record(run).status == "INTERRUPTED"
    assert read_record(lying("RUNNING", "")).status == "INTERRUPTED", "of an older version, which wrote no host"
    assert read_record(lying("RUNNING", "elsewhere")).status == "RUNNING"
    assert read_record(lying("FAILED", HERE)).status == "FAILED"


def test_two_processes_resume_one_run() -> None:
    run = lying("KILLED", HERE)
    (run / "config.yaml").write_text("")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.pt").write_bytes(b"weights")
    code = f"""
import sys
from mfpgan import tracking
from mfpgan.types import InputError
try:
    with tracking.resume_run("{run.name}", step=1) as run:
        print("has it", flush=True)
        sys.stdin.readline()
        run.log({{"train/loss": 2.0}}, 2)
except InputError as error:
    print(error, flush=True)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = []
    for process in processes:
        assert process.stdout
        said.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate("go\n", timeout=60)
    assert sorted(said) == ["has it", f"run {run.name}: another process is training it; wait for it, or stop it first."]
    assert steps(run) == [1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="chmod")
def test_a_read_only_folder_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    run = lying("FINISHED", HERE)
    (run / "config.yaml").write_text("")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.pt").write_bytes(b"")

    def refuse(path: str, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system", path)
        return opened(path, flags, *arguments, **options)

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)  # chmod does not stop root
    for use in (lambda: tracking.resume_run(run.name, step=1), lambda: tracking.reopen_run(run.name)):
        with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\); copy the run"):
            use()


def test_kill_9_leaves_whole_lines_and_a_run_that_is_interrupted(folder: Path) -> None:
    code = """
from mfpgan import tracking
from mfpgan.tracking import mlflow_store, start
def away(create):
    raise mlflow_store.StoreError("away")
start.open_store = away
run = tracking.start_run({}, config="")
print(run.id, flush=True)
step = 0
while True:
    step += 1
    run.log({"train/loss": 1.0}, step)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    place = Path("runs") / process.stdout.readline().strip()
    assert read_record(place).status == "RUNNING"
    assert until(lambda: len(steps(place)) > 100)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    seen = steps(place)
    assert seen == list(range(1, len(seen) + 1))
    assert read_record(place).status == "INTERRUPTED"


def test_run_json_holds_no_more_than_it_says(fake: FakeStore) -> None:
    with start_run() as run:
        pass
    values = json.loads((run.folder / "run.json").read_text())
    assert set(values) == {"id", "name", "status", "started", "ended", "params", "metrics", "stored", "host", "tags"}
    assert (values["host"], values["status"]) == (HERE, "FINISHED")
