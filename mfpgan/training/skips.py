"""Training images that could not be read: each is named once, and too many stop the run."""

from __future__ import annotations

from mfpgan.types import Batch, InputError

MOST_SHARE = 0.01
"""Of the images; beyond it the data set is broken and not just a file of it."""
MOST_NAMED = 5
"""Images named in one error; the others are counted."""


class Skips:
    """What could not be read so far.

    Args:
        images: number of distinct images of the training data.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._skipped: set[int] = set()

    @property
    def count(self) -> int:
        """Distinct images with something that could not be read."""
        return len(self._skipped)

    def look(self, batch: Batch) -> tuple[str, ...]:
        """A sentence about each image that had not been skipped before.

        Raises:
            InputError: they have become more than 1 % of the images.
        """
        sentences = []
        for image, sentence in batch.skipped:
            if image not in self._skipped:
                self._skipped.add(image)
                sentences.append(sentence)
        if sentences and self.count > MOST_SHARE * self._images:
            more = len(sentences) - MOST_NAMED
            raise InputError(
                f"{self.count} of {self._images} training images could not be read, more than 1 %; `mfpgan data check` lists "
                f"what is wrong. The last: {' '.join(sentences[:MOST_NAMED])}"
                + (f" And {more} more." if more > 0 else "")
            )
        return tuple(sentences)

    def state_dict(self) -> list[int]:
        """The images, rising."""
        return sorted(self._skipped)

    def load_state_dict(self, state: list[int]) -> None:
        """Go on from `state_dict()`. A run that stopped because of them counts anew: somebody has mended the files."""
        self._skipped = set(state) if len(state) <= MOST_SHARE * self._images else set()
