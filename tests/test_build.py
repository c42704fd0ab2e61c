"""From names to objects: what is taken, and what is said when it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from mfpgan import build
from mfpgan.config import TrainConfig
from mfpgan.data import SAMPLE_FOLDER
from mfpgan.data.columns import DamagedError
from mfpgan.data.policy import repeat_factors
from mfpgan.data.synthetic import SyntheticDataSet
from mfpgan.losses.adversarial import ADVERSARIAL
from mfpgan.models.presentation import PRESENTATIONS
from mfpgan.tracking import CHECKPOINT, NoRun
from mfpgan.training.adversary import Adversary, NoAdversary
from mfpgan.training.checkpoint import save_checkpoint
from mfpgan.training.ema import running_mean
from mfpgan.training.rules import Rules
from mfpgan.training.trainer import Plan
from mfpgan.types import Batch, InputError, Sample


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_mapping({"data": "synthetic", "width": 0.1, "encoder_weights": "none"} | changes, "test")


def test_the_generator_is_a_function_of_the_seed_and_draws_from_nobody() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second, other = (build.generator_of(config(seed=seed))[0].state_dict() for seed in (3, 3, 4))
    build.adversary_of(config(adv="hinge"), torch.device("cpu"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


CPU = torch.device("cpu")


def adversary(**changes: object) -> Adversary:
    built = build.adversary_of(config(**changes), CPU)
    assert isinstance(built, Adversary)
    return built


def test_every_rule_of_the_config_reaches_the_adversary() -> None:
    built = adversary(
        adv="wgan-gp", adv_weight=0.2, adv_warmup=3, adv_ramp=4, adv_balance="grad", d_r1_every=7, d_fm=2,
        d_augment=0.25, d_lr=1e-5, seed=9,
    )  # fmt: skip
    assert built.rules == Rules(
        lr=1e-5, weight=0.2, warmup=3, ramp=4, balance="grad", r1=0, r1_every=7, gradient_penalty=10, feature_matching=2,
        augment=0.25, seed=9,
    )  # fmt: skip
    assert adversary(d_r1=3).rules.r1 == 3
    assert isinstance(build.adversary_of(config(adv="off"), CPU), NoAdversary)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_adversary_takes_the_loss_and_its_bound(name: str) -> None:
    built = adversary(adv=name)
    assert built.loss is ADVERSARIAL[name]
    spectral = any("parametrizations" in key for key in built.discriminator.state_dict())
    assert spectral == (name != "wgan-gp")


@pytest.mark.parametrize("d_mask", PRESENTATIONS)
@pytest.mark.parametrize(("d_input", "beside"), [("image-clicks-mask", 5), ("clicks-mask", 2), ("mask", 0)])
def test_the_discriminator_fits_what_it_is_shown(d_mask: str, d_input: str, beside: int) -> None:
    built = adversary(d_mask=d_mask, d_input=d_input, d_arch="multiscale")
    assert built.presentation is PRESENTATIONS[d_mask]
    assert built.discriminator.scales[0][0][0].in_channels == beside + PRESENTATIONS[d_mask].channels
    batch = Batch(("a",), torch.rand(1, 3, 140, 140), torch.zeros(1, 1, 140, 140), torch.ones(1, 1, 140, 140))
    judgement = built.judge(batch, torch.zeros(1, 2, 140, 140), batch.target)
    assert [logits.shape[2:] for logits in judgement.logits] == [(15, 15), (6, 6)]


def run_folder(root: Path, trained: TrainConfig, **parts: object) -> Path:
    """A run as training leaves it."""
    folder = root / "0123456789abcdef"
    (folder / CHECKPOINT).parent.mkdir(parents=True)
    (folder / "config.yaml").write_text(trained.to_yaml())
    save_checkpoint(folder / CHECKPOINT, {"step": 5, "generator": {}, "adversary": {}, "ema": {}} | parts)
    return folder


def test_either_the_last_weights_or_their_mean_are_loaded(tmp_path: Path) -> None:
    trained = config(ema=0.75)
    generator, _ = build.generator_of(trained)
    mean = running_mean(generator, 0.75)
    assert mean is not None
    for value in (2.0, 6.0):  # 3/4 * 2 + 1/4 * 6 = 3
        torch.nn.init.constant_(generator.head.weight, value)
        mean.update_parameters(generator)
    folder = run_folder(tmp_path, trained, generator=generator.state_dict(), ema=mean.state_dict())
    last, _, step = build.load_generator(folder, CPU)
    averaged, _, _ = build.load_generator(folder, CPU, "ema")
    assert step == 5
    assert (last.head.weight == 6).all()
    assert (averaged.head.weight == 3).all()


def test_a_mean_that_was_not_kept_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, config())
    with pytest.raises(InputError, match=r"--weights ema: run 01234567 keeps no running mean.*--ema"):
        build.load_generator(folder, CPU, "ema")


def test_a_mean_that_the_checkpoint_lacks_is_a_sentence(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, config(ema=0.75))
    with pytest.raises(InputError, match=r"last\.pt: it holds no running mean.*--weights last"):
        build.load_generator(folder, CPU, "ema")


def test_the_adversary_of_a_run_is_loaded_as_training_left_it(tmp_path: Path) -> None:
    trained = config(adv="lsgan", adv_balance="grad")
    left = adversary(adv="lsgan", adv_balance="grad")
    for weight in left.discriminator.parameters():
        torch.nn.init.normal_(weight)
    loaded = build.load_adversary(run_folder(tmp_path, trained, adversary=left.state_dict()), CPU)
    expected = left.discriminator.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.discriminator.state_dict().items())
    assert loaded.loss is ADVERSARIAL["lsgan"]


def test_a_run_without_adversary_or_with_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run 01234567 was trained with --adv off"):
        build.load_adversary(run_folder(tmp_path / "off", config(adv="off")), CPU)
    other = adversary(d_arch="multiscale").state_dict()
    for name, state in (("other", other), ("none", {})):
        with pytest.raises(InputError, match=r"last\.pt: its discriminator does not fit") as caught:
            build.load_adversary(run_folder(tmp_path / name, config(), adversary=state), CPU)
        assert "\n" not in str(caught.value)


def test_the_samples_own_val_photos_validate_it() -> None:
    data = build.training_data(config(data="sample"))
    assert data.train.name == "sample train"
    assert data.validation is not None
    assert data.validation.name == "sample val"
    assert len(data.objects) == len(data.validation.objects_of_image) == 8
    assert "sample train" in data.note


def masks_folder(root: Path, count: int, part: str = ".") -> Path:
    """Photos with one object (255) and an ignore band (128) each."""
    for name in ("images", "masks"):
        (root / name / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        mask = np.zeros((40, 50), np.uint8)
        mask[10:20, 10 : 20 + number] = 255
        mask[20:22] = 128
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(root / "images" / part / f"{number:03}.png")
        Image.fromarray(mask).save(root / "masks" / part / f"{number:03}.png")
    return root


def test_without_a_val_part_the_same_images_are_held_out_in_every_run(tmp_path: Path) -> None:
    folder = str(masks_folder(tmp_path / "photos", 25))
    first, second = (build.training_data(config(data=folder, seed=seed, ignore_value=128)) for seed in (0, 1))
    assert first.validation is not None
    assert second.validation is not None
    assert "held out" in first.note
    assert (len(first.train), len(first.validation)) == (24, 1)
    assert first.validation[0].id == second.validation[0].id
    assert first.train.digest() == second.train.digest() != first.validation.digest()
    nothing = build.training_data(config(data=folder, ignore_value=128, val_data="none"))
    assert nothing.validation is None
    assert len(nothing.train.objects_of_image) == 25


def test_validation_data_gets_the_options_that_mean_something_to_it(tmp_path: Path) -> None:
    train, other = (str(masks_folder(tmp_path / name, 3)) for name in ("train", "other"))
    data = build.training_data(config(data=train, val_data=other, ignore_value=128))
    assert data.validation is not None
    assert len(data.validation) == 3
    assert all(data.validation[i].ignore is not None for i in range(3))
    mixed = build.training_data(config(data=train, val_data="sample", ignore_value=128))
    assert mixed.validation is not None
    assert mixed.validation.name == "sample val"


def test_a_folder_in_parts_validates_on_its_val_part(tmp_path: Path) -> None:
    root = masks_folder(tmp_path / "photos", 3, "train")
    masks_folder(tmp_path / "more", 2, "val")
    for name in ("images", "masks"):
        (tmp_path / "more" / name / "val").rename(root / name / "val")
    data = build.training_data(config(data=str(root), split="train", ignore_value=128))
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (3, 2)
    with pytest.raises(InputError, match="--split: train, val"):
        build.training_data(config(data=str(root)))


def test_bsds500_validates_on_val_and_never_on_test(real_data: Path) -> None:
    data = build.training_data(config(data=str(real_data / "bsds500")))
    assert (data.train.name, data.validation and data.validation.name) == ("bsds500 train", "bsds500 val")


def test_a_missing_validation_photo_is_found_before_the_run(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "s")
    next((tmp_path / "s" / "val").glob("*.jpg")).unlink()
    with pytest.raises(InputError, match="was not found"):
        build.training_data(config(data=str(tmp_path / "s" / "train.json")))


def test_a_val_json_beside_the_train_json_is_found(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "lvis")
    (tmp_path / "lvis" / "train.json").rename(tmp_path / "lvis" / "lvis_v1_train.json")
    (tmp_path / "lvis" / "val.json").rename(tmp_path / "lvis" / "lvis_v1_val.json")
    data = build.training_data(config(data=str(tmp_path / "lvis" / "lvis_v1_train.json"), val_images=3))
    assert data.validation is not None
    assert "lvis_v1_val" in data.validation.name
    assert len(data.objects) == 3
    images = json.loads((SAMPLE_FOLDER / "train.json").read_text())["images"]
    assert len(data.train.objects_of_image) == len(images) == 16


def test_pretrained_weights_need_full_width(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(source: str) -> tuple[dict[str, torch.Tensor], str]:
        asked.append(source)
        return {"conv1.weight": torch.zeros(1)}, "imagenet"

    monkeypatch.setattr(build, "encoder_state", answer)
    assert build.generator_of(config(encoder_weights="auto"))[1] == "none (pretrained weights fit only --width 1)"
    assert asked == [], "nothing is downloaded to be thrown away"
    with pytest.raises(InputError, match="--width 1"):
        build.generator_of(config(encoder_weights="imagenet"))


def test_a_policy_decides_on_training_and_leaves_validation_alone(tmp_path: Path) -> None:
    folder = str(masks_folder(tmp_path / "photos", 30))  # object number k has 10 x (10 + k) pixels
    whole = build.training_data(config(data=folder, ignore_value=128))
    data = build.training_data(config(data=folder, ignore_value=128, min_area=150, objects_per_image=2))
    assert data.validation is not None
    assert whole.validation is not None
    assert [data.validation[i].id for i in data.objects] == [whole.validation[i].id for i in whole.objects]
    sizes = [int(data.train[i].target.sum()) for i in range(len(data.train))]
    assert min(sizes) >= 150
    assert len(sizes) == sum(int(whole.train[i].target.sum()) >= 150 for i in range(29)) < 29
    assert f"Chosen: {len(sizes)} of 29 objects, in {len(sizes)} images." in data.note
    trained = config(data=folder, epochs=1, batch_size=1, objects_per_image=2)
    assert Plan.of(trained, data.images_per_epoch).steps == 2 * len(sizes)
    with pytest.raises(InputError, match="leave out --repeat-threshold"):
        build.training_data(config(data=folder, repeat_threshold=0.1))
    with pytest.raises(InputError, match="none of the 29 objects"):
        build.training_data(config(data=folder, ignore_value=128, max_area=99))


def test_rare_categories_lengthen_an_epoch_of_the_sample() -> None:
    data = build.training_data(config(data="sample", repeat_threshold=0.5))
    factors = repeat_factors(data.train, 0.5)
    assert factors.max() > 1
    assert data.images_per_epoch == round(factors.sum()) > 16


def test_one_photo_missing_is_no_reason_not_to_start(tmp_path: Path) -> None:
    folder = masks_folder(tmp_path / "photos", 9)
    (folder / "images" / "000.png").write_bytes(b"no picture")
    build.training_data(config(data=str(folder), val_data="none"))
    for path in (folder / "images").glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000\.png: not readable"):
        build.training_data(config(data=str(folder), val_data="none"))


def test_a_damaged_index_is_not_taken_for_a_missing_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other photos can be read, but the run would stop at the damaged part, hours later."""

    sound = SyntheticDataSet.__getitem__

    def damaged(data: SyntheticDataSet, index: int) -> Sample:
        if index == data.objects_of_image[0][0]:
            raise DamagedError("the index is damaged and was removed; start again, and it is built anew.")
        return sound(data, index)

    monkeypatch.setattr(SyntheticDataSet, "__getitem__", damaged)
    with pytest.raises(DamagedError):
        build.training_data(config(data="synthetic", val_data="none"))


