"""Multitask prompts: the published counts, exact folding, mixed tasks like each alone, and two speeds."""

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.errors import CuetuneError
from cuetune.prompts import MultitaskPrompt, Prompt
from cuetune.prompts.multitask import ADAPTED_RATE, TASK_RATE
from tiny import backbone, encoder_backbone

WIDTH, LENGTH = 32, 5
NAMES = ["one", "two", "three"]
ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]


def moved(rank: int = 1, tasks=NAMES, **how) -> MultitaskPrompt:
    """A prompt away from its start, where all tasks are the same."""
    generator = torch.Generator().manual_seed(3)
    prompt = MultitaskPrompt(torch.randn(LENGTH, WIDTH, generator=generator), tasks, rank=rank, **how)
    with torch.no_grad():
        for parameter in prompt.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return prompt


@pytest.mark.parametrize(("tasks", "numbers"), [(1, 77_668), (8, 83_744)])
def test_the_published_counts(tasks, numbers):
    prompt = MultitaskPrompt(torch.zeros(100, 768), [f"task {number}" for number in range(tasks)])
    assert prompt.n_trained == numbers == 76_800 + 868 * tasks
    assert tasks == 1 or numbers // tasks == 10_468


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_step_zero_is_the_shared_prompt_itself(rank):
    shared = torch.randn(LENGTH, WIDTH)
    prompt = MultitaskPrompt(shared, NAMES, rank=rank)
    assert all(torch.equal(prompt.embeddings(number), shared) for number in range(3))


def test_every_rank_learns():
    prompt = MultitaskPrompt(torch.randn(LENGTH, WIDTH), NAMES, rank=3)
    (prompt.embeddings(1) * torch.randn(LENGTH, WIDTH)).sum().backward()
    assert (prompt.v.grad[1].abs().amax(dim=1) > 0).all(), "a rank whose v has no gradient stays at nothing for ever"
    assert not prompt.u.grad[0].any(), "only the task that was asked for learns"


@pytest.mark.parametrize("rank", [1, 3])
def test_a_task_is_the_elementwise_product_of_the_paper(rank):
    prompt = moved(rank)
    by_hand = torch.empty(LENGTH, WIDTH)
    for i in range(LENGTH):
        for j in range(WIDTH):
            scale = sum(prompt.u[2, i, r] * prompt.v[2, r, j] for r in range(rank))
            by_hand[i, j] = prompt.shared[i, j] * scale
    torch.testing.assert_close(prompt.embeddings(2), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("frozen", [backbone, encoder_backbone], ids=["causal", "encoder"])
@torch.no_grad()
def test_mixed_tasks_are_each_alone_and_folding_is_exact(frozen):
    prompt, model = moved(), frozen()
    parts = [(TokenBatch.of(ROWS), prompt.of_task(number).injection()) for number in range(3)]
    mixed = model.hidden_mixed(parts)
    for number in range(3):
        alone = model.hidden(TokenBatch.of(ROWS), prompt.of_task(number).fold().injection())
        torch.testing.assert_close(mixed[number], alone, rtol=1e-5, atol=1e-5)
        compiled = model.hidden(TokenBatch.of(ROWS), model.compile(prompt.of_task(number).injection()))
        torch.testing.assert_close(compiled, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixed[0], mixed[1], atol=1e-3), "tasks that answer alike would prove nothing"


def test_two_speeds_relative_to_size():
    prompt = moved()
    (shared, slow), (own, fast) = prompt.groups()
    size = prompt.shared.detach().pow(2).mean().sqrt().item()
    assert shared == [prompt.shared]
    assert own == [prompt.u, prompt.v]
    assert slow == 1.0
    assert fast == pytest.approx(TASK_RATE / size)
    frozen = MultitaskPrompt(prompt.shared, NAMES, frozen=True)
    assert [part for part, _ in frozen.groups()] == [[frozen.u, frozen.v]]
    assert frozen.n_trained == 3 * (LENGTH + WIDTH)


def test_a_new_task_starts_from_the_means():
    prompt = moved(rank=2)
    new = prompt.adapted(["new"])
    torch.testing.assert_close(new.u[0], sum(prompt.u) / 3)
    torch.testing.assert_close(new.v[0], sum(prompt.v) / 3)
    assert torch.equal(new.shared, prompt.shared)
    assert [rate for _, rate in new.groups()] == pytest.approx([ADAPTED_RATE * rate for _, rate in prompt.groups()])
    assert new.fold().kind == "soft"
    assert torch.equal(new.fold().embeddings, new.embeddings(0))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rebuilt_from_what_is_saved(rank):
    prompt = moved(rank, frozen=rank == 2)
    tensors = {name: value for name, value in prompt.state_dict().items() if value.numel()}
    again = Prompt.rebuild("multitask", prompt.spec(), tensors)
    assert again.tasks == prompt.tasks
    assert again.n_trained == prompt.n_trained
    assert again.spec() == prompt.spec()
    assert all(torch.equal(again.embeddings(number), prompt.embeddings(number)) for number in range(3))


def test_names_and_what_is_asked():
    with pytest.raises(CuetuneError, match="two tasks are named 'one'"):
        MultitaskPrompt(torch.ones(2, 4), ["one", "two", "one"])
    with pytest.raises(CuetuneError, match="no tasks"):
        MultitaskPrompt(torch.ones(2, 4), [])
    with pytest.raises(CuetuneError, match="nothing to train"):
        moved(rank=0).adapted(["new"], frozen=True)
    with pytest.raises(CuetuneError, match="3 tasks"):
        moved().injection()
    assert moved().fold().kind == "multitask"
