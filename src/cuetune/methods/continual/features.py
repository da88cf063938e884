"""What the frozen model alone says of examples: queries of prompt pools, and all that training-free methods see."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch, TokenBatch
from cuetune.backbones.seeing import SeeingBackbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.media.image_batches import decode
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.prediction.text import renderer_for
from cuetune.prompts.query import query_of
from cuetune.readouts import MediaHead, TextHead

AT_ONCE = 64  # rows in one pass
REMEMBERED = 256  # lists of examples whose features are kept in memory


class FrozenFeatures:
    """States of examples in the frozen model, where a head reads them, (N, D) float32 on the CPU.

    head_layer, pooling: as of `Settings`: which state stands for a row.
    What was asked for is remembered list by list, so that the same question always has the same bits for an answer.
    """

    def __init__(
        self, backbone: SeeingBackbone | TextBackbone, head_layer: int | None = None, pooling: str | None = None
    ) -> None:
        self.backbone, self.head_layer, self.pooling = backbone, head_layer, pooling
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def of(self, examples: Sequence[Example], task: Task) -> Tensor:
        """(N, D); `task` says how the rows are read."""
        key = _key(examples, task)
        if key is None:
            return self._computed(examples, task)
        if key not in self._known:
            self._known[key] = self._computed(examples, task)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    @torch.no_grad()
    def _computed(self, examples: Sequence[Example], task: Task) -> Tensor:
        return torch.cat([query_of(self.backbone, rows) for rows in self.batches(examples, task)]).cpu()

    def batches(self, examples: Sequence[Example], task: Task) -> Iterator[TokenBatch | ImageBatch]:
        """The examples in order as they go through a backbone, some at a time, one state to be read of each."""
        if isinstance(self.backbone, SeeingBackbone):
            head = MediaHead(self.backbone, task, self.pooling, self.head_layer)
            for _, pixels, _ in decode(examples, task, self.backbone.preprocessing):
                yield head.rows(ImageBatch(pixels, self.backbone.n_states))
        else:
            readout = TextHead(self.backbone, task, self.pooling)
            renderer = renderer_for(self.backbone, task, readout.n_answer)
            rows = list(renderer.render(examples))
            for first in range(0, len(rows), AT_ONCE):
                yield readout.rows(rows[first : first + AT_ONCE], renderer.shared)


def _key(examples: Sequence[Example], task: Task) -> str | None:
    """What tells this list of examples from others; None where they hold images that have no path."""
    fields = [[example.fields[name] for name in task.fields] for example in examples]
    if not all(isinstance(value, str | Path) for row in fields for value in row):
        return None
    return sha256(repr((task.template, task.max_tokens, fields)).encode()).hexdigest()
