"""Label words: every label is scored by the probability of its words, behind the row or at its mask."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.data.task import Task
from cuetune.data.templating import InputRow, answer_ids, encode
from cuetune.errors import CuetuneError
from cuetune.readouts.answer_tree import AnswerTree
from cuetune.readouts.base import TextReadout
from cuetune.readouts.true_path import TruePath


class UnscorableError(CuetuneError):
    """The model cannot score a task's words, so that a head has to be trained. reason: why, without what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


class LabelWords(TextReadout):
    """Scores every label by a walk down the tree of the label words' tokens, of which there may be any number.

    Pr(label | row) = prod_i Pr(token_i | row, tokens before it), each among the tokens that some label goes on with
    there: a distribution over the labels, whatever else the model might write. Where only one token can follow it costs
    nothing, so a label costs what it takes to tell it from the others; a set of labels whose first tokens all differ
    costs some rows of the vocabulary at one position. The tree is put behind each row once, in one pass. A label whose
    tokens begin another's ("not" and "not sure") is closed, so that it is a complete answer: by a line end in a causal
    model, by the end token in a decoder.
    """

    whole_tree = False  # whether the tree goes down to the last token but one of every label

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        super().__init__(task)
        words = self._encoded(backbone, task)
        self._refuse_unusable(task, words)
        line_end = encode(backbone.tokenizer, ["\n"], control_tokens=True)[0]
        self.words = self._closed(words, line_end if backbone.causal else backbone.ends[:1])
        self._refuse_unusable(task, self.words)
        self.tree = AnswerTree.of(self.words, whole=self.whole_tree)
        self.tokens = torch.tensor(sorted({token for path in self.tree.paths for _, token in path}))  # (W,)
        place = {int(token): number for number, token in enumerate(self.tokens)}
        # For each label the nodes that it passes, and where in `tokens` the token is that it goes on with.
        self.steps = [[(node, place[token]) for node, token in path] for path in self.tree.paths]
        self.follows = torch.zeros(1 + len(self.tree.ids), len(self.tokens), dtype=torch.bool)  # (1 + R, W)
        for path in self.steps:
            self.follows[tuple(zip(*path, strict=True))] = True
        self._at = self._places()
        self._apart = backbone.answers_apart

    @staticmethod
    def _closed(words: list[list[int]], close: list[int]) -> list[list[int]]:
        """The words, those closed that begin others."""
        while beginnings := {tuple(word[:end]) for word in words for end in range(len(word))} & set(map(tuple, words)):
            words = [word + close if tuple(word) in beginnings else word for word in words]
        return words

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
        return 0 if self._apart else self.tree.deepest

    @property
    def n_behind(self) -> int:
        return len(self.tree.ids)

    def for_training(self) -> "LabelWords | TruePath":
        """What rows are learned from: the walk to the true label alone, where that is less than the whole tree."""
        return TruePath(self) if len(self.tree.ids) else self

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack rendered rows with the answer tree behind each; read the row's end and every node of the tree."""
        tree = self.tree.ids.tolist()
        ids = [token for row in rendered for token in row.ids + tree]
        lengths = [len(row.ids) + len(tree) for row in rendered]
        ends = torch.tensor(lengths).cumsum(0) - len(tree) - 1
        read = (ends[:, None] + torch.arange(len(tree) + 1)).flatten()
        packed = TokenBatch(torch.tensor(ids), lengths, read, torch.tensor(shared, dtype=torch.long))
        if not tree:
            return packed
        return replace(packed, tail=self.tree.sees, depth=self.tree.depth, behind=[len(tree)] * len(rendered))

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """Log-scores (B, C) of the labels from the hidden states (B · (1 + R), d) that `rows` asked for.

        Up to the same constant per row these are log-probabilities: softmax over C gives Pr(label | row).
        """
        states = hidden.view(-1, 1 + len(self.tree.ids), hidden.shape[-1])
        logits = backbone.logits(states, self.tokens.to(hidden.device))  # (B, 1 + R, W)
        below = logits[:, 1:].masked_fill(~self.follows[1:].to(hidden.device), -torch.inf).log_softmax(dim=-1)
        along = torch.cat([logits[:, :1], below], dim=1).flatten(1)
        return F.pad(along, (0, 1))[:, self._at.to(hidden.device)].sum(dim=-1)

    def _places(self) -> Tensor:
        """(C, D) where the scores along each label's path stand among (1 + R) · W; behind its end a place for 0."""
        longest, n_tokens = max(map(len, self.steps)), len(self.tokens)
        paths = [[node * n_tokens + token for node, token in path] for path in self.steps]
        return torch.tensor([path + [self.follows.numel()] * (longest - len(path)) for path in paths])


class MaskedWords(LabelWords):
    """Label words in an encoder: scored at the mask, by the model's own masked-language head. One token each.

    The mask stands where the template writes it ("It was [MASK]. {text}"), or else at the end of the row; the
    tokenizer's end token follows. What rows share is part of every row, because an encoder reads it with the row.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        tokenizer = backbone.tokenizer
        if not backbone.has_words or tokenizer.mask_token_id is None:
            missing = "masked-language head" if not backbone.has_words else "mask token"
            raise UnscorableError(
                f"{backbone.identity.name} has no {missing} to score words with", "use --readout head."
            )
        super().__init__(backbone, task)
        self.mask = int(tokenizer.mask_token_id)
        for word, ids in zip(task.label_words, self.words, strict=True):
            if len(ids) > 1 or ids[0] == tokenizer.unk_token_id:
                found = f"{len(ids)} tokens" if len(ids) > 1 else "unknown"
                raise UnscorableError(
                    f"label word {word!r} is {found} for {backbone.identity.name}, and a mask holds one known token",
                    "give another word with --label-words, or use --readout head.",
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

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack whole texts, beginning and end tokens included; read the mask of each."""
        whole = TokenBatch.of([[*shared, *row.ids, *self._behind] for row in rendered])
        return replace(whole, read=torch.eq(whole.ids, self.mask).nonzero().squeeze(1))
