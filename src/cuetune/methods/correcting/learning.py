"""The components of a fix: what the rows that it acts on are given so that their answers come out right."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.task import FIELD, Task
from cuetune.data.templating import encode
from cuetune.errors import CuetuneError
from cuetune.methods.correcting.gating import Gate
from cuetune.prompts.base import Prompt
from cuetune.prompts.corrected import CorrectedPrompt, Fix, base_for


class Learning(Prompt):
    """A corrected prompt of which only the last fix's components are trained.

    Weights never change, so each row's are computed once. They are kept by the row's tokens, in memory only.
    """

    reads_rows = True

    def __init__(self, whole: CorrectedPrompt) -> None:
        super().__init__()
        self.whole = whole.requires_grad_(False)
        whole.each[-1].requires_grad_(True)
        self._known: dict[tuple[int, ...], list[Tensor]] = {}

    def injection(self) -> Injection:
        return self.whole.injection()

    def for_rows(self, backbone: TextBackbone, rows: TokenBatch) -> Injection:
        named = [tuple(ids.tolist()) for ids in rows.ids.split(list(rows.lengths))]
        if any(name not in self._known for name in named):
            found = self.whole.weights(backbone, rows)
            self._known |= {name: [each[number] for each in found] for number, name in enumerate(named)}
        weights = [torch.stack(each) for each in zip(*(self._known[name] for name in named), strict=True)]
        return self.whole.with_weights(base_for(backbone, self.whole.base, rows), weights)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        return [(list(self.whole.each[-1].parameters()), 1.0)]

    def size(self, embedding_size: float) -> float:
        return self.whole.size(embedding_size)

    def spec(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        raise CuetuneError("a fix that is being learned is not saved; the corrected prompt is.")


def first_components(backbone: TextBackbone, task: Task, gate: Gate, length: int) -> Fix:
    """Components of K = `length` positions that begin as what the model makes of the right answer's words."""
    words = dict(zip(task.labels, task.label_words, strict=True))
    pairs = [_read(backbone, FIELD.split(task.template)[-1] + words[label], length) for label in gate.labels]
    keys, values = (torch.stack(part, dim=1).float().cpu() for part in zip(*pairs, strict=True))
    return Fix(gate.space, gate.keys, gate.reach, keys, values)


def _read(backbone: TextBackbone, text: str, length: int) -> tuple[Tensor, Tensor]:
    """(L, h_kv, K, d_h) keys and values of the text's last tokens, repeated where there are too few."""
    ids = encode(backbone.tokenizer, [text], control_tokens=True, begins=True)[0]
    repeated = ids * (1 + length // len(ids))  # one more than needed: a model's first state is like no other
    embedded = backbone.embed(torch.tensor(repeated, device=backbone.device))
    keys, values = (part[:, :, -length:] for part in backbone.keys_values(embedded))
    return keys, values
