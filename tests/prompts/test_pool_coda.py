"""CODA-Prompt's mathematics: the published equations by hand, Gram-Schmidt, growth, and what stays frozen."""

import pytest
import torch

from cuetune.errors import CuetuneError
from cuetune.prompts import CodaPrompt
from cuetune.prompts.pool import PoolShape
from cuetune.prompts.pool_coda import gram_schmidt, key_weights

SHAPE = PoolShape(query=48, heads=4, size=12, layers=(0, 1, 2))


def made(tasks: int = 2, **options) -> CodaPrompt:
    prompt = CodaPrompt(SHAPE, **{"length": 8, "components": 5, **options})
    for task in range(tasks):
        prompt.grow(seed=task)
        with torch.no_grad():  # as if it had been trained
            for part in prompt.parameters():
                part += 0.1 * torch.randn(part.shape, generator=torch.Generator().manual_seed(9 + task))
    return prompt


def queries(count: int = 7) -> torch.Tensor:
    return 3 * torch.randn(count, SHAPE.query, generator=torch.Generator().manual_seed(1))


def naive(query: torch.Tensor, attention: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The published code's form: normalise q ∘ A and K, and multiply, with a tensor (B, f, D)."""
    attended = query[:, None] * attention[None]
    attended = attended / attended.norm(dim=-1, keepdim=True)
    return torch.einsum("bfd,fd->bf", attended, keys / keys.norm(dim=-1, keepdim=True))


def test_weights_are_cosines_of_attended_queries():
    prompt, query = made(), queries()
    weights = prompt.weights(query)
    assert weights.shape == (3, 7, 10)
    assert weights.abs().max() <= 1 + 1e-6
    for layer in range(3):
        wanted = naive(query, prompt.attention()[layer], prompt.keys()[layer])
        torch.testing.assert_close(weights[layer], wanted, rtol=1e-5, atol=1e-6)
    aligned = key_weights(query[:1], torch.ones(1, 1, 48), query[None, :1])
    assert aligned.item() == pytest.approx(1.0, abs=1e-6)


def test_the_gradient_is_that_of_the_broadcast_form():
    attention, keys, query = (torch.randn(4, 48, generator=torch.Generator().manual_seed(n)) for n in range(3))
    gradients = []
    for form in (lambda *parts: key_weights(parts[0], parts[1][None], parts[2][None])[0], naive):
        parts = [part.clone().requires_grad_() for part in (query, attention, keys)]
        form(*parts).square().sum().backward()
        gradients.append([part.grad for part in parts])
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)


