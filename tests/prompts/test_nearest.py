"""Nearest demonstrations: each row reads what a hard prompt of its own would say, whatever stands beside it."""

import json
from dataclasses import replace
from functools import cache

import pytest
import torch

from cuetune.backbones.generation import Writing
from cuetune.backbones.sentences import SentenceEncoder
from cuetune.data.reading import read_rows
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.card import card
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.text import Predictor
from cuetune.prompts import EnsemblePrompt, SoftPrompt
from cuetune.prompts import nearest as module
from cuetune.prompts.nearest import Choice, NearestPrompt, nearest_prompt, words_of
from cuetune.prompts.words import hard_prompt
from tiny import backbone, encoder_backbone, encoder_decoder_backbone, folder, rows, write_csv

TASK = Task(template="Text: {text} =", labels=("pos", "neg"), instruction="Is it good or bad?")
EXAMPLES = [TASK.example(row) for row in read_rows(rows(24))]
POOL, QUERIES = EXAMPLES[:16], EXAMPLES[16:]
ENCODER = SentenceEncoder(backbone("llama"))
MODELS = {
    "llama": lambda: backbone("llama"),
    "gpt2": lambda: backbone("gpt2"),
    "gemma3": lambda: backbone("gemma3"),
    "bert": lambda: encoder_backbone("bert"),
    "t5": lambda: encoder_decoder_backbone("t5"),
}


@cache
def vector(encoder, text):
    return encoder.encode([text])[0]


def own_words(frozen, task, prompt, encoder, query, pool=POOL):
    """A hard prompt for this row: the k examples of the highest cosine, the highest last, by one pair after another."""
    wanted = vector(encoder, words_of(query))
    closeness = [float(torch.dot(wanted, vector(encoder, words_of(shown)))) for shown in pool]
    order = sorted(range(len(pool)), key=closeness.__getitem__)
    short = replace(task, max_tokens=prompt.how.limit or task.max_tokens)
    return hard_prompt(frozen, short, [pool[number] for number in order[-prompt.how.k :]])


def probabilities(predictions):
    return torch.tensor([prediction.probabilities for prediction in predictions])


def far(ours, theirs):
    return (probabilities(ours) - probabilities(theirs)).abs().max().item()


@pytest.mark.parametrize("template", ["Text: {text} =", "{text}"])
@pytest.mark.parametrize("family", MODELS)
def test_each_row_is_answered_as_by_a_hard_prompt_of_its_own(family, template):
    frozen, task = MODELS[family](), replace(TASK, template=template, instruction="Rate.")
    encoder = ENCODER
    prompt = nearest_prompt(frozen, task, POOL, 2, encoder)
    queries = QUERIES[:4]
    ours = list(Predictor(frozen, task, prompt).predict(queries))
    theirs = []
    for query in queries:
        theirs += Predictor(frozen, task, own_words(frozen, task, prompt, encoder, query)).predict([query])
    assert far(ours, theirs) < 1e-5
    assert [answer.where for answer in ours] == [query.where for query in queries]
    zero = list(Predictor(frozen, task, hard_prompt(frozen, task)).predict(queries))
    assert far(ours, zero) > 1e-3  # demonstrations do something


def test_a_batch_equals_its_rows_one_by_one(monkeypatch):
    monkeypatch.setattr("cuetune.prediction.text.ROWS_AT_ONCE", 5)
    monkeypatch.setattr("cuetune.prediction.text.TOKENS_AT_ONCE", 600)
    predictor = Predictor(backbone(), TASK, nearest_prompt(backbone(), TASK, POOL, 3, "backbone"))
    alone = [answer for query in QUERIES for answer in predictor.predict([query])]
    together = list(predictor.predict(iter(QUERIES)))
    assert far(together, alone) < 1e-5
    assert [answer.where for answer in together] == [query.where for query in QUERIES]


def test_rows_are_read_as_answers_are_taken(monkeypatch):
    monkeypatch.setattr("cuetune.prediction.text.ROWS_AT_ONCE", 4)
    taken = []
    predictor = Predictor(backbone(), TASK, nearest_prompt(backbone(), TASK, POOL, 2, "backbone"))
    answers = predictor.predict(taken.append(query) or query for query in QUERIES)
    next(answers)
    assert len(taken) == 4


@pytest.mark.parametrize("instruction", ["", "Rate."])
def test_written_answers_are_those_of_a_hard_prompt_for_each_row(instruction):
    frozen, writing = backbone(), Writing(max_tokens=5)
    task = replace(TASK, labels=(), label_words=(), instruction=instruction)
    encoder = SentenceEncoder(frozen)
    prompt = nearest_prompt(frozen, task, POOL, 2, encoder)
    ours = list(Predictor(frozen, task, prompt, writing).predict(QUERIES[:5]))
    for query, answer in zip(QUERIES[:5], ours, strict=True):
        own = own_words(frozen, task, prompt, encoder, query)
        assert [answer] == list(Predictor(frozen, task, own, writing).predict([query]))


