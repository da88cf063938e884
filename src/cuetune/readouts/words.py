"""Label words: every label is scored by the probability of its words, behind the row or at its mask."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.errors import CuetuneError
from cuetune.readouts.answer_tree import AnswerTree
from cuetune.readouts.base import LabelReadout, in_chunks
from cuetune.tasks.rendering import Rendered, answer_ids, encode
from cuetune.tasks.task import Task


class LabelWords(LabelReadout):
    """Scores every label by the probability of its words, log Pr(word_1, …, word_m | row), of any number of tokens.

    A label of one token costs one row of the vocabulary at one position. Longer ones are put behind the row once, as
    a tree, and normalised over the whole vocabulary behind their first token. Where one label's tokens begin another's
    ("not" and "not sure"), every label is closed, so that both are complete answers: by a line end in a causal model,
    by the end token in a decoder.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        super().__init__(task)
        words = self._encoded(backbone, task)
        self._refuse_unusable(task, words)
        if any(a is not b and b[: len(a)] == a for a in words for b in words):
            line_end = encode(backbone.tokenizer, ["\n"], control_tokens=True)[0]
            close = line_end if backbone.causal else backbone.ends[:1]
            words = [word + close for word in words]
        self.words = words
        self._apart = backbone.answers_apart
        self.tree = AnswerTree.of(words)
        self._tokens = torch.tensor(sorted({token for path in self.tree.paths for _, token in path}))
        place = {int(token): number for number, token in enumerate(self._tokens)}
        self._steps = [[(node, place[token]) for node, token in path] for path in self.tree.paths]

    def _encoded(self, backbone: TextBackbone, task: Task) -> list[list[int]]:
        """The tokens of each label's words as they stand behind the row."""
        return answer_ids(backbone.tokenizer, task, task.label_words, control_tokens=True)

    @staticmethod
    def _refuse_unusable(task: Task, words: list[list[int]]) -> None:
        seen: dict[tuple[int, ...], str] = {}
        for label, word, ids in zip(task.labels, task.label_words, words, strict=True):
            if not ids:
                raise CuetuneError(f"label {label!r}: its word {word!r} has no token; give another with --label-words.")
            if tuple(ids) in seen:
                raise CuetuneError(
                    f"labels {seen[tuple(ids)]!r} and {label!r} have the same tokens for this model; "
                    "give different --label-words."
                )
            seen[tuple(ids)] = label

    @property
    def n_answer(self) -> int:
        return 0 if self._apart else int(self.tree.depth.max()) if len(self.tree.depth) else 0

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack rendered rows with the answer tree behind each; read the row's end and every node of the tree."""
        tree = self.tree.ids.tolist()
        ids = [token for row in rendered for token in row.ids + tree]
        lengths = [len(row.ids) + len(tree) for row in rendered]
        ends = torch.tensor(lengths).cumsum(0) - len(tree) - 1
        read = (ends[:, None] + torch.arange(len(tree) + 1)).flatten()
        branches = (self.tree.sees, self.tree.depth) if tree else (None, None)
        return Rows(torch.tensor(ids), lengths, read, torch.tensor(shared, dtype=torch.long), *branches)

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Log-scores (B, C) of the labels from the hidden states (B · (1 + R), d) that `rows` asked for.

        Up to the same constant per row these are log-probabilities: softmax over C gives Pr(label | one of the labels).
        """
        tokens = self._tokens.to(hidden.device)
        n_nodes = len(self.tree.ids)
        states = hidden.view(-1, 1 + n_nodes, hidden.shape[-1])
        logits = backbone.logits(states, tokens)  # (B, 1 + R, W)
        if n_nodes:
            logits = torch.cat([logits[:, :1], logits[:, 1:] - normaliser(backbone, states[:, 1:])[..., None]], dim=1)
        return torch.stack([sum_of(logits[:, node, token] for node, token in path) for path in self._steps], dim=1)


class MaskedWords(LabelWords):
    """Label words in an encoder: scored at the mask, by the model's own masked-language head. One token each.

    The mask stands where the template writes it ("It was [MASK]. {text}"), or else at the end of the row; the
    tokenizer's end token follows. What rows share is part of every row, because an encoder reads it with the row.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        tokenizer = backbone.tokenizer
        if not backbone.has_words or tokenizer.mask_token_id is None:
            missing = "masked-language head" if not backbone.has_words else "mask token"
            raise CuetuneError(f"{backbone.identity.name} has no {missing} to score words with; use --readout head.")
        super().__init__(backbone, task)
        self.mask = int(tokenizer.mask_token_id)
        for word, ids in zip(task.label_words, self.words, strict=True):
            if len(ids) > 1 or ids[0] == tokenizer.unk_token_id:
                found = f"{len(ids)} tokens" if len(ids) > 1 else "unknown"
                raise CuetuneError(
                    f"label word {word!r} is {found} for {backbone.identity.name}, and a mask holds one known token; "
                    "give another word with --label-words, or use --readout head."
                )
        masks = encode(tokenizer, [task.template], control_tokens=True)[0].count(self.mask)
        if masks > 1:
            raise CuetuneError(f"template {task.template!r} has {masks} masks; leave one, where the label stands.")
        self._behind = ([] if masks else [self.mask]) + surroundings(tokenizer)[1]

    def _encoded(self, backbone: TextBackbone, task: Task) -> list[list[int]]:
        """As they stand at a mask: a word of its own, whether or not it is written with a space before it."""
        words, tokenizer = task.label_words, backbone.tokenizer
        pairs = [encode(tokenizer, [word], control_tokens=True, begins=word[:1] != " ") for word in words]
        return [ids for (ids,) in pairs]

    @property
    def n_answer(self) -> int:
        return len(self._behind)

    def rows(self, rendered: Sequence[Rendered], shared: Sequence[int]) -> Rows:
        """Pack whole texts, beginning and end tokens included; read the mask of each."""
        whole = Rows.of([[*shared, *row.ids, *self._behind] for row in rendered])
        return replace(whole, read=torch.eq(whole.ids, self.mask).nonzero().squeeze(1))


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
