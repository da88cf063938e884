"""Greedy coordinate search: its gradient and its scores are the naive ones, it finds what is planted, and goes on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from planted import TASK, TRIGGER, KillError, StopAt, examples, job, planted

from cuetune.data.task import Task
from cuetune.data.templating import encode
from cuetune.errors import CuetuneError
from cuetune.methods.coordinate_search import CoordinateSearch, greedy
from cuetune.methods.journal import NAME, Journal
from cuetune.methods.scoring import Scorer, common
from cuetune.methods.vocabulary import survives, words_of_vocabulary, words_to_change
from cuetune.prompts.words import hard_prompt
from tiny import backbone, encoder_backbone, encoder_decoder_backbone, masked_tokenizer, model, stock_logits, tokenizer

INSTRUCTION = Task(template="Text: {text} =", labels=("pos", "neg"), instruction="Is it good or bad?")
QUICK = {"candidates": 8, "top": 16, "batch_size": 6, "evaluate_every": 2}


def stock_loss(bare, embeddings, row, label):
    """Cross-entropy over the two label words of one row, from the unwrapped model read alone."""
    words = [each[0] for each in encode(tokenizer(), [" pos", " neg"], control_tokens=True)]
    logits = stock_logits(bare, embeddings)[-1][words]
    return F.cross_entropy(logits[None], torch.tensor([("pos", "neg").index(label)]))


def variations(ids):
    """Prompts that differ from `ids` at the beginning, in the middle, at the end, and not at all."""
    return [[70, *ids[1:]], [*ids[:4], 71, *ids[5:]], [*ids[:-1], 72], list(ids), list(ids[:3]), [*ids, 73]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "mistral"])
def test_scores_of_candidates_are_those_of_each_row_read_alone(family):
    frozen, bare = backbone(family), model(family)
    ids = hard_prompt(frozen, INSTRUCTION).ids
    scorer = Scorer(frozen, INSTRUCTION, len(ids) + 1)
    rows = scorer.render(examples(5))
    prompts = variations(ids)
    naive = torch.empty(len(prompts), len(rows))
    with torch.no_grad():
        for m, prompt in enumerate(prompts):
            for b, row in enumerate(rows):
                whole = frozen.embed(torch.tensor([*prompt, *scorer.renderer.shared, *row.ids]))
                naive[m, b] = stock_loss(bare, whole, row, row.label)
    for base in (ids, [], prompts[1]):
        torch.testing.assert_close(scorer.losses(prompts, rows, base), naive, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [encoder_backbone, encoder_decoder_backbone])
def test_scores_are_the_same_where_nothing_can_be_shared(frozen):
    frozen = frozen()
    task = replace(INSTRUCTION, template="{text} <mask>") if frozen.tokenizer.mask_token else INSTRUCTION
    task = replace(task, label_words=("!", "?"))
    ids = hard_prompt(frozen, task).ids
    scorer = Scorer(frozen, task, len(ids) + 1)
    rows = scorer.render(examples(4))
    together = scorer.losses(variations(ids), rows, ids)
    alone = [[scorer.losses([each], [row])[0, 0] for row in rows] for each in variations(ids)]
    torch.testing.assert_close(together, torch.tensor(alone), rtol=1e-4, atol=1e-5)


def test_the_common_beginning_goes_through_the_model_once():
    frozen = backbone()
    ids = hard_prompt(frozen, INSTRUCTION).ids
    scorer = Scorer(frozen, INSTRUCTION, len(ids))
    rows = scorer.render(examples(5))
    row_tokens, shared = sum(len(row.ids) for row in rows), len(scorer.renderer.shared)
    prompts = [[*ids[:place], 70, *ids[place + 1 :]] for place in (3, len(ids) - 1)]
    scorer.losses(prompts, rows, ids)
    rest = sum(len(ids) - common(ids, prompt) for prompt in prompts)
    assert scorer.tokens == len(ids) + rest + 2 * (shared + row_tokens)
    naive = 2 * sum(len(ids) + shared + len(row.ids) for row in rows)
    assert scorer.tokens < 0.6 * naive


def test_many_candidates_in_several_passes_score_the_same(monkeypatch):
    frozen = backbone()
    ids = hard_prompt(frozen, INSTRUCTION).ids
    scorer = Scorer(frozen, INSTRUCTION, len(ids) + 1)
    rows = scorer.render(examples(5))
    once = scorer.losses(variations(ids), rows, ids)
    monkeypatch.setattr("cuetune.methods.scoring.TOKENS_AT_ONCE", 200)
    torch.testing.assert_close(scorer.losses(variations(ids), rows, ids), once, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_stock_model():
    frozen, bare = backbone(), model("llama")
    search = CoordinateSearch(job(frozen, INSTRUCTION), 6, 8, 16, None)
    rows = search.rows[:4]
    words = frozen.embed(torch.tensor(search.first)).detach().requires_grad_()
    behind = [frozen.embed(torch.tensor([*search.tail, *search.scorer.renderer.shared, *row.ids])) for row in rows]
    losses = [
        stock_loss(bare, torch.cat([words, each.detach()]), row, row.label)
        for each, row in zip(behind, rows, strict=True)
    ]
    torch.stack(losses).mean().backward()
    torch.testing.assert_close(search.gradient(search.first, rows), words.grad, rtol=1e-3, atol=1e-6)


def test_swaps_change_one_word_for_a_promising_one():
    frozen = backbone()
    search = CoordinateSearch(job(frozen, INSTRUCTION), 6, 12, 10, None)
    gradient = search.gradient(search.first, search.rows[:6])
    swaps = search.swaps(search.first, gradient, 0)
    assert len(swaps) == 12
    gain = -(frozen.embedding_table() @ gradient.T)[search.vocabulary]  # (W, P)
    for swap in swaps:
        (place,) = [i for i, (a, b) in enumerate(zip(search.first, swap, strict=True)) if a != b]
        best = search.vocabulary[gain[:, place].argsort(descending=True)[:10]].tolist()
        assert swap[place] in best
    assert survives(frozen, swaps) == [True] * 12
    assert swaps == search.swaps(search.first, gradient, 0)
    assert swaps != search.swaps(search.first, gradient, 1)


@pytest.mark.parametrize("words", [tokenizer, masked_tokenizer])
def test_control_tokens_and_halves_of_characters_are_never_written(words):
    frozen = backbone() if words is tokenizer else encoder_backbone()
    allowed = words_of_vocabulary(frozen).tolist()
    assert not set(allowed) & set(frozen.tokenizer.all_special_ids)
    texts = [frozen.tokenizer.decode([token]) for token in allowed]
    assert all(text.strip() and text.isprintable() and "\ufffd" not in text for text in texts)
    assert {"Z", "?", "good", " bad"} <= set(texts)
    assert max(allowed) < len(frozen.tokenizer)


def test_what_is_changed_begins_as_the_untouched_prompt():
    frozen = backbone()
    start, words = hard_prompt(frozen, INSTRUCTION).ids, words_of_vocabulary(frozen)
    free, tail = words_to_change(frozen, start, None, words, 0)
    assert free + tail == start
    assert words_to_change(frozen, start, 30, words, 0)[0] == (free * 5)[:30]
    assert words_to_change(frozen, start, 2, words, 0)[0] == free[:2]
    drawn, same = words_to_change(frozen, [], 4, words, 0)
    assert (len(drawn), same) == (4, tail)
    assert set(drawn) <= set(words.tolist())
    with pytest.raises(CuetuneError, match="--method-option length=8"):
        words_to_change(frozen, [], None, words, 0)


def test_the_planted_word_is_found_where_all_are_tried():
    found = greedy(job(planted()), length=1, steps=1, candidates=200, top=200, batch_size=16)
    assert found.prompt.ids[0] == TRIGGER
    assert found.history[0]["accepted"]


def test_every_accepted_step_lowers_the_loss_on_all_rows():
    frozen = planted()
    found = greedy(job(frozen), length=3, steps=12, candidates=16, top=64, batch_size=12)
    scorer = Scorer(frozen, TASK, 8)
    rows, tail = scorer.render(examples()), found.prompt.ids[3:]
    taken = [entry["ids"] for entry in found.history if entry["accepted"]]
    losses = scorer.losses([[*ids, *tail] for ids in [job(frozen).start.ids[:1] * 3, *taken]], rows).mean(dim=1)
    assert len(taken) >= 2
    assert (losses.diff() < 0).all()
    assert losses[-1] < 0.75 * losses[0]


def without_time(entries):
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_killed_search_goes_on_to_the_same_words(tmp_path, at):
    whole = greedy(job(planted(), folder=tmp_path / "whole"), length=2, steps=5, **QUICK)
    with pytest.raises(KillError):
        greedy(job(planted(), folder=tmp_path / "cut", reporters=[StopAt(at, KillError())]), length=2, steps=5, **QUICK)
    again = greedy(job(planted(), folder=tmp_path / "cut"), length=2, steps=5, **QUICK)
    assert again.prompt.ids == whole.prompt.ids
    assert without_time(again.history) == without_time(whole.history)
    assert (again.tokens, again.flops) == (whole.tokens, whole.flops)


def test_ctrl_c_keeps_the_best_so_far_and_the_search_goes_on(tmp_path):
    stopped = greedy(
        job(planted(), folder=tmp_path, reporters=[StopAt(3, KeyboardInterrupt())]), length=2, steps=4, **QUICK
    )
    assert (stopped.stopped, stopped.steps) == ("interrupted", 2)
    assert stopped.prompt.ids[:2] == stopped.history[-1]["ids"]
    assert greedy(job(planted(), folder=tmp_path), length=2, steps=4, **QUICK).steps == 4


def test_the_best_validated_words_are_kept():
    found = greedy(job(planted()), length=2, steps=8, **{**QUICK, "evaluate_every": 1})
    best = max(found.history, key=lambda entry: (entry["validation"]["accuracy"], -entry["validation"]["loss"]))
    assert found.prompt.ids[:2] == best["ids"]


def test_a_journal_forgets_half_a_line_and_refuses_another_search(tmp_path):
    journal = Journal(tmp_path, "this")
    journal.add({"step": 1, "text": "naïve"})
    with (tmp_path / NAME).open("a") as stream:
        stream.write('{"step": 2, "te')
    again = Journal(tmp_path, "this")
    assert again.entries == [{"step": 1, "text": "naïve"}]
    again.add({"step": 2})
    assert Journal(tmp_path, "this").entries[1] == {"step": 2}
    with pytest.raises(CuetuneError, match="--restart"):
        Journal(tmp_path, "other")


def test_a_model_that_cannot_score_words_is_refused():
    with pytest.raises(CuetuneError, match="cannot score words"):
        Scorer(encoder_backbone("sentence"), INSTRUCTION, 4)
