"""A learned stream behind predict and evaluate: the same answers as its learner gives."""

import pytest
import torch
from test_learning import HOW, run, stream_file

import cuetune
from cuetune.api.evaluate import evaluate
from cuetune.api.predict import load, predict
from cuetune.data.skip_report import Skipped
from cuetune.errors import CuetuneError
from cuetune.methods.continual.answering import load_learned
from cuetune.methods.continual.registry import new_learner
from tiny import backbone


@pytest.mark.parametrize("method", ["simple-cil", "coda"])
def test_it_answers_as_its_learner(tmp_path, method):
    path = stream_file(tmp_path, tasks=2)
    learned = run(path, tmp_path / "out", method)
    learner = new_learner(method, backbone(), HOW[method])
    learner.restore(learned.tensors, learned.spec)
    tuned = load(tmp_path / "out")
    examples = [tuned.task.example(row) for row in cuetune.data.reading.read_rows(tmp_path / "rows.csv")][::7]
    expected = learner.logits(examples).softmax(dim=-1)
    found = list(predict(tuned, [dict(each.fields) for each in examples], model=backbone()))
    assert torch.allclose(torch.tensor([each.probabilities for each in found]), expected, atol=1e-6)
    assert [each.label for each in found] == [learner.labels[k] for k in expected.argmax(dim=-1).tolist()]


def test_it_is_evaluated_under_its_methods_name(tmp_path):
    run(stream_file(tmp_path, tasks=2), tmp_path / "out")
    scored = evaluate(tmp_path / "out", str(tmp_path / "rows.csv"), model=backbone(), baselines=False)
    assert list(scored.results) == ["simple-cil"]
    assert 0 <= scored.results["simple-cil"].scores["accuracy"].value <= 1


def test_what_it_cannot_do_is_said(tmp_path):
    run(stream_file(tmp_path, tasks=2), tmp_path / "out")
    tuned = load_learned(tmp_path / "out")
    assert "class means" in tuned.prompt.described()
    with pytest.raises(CuetuneError, match="kept by `cuetune learn`"):
        tuned.save(tmp_path / "copy")
    with pytest.raises(CuetuneError, match="answers every row or none"):
        tuned.predictor(backbone(), None, Skipped())
