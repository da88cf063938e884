"""The linear probe: its features against the stock model row by row, and the choice among probes."""

import numpy as np
import pytest
import torch

import tiny
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.evaluation.features import TextFeatures
from cuetune.prediction.probe import fit_probe, predict_probe
from cuetune.prompts.words import hard_prompt

TASK = Task("Text: {text}\nLabel:", labels=("pos", "neg", "odd"), instruction="Tell the label.")
EXAMPLES = [TASK.example(Row(f"row {number}", row)) for number, row in enumerate(tiny.rows(9))]


def test_features_are_the_stock_models_states_whatever_the_batch():
    backbone, words = tiny.backbone(), tiny.tokenizer()
    features = TextFeatures(backbone, TASK)
    found = features.of(EXAMPLES)
    bare = tiny.model("llama")
    beginning = hard_prompt(backbone, TASK).ids + words("Text:")["input_ids"]
    for number, example in enumerate(EXAMPLES):
        row = words(f" {example.fields['text']}")["input_ids"] + words("\nLabel:")["input_ids"]
        with torch.no_grad():
            states = bare(torch.tensor([beginning + row]), output_hidden_states=True).hidden_states
        for depth, layer in (("middle", features.middle), ("last", -1)):
            own = states[layer][0, len(beginning) :]
            np.testing.assert_allclose(found[f"{depth} layer, last token"][number], own[-1], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found[f"{depth} layer, mean"][number], own.mean(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "sentence"])
def test_an_encoders_features_are_the_stock_models_states(family):
    found = TextFeatures(tiny.encoder_backbone(family), TASK).of(EXAMPLES)
    words, bare = tiny.masked_tokenizer(), tiny.encoder(family).base_model
    for number, example in enumerate(EXAMPLES):
        text = TASK.template.format(**example.fields)
        with torch.no_grad():
            (states,) = bare(torch.tensor([words(text)["input_ids"]])).last_hidden_state
        np.testing.assert_allclose(found["last layer, first"][number], states[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["last layer, mean"][number], states.mean(0), rtol=1e-3, atol=1e-4)


def test_an_encoder_decoder_is_refused():
    with pytest.raises(CuetuneError, match="encoder-decoder"):
        TextFeatures(tiny.encoder_decoder_backbone("t5"), TASK)


def separable(n=40, seed=0):
    """Rows of which one kind of feature tells the label, and the other nothing."""
    draw = np.random.default_rng(seed)
    rows = [EXAMPLES[number % 2] for number in range(n)]
    sign = np.array([1.0 if row.label == "pos" else -1.0 for row in rows])
    good = draw.normal(size=(n, 5)) + 3 * sign[:, None]
    return {"noise": draw.normal(size=(n, 5)), "good": good}, rows


def test_the_best_kind_of_feature_is_chosen_on_validation_rows():
    train, validation, (asked, rows) = separable(seed=0), separable(seed=1), separable(seed=2)
    probe = fit_probe(TASK, train, validation)
    assert probe.features == "good"
    assert probe.quality == 1.0
    answers = predict_probe(probe, TASK, asked, rows)
    assert [answer.label for answer in answers] == [row.label for row in rows]
    assert probe.n_trained == 5 + 1
    assert all(answer.probabilities[2] == 0 for answer in answers), "a label that training rows lack gets nothing"
    assert all(sum(answer.probabilities) == pytest.approx(1) for answer in answers)


def test_rows_of_one_label_are_named():
    train = {"good": np.zeros((2, 3))}, [EXAMPLES[0], EXAMPLES[2]]
    with pytest.raises(CuetuneError, match="two labels"):
        fit_probe(TASK, train, train)
