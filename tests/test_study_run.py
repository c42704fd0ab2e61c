"""Studies at work: what is skipped, resumed, retried, left alone and refused, with commands that only pretend; one cell is
made for real."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mfpgan import tracking
from mfpgan.cli import main
from mfpgan.study import launch, origin, work
from mfpgan.study.cells import Survey
from mfpgan.study.file import Study
from mfpgan.types import InputError

GRID = """
name: small
question: Does it help?
expectation: No.
base: {data: synthetic, size: 96, width: 0.1, batch_size: 2, steps: 2, encoder_weights: none, val_data: none, device: cpu, workers: 0}
arms:
  off: {adv: off}
  hinge: {adv: hinge}
reference: off
"""
STUDY = f"""{GRID}seeds: [0, 1]
evaluate:
- {{data: synthetic, protocol: single, limit: 2}}
- {{data: synthetic, protocol: interactive, limit: 1, max_clicks: 2}}
"""
CELLS = ["off-s0", "hinge-s0", "off-s1", "hinge-s1"]

PRETENDING = '''
"""Stands for `python -m mfpgan`: the same words, files and exit codes, and no computing. FAKE_NAME-sSEED says what goes wrong."""
import json, os, signal, sys, time, uuid
from pathlib import Path

words = sys.argv[1:]
here = Path("calls.txt")
def call(text):
    with here.open("a") as file:
        file.write(text + "\\n")

def option(name):
    return words[words.index(name) + 1]

known = json.loads(Path("fake.json").read_text())
if words[0] == "train":
    if "--resume" in words:
        folder = Path("runs") / option("--resume")
        record = json.loads((folder / "run.json").read_text())
    else:
        tags = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "--tag")
        number = uuid.uuid4().hex
        folder = Path("runs") / number
        record = {"id": number, "name": option("--name"), "status": "RUNNING", "started": time.time(), "ended": None, "metrics": {},
                  "params": known["params"], "stored": False, "host": known["host"], "tags": tags}
    name = record["name"]
    call(("resume " if "--resume" in words else "train ") + name + f" threads {os.environ['OMP_NUM_THREADS']} group {os.getpgid(0)}")
    wrong = known["wrong"].get(name, "")
    if wrong == "refuses":
        print("mfpgan: 'nowhere' does not exist.", file=sys.stderr)
        sys.exit(2)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "last.pt").touch()
    (folder / "environment.json").write_text(json.dumps(known["environment"]))
    (folder / "config.yaml").touch()
    def end(status):
        record.update(status=status, ended=time.time())
        (folder / "run.json").write_text(json.dumps(record))
    record["status"] = "RUNNING"
    (folder / "run.json").write_text(json.dumps(record))
    if wrong == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if wrong == "diverges":
        end("FAILED")
        print("step 1: loss is nan", file=sys.stderr)
        sys.exit(1)
    if wrong == "waits":
        heard = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: heard.append(number))
        call(f"waits {name}")
        while not heard:
            time.sleep(0.02)
        time.sleep(0.5)  # a second one would come now
        call(f"heard {name} {heard}")
        end("KILLED")
        sys.exit(128 + heard[0])
    end("FINISHED")
else:
    folder = Path("runs") / option("--run-id")
    record = json.loads((folder / "run.json").read_text())
    config = Path(option("--config")).read_text()
    protocol = "single" if "protocol: single" in config else "interactive"
    call(f"eval {record['name']} {protocol}")
    if known["wrong"].get(record["name"]) == "cannot be evaluated":
        print("mfpgan: no room.", file=sys.stderr)
        sys.exit(2)
    path = folder / "eval" / known["prefix"][protocol] / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"step": 2, "digest": known["digest"], "precision": "fp32", "device": "cpu", protocol: {"rows": []}}))
'''


class Fake:
    """A working folder with a study whose commands pretend."""

    def __init__(self, folder: Path, survey: Survey, params: dict[str, str]) -> None:
        self.folder = folder
        self.study = survey.study
        self.wrong: dict[str, str] = {}
        """Cell to what goes wrong with it."""
        self.known: dict[str, Any] = {
            "host": platform.node(),
            "environment": tracking.environment(),
            "params": params,
            "prefix": {entry.config.protocol: entry.prefix for entry in survey.evaluations},
            "digest": survey.evaluations[0].digest,
        }
        self.told: list[tuple[str, str, str]] = []

    def run(self, *, jobs: int = 1, launcher: launch.Launcher | None = None, **options: Any) -> list[str]:
        """What was called meanwhile, without the process groups and threads."""
        before = len(self.calls())
        (self.folder / "fake.json").write_text(json.dumps({**self.known, "wrong": self.wrong}))
        self.signal = launch.run_study(
            Survey.of(self.study),
            launcher or launch.Local(jobs),
            lambda cell, what, more: self.told.append((cell.name, what, more)),
            **options,
        )
        return [re.sub(" (threads|group) .*", "", line) for line in self.calls()[before:]]

    def calls(self) -> list[str]:
        path = self.folder / "calls.txt"
        return path.read_text().splitlines() if path.is_file() else []

    def states(self) -> dict[str, str]:
        return {state.cell.name: state.status for state in Survey.of(self.study).states}

    def record(self, name: str) -> Path:
        """run.json of a cell."""
        return next(run.folder / "run.json" for run in tracking.local_runs() if run.name == name)

    def change(self, name: str, **values: Any) -> None:
        path = self.record(name)
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> tuple[Survey, dict[str, str]]:
    """The study, and the digests of its training data as run.json has them."""
    from mfpgan import build

    folder = tmp_path_factory.mktemp("study")
    (folder / "small.yaml").write_text(STUDY)
    survey = Survey.of(Study.load(folder / "small.yaml"), folder)
    data = build.training_data(survey.study.cells[0].config)
    return survey, {"data_digest": data.train.digest(), "val_digest": "", "total_steps": "2"}


@pytest.fixture
def fake(working_folder: Path, monkeypatch: pytest.MonkeyPatch, looked_at: tuple[Survey, dict[str, str]]) -> Fake:
    (working_folder / "pretending.py").write_text(PRETENDING)
    monkeypatch.setattr(work, "MFPGAN", (sys.executable, "-S", str(working_folder / "pretending.py")))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Fake(working_folder, *looked_at)


def whole(name: str) -> list[str]:
    return [f"train {name}", f"eval {name} single", f"eval {name} interactive"]


def test_every_cell_is_trained_and_evaluated_once(fake: Fake) -> None:
    assert fake.states() == dict.fromkeys(CELLS, "missing")
    assert fake.run() == [call for name in CELLS for call in whole(name)]
    assert fake.states() == dict.fromkeys(CELLS, "done")
    assert fake.run() == []
    tags = [run.tags for run in tracking.local_runs()]
    assert [(tag["study"], tag["arm"], tag["seed"]) for tag in tags] == [
        ("small", "off", "0"), ("small", "hinge", "0"), ("small", "off", "1"), ("small", "hinge", "1"),
    ]  # fmt: skip
    for run, state in zip(tracking.local_runs(), Survey.of(fake.study).states, strict=True):
        paths = [path for path in state.reports if path]
        assert [path.parent.name for path in paths] == ["synthetic-first2", "synthetic-first1-2clicks"]
        assert {path.parents[2] for path in paths} == {run.folder.absolute()}


def test_only_what_is_missing_is_done(fake: Fake) -> None:
    fake.run()
    shutil.rmtree(fake.record("hinge-s0").parent / "eval" / fake.known["prefix"]["interactive"])
    old = next((fake.record("off-s1").parent / "eval").glob("*/report.json"))
    old.write_text(old.read_text().replace('"step": 2', '"step": 1'))  # of a checkpoint before the end
    shutil.rmtree(fake.record("hinge-s1").parent)
    assert fake.states() == {"off-s0": "done", "hinge-s0": "trained", "off-s1": "trained", "hinge-s1": "missing"}
    protocol = "single" if old.parent.name == "synthetic-first2" else "interactive"
    assert fake.run() == ["eval hinge-s0 interactive", f"eval off-s1 {protocol}", *whole("hinge-s1")]
    assert fake.states() == dict.fromkeys(CELLS, "done")


def test_a_report_must_answer_what_is_asked_now(fake: Fake) -> None:
    """Precision and device are not in the folder's name."""
    fake.run()
    for wanted, status in (
        ("precision: fp32, device: cpu", "done"),
        ("precision: bf16", "trained"),
        ("device: cuda", "trained"),
    ):
        text = STUDY.replace("protocol: single,", f"protocol: single, {wanted},")
        (fake.folder / "other.yaml").write_text(text)
        found = Survey(Study.load(fake.folder / "other.yaml"), fake.folder, [], [])
        found = Survey.of(found.study, fake.folder)
        assert {state.status for state in found.states} == {status}, wanted


