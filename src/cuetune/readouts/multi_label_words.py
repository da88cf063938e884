"""Label words for several labels: each label is held against the words that say that there is none."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.data.templating import InputRow
from cuetune.readouts.base import TextReadout
from cuetune.readouts.words import LabelWords, MaskedWords

NONE = (" none", " nothing", " neither", " empty")  # the first that no label is called


class MultiLabelWords(TextReadout):
    """An independent yes or no for every label, from its words w_c and the words of no label w_0, in one pass:

        Pr(c | row) = Pr(w_c | row) / (Pr(w_c | row) + Pr(w_0 | row)) = sigmoid(log Pr(w_c | row) - log Pr(w_0 | row)).

    So w_0 is a threshold that the prompt learns for each row (the threshold class of Zhou et al., AAAI 2021). It costs
    what label words cost for one label more, and nothing of it is normalised over the labels.
    """

    def __init__(self, backbone: TextBackbone, task: Task) -> None:
        super().__init__(task)
        none = next(word for word in NONE if word not in task.label_words)
        label = next(name for name in ("", *NONE) if name not in task.labels)
        compared = replace(
            task,
            kind="",
            labels=(*task.labels, label),
            label_words=(*task.label_words, none),
            label_columns=(),
            thresholds=(),
        )
        self.words = (LabelWords if backbone.writes else MaskedWords)(backbone, compared)

    @property
    def n_answer(self) -> int:
        return self.words.n_answer

    def rows(self, rendered: Sequence[InputRow], shared: Sequence[int]) -> TokenBatch:
        """Pack rows as label words do; whatever is right for a row, all words are scored."""
        return self.words.rows([replace(row, label=None) for row in rendered], shared)

    def scores(self, backbone: TextBackbone, hidden: Tensor) -> Tensor:
        """(B, C) log-odds of each label against none."""
        scores = self.words.scores(backbone, hidden)
        return scores[:, :-1] - scores[:, -1:]
