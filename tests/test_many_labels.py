"""Label words of several tokens: what is learned is what is answered, and it costs the true label's own tokens."""

import json
import random
from dataclasses import replace

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.groups import Past
from cuetune.backbones.injection import Injection
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.library.digest import digest
from cuetune.library.record import RECORD
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.ensembling import ensemble
from cuetune.methods.multitask.distillation import Distillation
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.prompts.corrected import queries_of
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.prefix import PrefixPrompt
from cuetune.prompts.query import query_of
from cuetune.readouts import LabelWords, VocabularyWords, best_walk
from cuetune.tuning.loop import Tuner
from cuetune.tuning.objectives import cross_entropy
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from prompts.test_attempt import made as attempt
from test_readouts import brute_force, task_with
from tiny import ENCODER_DECODERS, FAMILIES, backbone, encoder_decoder_backbone

WORDS = [" not", " not sure", " very good", " very bad", "x", " vert"]
TEXTS = ["good xx", "it was bad and long, the longest of all", "é", "e"]
LABELS = ["label 1", "label 3", "label 0", "label 5"]


def labelled(labels: list[str] = LABELS) -> list[Example]:
    pairs = zip(TEXTS, labels, strict=True)
    return [Example(f"row {n}", {"text": text}, label) for n, (text, label) in enumerate(pairs)]


def hundred(n: int = 77) -> Task:
    """n labels of three tokens each: some letters are shared by many."""
    letters = "abcdefghij"
    words = [a + b + c for a in letters[:5] for b in letters[:4] for c in letters]
    return task_with(words[:n])


def losses_of_training(frozen, task, prompt, examples) -> torch.Tensor:
    readout = LabelWords(frozen, task).for_training()
    renderer = Renderer(frozen.tokenizer, task)
    rows = list(renderer.render(examples))
    hidden = frozen.hidden(readout.rows(rows, renderer.shared), prompt.injection())
    return readout.row_losses(frozen, hidden, rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", [WORDS, ["a", "ab", "abc", "b"]], ids=["a tree", "a chain"])
@torch.no_grad()
def test_what_is_learned_is_the_probability_of_the_walk(family, words):
    frozen, task = backbone(family), task_with(words)
    prompt = SoftPrompt(0.5 * torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(0)))
    examples = labelled([f"label {n}" for n in (1, 3, 0, 2)])
    renderer = Renderer(frozen.tokenizer, task)
    rows = [renderer.shared + row.ids for row in renderer.render(examples)]
    likely = brute_force(family, prompt.injection().tokens[0], rows, LabelWords(frozen, task).words)
    wanted = -likely[range(len(rows)), [1, 3, 0, 2]].log()
    torch.testing.assert_close(losses_of_training(frozen, task, prompt, examples), wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("frozen", [encoder_decoder_backbone(each) for each in ENCODER_DECODERS], ids=ENCODER_DECODERS)
@torch.no_grad()
def test_an_encoder_decoder_learns_what_it_answers(frozen):
    task, prompt = task_with(WORDS), SoftPrompt(torch.randn(3, frozen.width))
    answers = list(Predictor(frozen, task, prompt).predict(labelled()))
    truth = [task.labels.index(label) for label in LABELS]
    wanted = -torch.tensor([each.probabilities[label] for each, label in zip(answers, truth, strict=True)]).log()
    torch.testing.assert_close(losses_of_training(frozen, task, prompt, labelled()), wanted, rtol=1e-4, atol=2e-5)


def test_the_gradient_is_that_of_the_whole_tree():
    frozen, task = backbone("llama"), task_with(WORDS)
    readout, renderer = LabelWords(frozen, task), Renderer(frozen.tokenizer, task)
    rows = list(renderer.render(labelled()))
    gradients = []
    for laid in (readout, readout.for_training()):
        prompt = SoftPrompt(torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(2)))
        hidden = frozen.hidden(laid.rows(rows, renderer.shared), prompt.injection())
        laid.row_losses(frozen, hidden, rows).sum().backward()
        gradients.append(next(prompt.parameters()).grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("words", [[" pos", " neg"], ["x", "y", "b", "a"]])
def test_labels_of_one_token_keep_their_bits(words):
    frozen, found = backbone("llama"), []
    for scoring, kind in (("walk", LabelWords), ("vocabulary", VocabularyWords)):
        task = task_with(words, scoring)
        readout, renderer = kind(frozen, task).for_training(), Renderer(frozen.tokenizer, task)
        rows = list(renderer.render(labelled(["label 1", "label 0", "label 1", "label 0"])))
        prompt = SoftPrompt(torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(2)))
        hidden = frozen.hidden(readout.rows(rows, renderer.shared), prompt.injection())
        losses = readout.row_losses(frozen, hidden, rows)
        losses.mean().backward()
        found.append((readout.scores(frozen, hidden), losses, next(prompt.parameters()).grad))
    assert all(torch.equal(new, old) for new, old in zip(*found, strict=True))