def test_an_evaluation_that_leaves_no_answer_has_failed(fake: Fake) -> None:
    fake.known["digest"] = "0" * 16
    fake.run()
    assert set(fake.states().values()) == {"failed"}
    told = [line for _, what, line in fake.told if what == "failed"]
    assert told == ["the evaluation synthetic-first2 left no report that answers what was asked"] * 4


@pytest.mark.parametrize(
    "entries",
    [
        "{limit: 2}, {limit: 2, precision: fp32}",
        "{protocol: single}, {protocol: single, batch_size: 3}",
        "{}, {protocol: single}",
    ],
)
def test_evaluations_that_would_replace_each_other(working_folder: Path, entries: str) -> None:
    start = STUDY[: STUDY.index("evaluate:")]
    Path("small.yaml").write_text(
        f"{start}evaluate: [{entries.replace('{', '{data: synthetic, ').replace(', }', '}')}]\n"
    )
    with pytest.raises(InputError, match=r"^study small: evaluate, entries 1 and 2 would both be kept as synthetic"):
        Survey.of(Study.load(Path("small.yaml")))


def test_another_config_is_another_cell(fake: Fake) -> None:
    fake.run()
    (fake.folder / "other.yaml").write_text(STUDY.replace("steps: 2", "steps: 2, lr: 0.5"))
    fake.study = Study.load(fake.folder / "other.yaml")
    assert fake.states() == dict.fromkeys(CELLS, "missing")


