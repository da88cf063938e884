"""The answer for one row, whatever its kind."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """The answer for one row: a label, or a tuple of several, with the probability of every label; written text, or a
    number (`probabilities` empty).

    probability: of the label, where it alone was computed (`probabilities` empty too).
    cut: tokens that were taken out of the row's text, of which `limit` were left. unfinished: tokens of a written
    answer that did not end within the longest length, else 0.
    """

    where: str
    label: Any
    probabilities: tuple[float, ...] = ()
    cut: int = 0
    limit: int = 0
    unfinished: int = 0
    probability: float = 0.0

    @property
    def confidence(self) -> float:
        """The probability of the answer."""
        return max(self.probabilities, default=self.probability)

    def alone(self) -> "Prediction":
        """The same without the other labels' probabilities."""
        return replace(self, probabilities=(), probability=self.confidence)
