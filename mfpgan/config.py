"""What a run is: two frozen models, every field with type, default and a line of help. YAML in and out.

Choices whose tables import torch stand here as literals, so that the command line can offer them at once; a contract
test holds each literal against its table. The click strategies import no torch: their table is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from mfpgan.clicks.strategies import STRATEGIES, make_strategy
from mfpgan.types import ClickStrategy, EncodingName, InputError, MemoryName, quoted
from mfpgan.yaml_file import read_mapping


def _strategy(name: str) -> str:
    if name not in STRATEGIES:
        raise ValueError(f"input should be one of {', '.join(STRATEGIES)}")
    return name


PRESETS = Path(__file__).parent / "presets"
"""Configs that come along: NAME.yaml, named by `--config NAME`."""


def find_config(path: Path) -> Path:
    """The file that `--config` names: a file of the user's, otherwise a preset.

    Raises:
        InputError: neither; names the presets.
    """
    presets = {preset.stem: preset for preset in sorted(PRESETS.glob("*.yaml"))}
    if path.is_file():
        return path
    if str(path) not in presets:
        raise InputError(f"--config {path}: no such file, and no such preset; presets are {', '.join(presets)}.")
    return presets[str(path)]


CHANGEABLE_ON_RESUME = ("device", "workers", "compile")
"""Keys of training that say how it is computed, not what. Nothing else may change: the run would no longer be what its config
says."""
EMA_SPANS = 3
"""Spans of a running mean, 1 / (1 - decay) steps each, after which its first value has 5 % left."""
SMALLEST_VIEW_PX = {"patch": 70, "multiscale": 140}
"""Smallest training crop that fills a discriminator's view, by `d_arch`."""

