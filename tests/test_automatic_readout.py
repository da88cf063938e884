"""`--readout auto`: words where the model can score them, else a head, with one line that says why."""

import pytest

from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.readouts import LabelWords, MaskedWords, TextHead, readout_for, why_head
from tiny import backbone, encoder, encoder_backbone, masked_tokenizer, rows, write_csv

ONE, SEVERAL = (" pos", " neg"), (" positive", " negative")


def task(words: tuple[str, ...], template: str = "{text}\nLabel:") -> Task:
    return Task(template=template, labels=("a", "b"), label_words=words)


@pytest.mark.parametrize("template", ["{text}\nLabel:", "It was <mask>. {text}"])
def test_words_of_several_tokens_at_a_mask_are_left_to_a_head(template):
    frozen = encoder_backbone("bert")
    assert isinstance(readout_for(frozen, task(ONE, template)), MaskedWords)
    assert isinstance(readout_for(frozen, task(SEVERAL, template)), TextHead)
    assert "label word ' positive' is" in why_head(frozen, task(SEVERAL, template))
    with pytest.raises(CuetuneError, match="a mask holds one known token; give another word"):
        readout_for(frozen, task(SEVERAL, template), "words")


def test_a_causal_model_scores_words_of_any_length():
    assert isinstance(readout_for(backbone(), task(SEVERAL)), LabelWords)
    assert why_head(backbone(), task(SEVERAL)) is None


def test_a_template_with_two_masks_is_still_a_mistake():
    with pytest.raises(CuetuneError, match="has 2 masks"):
        readout_for(encoder_backbone("bert"), task(ONE, "<mask> {text} <mask>"))


def test_nothing_is_answered_by_a_head_that_was_never_trained():
    frozen = encoder_backbone("bert")
    with pytest.raises(CuetuneError, match="a mask holds one known token"):
        Predictor(frozen, task(SEVERAL), SoftPrompt(frozen.embedding_table()[:2].float()))


def test_tune_says_that_a_head_is_trained_and_why(tmp_path, cuetune):
    encoder("bert").save_pretrained(tmp_path / "bert")
    masked_tokenizer().save_pretrained(tmp_path / "bert")
    table = [{**each, "label": {"pos": "positive", "neg": "negative"}[each["label"]]} for each in rows(24)]
    data, how = write_csv(tmp_path / "rows.csv", table), ("--steps", 2, "--length", 2, "--no-baselines")
    model = ("--model", tmp_path / "bert")
    code, said, _ = cuetune("tune", data, "--to", tmp_path / "p", "--template", "It was <mask>. {text}", *how, *model)
    assert code == 0, said
    assert "and a mask holds one known token: a head is trained instead (--readout head)" in said
    assert (tmp_path / "p" / "head.safetensors").exists()
    assert cuetune("predict", tmp_path / "p", "--input", "good", *model)[0] == 0