def test_interrupted_cells_go_on_and_killed_ones_count_as_interrupted(fake: Fake) -> None:
    fake.wrong = {"hinge-s0": "dies"}
    assert fake.run() == [*whole("off-s0"), "train hinge-s0", *whole("off-s1"), *whole("hinge-s1")]
    assert ("hinge-s0", "interrupted", "ended by signal 9") in fake.told
    assert fake.states() == {**dict.fromkeys(CELLS, "done"), "hinge-s0": "interrupted"}
    fake.change("off-s1", status="KILLED")
    fake.wrong = {}
    assert fake.run() == [
        "resume hinge-s0", "eval hinge-s0 single", "eval hinge-s0 interactive", "resume off-s1",
    ]  # fmt: skip
    (fake.record("off-s0").parent / "checkpoints" / "last.pt").unlink()
    fake.change("off-s0", status="RUNNING", ended=None)
    assert fake.run() == whole("off-s0"), "without a checkpoint it starts anew"


@pytest.mark.parametrize(
    ("wrong", "line", "again"),
    [
        ("refuses", "'nowhere' does not exist", whole("off-s0")),
        ("diverges", "step 1: loss is nan", ["resume off-s0", *whole("off-s0")[1:]]),
        ("cannot be evaluated", "no room", whole("off-s0")[1:]),
    ],
)
def test_failed_cells_do_not_stop_the_others_and_are_tried_again_on_request(
    fake: Fake, wrong: str, line: str, again: list[str]
) -> None:
    fake.wrong = {"off-s0": wrong}
    fake.run()
    assert ("off-s0", "failed", line) in fake.told
    assert fake.states() == {**dict.fromkeys(CELLS, "done"), "off-s0": "failed"}
    assert next(state.note for state in Survey.of(fake.study).states if state.status == "failed") == line
    assert fake.run() == []
    fake.run(retry=True)
    assert fake.states()["off-s0"] == "failed", "it still goes wrong"
    fake.wrong = {}
    assert fake.run(retry=True) == again
    assert fake.states() == dict.fromkeys(CELLS, "done")


