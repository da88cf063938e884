"""Label words against brute force: every label spelled out behind the row by the stock model, token by token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts import HardPrompt, SoftPrompt
from cuetune.readouts import GeneratedText, LabelWords, VocabularyWords
from tiny import FAMILIES, backbone, model

TEXTS = ["good xx", "it was bad and long, the longest of all", "é"]


def task_with(words: list[str], scoring: str = "walk") -> Task:
    labels = tuple(f"label {n}" for n in range(len(words)))
    return Task(labels=labels, label_words=tuple(words), scoring=scoring)


def examples(label: str | None = None) -> list[Example]:
    return [Example(f"row {n}", {"text": text}, label) for n, text in enumerate(TEXTS)]


def brute_force(
    family: str, prompt: torch.Tensor, rows: list[list[int]], words: list[list[int]], scoring: str = "walk"
) -> torch.Tensor:
    """Pr(label | row), every word in full in a pass of its own: token by token, among those that words go on with.

    scoring "vocabulary": from the log-probability of every word among the whole vocabulary.
    """
    bare = model(family)
    table = bare.get_input_embeddings()
    scores = []
    for row in rows:
        for word in words:
            whole = torch.cat([prompt, table(torch.tensor(row + word))])[None]
            logits = bare(inputs_embeds=whole).logits[0]
            end = len(prompt) + len(row) - 1
            total = torch.zeros(())
            for i, token in enumerate(word):
                can_follow = sorted({other[i] for other in words if other[:i] == word[:i]})
                among = can_follow if scoring == "walk" else list(range(logits.shape[-1]))
                total += logits[end + i, token] - logits[end + i, among].logsumexp(0)
            scores.append(total)
    logs = torch.stack(scores).view(len(rows), len(words))
    return logs.exp() if scoring == "walk" else logs.softmax(-1)


@pytest.mark.parametrize("scoring", ["walk", "vocabulary"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "words",
    [[" pos", " neg"], ["pos", "neg"], [" not", " not sure", " very good", " very bad", "x"], ["a", "ab", "abc", "b"]],
    ids=["one token", "several tokens", "prefix of another", "chain of prefixes"],
)
def test_scores_equal_brute_force(family, words, scoring):
    frozen, task = backbone(family), task_with(words, scoring)
    prompt = torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(0)) * 0.5
    predictor = Predictor(frozen, task, SoftPrompt(prompt))
    predicted = torch.tensor([each.probabilities for each in predictor.predict(examples())])
    rows = [predictor.renderer.shared + row.ids for row in predictor.renderer.render(examples())]
    with torch.no_grad():
        wanted = brute_force(family, prompt, rows, predictor.readout.words, scoring)
    assert torch.allclose(predicted, wanted, atol=2e-5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=2, max_size=6, unique=True))
def test_scores_equal_brute_force_for_any_words(words):
    test_scores_equal_brute_force("llama", words, "walk")


def test_a_label_that_begins_another_is_closed():
    closed = VocabularyWords(backbone(), task_with(["a", "ab", "b"])).words
    assert len({word[-1] for word in closed}) == 1
    alone = LabelWords(backbone(), task_with(["a", "ab", "b"])).words
    assert alone == [closed[0], closed[1][:-1], closed[2][:-1]]
    assert len(LabelWords(backbone(), task_with(["a", "b"])).words[0]) == 1


def test_labels_of_one_token_put_nothing_behind_the_row():
    readout = LabelWords(backbone(), task_with([" pos", "x"][1:] + ["y"]))
    assert readout.n_answer == 0


@pytest.mark.parametrize(("words", "said"), [(["", "b"], "no token"), (["a", "b", "b"], "twice")])
def test_words_that_cannot_be_scored_are_refused(words, said):
    with pytest.raises(CuetuneError, match=said):
        LabelWords(backbone(), task_with(words))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_written_answers_equals_the_row_by_row_one(family):
    frozen, task = backbone(family), Task(template="{text} =", labels=())
    rendered = list(Renderer(frozen.tokenizer, task).render(examples("good")))
    readout = GeneratedText(frozen, task)
    with torch.no_grad():
        ours = readout.row_losses(frozen, frozen.hidden(readout.rows(rendered, ())), rendered)
        for loss, row, answer in zip(ours, rendered, readout.answers(rendered), strict=True):
            logits = model(family)(input_ids=torch.tensor([row.ids + answer])).logits[0]
            wanted = torch.nn.functional.cross_entropy(logits[len(row.ids) - 1 : -1], torch.tensor(answer))
            assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert readout.answers(rendered)[0][-1] == frozen.tokenizer.eos_token_id


def greedy(family: str, prompt: torch.Tensor, row: list[int], n: int) -> list[int]:
    bare = model(family)
    table = bare.get_input_embeddings()
    whole = torch.cat([prompt, table(torch.tensor(row))])
    written = []
    for _ in range(n):
        token = bare(inputs_embeds=whole[None]).logits[0, -1].argmax()
        written.append(token.item())
        if written[-1] == bare.config.eos_token_id:
            break
        whole = torch.cat([whole, table(token)[None]])
    return written


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [[[5, 6, 7, 8, 9, 10, 11], [12], [13, 14, 15]], [[5, 6, 7]]], ids=["ragged", "alone"])
def test_a_batch_writes_what_each_row_writes_alone(family, rows):
    frozen = backbone(family)
    prompt = torch.randn(9, frozen.width, generator=torch.Generator().manual_seed(1)) * 0.5
    with torch.no_grad():
        written = generate(frozen, rows, frozen.compile(Injection(tokens={0: prompt})), Writing(max_tokens=12))
        wanted = [frozen.tokenizer.decode(greedy(family, prompt, row, 12), skip_special_tokens=True) for row in rows]
    assert written == wanted


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it():
    frozen, rows = backbone(), [[5, 6, 7], [8]]
    prompt = frozen.compile(Injection(), [3])
    whole = generate(frozen, rows, prompt, Writing(max_tokens=20))
    mark = whole[0][3:5]
    cut = generate(frozen, rows, prompt, Writing(max_tokens=20, stop=(mark,)))
    assert cut == [text.split(mark)[0] for text in whole]


def test_sampling_follows_the_seed():
    frozen = backbone()
    prompt = frozen.compile(Injection(), [3])

    def write(seed):
        return generate(frozen, [[5, 6]] * 2, prompt, Writing(max_tokens=16, temperature=3.0, seed=seed))

    assert write(1) == write(1)
    assert write(1) != write(2)


def test_hard_prompt_is_its_words():
    """The same words as a prompt, or in front of the row by hand, give the same answers."""
    frozen, task = backbone(), task_with([" pos", " neg"])
    ids = frozen.tokenizer("Say it. ")["input_ids"]
    hard = HardPrompt(ids, frozen.embed(torch.tensor(ids)))
    by_hand = Task(template="Say it. " + task.template, labels=task.labels, label_words=task.label_words)
    a = [each.probabilities for each in Predictor(frozen, task, hard).predict(examples())]
    b = [
        each.probabilities
        for each in Predictor(frozen, by_hand, HardPrompt([], frozen.embed(torch.tensor([]).long()))).predict(
            examples()
        )
    ]
    assert torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-5)
