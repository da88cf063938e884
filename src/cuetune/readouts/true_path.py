"""Label words in training: of the tree of all labels only the way to the true one is put behind each row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.templating import InputRow

if TYPE_CHECKING:
    from cuetune.readouts.words import LabelWords


class TruePath:
    """The walk of `LabelWords` to the true label: the same probability, for the tokens of that label alone.

    -log Pr(label | row) is a sum over the nodes that the label passes, each term the cross-entropy among the tokens
    that follow there. So a step costs the same for two labels and for hundreds.
    """

    def __init__(self, words: "LabelWords") -> None:
        self.words = words
        tokens = words.tree.ids.tolist()
        self._passed = [[node for node, _ in path] for path in words.steps]
        self._wanted = [[token for _, token in path] for path in words.steps]
        self._ids = [[tokens[node - 1] for node in path[1:]] for path in self._passed]

    @property
    def n_answer(self) -> int:
        """Positions that an answer takes behind a row."""
        return self.words.n_answer

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack rendered rows with their label's tokens behind each; read the row's end and every one of those."""
        answers = [self._ids[label] for label in self._labels(rendered)]
        whole = [row.ids + answer for row, answer in zip(rendered, answers, strict=True)]
        lengths, behind = [len(row) for row in whole], [len(answer) for answer in answers]
        ends = torch.tensor(lengths).cumsum(0).tolist()
        read = [place for end, n in zip(ends, behind, strict=True) for place in range(end - n - 1, end)]
        ids = torch.tensor([token for row in whole for token in row])
        return TokenBatch(ids, lengths, torch.tensor(read), torch.tensor(shared, dtype=torch.long), behind=behind)

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[InputRow]) -> Tensor:
        """-log Pr(label | row) of each row, (B,), from the hidden states (K, d) that `rows` asked for."""
        labels, device = self._labels(rendered), hidden.device
        nodes = torch.tensor([node for label in labels for node in self._passed[label]])
        wanted = torch.tensor([token for label in labels for token in self._wanted[label]], device=device)
        logits = backbone.logits(hidden, self.words.tokens.to(device))  # (K, W)
        logits = logits.masked_fill(~self.words.follows[nodes].to(device), -torch.inf)
        losses = F.cross_entropy(logits, wanted, reduction="none")
        return torch.stack([part.sum() for part in losses.split([len(self._passed[label]) for label in labels])])

    def _labels(self, rendered: Sequence[InputRow]) -> list[int]:
        return [self.words.index[str(row.label)] for row in rendered]
