"""What an exported network says of itself: how it wants to be fed, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import cast, get_args

from mfpgan.types import ClickEncoding, EncodingName, InputError, MemoryName, quoted

INPUTS = {
    "image": "(batch, 3, height, width) float32 in [0, 1], RGB; the network normalises it",
    "clicks": "(batch, 2, height, width) float32 in [0, 1]; positive clicks, then negative ones",
    "previous": "(batch, 1, height, width) float32 in [0, 1], the last answer or a mask to begin with",
    "has_previous": "(batch,) float32, 0 or 1; with 0 previous and modulated are not looked at",
    "modulated": "(batch, 1, height, width) float32 in [0, 1], previous modulated round the newest click (MFP, CVPR 2024)",
}
"""Name -> shape and meaning; a network without memory has the first two, one with memory previous the first four."""
OUTPUT = "probability"
"""(batch, 1, height, width) float32 in [0, 1]."""
LICENCE = (
    "The program is under the MIT licence. The weights come under the terms of the data that they were trained on, which whoever "
    "passes them on has to look up; data for research only makes weights for research only."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """The file's metadata; all of them texts there."""

    name: str
    """What people call the network."""
    run_id: str
    step: int
    version: str
    """Of mfpgan, that exported it."""
    memory: MemoryName
    click_shape: EncodingName
    click_radius: float
    """In pixels."""
    size: int
    """Longer side in pixels of the photos that it was trained on, and best sees."""
    threshold: float
    """Above it a pixel belongs to the mask."""
    inputs: str
    licence: str = LICENCE

    @property
    def encoding(self) -> ClickEncoding:
        return ClickEncoding(self.click_shape, self.click_radius, self.memory)

    def to_metadata(self) -> dict[str, str]:
        return {f"mfpgan.{name}": str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, values: Mapping[str, str], origin: str) -> Facts:
        """Raises:
        InputError: something is missing, or not as written here.
        """
        found = {one.name: values.get(f"mfpgan.{one.name}") for one in fields(cls)}
        texts = {name: value for name, value in found.items() if value is not None}
        missing = sorted(found.keys() - texts.keys())
        if missing:
            raise InputError(
                f"{origin}: it is no model of mfpgan (its metadata lack mfpgan.{missing[0]}); make one with `mfpgan export`."
            )
        for name, known in (("memory", get_args(MemoryName)), ("click_shape", get_args(EncodingName))):
            if texts[name] not in known:
                raise InputError(
                    f"{origin}: mfpgan.{name} must be one of {', '.join(known)}, got {quoted(texts[name])}."
                )
        try:
            numbers = {
                "step": int(texts["step"]),
                "size": int(texts["size"]),
                "click_radius": float(texts["click_radius"]),
                "threshold": float(texts["threshold"]),
            }
        except ValueError as error:
            raise InputError(f"{origin}: its metadata are damaged ({error}); export it again.") from None
        if not (1 <= numbers["size"] <= 2**14 and 0 < numbers["click_radius"] <= 2**14):
            raise InputError(f"{origin}: its metadata are damaged (size or click_radius); export it again.")
        memory, shape = cast(MemoryName, texts["memory"]), cast(EncodingName, texts["click_shape"])
        return cls(
            name=texts["name"], run_id=texts["run_id"], step=int(numbers["step"]), version=texts["version"],
            memory=memory, click_shape=shape, click_radius=numbers["click_radius"], size=int(numbers["size"]),
            threshold=numbers["threshold"], inputs=texts["inputs"], licence=texts["licence"],
        )  # fmt: skip
