"""Rows of several streams in one batch: each gets what its own learner says alone, in two passes for all."""

import pytest
import torch
from test_learners import FEW, OPTIONS, texts
from test_learning import run, stream_file

from cuetune.api.predict import predict
from cuetune.api.predict_together import answers_together, logits_together, predict_together
from cuetune.backbones.registry import load_backbone
from cuetune.data.reading import read_rows
from cuetune.errors import CuetuneError
from cuetune.methods.continual.answering import LearnerPredictor
from cuetune.methods.continual.registry import new_learner
from tiny import backbone
from tiny_vision import image_backbone

FIRST, SECOND = texts("pos", "neg"), texts("upper", "digit", seed=1)


def learned(name, frozen, *tasks, seed=0):
    options = {"width": 50} if name == "ranpac" else OPTIONS.get(name, {})
    made = new_learner(name, frozen, FEW.model_copy(update={"prompt_options": options}), seed)
    for task in tasks:
        made.learn(task)
    return made


def passes_of(frozen, monkeypatch):
    passes, real = [], type(frozen).hidden_mixed

    def counted(self, parts):
        passes.append(len(parts))
        return real(self, parts)

    monkeypatch.setattr(type(frozen), "hidden_mixed", counted)
    return passes


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_texts_of_several_streams_are_answered_as_alone(kind, monkeypatch):
    frozen = backbone(kind)
    made = [
        learned("coda", frozen, FIRST, SECOND),
        learned("coda", frozen, SECOND, seed=1),
        learned("l2p++", frozen, SECOND, FIRST),
        learned("dual", frozen, FIRST),
        learned("ranpac", frozen, FIRST, SECOND),
        learned("simple-cil", frozen, SECOND),
    ]
    asked = [FIRST.train[:5], SECOND.train[:7], FIRST.train[3:4], SECOND.train[2:9], FIRST.train, []]
    alone = [each.logits(rows) for each, rows in zip(made, asked, strict=True)]
    passes = passes_of(frozen, monkeypatch)
    together = logits_together(list(zip(made, asked, strict=True)))
    assert passes == [5, 4], "one pass for the queries of all who ask, one for those with a prompt"
    for own, found in zip(alone, together, strict=True):
        assert found.shape == own.shape
        assert torch.allclose(found, own, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0][:, :2], made[3].logits(asked[0]), atol=1e-3), "streams differ"


def test_pictures_of_several_streams_are_answered_as_alone(pictures, monkeypatch):
    frozen = image_backbone("vit")
    first, second = pictures
    made = [learned("coda", frozen, first, second), learned("task-prompts", frozen, second)]
    made.append(learned("ranpac", frozen, first))
    asked = [first.train[:5], second.train[:3], first.train]
    alone = [each.logits(rows) for each, rows in zip(made, asked, strict=True)]
    passes = passes_of(frozen, monkeypatch)
    together = logits_together(list(zip(made, asked, strict=True)))
    assert passes == [3, 2]
    for own, found in zip(alone, together, strict=True):
        assert torch.allclose(found, own, atol=1e-5, rtol=1e-4)


def test_saved_streams_answer_together_what_each_predicts(tmp_path):
    path, frozen = stream_file(tmp_path, tasks=2), backbone()
    folders = [tmp_path / method for method in ("coda", "simple-cil")]
    for folder in folders:
        run(path, folder, folder.name)
    rows = [row.values["text"] for row in read_rows(tmp_path / "rows.csv")]
    data = [[{"text": text} for text in rows[number::3] * (1 + 4 * number)] for number in range(2)]
    assert len(data[1]) > 64, "more than one batch of one, and less of the other"
    together = predict_together(list(zip(folders, data, strict=True)), model=frozen)
    for folder, mine, found in zip(folders, data, together, strict=True):
        alone = list(predict(folder, mine, model=frozen))
        assert [(each.where, each.label) for each in found] == [(each.where, each.label) for each in alone]
        for one, other in zip(found, alone, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert predict_together([]) == []


@pytest.mark.slow
def test_on_the_real_model(smollm2_folder):
    """In bfloat16 too, where what is computed in one batch is rounded otherwise than row by row."""
    for dtype, near in (("float32", 1e-3), ("bfloat16", 0.3)):
        frozen = load_backbone(smollm2_folder, dtype=dtype)
        made = [learned("coda", frozen, FIRST, SECOND), learned("l2p++", frozen, SECOND)]
        made.append(learned("ranpac", frozen, FIRST))
        asked = [FIRST.train[:9], SECOND.train, FIRST.train[3:4]]
        alone = [each.logits(rows) for each, rows in zip(made, asked, strict=True)]
        together = logits_together(list(zip(made, asked, strict=True)))
        for own, found in zip(alone, together, strict=True):
            assert torch.allclose(found, own, atol=near * own.abs().max().item()), dtype
        assert (alone[1] - alone[1].mean(0)).abs().max() > 0.01, "answers do not depend on the row"


def test_what_cannot_answer_together_is_said(tmp_path):
    one, other = backbone("llama"), backbone("gpt2")
    tuned = learned("ft", one, FIRST)
    with pytest.raises(CuetuneError, match="ft tuned a copy of the model"):
        answers_together([LearnerPredictor(tuned, tuned.task)], [[]])
    predictors = [
        LearnerPredictor(made, made.task) for made in (learned("simple-cil", each, FIRST) for each in (one, other))
    ]
    with pytest.raises(CuetuneError, match="the same backbone object"):
        answers_together(predictors, [[], []])
    run(stream_file(tmp_path, tasks=2), tmp_path / "out")
    with pytest.raises(CuetuneError, match="out: made for"):
        predict_together([(tmp_path / "out", [])], model=other)
    with pytest.raises(CuetuneError, match="is no learned stream"):
        predict_together([(object(), [])], model=one)