def test_weights_of_a_run_last_best_and_for_other_programs(tmp_path: Path) -> None:
    """After steps 2 and 4 a validation; the second one finds less."""
    config = TrainConfig.from_mapping(
        {"data": "synthetic", "adv": "off", "size": 96, "width": 0.1, "steps": 4, "batch_size": 2, "encoder_weights": "none",
         "precision": "fp32", "device": "cpu", "workers": 0, "eval_every": 2, "val_images": 1}, "test",
    )  # fmt: skip
    generator = build.generator_of(config)[0]
    trainer = build.trainer(config, build.training_data(config), NoRun(tmp_path), generator)
    found = iter([0.7, 0.3])
    trainer.validate = lambda: {"val/iou": next(found)}  # type: ignore[method-assign]
    weights: dict[int, dict[str, torch.Tensor]] = {}
    trainer.train(
        lambda report: weights.update({report.step: {k: v.clone() for k, v in generator.state_dict().items()}})
    )
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    files = build.export_weights(tmp_path)
    assert [path.name for path in files] == ["last.pt", "weights.safetensors", "best.pt", "best.safetensors"]
    for which, name, step in (("last", "weights", 4), ("best", "best", 2)):
        loaded, _, at = build.load_generator(tmp_path, torch.device("cpu"), which)  # type: ignore[arg-type]
        exported = safetensors.torch.load_file(tmp_path / "checkpoints" / f"{name}.safetensors")
        assert at == step
        for key, value in weights[step].items():
            assert torch.equal(loaded.state_dict()[key], value)
            assert torch.equal(exported[key], value)
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"PK")
    with pytest.raises(
        InputError,
        match=r"last\.pt: not readable .* goes on from the one before it; --weights best evaluates the best\.$",
    ):
        build.load_generator(tmp_path, torch.device("cpu"))


def test_the_steps_between_checks_for_drift_reach_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFPGAN_CHECK_PROCESSES", "7")
    config = TrainConfig.from_mapping(
        {"data": "synthetic", "adv": "off", "width": 0.1, "encoder_weights": "none", "device": "cpu"}, "test"
    )
    trainer = build.trainer(config, build.training_data(config), NoRun(tmp_path), build.generator_of(config)[0])
    assert trainer.check_every == 7
