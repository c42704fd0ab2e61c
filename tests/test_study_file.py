"""Study files: cells in order, or one sentence that says what is wrong and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfpgan.study.file import Study
from mfpgan.types import InputError

GOOD = """
name: small
question: Does it help?
expectation: No.
base: {data: synthetic, size: 96, steps: 2}
arms:
  off: {adv: off}
  hinge: {adv: hinge}
reference: off
seeds: [0, 7]
evaluate:
- {data: synthetic, protocol: single}
effect: {iou: 0.01}
"""


def load(folder: Path, text: str = GOOD, settings: tuple[str, ...] = ()) -> Study:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return Study.load(path, settings)


def test_every_arm_has_its_first_seed_before_one_has_its_second(tmp_path: Path) -> None:
    cells = load(tmp_path).cells
    assert [(cell.arm, cell.seed, cell.config.adv) for cell in cells] == [
        ("off", 0, "off"), ("hinge", 0, "hinge"), ("off", 7, "off"), ("hinge", 7, "hinge"),
    ]  # fmt: skip
    assert [cell.config.seed for cell in cells] == [0, 0, 7, 7]
    assert len({cell.digest for cell in cells}) == 4
    assert cells[3].name == "hinge-s7"


def test_some_arms_only(tmp_path: Path) -> None:
    text = GOOD.replace("  hinge:", "  bce: {adv: bce}\n  hinge:")
    study = load(tmp_path, text)
    assert [cell.name for cell in study.only("hinge").cells] == ["off-s0", "hinge-s0", "off-s7", "hinge-s7"]
    assert list(study.only("hinge, off,bce").arms) == list(study.arms)
    assert [cell.digest for cell in study.only("bce").cells] == [c.digest for c in study.cells if c.arm != "hinge"]
    with pytest.raises(
        InputError, match=r"^--arms 'hnge': study \S+ has no such arm, expected some of off, bce, hinge\.$"
    ):
        study.only("bce,hnge")
    with pytest.raises(InputError, match=r"^--arms off: off is the reference; name an arm to compare it with\.$"):
        study.only("off")


def test_the_digest_is_of_what_determines_the_result(tmp_path: Path) -> None:
    digests = [cell.digest for cell in load(tmp_path).cells]
    for same in ("base.device=cpu", "base.workers=1", "base.compile=true", "base.lr=0.001"):  # the last is the default
        assert [cell.digest for cell in load(tmp_path, settings=(same,)).cells] == digests, same
    for other in ("base.lr=0.002", "base.data=sample", "base.precision=fp32"):
        assert not {cell.digest for cell in load(tmp_path, settings=(other,)).cells} & set(digests), other


def test_settings_count_more_than_the_file_and_less_than_an_arm(tmp_path: Path) -> None:
    cells = load(tmp_path, settings=("base.adv=relativistic", "base.batch-size=3", "base.steps=5")).cells
    assert {(cell.config.adv, cell.config.batch_size, cell.config.steps) for cell in cells} == {
        ("off", 3, 5), ("hinge", 3, 5),
    }  # fmt: skip
    for wrong in ("steps=5", "arms.off.steps=5", "base.steps", "base.=1"):
        with pytest.raises(InputError, match=r"^--set .*base\.KEY=VALUE"):
            load(tmp_path, settings=(wrong,))
    with pytest.raises(InputError, match=r"base: unknown key 'stepps' \(did you mean steps\?\)"):
        load(tmp_path, settings=("base.stepps=5",))


def test_base_takes_a_preset_or_a_file_beside_the_study(tmp_path: Path) -> None:
    strong = load(tmp_path, GOOD.replace("base: {", "base: {config: strong, ")).cells[0].config
    assert (strong.clicks, strong.steps, strong.size) == ("mixed", 2, 96)
    (tmp_path / "mine.yaml").write_text("lr: 0.5\nsteps: 9\n")
    mine = load(tmp_path, GOOD.replace("base: {", "base: {config: mine.yaml, ")).cells[0].config
    assert (mine.lr, mine.steps) == (0.5, 2)
    with pytest.raises(
        InputError, match=r"small\.yaml: base\.config='none\.yaml': no file beside the study, and no preset"
    ):
        load(tmp_path, GOOD.replace("base: {", "base: {config: none.yaml, "))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  hinge: {adv", "  off: {adv", ["the key 'off' of 'arms' is there twice"]),
        ("{adv: hinge}", "{adv: hinge, adv: bce}", ["the key 'adv' of 'hinge' is there twice"]),
        ("{adv: hinge}", "{adv: off}", ["the arms off and hinge are the same training"]),
        ("{adv: hinge}", "{adv_wieght: 1}", ["arm hinge: unknown key 'adv_wieght' (did you mean adv_weight?)"]),
        ("steps: 2", "stpes: 2", ["base: unknown key 'stpes' (did you mean steps?)"]),
        ("protocol:", "protocl:", ["evaluate, entry 1: unknown key 'protocl' (did you mean protocol?)"]),
        ("seeds:", "seed:", ["unknown key 'seed' (did you mean seeds?)."]),
        ("{adv: hinge}", "{adv: hinge, seed: 3}", ["arm hinge: all arms are trained with the same seeds"]),
        ("steps: 2", "seed: 2", ["base: all arms are trained with the same seeds"]),
        ("[0, 7]", "[]", ["there are no seeds"]),
        ("[0, 7]", "[7, 7]", ["the seed 7 is there twice"]),
        ("[0, 7]", "3", ["seeds=3: input should be a list"]),
        ("[0, 7]", "[a]", ["seeds.0='a'", "integer"]),
        ("reference: off", "reference: of", ["reference='of' is none of the arms off, hinge"]),
        ("  hinge: {adv: hinge}\n", "", ["off is the only arm"]),
        ("{adv: hinge}", "{lr: fast}", ["arm hinge: lr='fast'"]),
        ("{adv: hinge}", "{clicks.spread: 1}", ["arm hinge: ", "spread"]),
        ("size: 96", "size: 64", ["arm hinge: size=64 is below the 70 pixels"]),
        ("size: 96", "size: -1", ["base: size=-1"]),
        ("protocol: single", "limit: 0", ["evaluate, entry 1: limit=0"]),
        ("- {data: synthetic, protocol: single}\n", "", ["evaluate=None: input should be a list"]),
        ("expectation: No.\n", "", ["expectation is missing"]),
        ("expectation: No.", "expectation: ' '", ["expectation=' '"]),
        ("name: small", "name: a/b", ["name='a/b': expected lower-case letters, digits and hyphens, such as my-study."]),
        ("{adv: hinge}", "adv", ["arms.hinge='adv': expected keys and values, such as {adv: off}."]),
        ("  hinge: {", "  a/b: {", ["a/b"]),
        ("iou: 0.01", "iou: 0", ["effect.iou=0"]),
        ("question: Does it help?", "question: [", ["not readable as a YAML study (line "]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'small.yaml'}: ")
    assert all(word in message for word in words), message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_config_of_a_run_brings_no_seed(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data: synthetic\nsize: 96\nsteps: 2\nseed: 5\n")
    text = GOOD.replace("base: {data: synthetic, size: 96, steps: 2}", "base: {config: run.yaml}")
    assert [cell.config.seed for cell in load(tmp_path, text).cells] == [0, 0, 7, 7]


def test_a_study_written_out_is_the_same(tmp_path: Path) -> None:
    study = load(tmp_path, settings=("base.lr=0.002",)).only("hinge")
    assert load(tmp_path, study.to_yaml()) == study


def test_words_that_yaml_takes_for_numbers_and_booleans_are_names(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD.replace("  hinge: {adv: hinge}", "  0.03: {adv: lsgan}\n  no:\n  1: {adv: bce}"))
    assert list(study.arms) == ["off", "0.03", "no", "1"]


SHIPPED = sorted(
    path for path in (Path(__file__).parents[1] / "experiments").glob("*.yaml") if "\narms:" in path.read_text()
)


def test_the_shipped_studies() -> None:
    assert {path.stem for path in SHIPPED} >= {"adversarial", "clicks", "memory", "d_mask"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_all_cells_of_the_shipped_studies_resolve(path: Path) -> None:
    study = Study.load(path)
    assert study.name == path.stem.replace("_", "-")
    assert len(study.cells) == len(study.arms) * len(study.seeds)
    assert len(study.seeds) >= 3
    assert [config.protocol for config in study.evaluations] == ["single", "interactive"]
    for cell in study.cells:
        assert cell.config.data == "sample", "which is always there; better data is the user's"
        said = {sentence for sentence in cell.config.warnings(cell.config.steps or 0) if "--adv-warmup" not in sentence}
        assert not said