def test_cells_that_run_elsewhere_are_left_alone(fake: Fake) -> None:
    fake.run()
    fake.change("off-s0", status="RUNNING", host="far", ended=None)
    fake.change("hinge-s0", status="RUNNING", ended=None)
    shutil.rmtree(fake.record("off-s1").parent)
    with FileLock(fake.record("hinge-s0").parent / "lock"), FileLock("studies/small/off-s1.lock"):
        states = {state.cell.name: state for state in Survey.of(fake.study).states}
        assert [states[name].status for name in CELLS] == ["elsewhere", "running", "running", "done"]
        assert "on far" in states["off-s0"].note
        assert fake.run() == []


def test_one_process_runs_a_study(fake: Fake) -> None:
    fake.run()
    shutil.rmtree(fake.record("off-s1").parent)
    with FileLock("studies/small/lock"), pytest.raises(InputError, match=r"^study small: another process runs it"):
        fake.run()


@contextmanager
def signals(fake: Fake, number: int, waiting: int) -> Iterator[None]:
    """Signal this process as soon as so many commands wait."""

    def send() -> None:
        for _ in range(500):
            if sum(line.startswith("waits") for line in fake.calls()) == waiting:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_each_command_once_and_no_cell_is_lost(fake: Fake, number: int) -> None:
    before = signal.getsignal(number)
    fake.wrong = dict.fromkeys(CELLS, "waits")
    with signals(fake, number, waiting=2):
        calls = fake.run(jobs=2)
    assert fake.signal == number
    assert {name for name, _, _ in fake.told} == {"off-s0", "hinge-s0"}, "nothing is said of what was not begun"
    assert sorted(calls) == sorted(
        f"{what}{name}{heard}"
        for name in CELLS[:2]
        for what, heard in (("train ", ""), ("waits ", ""), ("heard ", f" [{int(number)}]"))
    )
    groups = {re.sub(".* group ", "", line) for line in fake.calls() if line.startswith("train")}
    assert len(groups | {str(os.getpgid(0))}) == 3, "the terminal's own signal reaches none of them"
    assert signal.getsignal(number) == before
    assert fake.states() == {
        "off-s0": "interrupted", "hinge-s0": "interrupted", "off-s1": "missing", "hinge-s1": "missing"
    }  # fmt: skip
    fake.wrong = {}
    assert fake.run()[0] == "resume off-s0"
    assert fake.states() == dict.fromkeys(CELLS, "done")


