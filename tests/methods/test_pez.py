"""PEZ: the gradient is taken at the words, given to the copy, and the loop does the rest."""

import pytest
import torch
import torch.nn.functional as F
from planted import TASK, KillError, StopAt, examples, job, planted

from cuetune.backbones.batches import TokenBatch
from cuetune.methods.pez import FluencyOfWords, ProjectedPrompt, pez
from cuetune.methods.scoring import Scorer
from cuetune.methods.vocabulary import words_of_vocabulary
from cuetune.readouts import readout_for
from cuetune.tuning.loop import Tuner
from cuetune.tuning.objectives import Batch
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, model, stock_logits

TAIL = [200, 200]


def moved(frozen, ids=(70, 75, 80), by=0.3) -> ProjectedPrompt:
    """A prompt whose copy is no longer where its words are."""
    prompt = ProjectedPrompt(frozen, list(ids), TAIL, words_of_vocabulary(frozen))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        prompt.embeddings += by * torch.randn(prompt.embeddings.shape, generator=generator)
    return prompt


def loss_of(frozen, injection, rows):
    readout, scorer = readout_for(frozen, TASK), Scorer(frozen, TASK, 8)
    hidden = frozen.hidden(readout.rows(rows, scorer.renderer.shared), injection)
    return readout.row_losses(frozen, hidden, rows).mean()


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_the_gradient_is_that_at_the_nearest_words(family):
    frozen, prompt = backbone(family), moved(backbone(family))
    rows = Scorer(frozen, TASK, 8).render(examples(4))
    loss_of(frozen, prompt.injection(), rows).backward()
    assert not torch.allclose(prompt.embeddings, prompt.projected())
    by_hand = frozen.embed(prompt.nearest()).detach().requires_grad_()
    tail = frozen.embed(torch.tensor(TAIL))
    word_ids = readout_for(frozen, TASK).words
    losses = []
    for row in rows:
        text = frozen.embed(torch.tensor([*Scorer(frozen, TASK, 8).renderer.shared, *row.ids]))
        logits = stock_logits(model(family), torch.cat([by_hand, tail, text]))[-1]
        wanted = torch.tensor([TASK.labels.index(row.label)])
        losses.append(F.cross_entropy(logits[[ids[0] for ids in word_ids]][None], wanted))
    torch.stack(losses).mean().backward()
    torch.testing.assert_close(prompt.embeddings.grad, by_hand.grad, rtol=1e-3, atol=1e-5)


def test_a_step_moves_the_copy_by_adamw_with_that_gradient():
    frozen, prompt = backbone(), moved(backbone())
    before = prompt.embeddings.detach().clone()
    given = {"steps": 1, "batch_size": 4, "learning_rate": 0.1, "warmup": 0, "weight_decay": 0.1, "max_grad_norm": 1e9}
    settings = Settings(**given).resolved(frozen, 4, prompt)
    tuner = Tuner(frozen, prompt, TaskData(TASK, examples(4), []), settings)
    loss_of(frozen, prompt.injection(), tuner.runs[0].rows).backward()
    gradient = prompt.embeddings.grad.clone()
    tuner.run()
    by_hand = before * (1 - 0.1 * 0.1) - 0.1 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(prompt.embeddings.detach(), by_hand, rtol=1e-4, atol=1e-5)


def test_words_are_the_nearest_by_cosine_and_only_such_as_may_be_read():
    frozen = backbone()
    prompt = moved(frozen, by=2.0)
    vocabulary, table = words_of_vocabulary(frozen), frozen.embedding_table()
    likeness = [[F.cosine_similarity(copy, table[w], dim=0).item() for w in vocabulary] for copy in prompt.embeddings]
    best = vocabulary[torch.tensor(likeness).argmax(dim=1)]
    assert torch.equal(prompt.nearest(), best)
    with torch.no_grad():
        prompt.embeddings[0] = table[frozen.tokenizer.eos_token_id]
    assert prompt.nearest()[0] != frozen.tokenizer.eos_token_id
    words = ProjectedPrompt(frozen, vocabulary.tolist(), TAIL, vocabulary)
    assert torch.equal(words.nearest(), vocabulary)


def test_it_folds_to_the_same_injection_to_the_bit():
    prompt = moved(backbone())
    folded = prompt.fold()
    assert folded.kind == "hard"
    assert folded.ids == [*prompt.nearest().tolist(), *TAIL]
    assert torch.equal(folded.injection().tokens[0], prompt.injection().tokens[0])


def test_fluency_is_the_likelihood_of_the_words_under_the_model():
    frozen, prompt = backbone(), moved(backbone())
    batch = Batch(frozen, prompt, readout_for(frozen, TASK), [], torch.empty(0))
    value = FluencyOfWords(0.5)(batch)
    value.backward()
    rows = frozen.embed(prompt.nearest()).detach().requires_grad_()
    stock = 0.5 * F.cross_entropy(stock_logits(model("llama"), rows)[:-1], prompt.nearest()[1:])
    stock.backward()
    torch.testing.assert_close(value, stock, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prompt.embeddings.grad, rows.grad, rtol=1e-3, atol=1e-5)
    states = frozen.hidden(TokenBatch.of([prompt.nearest().tolist()]))
    torch.testing.assert_close(frozen.logits(states), stock_logits(model("llama"), rows), rtol=1e-3, atol=1e-4)


def test_the_best_validated_words_are_returned_and_beat_the_untouched():
    found = pez(job(planted()), length=2, steps=24, rate=2.0, evaluate_every=2)
    best = max(found.history, key=lambda entry: (entry["accuracy"], -entry["loss"]))
    assert found.prompt.ids[:2] == best["ids"]
    assert best["loss"] < found.history[0]["loss"]
    allowed = set(words_of_vocabulary(planted()).tolist())
    assert all(set(entry["ids"]) <= allowed for entry in found.history)


@pytest.mark.parametrize("at", [5, 12])
def test_a_killed_search_goes_on_to_the_same_words(tmp_path, at):
    how = {"length": 2, "steps": 14, "evaluate_every": 4, "batch_size": 4, "fluency": 0.1}
    whole = pez(job(planted(), folder=tmp_path / "whole"), **how)
    with pytest.raises(KillError):
        pez(job(planted(), folder=tmp_path / "cut", reporters=[StopAt(at, KillError())]), **how)
    again = pez(job(planted(), folder=tmp_path / "cut"), **how)
    assert again.prompt.ids == whole.prompt.ids
    assert again.history == whole.history
    assert again.tokens == whole.tokens


def test_ctrl_c_keeps_the_best_so_far():
    found = pez(job(planted(), reporters=[StopAt(5, KeyboardInterrupt())]), length=2, steps=14, evaluate_every=2)
    assert (found.stopped, len(found.history)) == ("interrupted", 2)
