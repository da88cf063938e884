"""Every pool of prompts: the same answers in a batch, alone, mixed and after saving; what is selected, by hand."""

from dataclasses import replace

import pytest
import torch

from cuetune.backbones.batches import ImageBatch, TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.text import Predictor
from cuetune.prompts import CodaPrompt, DualPrompt, L2PPrefixPrompt, L2PPrompt, Prompt, TaskPrompts
from cuetune.prompts.pool import PoolPrompt, PoolShape
from cuetune.prompts.query import query_of, with_queries
from cuetune.readouts import LabelWords, TextHead
from tiny import backbone, encoder_backbone, rows
from tiny_vision import image_backbone, pixels

ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [13], [20, 21]]
TASK = Task(template="Say {text} =", labels=("pos", "neg"), name="mood")
KINDS = ("coda", "l2p", "l2p-prefix", "dual", "task-prompts")


def made(kind: str, frozen, tasks: int = 3) -> PoolPrompt:
    """A pool that has grown for three tasks and whose every number was moved, as by training."""
    shape = PoolShape.of(frozen)
    build = {
        "coda": lambda: CodaPrompt(shape, length=4, components=3),
        "l2p": lambda: L2PPrompt.begin(PoolShape.of(frozen, (0,)), frozen.width, pool=6, length=2, top=3),
        "l2p-prefix": lambda: L2PPrefixPrompt.begin(shape, pool=6, length=4, top=3),
        "dual": lambda: DualPrompt.begin(shape, general=1, shared=2, length=4),
        "task-prompts": lambda: TaskPrompts(shape, length=4),
    }
    prompt = build[kind]()
    generator = torch.Generator().manual_seed(5)
    for task in range(tasks):
        prompt.grow(seed=task)
        with torch.no_grad():
            for part in prompt.parameters():
                part += torch.randn(part.shape, generator=generator)
        prompt.finish(torch.randn(9, shape.query, generator=generator))
    return prompt