def test_no_tensor_holds_a_number_for_each_row_component_and_dimension():
    largest = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            largest.append(result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    batch, count, width = 64, 50, 96
    parts = [torch.randn(count, width, requires_grad=True) for _ in range(2)]
    query = torch.randn(batch, width)
    with Watch():
        key_weights(query, *(part[None] for part in parts)).sum().backward()
    assert 0 < max(largest) <= max(batch, count) * width


def test_a_row_without_a_query_moves_nothing():
    prompt = made(1)
    made_of = prompt.of(torch.zeros(2, SHAPE.query)).kv[0][0]
    assert not made_of.any()
    made_of.sum().backward()
    assert all(part.grad is None or part.grad.isfinite().all() for part in prompt.parameters())


def test_a_prompt_of_length_eight_is_four_keys_and_four_values_in_each_layer():
    prompt, query = made(), queries()
    injection = prompt.of(query)
    assert list(injection.kv) == [0, 1, 2]
    assert (injection.n_kv, injection.n_tokens, injection.per_row) == (4, 0, True)
    weights = prompt.weights(query)
    for layer in range(3):
        whole = (weights[layer] @ prompt.components()[layer]).view(7, 8, 48)
        for part, half in zip(injection.kv[layer], (whole[:, :4], whole[:, 4:]), strict=True):
            assert part.shape == (7, 4, 4, 12)
            for head in range(4):
                torch.testing.assert_close(part[:, head], half[:, :, 12 * head : 12 * head + 12])


def test_the_same_query_asks_in_every_layer():
    prompt, query = made(), queries()
    with torch.no_grad():
        for part in (prompt.components, prompt.keys, prompt.attention):
            part.kept[1], part.current[1] = part.kept[0], part.current[0]
    injection = prompt.of(query)
    assert torch.equal(injection.kv[0][0], injection.kv[1][0])
    assert not torch.equal(injection.kv[0][0], injection.kv[2][0])


def test_new_rows_are_orthonormal_and_orthogonal_to_what_was_trained():
    first = CodaPrompt(SHAPE, components=6)
    first.grow(seed=0)
    later = made(2)
    kept = later.keys.kept.clone()
    later.grow(seed=7)
    for part, earlier in ((first.components, None), (first.keys, None), (first.attention, None), (later.keys, kept)):
        for layer in range(3):
            rows = part.current[layer].detach()
            products = rows @ rows.T
            assert (products - torch.eye(len(rows))).abs().max() < 1e-5
            if earlier is not None:
                assert (rows @ earlier[layer].T).abs().max() < 1e-5


def test_gram_schmidt_by_hand():
    generator = torch.Generator().manual_seed(3)
    found = gram_schmidt(torch.zeros(0, 20), 4, generator)
    drawn = torch.randn(4, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    wanted: list[torch.Tensor] = []
    for vector in drawn:
        left = vector - sum(((vector @ row) * row for row in wanted), torch.zeros(20, dtype=torch.float64))
        wanted.append(left / left.norm())
    torch.testing.assert_close(found, torch.stack(wanted).float(), rtol=1e-5, atol=1e-6)


def test_more_tasks_than_there_are_directions():
    prompt = made(0)
    for task in range(14):  # 14 · 5 components of 48 numbers
        prompt.grow(seed=task)
    rows = prompt.keys.current[0].detach()
    assert len(prompt.keys) == 70
    assert (rows @ rows.T - torch.eye(5)).abs().max() < 1e-5
    with pytest.raises(CuetuneError, match="60 components for vectors of 48 numbers"):
        made(1, components=60)


def test_only_the_rows_of_the_last_task_are_trained():
    prompt = made(3)
    assert prompt.n_trained == 3 * 5 * (8 * 48 + 2 * 48)
    before = {name: value.clone() for name, value in prompt.state_dict().items()}
    optimizer = torch.optim.AdamW(prompt.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        prompt.of(queries()).kv[1][0].square().sum().backward()
        optimizer.step()
    after = prompt.state_dict()
    for name in ("components", "keys", "attention"):
        assert torch.equal(after[f"{name}.kept"], before[f"{name}.kept"])
        assert not torch.equal(after[f"{name}.current"], before[f"{name}.current"])
    prompt.grow(seed=5)
    for name in ("components", "keys", "attention"):
        assert torch.equal(prompt.state_dict()[f"{name}.kept"][:, 10:15], after[f"{name}.current"])


def test_a_new_task_changes_no_weight_of_the_earlier_components():
    prompt, query = made(2), queries()
    before = prompt.weights(query)
    prompt.grow(seed=4)
    assert torch.equal(prompt.weights(query)[..., :10], before) or torch.allclose(
        prompt.weights(query)[..., :10], before, atol=1e-6
    )


def test_the_penalty_is_the_papers():
    prompt = made(2, orthogonality=0.1)
    wanted = torch.zeros(())
    for part in (prompt.components(), prompt.keys(), prompt.attention()):
        for rows in part:
            wanted = wanted + ((rows @ rows.T - torch.eye(10)) ** 2).mean()
    assert prompt.penalty(queries()).item() == pytest.approx(0.1 * wanted.item(), rel=1e-5)
    assert made(2).penalty(queries()) is None


def test_sizes_scale_keys_and_values():
    sizes = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    plain, scaled = made(), made(sizes=sizes)
    for layer in range(3):
        for number in range(2):
            before = plain.of(queries()).kv[layer][number]
            torch.testing.assert_close(scaled.of(queries()).kv[layer][number], before * sizes[layer, number])


def test_bad_options():
    for options in ({"length": 7}, {"length": 0}, {"components": 0}):
        with pytest.raises(CuetuneError, match="components of length"):
            CodaPrompt(SHAPE, **options)