def test_an_ensemble_may_have_members_that_choose_for_each_row():
    frozen = backbone()
    members = [nearest_prompt(frozen, TASK, POOL, 2, "backbone"), SoftPrompt(torch.randn(3, frozen.width))]
    voting = EnsemblePrompt([members[1], members[0], members[1]], "mean")
    first, second = (probabilities(Predictor(frozen, TASK, each).predict(QUERIES)) for each in members)
    ours = probabilities(Predictor(frozen, TASK, voting).predict(QUERIES))
    assert (ours - (first + 2 * second) / 3).abs().max() < 1e-5
    assert voting.length == members[0].length


def test_answers_fill_the_mask_of_demonstrations():
    frozen = encoder_backbone("bert")
    task = replace(TASK, template="It was <mask>. {text}")
    encoder = SentenceEncoder(frozen)
    prompt = nearest_prompt(frozen, task, POOL, 2, encoder)
    mask = frozen.tokenizer.mask_token_id
    assert mask not in prompt.tokens.tolist()
    said = frozen.tokenizer.decode(prompt.tokens[: prompt.lengths[0]]).replace(" ", "")
    assert said.startswith(f"Itwas{POOL[0].label}.{POOL[0].fields['text'][:2]}")
    ours = list(Predictor(frozen, task, prompt).predict(QUERIES[:3]))
    for query, answer in zip(QUERIES[:3], ours, strict=True):
        own = own_words(frozen, task, prompt, encoder, query)
        assert far([answer], list(Predictor(frozen, task, own).predict([query]))) < 1e-5


# Room


def long(number: int, words: int) -> Example:
    return Example(f"row {number}", {"text": " ".join(f"{number}{'ab'[number % 2]}" for _ in range(words))}, "pos")


def test_demonstrations_that_do_not_fit_are_shortened_and_it_is_said():
    frozen = backbone("gpt2")  # 512 positions
    pool = [long(number, 40) for number in range(10)]
    encoder = SentenceEncoder(frozen)
    prompt = nearest_prompt(frozen, TASK, pool, 5, encoder)
    limit = prompt.how.limit
    assert 8 <= limit < 120
    assert f"the 5 nearest of 10 demonstrations, texts cut to {limit} tokens" in prompt.described()
    assert prompt.length <= 256
    assert prompt.length + 5 > 256  # and no more than needed
    query = long(3, 300)
    (ours,) = Predictor(frozen, TASK, prompt).predict([query])
    own = own_words(frozen, TASK, prompt, encoder, query, pool)
    (theirs,) = Predictor(frozen, TASK, own).predict([query])
    assert far([ours], [theirs]) < 1e-5
    assert ours.cut == theirs.cut > 0


def test_where_too_little_would_be_left_they_are_fewer_and_it_is_said():
    pool = [long(number, 40) for number in range(30)]
    prompt = nearest_prompt(backbone("gpt2"), TASK, pool, 30, "backbone")
    assert prompt.how.limit >= 8
    assert prompt.how.k < 30
    assert f"the {prompt.how.k} nearest (of 30 asked for) of 30 demonstrations, texts cut" in prompt.described()
    assert prompt.length <= 256


def test_where_not_one_fits_there_is_one_line():
    task = replace(TASK, template="Text: {text} =" + "so " * 100)
    with pytest.raises(CuetuneError, match="shorten the template") as problem:
        nearest_prompt(backbone("gpt2"), task, POOL, 2, "backbone")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("k", [0, -1, 17])
def test_as_many_as_there_are_rows(k):
    with pytest.raises(CuetuneError, match="16 labelled rows"):
        nearest_prompt(backbone(), TASK, POOL, k, "backbone")


def test_equal_demonstrations_are_kept_once():
    prompt = nearest_prompt(backbone(), TASK, [*POOL[:3], *POOL[:3]], 5, "backbone")
    assert len(prompt.lengths) == len(prompt.vectors) == prompt.how.k == 3
    assert "the 3 nearest (of 5 asked for) of 3 demonstrations" in prompt.described()