StrategyName = Annotated[str, AfterValidator(_strategy)]
"""A key of STRATEGIES."""
LossName = Literal["bce", "nfl", "bce-dice"]
AdversaryName = Literal["off", "bce", "lsgan", "hinge", "wgan-gp", "relativistic"]
PresentationName = Literal["prob", "ste", "ste-blur", "gumbel", "image-mul"]
InputName = Literal["image-clicks-mask", "image-mask", "clicks-mask", "mask"]
ArchitectureName = Literal["patch", "multiscale"]
PrecisionName = Literal["auto", "fp32", "bf16"]
ProtocolName = Literal["single", "interactive", "both"]
WeightsName = Literal["last", "best", "ema"]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    strategy_field: ClassVar[str]
    """The field that names a click strategy."""

    parameters: dict[str, Any] = {}
    """Parameters of the click strategy by name. In YAML and on the command line they are keys of their own, with the
    strategy's field in front: `clicks.spread`."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        start = f"{cls.strategy_field}."
        dotted = {key: value for key, value in values.items() if isinstance(key, str) and key.startswith(start)}
        if not dotted:
            return values
        rest = {key: value for key, value in values.items() if key not in dotted}
        parameters = rest.get("parameters", {})
        if not isinstance(parameters, dict):
            return rest  # refused as a field of the wrong type
        given = {key.removeprefix(start): value for key, value in dotted.items()}
        return rest | {"parameters": parameters | given}

    @model_validator(mode="after")
    def _known_parameters(self) -> Self:
        self.strategy()
        return self

    @model_serializer(mode="wrap")
    def _spread(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        parameters = values.pop("parameters", {})
        return values | {f"{self.strategy_field}.{name}": value for name, value in parameters.items()}

    def strategy(self) -> ClickStrategy:
        """The simulated user that the config names, with its parameters."""
        return make_strategy(getattr(self, self.strategy_field), self.parameters, self.strategy_field)

    @classmethod
    def from_mapping(cls, values: dict[str, Any], origin: str) -> Self:
        """Checked config from plain values; InputError names every wrong field of `origin` at once, ten at most."""
        check_values(cls, values, origin)
        return cls(**values)

    @classmethod
    def known_keys(cls) -> list[str]:
        """What may stand in a file, parameters of click strategies apart."""
        return [name for name in cls.model_fields if name != "parameters"]  # those are keys of their own

    @classmethod
    def from_yaml(cls, path: Path) -> dict[str, Any]:
        """The plain values of a YAML file, not checked yet: options of the command line go on top of them."""
        return read_mapping(path, "a config")

    def to_yaml(self) -> str:
        """YAML text that `from_yaml` and `from_mapping` read back to an equal config."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def check_values(model: type[BaseModel], values: Mapping[str, Any], origin: str, *, together: bool = True) -> None:
    """Raise InputError if a model does not take these values: names every wrong field of `origin` at once, ten at most.

    Args:
        together: with what the model says of its fields together; otherwise only what is wrong with each by itself.
    """
    known = model.known_keys() if issubclass(model, _Config) else list(model.model_fields)
    unknown = [key for key in values if key in model.model_fields and key not in known]
    problems: list[str] = []
    try:
        model(**{key: value for key, value in values.items() if key not in unknown})
    except ValidationError as error:
        for item in error.errors():
            if item["type"] == "extra_forbidden":
                unknown.append(str(item["loc"][0]))
            elif item["loc"] or together:
                problems.append(_problem(item))
    if unknown:
        hints = {key: nearest(key.replace("-", "_"), known) for key in unknown}
        named = first_of(unknown, lambda key: f"{quoted(key)}{did_you_mean(hints[key])}")
        every = "" if all(hints.values()) else f", expected one of {', '.join(known)}"
        meant = [f"{hint} is missing" for hint in hints.values()]
        problems = [f"unknown key {named}{every}", *(one for one in problems if one not in meant)]
    if problems:
        raise InputError(f"{origin}: {first_of(problems, str, '; ')}.")


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that was meant; "" if none is near."""
    return next(iter(difflib.get_close_matches(name[:80], known, n=1)), "")


def did_you_mean(name: str) -> str:
    """What to say of the nearest name, after the one that nobody knows."""
    return name and f" (did you mean {name}?)"


def _problem(error: Any) -> str:
    """One wrong field in words."""
    field = ".".join(
        part if (part := str(name)).isprintable() and len(part) < 80 else quoted(part) for name in error["loc"]
    )
    if error["type"] == "missing":
        return f"{field} is missing"
    message = str(error["msg"]).removeprefix("Value error, ").removesuffix(".")
    return f"{field}={quoted(error['input'])}: {message[:1].lower()}{message[1:]}" if field else message


def first_of(items: Sequence[str], write: Callable[[str], str], between: str = ", ", most: int = 10) -> str:
    """The first few, and how many more there are."""
    text = between.join(map(write, items[:most]))
    return text if len(items) <= most else f"{text}{between}and {len(items) - most} more"


class TrainConfig(_Config):
    """One training run. The defaults are the seed recipe."""

    strategy_field: ClassVar[str] = "clicks"

    data: str | None = None
    """Training data: a path (LVIS or COCO JSON, BSDS500 folder, images/ + masks/ folder), `sample` or `synthetic`; found by itself if left out."""
    images: str | None = None
    """Folder of the photos, if they do not lie beside the LVIS or COCO JSON."""
    split: str | None = None
    """Part of the data set: train, val or test; the data set's usual one if left out."""
    ignore_value: int | None = Field(None, ge=1, le=255)
    """Mask value that means "do not count" in a folder of masks."""
    val_data: str | None = None
    """Validation data, as for `data`, or `none`; left out: the val part beside the training data, otherwise one image in 20 (64 at most) is held out."""
    val_split: str | None = None
    """Part of the validation data set; left out: its val part, where it has one."""
    val_images: int = Field(64, ge=1)
    """Images validated on, spread evenly; one object of each."""
    val_clicks: int = Field(5, ge=1, le=20)
    """Clicks of the robot `center` on each of them; the IoU after every click is logged."""
    min_area: float | None = Field(None, ge=0)
    """Train only on objects of at least so many pixels of the photo."""
    max_area: float | None = Field(None, gt=0)
    """Train only on objects of at most so many pixels of the photo."""
    categories: str | None = Field(None, min_length=1)
    """Train only on these: names with commas between them, or LVIS's r, c and f for its rare, common and frequent ones."""
    objects_per_image: int = Field(1, ge=1, le=1000)
    """Samples in a row from one image, which is decoded once: other objects of it as far as there are, then other crops."""
    repeat_threshold: float = Field(0.0, ge=0, le=1)
    """Images of categories that fewer images than this share have come more often in an epoch, as in the LVIS paper, say .001; 0: none does."""

    size: int = Field(256, ge=32, le=2048)
    """Side of the square training crops, in pixels."""
    width: float = Field(1.0, gt=0, le=4)
    """Width factor of both networks: 1 is ResNet-34, .25 is for quick runs."""
    encoder_weights: str = "auto"
    """Start of the encoder: auto, imagenet, none, or a file with a ResNet-34 state dict."""

    clicks: StrategyName = "random"
    """Simulated user in training; its parameters with --set clicks.NAME=VALUE."""
    memory: MemoryName = "none"
    """What the network sees of its own last answer: nothing, the probability, or also MFP's modulated one."""
    encoding: EncodingName = "disk"
    """How a click is drawn for the networks."""
    radius: float | None = Field(None, gt=0, le=1000)
    """Size of a click in pixels; left out: disk 5 (radius), gaussian 10 (sigma), distance 255 (reach)."""
    loss: LossName = "bce"
    """Segmentation loss: weighted BCE, normalized focal loss, or BCE + Dice."""
    pos_weight: float = Field(5.0, gt=0)
    """Weight of object pixels in the BCE."""
    adv: AdversaryName = "hinge"
    """Adversarial loss; `off` trains the plain baseline."""
    adv_weight: float = Field(0.01, ge=0)
    """Weight of the adversarial term beside the segmentation loss."""
    adv_warmup: int = Field(0, ge=0)
    """Steps before the discriminator starts."""
    adv_ramp: int = Field(0, ge=0)
    """Steps after the warm-up over which the weight grows from 0 to its full value."""
    adv_balance: Literal["fixed", "grad"] = "fixed"
    """grad: the weight is a share of the segmentation loss's gradient at the generator's last layer."""
    d_mask: PresentationName = "ste"
    """How a mask is shown to the discriminator, drawn and predicted alike."""
    d_input: InputName = "image-clicks-mask"
    """What the discriminator sees."""
    d_arch: ArchitectureName = "patch"
    """70x70 patches, or two scales of them."""
    d_spectral: bool | None = None
    """Spectral norm in the discriminator; left out: on, except with a gradient penalty."""
    d_r1: float = Field(0.0, ge=0)
    """Weight gamma of R1, the squared gradient on drawn masks; 0: none."""
    d_r1_every: int = Field(16, ge=1)
    """Steps between R1's turns, each with so many times the weight."""
    d_gp: float | None = Field(None, ge=0)
    """Weight lambda of the gradient penalty; left out: 10 with --adv wgan-gp, otherwise 0."""
    d_fm: float = Field(0.0, ge=0)
    """Weight of feature matching inside the adversarial loss; 0: none."""
    d_augment: float = Field(0.0, ge=0, le=1)
    """Probability that photo, clicks and mask are turned, mirrored and shifted together before the discriminator sees them."""
    d_lr: float = Field(2e-4, gt=0)
    """Learning rate of the discriminator's Adam (betas 0, .9)."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of a running mean of the generator's weights, validated and evaluated beside them, say .999; 0: none."""

    epochs: int = Field(20, ge=1)
    """Passes over the images, --objects-per-image random objects of each. With --steps, the run counts as so many equal parts instead."""
    steps: int | None = Field(None, ge=1)
    """Length of the run in steps instead of epochs; the schedule is stretched over them."""
    batch_size: int = Field(4, ge=1)
    """Samples in a step."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of the generator's AdamW."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay; 0 is Adam."""
    lr_step: int = Field(5, ge=1)
    """Epochs between falls of the learning rate. With --steps 100: 5 of 20 parts, so after 25, 50 and 75 steps."""
    lr_gamma: float = Field(0.1, gt=0, le=1)
    """Factor by which it falls."""

    seed: int = Field(0, ge=0, lt=2**32)
    """All chance of the run is a function of it."""
    precision: PrecisionName = "auto"
    """fp32, bf16 (autocast), or auto: bf16 where the hardware multiplies it (CUDA cards since 2020, CPUs with AVX-512 BF16); a run's config says which."""
    deterministic: bool = False
    """On a GPU too, only algorithms of torch that give the same bits each time; slower, and refused where there is none."""
    compile: bool = False
    """Compile the generator's training pass with torch.compile: some minutes before the first step, in the hope of faster ones."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    workers: int | None = Field(None, ge=0)
    """Loader processes; left out: 0 up to 2 cores, otherwise a core each, 8 at most."""

    skip_bad_steps: int = Field(0, ge=0)
    """Steps of the whole run that may be left out because a loss or a gradient is no number; beyond them the run stops."""

    log_every: int = Field(10, ge=1)
    """Steps between logged losses."""
    eval_every: int | None = Field(None, ge=1)
    """Steps between validations; left out: ten in a run."""
    save_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; left out: at each validation."""

    @field_validator("adv", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads the word off as false

    @field_validator("categories", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        listed = isinstance(value, list) and all(isinstance(name, str) for name in value)  # YAML has lists
        return ", ".join(value) if listed else value

    @property
    def category_names(self) -> tuple[str, ...]:
        """The entries of `categories`."""
        return tuple(filter(None, (name.strip() for name in (self.categories or "").split(","))))

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_adversary()
        if self.min_area is not None and self.max_area is not None and self.min_area > self.max_area:
            raise ValueError(f"min_area={self.min_area:g} is above max_area={self.max_area:g}; swap them")
        if self.categories is not None and not self.category_names:
            raise ValueError(f"categories={self.categories!r} names none; write names with commas between them")
        if self.memory != "none" and not self.strategy().rounds:
            raise ValueError(
                f"memory={self.memory} has nothing to remember: clicks={self.clicks} makes one turn in training; use "
                "--clicks mixed, or --set clicks.rounds=3"
            )
        return self

    @property
    def gradient_penalty(self) -> float:
        """The weight that `d_gp` means."""
        return (10.0 if self.adv == "wgan-gp" else 0.0) if self.d_gp is None else self.d_gp

    @property
    def spectral(self) -> bool:
        """What `d_spectral` means."""
        return not self.gradient_penalty if self.d_spectral is None else self.d_spectral

    def _check_adversary(self) -> None:
        if self.adv == "off":
            return
        smallest = SMALLEST_VIEW_PX[self.d_arch]
        if self.size < smallest:
            raise ValueError(
                f"size={self.size} is below the {smallest} pixels that the discriminator looks at; use --size "
                f"{smallest + -smallest % 32} or --adv off"
            )
        if self.gradient_penalty and self.spectral:
            penalty = "adv=wgan-gp's d_gp=10" if self.d_gp is None else f"d_gp={self.d_gp:g}"
            raise ValueError(
                f"{penalty} and d_spectral=true both fix the discriminator's slope; use --d-gp 0 or --no-d-spectral"
            )
        if self.gradient_penalty and self.d_r1:
            raise ValueError(
                f"d_gp={self.gradient_penalty:g} wants a slope of 1 and d_r1={self.d_r1:g} one of 0; leave one out"
            )
        if self.adv == "wgan-gp" and not self.gradient_penalty and not self.spectral:
            raise ValueError(
                "adv=wgan-gp without gradient penalty or spectral norm has no bound; use --d-gp 10 or --d-spectral"
            )
        if self.adv_balance == "grad" and not self.adv_weight:
            raise ValueError(
                "adv_balance=grad with adv_weight=0 balances nothing; use --adv-weight 0.01, or --adv-balance fixed"
            )

    def warnings(self, steps: int) -> list[str]:
        """Options that are set and do nothing in a run of so many steps, a sentence each."""
        sentences = []
        if self.ema and steps < EMA_SPANS / (1 - self.ema):
            sentences.append(
                f"--ema {self.ema:g}: a mean over some {1 / (1 - self.ema):.0f} steps still holds the first weights after "
                f"{steps}; use a lower decay or more steps."
            )
        given = self._given_of_adversary()
        if self.adv == "off":
            return sentences + ([f"{_flags(given)}: no effect with --adv off."] if given else [])
        if "d_r1_every" in given and not self.d_r1:
            sentences.append("--d-r1-every: no effect without --d-r1.")
        if self.d_r1 and self.adv_warmup + self.d_r1_every >= steps:
            sentences.append(
                f"--d-r1-every {self.d_r1_every}: in {steps} steps the penalty acts once at most, and then "
                f"{self.d_r1_every} times as strongly."
            )
        if not (self.spectral or self.gradient_penalty or self.d_r1):
            sentences.append("--no-d-spectral: nothing bounds the discriminator's slope; --d-r1 1 or --d-gp 10 would.")
        idle = [name for name in ("adv_ramp", "d_fm") if name in given]
        if not self.adv_weight and idle:
            sentences.append(f"{_flags(idle)}: no effect with --adv-weight 0, the generator never hears of it.")
        if self.d_mask == "image-mul" and "image" not in self.d_input:
            sentences.append(
                f"--d-input {self.d_input}: --d-mask image-mul shows the photo all the same, where the mask is."
            )
        if self.adv_warmup >= steps:
            sentences.append(
                f"--adv-warmup {self.adv_warmup}: the run ends after {steps} steps, before the adversary starts."
            )
        elif self.adv_weight and self.adv_warmup + self.adv_ramp > steps:
            sentences.append(
                f"--adv-ramp {self.adv_ramp}: the run ends after {steps} steps, before the weight is at its full value."
            )
        return sentences

    def _given_of_adversary(self) -> list[str]:
        """The adversary's options that somebody chose. A config that names them all was written by a run: there it counts
        only what is not the default."""
        fields = type(self).model_fields
        names = [name for name in fields if name.startswith(("adv_", "d_"))]
        if set(names) <= self.model_fields_set:
            return [name for name in names if getattr(self, name) != fields[name].default]
        return [name for name in names if name in self.model_fields_set]


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


class EvalConfig(_Config):
    """One evaluation of one run."""

    strategy_field: ClassVar[str] = "robot"

    data: str | None = None
    """Evaluation data, as for training; left out: BSDS500 where it is found, otherwise the bundled sample's val photos."""
    images: str | None = None
    """Folder of the photos, if they do not lie beside the LVIS or COCO JSON."""
    split: str | None = None
    """Part of the data set: train, val or test; the data set's usual one if left out."""
    ignore_value: int | None = Field(None, ge=1, le=255)
    """Mask value that means "do not count" in a folder of masks."""
    protocol: ProtocolName = "both"
    """single (the seed's: two random clicks, 256 px), interactive (the field's: up to 20 clicks), or both."""
    limit: int | None = Field(None, ge=1)
    """Evaluate only the first so many images."""
    max_clicks: int = Field(20, ge=1, le=100)
    """Clicks an object in the interactive protocol."""
    robot: StrategyName = "center"
    """User of the interactive protocol; its parameters with --set robot.NAME=VALUE. Any but center is played beside it."""
    repeats: int = Field(1, ge=1, le=1000)
    """Times that a robot with chance plays every object, each time with other luck."""
    weights: WeightsName = "last"
    """The generator as training left it, as it was when val/iou was highest, or the running mean of its weights (of runs with --ema)."""
    zoom: bool = False
    """Show the network everything at the size it was trained at: the photo, then the part round the last mask, as RITM does."""
    batch_size: int = Field(32, ge=1, le=1024)
    """Games of the interactive protocol played together; 1: one after the other."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the random clicks and of the bootstrap."""
    precision: PrecisionName = "auto"
    """fp32, bf16 (autocast), or auto: bf16 where the hardware multiplies it (CUDA cards since 2020, CPUs with AVX-512 BF16)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