def test_a_step_costs_the_tokens_of_the_true_label():
    frozen = backbone()
    tokens = {}
    for task in (task_with([" pos", " neg"]), hundred(77), hundred(200)):
        examples = labelled([task.labels[n % len(task.labels)] for n in (1, 76, 40, 199)])
        run = TextRun(frozen, SoftPrompt(torch.zeros(2, frozen.width)), TaskData(task, examples), Settings(), 0)
        tokens[len(task.labels)] = len(run.pack(range(len(run.rows))).ids)
    assert tokens[2] < max(tokens[77], tokens[200]) <= tokens[2] + 2 * len(TEXTS)


def test_the_tree_ends_where_labels_are_told_apart():
    frozen = backbone()
    tree = LabelWords(frozen, task_with(["apple", "axe", "bee", "cat"])).tree
    assert tree.ids.tolist() == frozen.tokenizer("a")["input_ids"]  # p or x; the others by their first token
    assert VocabularyWords(frozen, task_with(["apple", "axe", "bee", "cat"])).tree.ids.numel() == 4 + 1 + 2 + 2
    deep = LabelWords(frozen, task_with(["abcd", "abce"]))
    assert deep.tree.ids.numel() == deep.n_answer == 3


@pytest.mark.parametrize("examine", [query_of, queries_of], ids=["pools", "corrected"])
@torch.no_grad()
def test_a_prompt_that_looks_at_rows_does_not_see_the_answer(examine):
    frozen, task = backbone("llama"), task_with(WORDS)
    readout, renderer = LabelWords(frozen, task), Renderer(frozen.tokenizer, replace(task, template="{text}"))
    for examples in (labelled(), labelled(["label 2"] * 4), [replace(labelled()[3], label="label 5")]):
        rows = list(renderer.render(examples))
        bare = examine(frozen, TokenBatch.of([row.ids for row in rows]))
        for laid in (readout, readout.for_training()):
            torch.testing.assert_close(examine(frozen, laid.rows(rows, ())), bare, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attempt_does_not_see_the_answer():
    frozen, task, prompt = backbone("llama"), task_with(WORDS), attempt()
    readout, renderer = LabelWords(frozen, task), Renderer(frozen.tokenizer, task)
    rows = list(renderer.render(labelled()))
    bare = prompt.for_rows(frozen, TokenBatch.of([row.ids for row in rows])).tokens[0]
    for laid in (readout, readout.for_training()):
        assert torch.equal(prompt.for_rows(frozen, laid.rows(rows, renderer.shared)).tokens[0], bare)


def tuner(frozen, prompt, task, objectives, **options) -> Tuner:
    settings = Settings(steps=2, batch_size=4, **options).resolved(frozen, 4, prompt)
    return Tuner(frozen, prompt, TaskData(task, labelled(), labelled()), settings, objectives=objectives)


def test_a_late_prompt_goes_on_from_states_of_the_true_path():
    frozen, task = backbone("llama"), task_with(WORDS)
    start = torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(3))
    late, losses = LatePrompt(start[None], layer=1), []
    run = tuner(frozen, late, task, [cross_entropy])
    losses.append(run._loss(run.batches.of(0)).item())
    run.runs[0].freeze(1, None)
    losses.append(run._loss(run.batches.of(0)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_distillation_gets_the_scores_of_all_labels():
    frozen, task = backbone("llama"), task_with(WORDS)
    teacher = SoftPrompt(torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(4)))
    student = SoftPrompt(teacher.injection().tokens[0].detach().clone())
    alone = tuner(frozen, student, task, [cross_entropy])
    guided = tuner(frozen, student, task, [cross_entropy, Distillation([teacher], 1.0)])
    guided._prepare()
    losses = [each._loss(each.batches.of(0)).item() for each in (alone, guided)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # a student that is its teacher has nothing to learn


def saved(folder, frozen, scoring: str) -> TunedPrompt:
    prompt = SoftPrompt(torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(5)))
    tuned = TunedPrompt(prompt, task_with(WORDS, scoring), frozen.identity, {})
    tuned.save(folder)
    return tuned


def answers(tuned: TunedPrompt, frozen) -> list[tuple[float, ...]]:
    return [each.probabilities for each in tuned.predictor(frozen).predict(labelled())]


def test_prompts_saved_before_answer_as_they_did(tmp_path):
    frozen = backbone("llama")
    former = saved(tmp_path / "former", frozen, "vocabulary")
    file = tmp_path / "former" / RECORD
    values = json.loads(file.read_text())
    del values["task"]["scoring"]  # as earlier versions wrote it
    file.write_text(json.dumps(values))
    loaded = TunedPrompt.load(tmp_path / "former")
    renderer = Renderer(frozen.tokenizer, loaded.task)
    rows = [renderer.shared + row.ids for row in renderer.render(labelled())]
    words = VocabularyWords(frozen, loaded.task).words
    with torch.no_grad():
        wanted = brute_force("llama", former.prompt.injection().tokens[0], rows, words, "vocabulary")
    torch.testing.assert_close(torch.tensor(answers(loaded, frozen)), wanted, rtol=1e-4, atol=2e-5)
    assert Task.from_dict(values["task"]).scoring == "vocabulary"
    assert digest(loaded) == digest(former)
    assert TunedPrompt.load(saved(tmp_path / "new", frozen, "walk").save(tmp_path / "again")).task.scoring == "walk"


def test_an_ensemble_of_both_walks(tmp_path):
    frozen = backbone("llama")
    for name, scoring in (("former", "vocabulary"), ("new", "walk")):
        saved(tmp_path / name, frozen, scoring)
    both = ensemble([tmp_path / "former", tmp_path / "new"], tmp_path / "both")
    assert TunedPrompt.load(both).task.scoring == "walk"


def many_texts(count: int = 40) -> list[Example]:
    draw = random.Random(0)
    texts = ("".join(draw.choice("abcdefgh xyz") for _ in range(draw.randint(1, 40))) for _ in range(count))
    return [Example(f"row {n}", {"text": text}, None) for n, text in enumerate(texts)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", [WORDS, hundred(200).label_words, ["a0", "a1", "a11", "a110"]], ids=len)
def test_the_best_walk_finds_what_the_whole_tree_finds(family, words, monkeypatch):
    monkeypatch.setattr(best_walk, "WALK_FROM", 1)
    frozen, task = backbone(family), task_with(list(words))
    for scale in (0.1, 3.0):
        prompt = SoftPrompt(scale * torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(6)))
        predictor = Predictor(frozen, task, prompt)
        whole, best = (list(predictor.predict(many_texts(), best_only=best)) for best in (False, True))
        assert [each.label for each in best] == [each.label for each in whole]
        assert not any(each.probabilities for each in best)
        confidences = ([each.confidence for each in answers] for answers in (whole, best))
        torch.testing.assert_close(*map(torch.tensor, confidences), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["prefix", "dept", "late"])
def test_the_best_walk_goes_behind_every_kind_of_compiled_prompt(kind, monkeypatch):
    monkeypatch.setattr(best_walk, "WALK_FROM", 1)
    frozen, generator = backbone("mistral"), torch.Generator().manual_seed(7)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    layers, heads, size = frozen.kv_shape
    offsets = OffsetPrompt(numbers(2, frozen.width), 20, 2)
    torch.nn.init.normal_(offsets.right, generator=generator)
    prompt = {
        "prefix": PrefixPrompt(numbers(layers, heads, 5, size), numbers(layers, heads, 5, size)),
        "dept": offsets,
        "late": LatePrompt(numbers(1, 3, frozen.width), layer=1),
    }[kind]
    predictor = Predictor(frozen, hundred(200), prompt)
    whole, best = (list(predictor.predict(many_texts(), best_only=best)) for best in (False, True))
    assert [each.label for each in best] == [each.label for each in whole]
    confidences = ([each.confidence for each in answers] for answers in (whole, best))
    torch.testing.assert_close(*map(torch.tensor, confidences), rtol=1e-4, atol=1e-6)


def test_the_best_walk_reads_few_branches(monkeypatch):
    frozen, read = backbone("llama"), []
    predictor = Predictor(frozen, hundred(200), SoftPrompt(torch.zeros(3, frozen.width)))
    behind = frozen.hidden_behind

    def counted(past: Past, rows: TokenBatch, prompt: Injection) -> torch.Tensor:
        read.extend(rows.lengths)
        return behind(past, rows, prompt)

    monkeypatch.setattr(frozen, "hidden_behind", counted)
    table = frozen._head.weight
    monkeypatch.setattr(frozen, "logits", lambda states, words=None: 40 * states @ table[words].t())  # a sure model
    list(predictor.predict(many_texts(), best_only=True))
    assert 40 <= len(read) <= 100  # of 25 forks for each of 40 rows


def test_all_probabilities_are_computed_where_prompts_weigh_them(tmp_path):
    frozen = backbone("llama")
    for name in ("first", "second"):
        saved(tmp_path / name, frozen, "walk")
    both = TunedPrompt.load(ensemble([tmp_path / "first", tmp_path / "second"], tmp_path / "both"))
    (answer, *_) = both.predictor(frozen).predict(labelled(), best_only=True)
    assert len(answer.probabilities) == len(WORDS)