def same(found, wanted) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
@torch.no_grad()
def test_a_batch_of_texts_is_its_rows(kind, family):
    frozen, shared = backbone(family), [3, 4]
    prompt = made(kind, frozen)
    whole = TokenBatch.of(ROWS, shared)
    injection = prompt.for_rows(frozen, whole)
    frozen.check(injection)
    batch = frozen.hidden(whole, injection).split([len(ids) for ids in ROWS])
    others = []
    for states, ids in zip(batch, ROWS, strict=True):
        alone = TokenBatch.of([ids], shared)
        same(states, frozen.hidden(alone, prompt.for_rows(frozen, alone)))
        others.append(states[-1])
    assert not torch.allclose(others[0], others[1], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_packed_rows_are_the_stock_model_on_each_rows_own_prompt(kind):
    """What a row's prompt adds, given to it alone and shared, makes the same of it."""
    frozen = backbone("llama")
    prompt = made(kind, frozen)
    injection = prompt.for_rows(frozen, TokenBatch.of(ROWS))
    batch = frozen.hidden(TokenBatch.of(ROWS), injection).split([len(ids) for ids in ROWS])
    for number, (states, ids) in enumerate(zip(batch, ROWS, strict=True)):
        tokens = {layer: part[number] for layer, part in injection.tokens.items()}
        kv = {layer: (keys[number], values[number]) for layer, (keys, values) in injection.kv.items()}
        same(states, frozen.hidden(TokenBatch.of([ids]), Injection(tokens=tokens, kv=kv)))


@torch.no_grad()
def test_rows_of_several_streams_in_one_pass_are_each_alone():
    frozen = backbone("llama")
    prompts = [made(kind, frozen) for kind in KINDS]
    asked = [TokenBatch.of(ROWS[number % 3 :], [3]) for number in range(len(prompts))]
    carrying = with_queries(frozen, asked)
    parts = [(each, prompt.for_rows(frozen, each)) for each, prompt in zip(carrying, prompts, strict=True)]
    for (each, _), prompt, states in zip(parts, prompts, frozen.hidden_mixed(parts), strict=True):
        alone = replace(each, query=None)
        same(states, frozen.hidden(alone, prompt.for_rows(frozen, alone)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["vit", "registers"])
@torch.no_grad()
def test_a_batch_of_pictures_is_its_pictures(kind, family):
    frozen, seen = image_backbone(family), pixels(3)
    prompt = made(kind, frozen)
    together = ImageBatch(seen)
    (batch,) = frozen.hidden_mixed([(together, prompt.for_rows(frozen, together))])
    for number in range(3):
        alone = ImageBatch(seen[number : number + 1])
        same(batch[number], frozen.hidden_mixed([(alone, prompt.for_rows(frozen, alone))])[0][0])
    (plain,) = frozen.hidden_mixed([(together, Injection())])
    assert not torch.allclose(batch, plain, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_what_is_trained_and_nothing_else(kind):
    frozen = backbone("llama")
    prompt = made(kind, frozen)
    states = frozen.hidden(TokenBatch.of(ROWS), prompt.of_task(0).for_rows(frozen, TokenBatch.of(ROWS)))
    penalty = prompt.penalty(query_of(frozen, TokenBatch.of(ROWS)))
    (states.square().sum() + (0 if penalty is None else penalty)).backward()
    for name, part in prompt.named_parameters():
        assert part.grad is not None, name
        assert part.grad.any(), name
    assert all(each.grad is None for each in frozen.model.parameters())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(kind, tmp_path):
    frozen = backbone("llama")
    prompt = made(kind, frozen)
    examples = [TASK.example(row) for row in read_rows(rows(6))]
    answers = [each.probabilities for each in Predictor(frozen, TASK, prompt).predict(examples)]
    TunedPrompt(prompt, TASK, frozen.identity, {}).save(tmp_path / "saved")
    loaded = TunedPrompt.load(tmp_path / "saved")
    assert type(loaded.prompt) is type(prompt)
    assert [each.probabilities for each in loaded.predictor(frozen).predict(examples)] == answers
    whole = loaded.prompt.state_dict()
    assert all(torch.equal(whole[name], value) for name, value in prompt.state_dict().items())
    loaded.prompt.grow(seed=8)
    prompt.grow(seed=8)
    assert all(torch.equal(loaded.prompt.state_dict()[name], value) for name, value in prompt.state_dict().items())


@torch.no_grad()
def test_a_query_is_the_frozen_state_that_a_head_reads():
    frozen, examples = backbone("llama"), [TASK.example(row) for row in read_rows(rows(3))]
    predictor = Predictor(frozen, TASK, made("coda", frozen))
    rendered = list(predictor.renderer.render(examples))
    for pooling in ("last", "mean"):
        packed = TextHead(frozen, TASK, pooling).rows(rendered, predictor.renderer.shared)
        same(query_of(frozen, packed), frozen.hidden(packed).float())
    spelled = replace(TASK, label_words=(" posh", " post"))
    by_words = LabelWords(frozen, spelled).rows(rendered, predictor.renderer.shared)
    last = TextHead(frozen, TASK, "last").rows(rendered, predictor.renderer.shared)
    assert by_words.tail is not None, "answers of several tokens stand behind each row"
    same(query_of(frozen, by_words), query_of(frozen, last))
    assert torch.equal(query_of(frozen, replace(last, query=torch.ones(3, 32))), torch.ones(3, 32))


@torch.no_grad()
def test_on_encoders_too():
    frozen = encoder_backbone("bert")
    prompt = made("coda", frozen)
    batch = frozen.hidden(TokenBatch.of(ROWS), prompt.for_rows(frozen, TokenBatch.of(ROWS))).split(
        [len(ids) for ids in ROWS]
    )
    for states, ids in zip(batch, ROWS, strict=True):
        same(states, frozen.hidden(TokenBatch.of([ids]), prompt.for_rows(frozen, TokenBatch.of([ids]))))


def test_l2p_takes_the_nearest_and_pulls_their_keys():
    shape = PoolShape(query=4, heads=1, size=4, layers=(0,))
    keys = torch.eye(4)[None]
    prompts = torch.arange(4.0)[None, :, None, None].expand(1, 4, 2, 4)
    query = torch.tensor([[3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 5.0]])
    prompt = L2PPrompt(shape, prompts, keys, top=2, key_loss_weight=0.5)
    tokens = prompt.of(query).tokens[0]
    assert tokens[:, :, 0].tolist() == [[0, 0, 1, 1], [3, 3, 2, 2]]
    cosines = [(3 + 2) / 13**0.5, (1 + 5) / 26**0.5]
    assert prompt.penalty(query).item() == pytest.approx(0.5 * sum(2 - each for each in cosines) / 2, rel=1e-5)
    prefix = L2PPrefixPrompt(shape, prompts, keys, top=2).of(query)
    assert prefix.n_kv == 2
    assert prefix.kv[0][0][0, 0, :, 0].tolist() == [0, 1]
    with pytest.raises(CuetuneError, match="the 5 nearest of 4 prompts"):
        L2PPrompt(shape, prompts, keys, top=5)


def test_dual_prompt_knows_the_task_while_it_learns_and_finds_it_afterwards():
    shape = PoolShape(query=4, heads=1, size=4, layers=(0, 1, 2))
    prompt = DualPrompt.begin(shape, general=1, shared=2, length=2)
    for task in range(3):
        prompt.grow(seed=task)
    with torch.no_grad():
        whole = torch.eye(4)[:3].expand(2, 3, 4)
        prompt.keys.kept.copy_(whole[:, :2])
        prompt.keys.current.copy_(whole[:, 2:])
    query = torch.tensor([[0.1, 5.0, 0.0, 0.2]])
    expert = prompt.experts()[:, 1].detach()
    found = prompt.of(query)
    assert torch.equal(found.kv[1][0][0, 0, 0], expert[0, 0])
    assert torch.equal(found.kv[2][1][0, 0, 0], expert[1, 1])
    asked = replace(TokenBatch.of([[1]]), query=query)
    while_learning = prompt.of_task(0).for_rows(backbone("llama"), asked)
    assert torch.equal(while_learning.kv[1][0], prompt.of_current(query).kv[1][0])
    assert torch.equal(prompt.of_current(query).kv[1][0][0, 0, 0], prompt.experts.current[0, 0, 0])
    assert torch.equal(found.kv[0][0][0, 0], prompt.general[0, :1])
    cosine = query[0, 2] / query.norm()
    assert prompt.penalty(query).item() == pytest.approx(2 * (1 - cosine.item()), rel=1e-5)
    with pytest.raises(CuetuneError, match="needs a layer for the tasks' own prompts behind 3"):
        DualPrompt.begin(shape, general=3)


def test_one_prompt_per_task_is_that_of_the_nearest_mean():
    prompt = TaskPrompts(PoolShape(query=3, heads=1, size=2, layers=(0,)), length=2)
    means = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for task, mean in enumerate(means):
        prompt.grow(seed=task)
        prompt.finish(torch.stack([mean + 0.5, mean - 0.5]))
    same(prompt.keys, means)
    keys = prompt.of(torch.tensor([[0.2, 3.0, 0.1], [9.0, 1.0, 0.0]])).kv[0][0]
    assert torch.equal(keys[:, 0, 0], prompt.prompts()[0, [1, 0], 0])


def test_bad_shapes():
    with pytest.raises(CuetuneError, match=r"layers \[7\]: tiny-llama has layers 0 to 2"):
        PoolShape.of(backbone("llama"), [7])
    odd = TaskPrompts(PoolShape.of(backbone("llama")), length=3)
    odd.grow(0)
    with pytest.raises(CuetuneError, match="a prompt of length 3"):
        odd.of_current(torch.ones(1, 32))
    prompt = made("coda", backbone("llama"))
    tensors = {**prompt.state_dict(), "keys.kept": torch.zeros(3, 6, 9)}
    with pytest.raises(CuetuneError, match="keys: numbers of"):
        Prompt.rebuild("coda", prompt.spec(), tensors)
