"""Label words as prompts of earlier versions were tuned for: normalised over the whole vocabulary."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.templating import InputRow
from cuetune.readouts.base import in_chunks
from cuetune.readouts.words import LabelWords


class VocabularyWords(LabelWords):
    """Scores every label by log Pr(word_1, …, word_m | row), each token behind the first among the whole vocabulary.

    So every label's whole tree stands behind every row, in training too. It answers for prompts that were saved with
    it (`Task.scoring`), exactly as it did. Labels of one token each get the same numbers from `LabelWords`.
    """

    whole_tree = True

    @staticmethod
    def _closed(words: list[list[int]], close: list[int]) -> list[list[int]]:
        """The words, all of them closed if one begins another."""
        beginnings = {tuple(word[:end]) for word in words for end in range(len(word))}
        return [word + close for word in words] if any(tuple(word) in beginnings for word in words) else words

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """As `LabelWords.rows`; a prompt that looks at rows was tuned to see the tree as a part of them."""
        return replace(super().rows(rendered, shared), behind=None)

    @property
    def n_behind(self) -> int:
        return 0

    def for_training(self) -> LabelWords:
        return self

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Log-scores (B, C) of the labels from the hidden states (B · (1 + R), d) that `rows` asked for."""
        n_nodes = len(self.tree.ids)
        states = hidden.view(-1, 1 + n_nodes, hidden.shape[-1])
        logits = backbone.logits(states, self.tokens.to(hidden.device))  # (B, 1 + R, W)
        if n_nodes:
            logits = torch.cat([logits[:, :1], logits[:, 1:] - normaliser(backbone, states[:, 1:])[..., None]], dim=1)
        return torch.stack([sum_of(logits[:, node, token] for node, token in path) for path in self.steps], dim=1)


def normaliser(backbone: TextBackbone, states: Tensor) -> Tensor:
    """log of the sum of exp(logits) over the whole vocabulary, (…, d) -> (…)."""
    flat = states.reshape(-1, states.shape[-1])
    return in_chunks(lambda part: backbone.logits(part).logsumexp(dim=-1), flat).view(states.shape[:-1])


def sum_of(parts: Any) -> Tensor:
    """Add tensors up, starting with the first and not with the number 0."""
    first, *rest = parts
    for part in rest:
        first = first + part
    return first