def test_of_too_many_examples_the_seed_draws(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    drawn = [nearest_prompt(backbone(), TASK, POOL, 2, "backbone", seed).tokens.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(nearest_prompt(backbone(), TASK, POOL, 2, "backbone").lengths) == 10


# Kept


def test_saved_and_loaded_it_answers_the_same_and_says_what_it_holds(tmp_path):
    frozen = backbone()
    prompt = nearest_prompt(frozen, TASK, POOL, 3, "backbone")
    saved = TunedPrompt(prompt, TASK, frozen.identity, {})
    place = saved.save(tmp_path / "p")
    assert {path.name for path in place.iterdir()} == {"cuetune.json", "prompt.safetensors", "README.md"}
    loaded = TunedPrompt.load(place)
    assert loaded.prompt.described() == prompt.described()
    assert loaded.predictor(frozen).prompt.n_trained == 0
    ours = list(Predictor(frozen, TASK, prompt).predict(QUERIES))
    assert list(loaded.predictor(frozen).predict(QUERIES)) == ours
    assert "contains those rows" in card(saved)
    assert "3 nearest of 16 demonstrations" in card(saved)


def test_without_an_instruction_it_is_saved_too(tmp_path):
    frozen, task = backbone(), replace(TASK, instruction="", template="{text}")
    prompt = nearest_prompt(frozen, task, POOL, 2, "backbone")
    loaded = TunedPrompt.load(TunedPrompt(prompt, task, frozen.identity, {}).save(tmp_path / "p"))
    ours = list(Predictor(frozen, task, prompt).predict(QUERIES))
    assert list(loaded.predictor(frozen).predict(QUERIES)) == ours


def test_the_encoder_is_loaded_by_name_and_must_be_the_same(tmp_path, monkeypatch):
    frozen, sentences = backbone(), encoder_backbone("sentence")
    prompt = nearest_prompt(frozen, TASK, POOL, 2, SentenceEncoder(sentences))
    place = TunedPrompt(prompt, TASK, frozen.identity, {}).save(tmp_path / "p")
    assert "found with tiny-sentence" in prompt.described()
    loads = {"tiny-sentence": sentences}
    monkeypatch.setattr(module, "SentenceEncoder", lambda name: SentenceEncoder(loads[name]))
    ours = list(Predictor(frozen, TASK, prompt).predict(QUERIES))
    assert list(TunedPrompt.load(place).predictor(frozen).predict(QUERIES)) == ours
    loads["tiny-sentence"] = encoder_backbone("bert")
    with pytest.raises(
        CuetuneError, match="'tiny-sentence' is not the model that the demonstrations were encoded with"
    ):
        TunedPrompt.load(place).predictor(frozen)


def test_no_folder_of_this_machine_is_kept():
    assert module._public("/home/me/models/e5") == "e5"
    assert module._public("intfloat/multilingual-e5-small") == "intfloat/multilingual-e5-small"


def test_damaged_demonstrations_are_refused():
    how = Choice(1, 1, 0, "backbone", "")
    good = {"tokens": torch.tensor([1, 2, 3]), "lengths": torch.tensor([2, 1]), "vectors": torch.eye(2)}
    NearestPrompt([], None, **good, how=how)
    for part, value in (
        ("tokens", torch.tensor([1, 2])),
        ("tokens", torch.tensor([1, -2, 3])),
        ("lengths", torch.tensor([3, 0])),
        ("lengths", torch.tensor([[2, 1]])),
        ("vectors", torch.eye(3)),
        ("vectors", torch.ones(2)),
        ("how", replace(how, k=3)),
        ("how", replace(how, k=0)),
        ("how", replace(how, encoder=7)),
    ):
        with pytest.raises(CuetuneError, match="demonstrations"):
            NearestPrompt([], None, **{**good, "how": how, part: value})


def test_a_damaged_folder_is_one_line(tmp_path):
    frozen = backbone()
    place = TunedPrompt(nearest_prompt(frozen, TASK, POOL, 2, "backbone"), TASK, frozen.identity, {}).save(
        tmp_path / "p"
    )
    record = json.loads((place / "cuetune.json").read_text())
    for change in ({"k": "many"}, {"k": 99}, {"encoder": None}, {"more": 1}):
        (place / "cuetune.json").write_text(json.dumps({**record, "spec": {**record["spec"], **change}}))
        with pytest.raises(CuetuneError, match=r"cuetune\.json"):
            TunedPrompt.load(place)
    with pytest.raises(CuetuneError, match="lacks"):
        NearestPrompt(
            [], None, torch.tensor([10**6]), torch.tensor([1]), torch.ones(1, 32), Choice(1, 1, 0, "backbone", "")
        ).per_row(frozen)


# Command line


def test_it_is_made_shown_evaluated_and_used_on_the_command_line(cuetune, tmp_path):
    data, place = write_csv(tmp_path / "rows.csv", rows(60)), tmp_path / "prompt"
    common = ("--model", folder(), "--dtype", "float32")
    made = ("--prompt", "nearest", "--shots", "3", "--prompt-option", "encoder=backbone", "--instruction", "Rate.")
    code, out, err = cuetune("tune", data, "--to", place, *common, *made)
    assert code == 0, err
    said = "the 3 nearest of 42 demonstrations, found with the frozen model itself"
    assert said in out
    assert "nothing is tuned" in out
    assert set(TunedPrompt.load(place).record["scores"]) == {"nearest", "zero-shot", "few-shot (k=3)"}
    code, out, err = cuetune("show", place)
    assert (code, said in out) == (0, True), err
    code, out, err = cuetune("predict", place, data, "--to", tmp_path / "out.csv", *common)
    assert code == 0, err
    code, out, err = cuetune("evaluate", place, data, *common)
    assert (code, "nearest" in out) == (0, True), err
    for words, fault in (
        (("--prompt-option", "rank=3"), "'nearest' has no option 'rank'"),
        (("--start", place), "starts from no other"),
        (("--shots", "0"), "give --shots 1 or more"),
    ):
        code, _, err = cuetune("tune", data, "--to", tmp_path / "p", *common, *made, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert fault in err
