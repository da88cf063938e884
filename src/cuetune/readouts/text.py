"""Generated text: answers that are written freely, trained token by token."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.end_tokens import turn_end
from cuetune.backbones.generation import MAX_TOKENS
from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.data.templating import InputRow, Renderer, answer_ids
from cuetune.readouts.base import in_chunks


class GeneratedText:
    """Answers that are written: trained on the target's tokens, each scored over the whole vocabulary.

    ends: the tokens that end an answer, those of the model and what closes its turn in a chat. The target is followed
    by the first; the probability of the end is that of all of them together.
    max_answer: tokens of the longest answer, its end included; `fit` sets it to what the data needs. What is longer is
    cut, and has no end.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        self.tokenizer = backbone.tokenizer
        self.task = task
        self.max_answer = task.max_answer or 256
        self._backbone = backbone
        self.ends = backbone.ends + ([] if task.chat is None else turn_end(backbone.tokenizer, task.chat.end))

    @property
    def n_answer(self) -> int:
        """Positions that an answer takes behind a row."""
        return 0 if self._backbone.answers_apart else self.max_answer

    def fit(self, texts: Sequence[str] = (), before: int = 0, limit: int | None = None) -> int:
        """Make room for the longest of these answers, or for `limit` tokens, as far as the model's positions go.

        Short answers get some room all the same, so that one that is too long is seen to be. before: positions of the
        prompt. Returns how many of the texts are cut.
        """
        lengths = self.lengths(texts)
        wanted = limit or max([MAX_TOKENS, self.task.max_answer or 0, *lengths])
        fixed = Renderer(self.tokenizer, self.task).n_fixed
        self.max_answer = min(wanted, self._backbone.answer_room(before + fixed))
        return sum(length > self.max_answer for length in lengths)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each of these answers, its end included."""
        return [len(ids) + len(self.ends[:1]) for ids in self._encoded(texts)]

    def for_training(self) -> "GeneratedText":
        """What rows are learned from."""
        return self

    def answers(self, rendered: Sequence[InputRow]) -> list[list[int]]:
        """Target tokens of each row, a space in front as words stand in running text, an end token behind."""
        texts = self._encoded([str(row.label) for row in rendered])
        return [(text + self.ends[:1])[: self.max_answer] for text in texts]

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        said = [self.task.answer(text) for text in texts]
        return answer_ids(self.tokenizer, self.task, said, control_tokens=False)

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack rows with their targets; read the positions that predict a target token."""
        answers = self.answers(rendered)
        whole = [row.ids + answer[:-1] for row, answer in zip(rendered, answers, strict=True)]
        read: list[int] = []
        start = 0
        for row, tokens in zip(rendered, whole, strict=True):
            read += range(start + len(row.ids) - 1, start + len(tokens))
            start += len(tokens)
        ids = torch.tensor([token for tokens in whole for token in tokens])
        return TokenBatch(
            ids, [len(tokens) for tokens in whole], torch.tensor(read), torch.tensor(shared, dtype=torch.long)
        )

    def row_losses(self, backbone: TextBackbone, hidden: Tensor, rendered: Sequence[InputRow]) -> Tensor:
        """Mean cross-entropy per target token for each row, (B,)."""
        answers = self.answers(rendered)
        targets = torch.tensor([token for answer in answers for token in answer], device=hidden.device)
        ends = torch.tensor(self.ends, device=hidden.device)

        def losses(part: Tensor, wanted: Tensor) -> Tensor:
            logits = backbone.logits(part)
            each = F.cross_entropy(logits, wanted, reduction="none")
            if len(ends) < 2:
                return each
            ending = logits.logsumexp(-1) - logits[:, ends].logsumexp(-1)
            return torch.where(wanted == ends[0], ending, each)

        sizes = [len(answer) for answer in answers]
        return torch.stack([part.mean() for part in in_chunks(losses, hidden, targets).split(sizes)])
