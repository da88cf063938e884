"""The properties that make every number trustworthy, on six model families and under random shapes.

The oracle is the unwrapped model of transformers, run row by row on `[prompt ; text]` without padding.
"""

import random
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection
from tiny import FAMILIES, LAYERS, WIDTH, backbone, model, stock_logits

# With `slow` set aside, hypothesis draws a few shapes per family; models are tiny, so each costs milliseconds.
few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
token_rows = st.lists(st.lists(st.integers(2, 250), min_size=1, max_size=14), min_size=1, max_size=5)
shared_text = st.lists(st.integers(2, 250), max_size=4)


@cache
def bare(family: str):
    """The same weights, never wrapped."""
    return model(family)


def random_prompt(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.5


def oracle(family: str, prompt: torch.Tensor, shared: list[int], rows: list[list[int]]) -> torch.Tensor:
    """Logits of every row token, rows one by one, joined."""
    table = bare(family).get_input_embeddings()
    logits = []
    for row in rows:
        whole = torch.cat([prompt, table(torch.tensor(shared + row))])
        logits.append(stock_logits(bare(family), whole)[len(prompt) + len(shared) :])
    return torch.cat(logits)


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(1, 9))
def test_a_packed_batch_equals_its_rows_one_by_one(family, rows, shared, length):
    prompt, frozen = random_prompt(length), backbone(family)
    with torch.no_grad():
        ours = frozen.logits(frozen.hidden(TokenBatch.of(rows, shared), Injection(tokens={0: prompt})))
        assert error(ours, oracle(family, prompt, shared, rows)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(1, 9))
def test_a_compiled_prompt_equals_the_uncompiled(family, rows, shared, length):
    prompt, frozen = random_prompt(length), backbone(family)
    compiled = frozen.compile(Injection(tokens={0: prompt}), shared)
    assert compiled.n_kv == length + len(shared)
    with torch.no_grad():
        ours = frozen.logits(frozen.hidden(TokenBatch.of(rows), compiled))
        assert error(ours, oracle(family, prompt, shared, rows)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(rows=token_rows, shared=shared_text, lengths=st.lists(st.integers(1, 6), min_size=2, max_size=3))
def test_a_mixed_batch_of_prompts_equals_each_prompt_alone(family, rows, shared, lengths):
    """Prompts of different lengths in one pass: some as tokens, some compiled, some with shared text."""
    frozen = backbone(family)
    prompts = [random_prompt(length, seed) for seed, length in enumerate(lengths)]
    parts = [(TokenBatch.of(rows, shared), Injection(tokens={0: prompts[0]}))]
    parts += [(TokenBatch.of(rows), frozen.compile(Injection(tokens={0: prompt}), shared)) for prompt in prompts[1:]]
    with torch.no_grad():
        for prompt, hidden in zip(prompts, frozen.hidden_mixed(parts), strict=True):
            assert error(frozen.logits(hidden), oracle(family, prompt, shared, rows)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(1, 6))
def test_a_prompt_per_row_equals_each_row_alone(family, rows, shared, length):
    """(B, P, d) tokens, and the same prompts compiled and stacked as (B, h_kv, P, d_h) keys and values."""
    frozen = backbone(family)
    prompts = torch.stack([random_prompt(length, seed) for seed in range(len(rows))])
    wanted = torch.cat([oracle(family, prompt, shared, [row]) for prompt, row in zip(prompts, rows, strict=True)])
    with torch.no_grad():
        as_tokens = frozen.hidden(TokenBatch.of(rows, shared), Injection(tokens={0: prompts}))
        assert error(frozen.logits(as_tokens), wanted) < 1e-5
        as_kv = frozen.hidden(
            TokenBatch.of(rows), stacked([frozen.compile(Injection(tokens={0: p}), shared) for p in prompts])
        )
        assert error(frozen.logits(as_kv), wanted) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_many_rows_in_any_order_equal_each_alone(family):
    """Enough rows for several blocks, lengths mixed up: everything comes back in the caller's order."""
    draw = random.Random(0)
    rows = [[draw.randrange(2, 250) for _ in range(draw.randint(1, 20))] for _ in range(40)]
    prompts = torch.stack([random_prompt(3, seed) for seed in range(len(rows))])
    frozen = backbone(family)
    with torch.no_grad():
        shared = frozen.logits(frozen.hidden(TokenBatch.of(rows, [7]), Injection(tokens={0: prompts[0]})))
        assert error(shared, oracle(family, prompts[0], [7], rows)) < 1e-5
        each = frozen.logits(frozen.hidden(TokenBatch.of(rows, [7]), Injection(tokens={0: prompts})))
        wanted = torch.cat([oracle(family, prompt, [7], [row]) for prompt, row in zip(prompts, rows, strict=True)])
        assert error(each, wanted) < 1e-5


def stacked(compiled: list[Injection]) -> Injection:
    """Compiled prompts of different lengths as one per-row injection, padded behind."""
    longest = max(each.n_kv for each in compiled)

    def padded(part: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1]))

    kv = {
        layer: tuple(torch.stack([padded(each.kv[layer][which]) for each in compiled]) for which in (0, 1))
        for layer in compiled[0].kv
    }
    return Injection(kv=kv, lengths=torch.tensor([each.n_kv for each in compiled]))


