"""Generated text: answers that are written freely, trained token by token."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.readouts.base import in_chunks
from cuetune.tasks.rendering import Rendered, encode
from cuetune.tasks.task import Task


class GeneratedText:
    """Answers that are written: trained on the target's tokens, each scored over the whole vocabulary.

    stop: what ends an answer; the target is followed by the tokenizer's end-of-sequence token.
    """

    def __init__(self, backbone: TextBackbone, task: Task, max_answer: int = 256) -> None:
        self.tokenizer = backbone.tokenizer
        self.task = task
        self.max_answer = max_answer
        self._end: int | None = backbone.tokenizer.eos_token_id

    @property
    def n_answer(self) -> int:
        return self.max_answer

    def for_training(self) -> "GeneratedText":
        """What rows are learned from."""
        return self

    def answers(self, rendered: Sequence[Rendered]) -> list[list[int]]:
        """Target tokens of each row, a space in front as words stand in running text, the end token behind."""
        texts = encode(self.tokenizer, [" " + str(row.label).strip() for row in rendered], control_tokens=False)
        end = [] if self._end is None else [self._end]
        return [text[: self.max_answer - 1] + end for text in texts]

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rows with their targets; read the positions that predict a target token."""
        answers = self.answers(rendered)
        whole = [row.ids + answer[:-1] for row, answer in zip(rendered, answers, strict=True)]
        read: list[int] = []
        start = 0
        for row, tokens in zip(rendered, whole, strict=True):
            read += range(start + len(row.ids) - 1, start + len(tokens))
            start += len(tokens)
        ids = torch.tensor([token for tokens in whole for token in tokens])
        return Rows(ids, [len(tokens) for tokens in whole], torch.tensor(read), torch.tensor(shared, dtype=torch.long))

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[Rendered]) -> Tensor:
        """Mean cross-entropy per target token for each row, (B,)."""
        answers = self.answers(rendered)
        targets = torch.tensor([token for answer in answers for token in answer], device=hidden.device)
        losses = in_chunks(
            lambda part, wanted: F.cross_entropy(backbone.logits(part), wanted, reduction="none"), hidden, targets
        )
        sizes = [len(answer) for answer in answers]
        return torch.stack([part.mean() for part in losses.split(sizes)])