def test_cells_share_the_cores_unless_the_user_says_otherwise(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    fake.run(jobs=2)
    assert {re.search(r"threads (\S+)", line)[1] for line in fake.calls() if "train" in line} == {"3"}  # type: ignore[index]
    shutil.rmtree("runs")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    fake.run(jobs=4)
    assert {re.search(r"threads (\S+)", line)[1] for line in fake.calls()[12:] if "train" in line} == {"5"}  # type: ignore[index]


def test_other_code_or_data_is_refused_before_anything_starts(fake: Fake) -> None:
    fake.run()
    shutil.rmtree(fake.record("hinge-s1").parent)
    path = fake.record("off-s0").with_name("environment.json")
    path.write_text(json.dumps({"commit": "0123456789abcdef", "packages": {"mfpgan": "0.0.1"}}))
    fake.change("off-s1", params={**fake.known["params"], "data_digest": "ffff"})
    with pytest.raises(InputError) as caught:
        fake.run()
    message = str(caught.value)
    assert message.startswith("off-s0: made with mfpgan 0.0.1, commit 012345678, and this is mfpgan ")
    assert (
        f"off-s1: made with training data of digest ffff, and now it is {fake.known['params']['data_digest']}"
        in message
    )
    assert message.endswith("--force goes on all the same, another folder starts anew.")
    assert ". " not in message
    assert fake.states()["hinge-s1"] == "missing"
    assert fake.run(force=True) == whole("hinge-s1")
    assert fake.run() == [], "where nothing is to do, nothing is refused"


def test_the_estimate_comes_from_finished_cells(fake: Fake) -> None:
    survey = Survey.of(fake.study)
    assert survey.seconds_left(survey.to_do()) is None
    fake.run()
    for name, seconds in (("off-s0", 100.0), ("hinge-s0", 300.0)):
        path = Path(f"studies/small/{name}.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))
    for name in ("off-s1", "hinge-s1"):
        shutil.rmtree(fake.record(name).parent)
        Path(f"studies/small/{name}.json").unlink()
    survey = Survey.of(fake.study)
    assert [survey.seconds_of(state) for state in survey.to_do()] == [100, 300]
    assert survey.seconds_left(survey.to_do(), jobs=1) == 400
    assert survey.seconds_left(survey.to_do(), jobs=2) == 300, "the longest cell is not cut in two"
    path = Path("studies/small/hinge-s1.json")
    path.write_text(json.dumps({"cell": survey.states[3].cell.digest, "seconds": 250.0, "failed": ""}))
    assert [survey.seconds_of(state) for state in survey.again().to_do()] == [100, 50]


def run_command(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mfpgan", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def test_the_command(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    Path("small.yaml").write_text(STUDY)
    Path("fake.json").write_text(json.dumps({**fake.known, "wrong": {"off-s0": "refuses"}}))
    assert run_command("study", "run", "small.yaml", "--dry-run") == 0
    listed = capfd.readouterr().out
    assert re.findall(r"(off|hinge) +(\d) +missing", listed) == [
        ("off", "0"),
        ("hinge", "0"),
        ("off", "1"),
        ("hinge", "1"),
    ]
    assert "4 of 4 cells to do: nobody knows how long before the first cell is finished." in listed
    assert fake.calls() == []
    assert not Path("studies").exists()

    assert run_command("study", "run", "small.yaml") == 1
    said = capfd.readouterr().err
    assert "off-s0: failed ('nowhere' does not exist); see studies/small/off-s0.log" in said
    assert "3 of 4 cells are done." in said
    assert run_command("study", "run", "small.yaml", "--dry-run") == 0
    assert re.search(r"1 of 4|0 of 4 cells to do", capfd.readouterr().out)

    Path("fake.json").write_text(json.dumps({**fake.known, "wrong": {"off-s0": "waits"}}))
    with signals(fake, signal.SIGINT, waiting=1):
        assert run_command("study", "run", "small.yaml", "--retry") == 130
    assert "3 of 4 cells are done. The same command goes on." in capfd.readouterr().err
    Path("fake.json").write_text(json.dumps({**fake.known, "wrong": {}}))
    assert run_command("study", "run", "small.yaml") == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none.yaml"], "none.yaml"),
        (["small.yaml", "--set", "lr=1"], "base.KEY=VALUE"),
        (["small.yaml", "--slurm", "time=3"], "--launcher submitit"),
        (["small.yaml", "--launcher", "submitit", "--slurm", "time"], "KEY=VALUE"),
        (["small.yaml", "--set", "base.data=nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(
    fake: Fake, words: list[str], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("small.yaml").write_text(STUDY)
    assert run_command("study", "run", *words) == 2
    said = capfd.readouterr().err
    assert expected in said
    assert "Traceback" not in said
    assert fake.calls() == []


def test_one_cell_for_real(working_folder: Path) -> None:
    start = STUDY[: STUDY.index("evaluate:")]
    Path("small.yaml").write_text(f"{start}evaluate: [{{data: synthetic, limit: 1, max_clicks: 2}}]\n")
    survey = Survey.of(Study.load(Path("small.yaml")))
    task = launch.tasks_of(survey, survey.states[1:2], {"OMP_NUM_THREADS": "1"})[0]
    told: list[tuple[str, str]] = []
    work.run_cell(task, work.Children(), lambda _, what, more: told.append((what, more)))
    log = (working_folder / "studies/small/hinge-s0.log").read_text()
    assert told == [("train", ""), ("eval", "synthetic-first1-2clicks, both"), ("done", "")], log
    assert [state.status for state in survey.again().states] == ["missing", "done", "missing", "missing"]
    assert origin.differences(survey.again()) == []
    run = tracking.local_runs()[0]
    assert run.tags == {"study": "small", "arm": "hinge", "seed": "0", "cell": task.cell.digest}
    assert [record.tags for record in tracking.list_runs()] == [run.tags]


def slurm_answers() -> bool:
    if not (shutil.which("sbatch") and shutil.which("sinfo")):
        return False
    return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20, check=False).stdout.strip() != b""


def test_submitit_without_slurm(fake: Fake) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (the extra slurm)")
    fake.wrong = {"hinge-s0": "refuses"}
    fake.run(launcher=launch.Submitit({}, cluster="local"))
    assert fake.states() == {**dict.fromkeys(CELLS, "done"), "hinge-s0": "failed"}
    assert ("hinge-s0", "failed", "'nowhere' does not exist") in fake.told
    with pytest.raises(InputError, match=r"--slurm 'partitoin': .* \(did you mean partition\?\)"):
        fake.run(launcher=launch.Submitit({"partitoin": "gpu"}, cluster="local"), retry=True)


def test_submitit_is_named_where_it_is_missing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"submitit is not installed; .*pip install 'mfpgan\[slurm\]'"):
        fake.run(launcher=launch.Submitit({}))
    assert fake.calls() == []


@pytest.mark.skipif(
    not slurm_answers(), reason="there is no SLURM here: sbatch is not installed, or sinfo does not answer"
)
def test_a_real_slurm(fake: Fake) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (the extra slurm)")
    fake.wrong = {"hinge-s1": "refuses"}
    calls = fake.run(launcher=launch.Submitit({"time": 5}, jobs=2))
    assert sorted(calls) == sorted([*(call for name in CELLS[:3] for call in whole(name)), "train hinge-s1"])
    assert fake.states() == {**dict.fromkeys(CELLS, "done"), "hinge-s1": "failed"}
    assert [what for name, what, _ in fake.told if name == "hinge-s1"] == ["submitted", "failed"]
    with pytest.raises(InputError, match=r"SLURM did not take the jobs \(.*partition"):
        fake.run(launcher=launch.Submitit({"partition": "nowhere"}), retry=True)


@pytest.mark.skipif(
    not slurm_answers(), reason="there is no SLURM here: sbatch is not installed, or sinfo does not answer"
)
def test_a_signal_cancels_the_jobs_of_a_real_slurm_and_they_save(fake: Fake) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (the extra slurm)")
    fake.wrong = dict.fromkeys(CELLS, "waits")
    with signals(fake, signal.SIGTERM, waiting=1):
        fake.run(launcher=launch.Submitit({"time": 5}, jobs=1))
    assert fake.signal == signal.SIGTERM
    assert fake.calls()[-1].startswith("heard off-s0")
    assert fake.states()["off-s0"] == "interrupted"
    assert [fake.states()[name] for name in CELLS[1:]] == ["missing"] * 3