@pytest.mark.parametrize("family", FAMILIES)
def test_stacked_prompts_of_different_lengths_equal_each_alone(family):
    frozen, rows = backbone(family), [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
    prompts = [random_prompt(length, length) for length in (2, 7, 4)]
    injection = stacked([frozen.compile(Injection(tokens={0: prompt})) for prompt in prompts])
    wanted = torch.cat([oracle(family, prompt, [], [row]) for prompt, row in zip(prompts, rows, strict=True)])
    with torch.no_grad():
        assert error(frozen.logits(frozen.hidden(TokenBatch.of(rows), injection)), wanted) < 1e-5


def naive_loss(family: str, prompt: torch.Tensor, shared: list[int], rows: list[list[int]], targets: list[int]):
    """The padded, row-by-row computation: mean cross-entropy at each row's last token, over the whole vocabulary."""
    table = bare(family).get_input_embeddings()
    losses = [
        torch.nn.functional.cross_entropy(
            stock_logits(bare(family), torch.cat([prompt, table(torch.tensor(shared + row))]))[-1:],
            torch.tensor([target]),
        )
        for row, target in zip(rows, targets, strict=True)
    ]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("family", FAMILIES)
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(1, 9))
def test_packed_loss_and_gradient_equal_the_row_by_row_computation(family, checkpointing, rows, shared, length):
    frozen, targets = backbone(family), [row[0] for row in rows]
    theirs = random_prompt(length).requires_grad_()
    wanted = naive_loss(family, theirs, shared, rows, targets)
    wanted.backward()
    ours = random_prompt(length).requires_grad_()
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    packed = TokenBatch.of(rows, shared)
    hidden = frozen.hidden(packed, Injection(tokens={0: ours}))[torch.tensor(packed.lengths).cumsum(0) - 1]
    loss = torch.nn.functional.cross_entropy(frozen.logits(hidden), torch.tensor(targets))
    loss.backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    assert abs(loss - wanted).item() < 1e-5 * abs(wanted.item())
    assert error(ours.grad, theirs.grad) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_injected_keys_and_values(family):
    """Prefix-tuning's case: the gradient of (h_kv, P, d_h) keys and values against finite differences of the loss."""
    frozen, rows = backbone(family), TokenBatch.of([[5, 6, 7], [8, 9]], [4])
    start = frozen.compile(Injection(tokens={0: random_prompt(3)}))
    leaves = {
        layer: tuple(part.clone().double().float().requires_grad_() for part in pair)
        for layer, pair in start.kv.items()
    }

    def loss(kv) -> torch.Tensor:
        return frozen.logits(frozen.hidden(rows, Injection(kv=kv)))[:, :5].pow(2).mean()

    loss(leaves).backward()
    layer, which = 1, 1
    gradient = leaves[layer][which].grad
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0))
    step = 1e-2 / direction.norm()

    def moved(sign: float):
        kv = {k: tuple(part.detach() for part in pair) for k, pair in leaves.items()}
        pair = list(kv[layer])
        pair[which] = pair[which] + sign * step * direction
        return loss({**kv, layer: tuple(pair)}).item()

    slope = (moved(1) - moved(-1)) / (2 * step.item())
    assert slope == pytest.approx((gradient * direction).sum().item(), rel=2e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrapping_changes_no_output_of_the_model(family):
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad():
        ours = backbone(family).model(input_ids=ids, attention_mask=mask).logits
        theirs = bare(family)(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(ours[mask.bool()], theirs[mask.bool()])


def late_oracle(family: str, states: dict[int, torch.Tensor], rows: list[list[int]]) -> torch.Tensor:
    """Virtual tokens put in by hand at each layer, row by row: for P tokens at layers 0, k, … of the bare model."""
    other = model(family)
    length = next(iter(states.values())).shape[0]
    layers = compat.decoder_layers(other)

    def replace(layer):
        def hook(module, args, kwargs):
            return (torch.cat([states[layer][None], args[0][:, length:]], dim=1), *args[1:]), kwargs

        return hook

    for layer in states:
        if layer:
            layers[layer].register_forward_pre_hook(replace(layer), with_kwargs=True)
    table = other.get_input_embeddings()
    first = states[0]
    return torch.cat([stock_logits(other, torch.cat([first, table(torch.tensor(row))]))[length:] for row in rows])


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_every_layer_replace_those_of_the_layer_below(family):
    rows, frozen = [[5, 6, 7], [8, 9, 10, 11, 12]], backbone(family)
    states = {layer: random_prompt(4, layer) for layer in range(LAYERS)}
    with torch.no_grad():
        wanted = late_oracle(family, states, rows)
        assert error(frozen.logits(frozen.hidden(TokenBatch.of(rows), Injection(tokens=states))), wanted) < 1e-5
        per_row = {layer: each.expand(2, -1, -1) for layer, each in states.items()}
        assert error(frozen.logits(frozen.hidden(TokenBatch.of(rows), Injection(tokens=per_row))), wanted) < 1e-5
        compiled = frozen.compile(Injection(tokens=states))
        assert error(frozen.logits(frozen.hidden(TokenBatch.of(rows), compiled)), wanted) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_that_enters_late_is_not_seen_below_its_layer(family):
    """Whatever stands in the empty slots below layer 2 must not matter, and the rows must not be those without it."""
    frozen, rows = backbone(family), TokenBatch.of([[5, 6, 7], [8, 9]])
    late = {2: random_prompt(4, 2)}
    with torch.no_grad():
        plain = frozen.hidden(rows, Injection(tokens=late))
        per_row = frozen.hidden(rows, Injection(tokens={2: late[2].expand(2, -1, -1)}))
        seen = frozen.hidden(rows, Injection(tokens={0: torch.zeros(4, WIDTH), **late}))
    assert error(per_row, plain) < 1e-5
    assert error(seen, plain) > 1e-3


def test_bfloat16_stays_close_to_float32():
    frozen = backbone("llama")
    half = type(frozen)(model("llama").to(torch.bfloat16), frozen.tokenizer, "tiny-bf16")
    rows, injection = TokenBatch.of([[5, 6, 7], [8, 9]]), Injection(tokens={0: random_prompt(4)})
    with torch.no_grad():
        ours, exact = half.logits(half.hidden(rows, injection)), frozen.logits(frozen.hidden(rows, injection))
    assert error(ours, exact) < 0.1


def test_long_rows_take_the_fused_kernel_and_stay_exact(monkeypatch):
    from cuetune.backbones import attention

    rows, shared, prompt = [[5, 6, 7] * 9, [8, 9]], [3, 4], random_prompt(6)
    monkeypatch.setattr(attention, "FUSED_FROM", 1)
    for family in FAMILIES:
        frozen = backbone(family)
        with torch.no_grad():
            ours = frozen.logits(frozen.hidden(TokenBatch.of(rows, shared), Injection(tokens={0: prompt})))
            assert error(ours, oracle(family, prompt, shared, rows)) < 1e-5
