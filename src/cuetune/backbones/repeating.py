"""Texts that go round in circles: Whisper may say one phrase without end (Radford et al. 2022, section 4.5)."""

import torch
from torch import Tensor

TIMES, SPAN = 3, 12  # a phrase is going round when it was said so often, and makes up so many tokens, without a break
LONGEST = 32  # tokens of a phrase


def going_round(written: Tensor) -> Tensor:
    """(B,) bool: whether rows (B, T) of tokens end in one phrase over and over."""
    found = torch.zeros(len(written), dtype=torch.bool, device=written.device)
    for length in range(1, min(LONGEST, written.shape[1] // TIMES) + 1):
        span = length * _times(length)
        if span <= written.shape[1]:
            said = written[:, -span:].unflatten(1, (-1, length))
            found |= (said == said[:, :1]).flatten(1).all(dim=1)
    return found


def said_once(tokens: list[int]) -> list[int]:
    """Tokens without the repetitions of a phrase that they end in over and over; else as they are."""
    for length in range(1, min(LONGEST, len(tokens) // TIMES) + 1):
        phrase, start = tokens[-length:], len(tokens) - length
        while start >= length and tokens[start - length : start] == phrase:
            start -= length
        if (len(tokens) - start) // length >= _times(length):
            return tokens[: start + length]
    return tokens


def _times(length: int) -> int:
    return max(TIMES, -(-SPAN // length))
