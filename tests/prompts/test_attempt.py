"""ATTEMPT: the published count, its equations row by row, and the same answers in a batch, alone and after saving."""

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.text import Predictor
from cuetune.prompts import AttemptPrompt
from cuetune.prompts.attempt import attempt_from
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, encoder_backbone, rows

TASK = Task(template="Say {text} =", labels=("pos", "neg"), name="mood")
ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]


def made(width: int = 32) -> AttemptPrompt:
    generator = torch.Generator().manual_seed(4)
    sources = torch.randn(3, 5, width, generator=generator)
    prompt = AttemptPrompt(torch.randn(5, width, generator=generator), sources, bottleneck=8, temperature=2.0)
    with torch.no_grad():
        prompt.norm.weight.uniform_(0.5, 2)
        prompt.norm.bias.uniform_(-1, 1)
    return prompt


def test_the_published_count():
    assert AttemptPrompt(torch.zeros(100, 768), torch.ones(6, 100, 768)).n_trained == 231_936


def test_each_row_gets_the_prompt_of_the_equations():
    frozen, prompt = backbone("llama"), made()
    found = prompt.for_rows(frozen, TokenBatch.of(ROWS)).tokens[0]
    assert found.shape == (3, 5, 32)
    for number, ids in enumerate(ROWS):
        text = frozen.embed(torch.tensor(ids)).max(0).values
        z = prompt.down @ text
        h = prompt.norm(prompt.up @ (z * torch.sigmoid(z)))
        keys = [source.max(0).values for source in [*prompt.sources, prompt.prompt]]
        weights = torch.stack([key @ h / 2.0 for key in keys]).softmax(0)
        by_hand = prompt.prompt + sum(w * p for w, p in zip(weights, [*prompt.sources, prompt.prompt], strict=True))
        torch.testing.assert_close(found[number], by_hand, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("frozen", [backbone, encoder_backbone], ids=["causal", "encoder"])
@torch.no_grad()
def test_a_batch_is_its_rows(frozen):
    model, prompt = frozen(), made()
    batch = model.hidden(TokenBatch.of(ROWS), prompt.for_rows(model, TokenBatch.of(ROWS))).split([3, 5, 1])
    for whole, ids in zip(batch, ROWS, strict=True):
        alone = model.hidden(TokenBatch.of([ids]), prompt.for_rows(model, TokenBatch.of([ids])))
        torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)


def test_it_learns_predicts_saves_and_loads(tmp_path):
    frozen, prompt = backbone("llama"), made()
    examples = [TASK.example(row) for row in read_rows(rows(24))]
    before = {name: value.clone() for name, value in prompt.state_dict().items()}
    settings = Settings(steps=8, batch_size=8, learning_rate=0.05).resolved(frozen, 24, prompt)
    tuner = Tuner(frozen, prompt, TaskData(TASK, examples, examples), settings)
    first = tuner._loss([(0, list(range(24)))]).item()
    tuner.run()
    assert tuner._loss([(0, list(range(24)))]).item() < first
    after = prompt.state_dict()
    assert torch.equal(after["sources"], before["sources"])
    assert all(not torch.equal(after[name], before[name]) for name in before if name != "sources")
    answers = list(Predictor(frozen, TASK, prompt).predict(examples))
    for example, answer in zip(examples[:4], answers, strict=False):
        (alone,) = Predictor(frozen, TASK, prompt).predict([example])
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
    TunedPrompt(prompt, TASK, frozen.identity, {}).save(tmp_path / "saved")
    loaded = TunedPrompt.load(tmp_path / "saved")
    again = list(loaded.predictor(frozen).predict(examples))
    assert [each.probabilities for each in again] == [each.probabilities for each in answers]


def test_bad_input():
    with pytest.raises(CuetuneError, match=r"source prompts of \(4, 8\) numbers for a prompt of \(5, 8\)"):
        AttemptPrompt(torch.zeros(5, 8), torch.zeros(2, 4, 8))
    fitted = attempt_from(torch.zeros(5, 8), [torch.ones(3, 8), torch.ones(9, 8)])
    assert fitted.sources.shape == (2, 5, 8)
    free = Task(template="{text}")
    predictor = Predictor(backbone("llama"), free, made())
    with pytest.raises(CuetuneError, match="looks at each row and writes no text"):
        list(predictor.predict([free.example(row, labelled=False) for row in read_rows(rows(2))]))
