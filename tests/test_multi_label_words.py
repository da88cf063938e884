"""Label words for several labels, held against the unwrapped model's own logits."""

import torch
import torch.nn.functional as F

import tiny
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import InputRow, Renderer
from cuetune.readouts import MultiLabelWords, readout_for

TASK = Task(
    template="Text: {text}\nLabels:", labels=("g", "b"), label_words=("good", "bad"), kind="multi-label",
    label_column="labels",
)  # fmt: skip


def packed(task=TASK):
    backbone = tiny.backbone()
    readout = readout_for(backbone, task, "words")
    renderer = Renderer(backbone.tokenizer, task)
    examples = [
        Example("", {"text": "x"}, ("g",)),
        Example("", {"text": "a longer one"}, ()),
        Example("", {"text": "y"}, None),
    ]
    rows: list[InputRow] = list(renderer.render(examples))
    return backbone, readout, renderer, rows


def test_each_label_is_held_against_none_by_the_models_own_probabilities():
    backbone, readout, renderer, rows = packed()
    assert isinstance(readout, MultiLabelWords)
    with torch.no_grad():
        scores = readout.scores(backbone, backbone.hidden(readout.rows(rows, renderer.shared)))
        for row, found in zip(rows, scores, strict=True):
            ids = torch.tensor([*renderer.shared, *row.ids])
            bare = backbone.model
            last = bare(input_ids=ids[None], use_cache=False).logits[0, -1].log_softmax(-1)
            # no other word begins with the first token of these, so a walk ends there
            first = [backbone.tokenizer(word)["input_ids"][0] for word in ("good", "bad", " none")]
            good, bad, none = last[first].exp()
            torch.testing.assert_close(found.sigmoid(), torch.stack([good / (good + none), bad / (bad + none)]))


def test_the_loss_is_torchs_binary_cross_entropy_of_those_odds():
    backbone, readout, renderer, rows = packed()
    with torch.no_grad():
        hidden = backbone.hidden(readout.rows(rows[:2], renderer.shared))
        expected = F.binary_cross_entropy_with_logits(
            readout.scores(backbone, hidden), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), reduction="none"
        )
        torch.testing.assert_close(readout.row_losses(backbone, hidden, rows[:2]), expected.mean(1))


def test_a_label_that_is_called_none_gets_another_word_to_be_held_against():
    task = Task(labels=("none", "b"), label_words=(" none", " bad"), kind="multi-label")
    backbone, readout, renderer, rows = packed(task)
    assert readout.words.labels[:2] == ("none", "b")
    assert len(set(map(tuple, readout.words.words))) == 3
