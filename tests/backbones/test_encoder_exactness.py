"""The same properties for encoders. The oracle is the unwrapped model of transformers on a padded batch with its mask.

Keys and values, which transformers' encoders do not take, have an oracle of their own: a plain attention function that
puts them before the model's keys, row by row.
"""

from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection
from tiny import ENCODERS, LAYERS, encoder, encoder_backbone

few = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
token_rows = st.lists(st.lists(st.integers(2, 250), min_size=1, max_size=14), min_size=1, max_size=5)
shared_text = st.lists(st.integers(2, 250), max_size=4)
families = pytest.mark.parametrize("family", ENCODERS)


@cache
def bare(family: str, dtype: torch.dtype = torch.float32):
    """The same weights, never wrapped."""
    return encoder(family).to(dtype)


def random_prompt(family: str, length: int, seed: int = 0, layer: int = 0) -> torch.Tensor:
    width = encoder_backbone(family).width_at(layer)
    return torch.randn(length, width, generator=torch.Generator().manual_seed(seed)) * 0.5


def random_kv(family: str, length: int, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    layers, heads, size = encoder_backbone(family).kv_shape
    return {n: tuple(torch.randn(heads, length, size, generator=generator) for _ in "kv") for n in range(layers)}


def outputs(family: str, output) -> torch.Tensor:
    return output.logits if "logits" in output else output.last_hidden_state


def answer(family: str, hidden: torch.Tensor) -> torch.Tensor:
    """What `outputs` reads, from our hidden states."""
    frozen = encoder_backbone(family)
    return frozen.logits(hidden) if frozen.has_words else hidden


def padded(family: str, prompts: list[torch.Tensor], rows: list[list[int]]) -> torch.Tensor:
    """Outputs at every row token of `[prompt ; row ; padding]`, joined; padding is noise that the mask must hide."""
    model = bare(family, prompts[0].dtype)
    table = model.get_input_embeddings()
    whole = [torch.cat([prompt, table(torch.tensor(row))]) for prompt, row in zip(prompts, rows, strict=True)]
    width = max(map(len, whole))
    noise = [torch.randn(width - len(each), whole[0].shape[1]).to(whole[0]) for each in whole]
    batch = torch.stack([torch.cat([each, extra]) for each, extra in zip(whole, noise, strict=True)])
    mask = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in whole])
    out = outputs(family, model(inputs_embeds=batch, attention_mask=mask))
    return torch.cat([out[n, len(prompts[n]) : len(each)] for n, each in enumerate(whole)])


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@families
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(1, 9))
def test_a_packed_batch_equals_the_padded_one(family, rows, shared, length):
    """Whether a beginning is given as shared text or as part of every row."""
    prompt, frozen = random_prompt(family, length), encoder_backbone(family)
    wanted_places = torch.cat([torch.arange(len(shared) + len(row)) >= len(shared) for row in rows])
    with torch.no_grad():
        wanted = padded(family, [prompt] * len(rows), [shared + row for row in rows])
        whole = frozen.hidden(TokenBatch.of([shared + row for row in rows]), Injection(tokens={0: prompt}))
        assert error(answer(family, whole), wanted) < 1e-5
        apart = frozen.hidden(TokenBatch.of(rows, shared), Injection(tokens={0: prompt}))
        assert error(answer(family, apart), wanted[wanted_places]) < 1e-5


@families
@few
@given(rows=token_rows, lengths=st.lists(st.integers(0, 6), min_size=2, max_size=3))
def test_a_mixed_batch_of_prompts_equals_each_prompt_alone(family, rows, lengths):
    """No prompt, virtual tokens, keys and values, and both, of different lengths in one pass."""
    frozen = encoder_backbone(family)
    injections = [Injection()]
    for seed, length in enumerate(lengths):
        tokens = {0: random_prompt(family, length, seed)} if length else {}
        kv = random_kv(family, 2, seed) if seed else {}
        injections.append(Injection(tokens, kv))
    with torch.no_grad():
        mixed = frozen.hidden_mixed([(TokenBatch.of(rows), injection) for injection in injections])
        for hidden, injection in zip(mixed, injections, strict=True):
            alone = torch.cat([frozen.hidden(TokenBatch.of([row]), injection) for row in rows])
            assert error(hidden, alone) < 1e-5


@families
def test_a_prompt_per_row_equals_each_row_alone(family):
    rows, frozen = [[5, 6, 7], [8], [9, 10, 11, 12, 13]], encoder_backbone(family)
    prompts = torch.stack([random_prompt(family, 4, seed) for seed in range(3)])
    with torch.no_grad():
        ours = answer(family, frozen.hidden(TokenBatch.of(rows), Injection(tokens={0: prompts})))
        assert error(ours, padded(family, list(prompts), rows)) < 1e-5


class PlainPrefix:
    """Attention of one row over `kv` and its own keys; layers are counted as they are called."""

    def __init__(self, kv: dict) -> None:
        self.kv, self.called = kv, 0

    def __call__(self, module, query, key, value, attention_mask, scaling=None, sliding_window=None, **kwargs):
        before_k, before_v = self.kv[self.called]
        self.called += 1
        keys, values = torch.cat([before_k[None], key], dim=2), torch.cat([before_v[None], value], dim=2)
        scores = query @ keys.transpose(2, 3) * scaling
        if sliding_window is not None:
            places = torch.arange(keys.shape[2])
            scores = scores.masked_fill((places[before_k.shape[1] :, None] - places).abs() >= sliding_window, -1e30)
        return (scores.softmax(-1) @ values).transpose(1, 2), None


def with_prefix(family: str, kv: dict, rows: list[list[int]]) -> torch.Tensor:
    """The oracle for keys and values: rows one by one, their positions behind the prefix."""
    other, (length, first) = encoder(family), (kv[0][0].shape[1], compat.first_position(bare(family)))
    joined = []
    for row in rows:
        AttentionInterface.register("plain_prefix", PlainPrefix(kv))
        other.set_attn_implementation("plain_prefix")
        positions = torch.arange(len(row))[None] + length + first
        joined.append(outputs(family, other(input_ids=torch.tensor([row]), position_ids=positions))[0])
    return torch.cat(joined)


@families
@few
@given(rows=token_rows, length=st.integers(1, 9))
def test_keys_and_values_stand_before_every_row(family, rows, length):
    frozen, kv = encoder_backbone(family), random_kv(family, length)
    with torch.no_grad():
        wanted = with_prefix(family, kv, rows)
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(kv=kv))), wanted) < 1e-5
        compiled = frozen.compile(Injection(kv=kv))
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), compiled)), wanted) < 1e-5
        per_row = {n: tuple(part.expand(len(rows), -1, -1, -1) for part in pair) for n, pair in kv.items()}
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(kv=per_row))), wanted) < 1e-5


def loss_of(answers: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(answers, torch.arange(len(answers)) % answers.shape[-1])


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@families
@few
@given(rows=token_rows, length=st.integers(1, 9))
def test_packed_loss_and_gradient_equal_the_padded_ones(family, checkpointing, rows, length):
    frozen = encoder_backbone(family)
    theirs, ours = (random_prompt(family, length).requires_grad_() for _ in range(2))
    exact = random_prompt(family, length).double().requires_grad_()
    wanted = loss_of(padded(family, [theirs] * len(rows), rows))
    for loss in (wanted, loss_of(padded(family, [exact] * len(rows), rows))):
        loss.backward()
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    loss = loss_of(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(tokens={0: ours}))))
    loss.backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    assert abs(loss - wanted).item() < 1e-5 * max(1, abs(wanted.item()))
    # Against float64: within 1e-5, or where a batch is so badly conditioned that the stock model's own float32 gradient
    # is further off, within twice its error.
    assert error(ours.grad, exact.grad) < max(1e-5, 2 * error(theirs.grad, exact.grad))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@families
def test_gradients_of_keys_and_values_equal_the_row_by_row_ones(family, checkpointing):
    frozen, rows = encoder_backbone(family), [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    theirs, ours = (
        {n: tuple(part.requires_grad_() for part in pair) for n, pair in random_kv(family, 4).items()} for _ in range(2)
    )
    loss_of(with_prefix(family, theirs, rows)).backward()
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    loss_of(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(kv=ours)))).backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    mine, wanted = (torch.stack([part.grad for n in kv for part in kv[n]]) for kv in (ours, theirs))
    assert (mine - wanted).norm() < 1e-5 * wanted.norm()


def deep_oracle(family: str, states: dict[int, torch.Tensor], rows: list[list[int]]) -> torch.Tensor:
    """Virtual tokens put in by hand at each layer of an unwrapped model; its layers are counted as they are called."""
    other, length = encoder(family), states[0].shape[0]
    called = 0

    def replace(module, args, kwargs):
        nonlocal called
        layer, called = called % LAYERS, called + 1
        return (torch.cat([states[layer][None], args[0][:, length:]], dim=1) if layer else args[0], *args[1:]), kwargs

    for _, layer in compat.encoder_layers(other):
        layer.register_forward_pre_hook(replace, with_kwargs=True)
    table = other.get_input_embeddings()
    whole = [torch.cat([states[0], table(torch.tensor(row))])[None] for row in rows]
    return torch.cat([outputs(family, other(inputs_embeds=each))[0, length:] for each in whole])


@families
def test_tokens_of_every_layer_replace_those_of_the_layer_below(family):
    rows, frozen = [[5, 6, 7], [8, 9, 10, 11, 12]], encoder_backbone(family)
    states = {layer: random_prompt(family, 4, layer, layer) for layer in range(LAYERS)}
    with torch.no_grad():
        wanted = deep_oracle(family, states, rows)
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(tokens=states))), wanted) < 1e-5
        per_row = {layer: each.expand(2, -1, -1) for layer, each in states.items()}
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), Injection(tokens=per_row))), wanted) < 1e-5
        compiled = frozen.compile(Injection(tokens=states))
        assert error(answer(family, frozen.hidden(TokenBatch.of(rows), compiled)), wanted) < 1e-5


@families
def test_a_late_prompt_needs_only_the_layers_above_it(family):
    """Below, the text sees no prompt, and its states can be computed once."""
    rows, frozen, late = (
        TokenBatch.of([[5, 6, 7, 8], [9, 10]]),
        encoder_backbone(family),
        random_prompt(family, 3, 1, 2),
    )
    with torch.no_grad():
        whole = frozen.hidden(rows, Injection(tokens={2: late}))
        states = frozen.states_at(2, rows, 3)
        assert error(frozen.hidden_from(2, states, rows, Injection(tokens={2: late})), whole) < 1e-5
        seen = Injection(tokens={0: torch.zeros(3, frozen.width), 2: late})
    assert error(frozen.hidden(rows, seen), whole) > 1e-3


@families
def test_wrapping_changes_no_output_of_the_model(family):
    ids, mask = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad():
        ours = outputs(family, encoder_backbone(family).model(input_ids=ids, attention_mask=mask))
        theirs = outputs(family, bare(family)(input_ids=ids, attention_mask=mask))
    assert torch.equal(ours[mask.bool()], theirs[mask.bool()])


@families
def test_keys_and_values_of_a_text_are_those_of_a_model_whose_prompt_sees_no_text(family):
    """`keys_values`, where prefixes start: as a stock pass in which the prompt attends to itself only."""
    frozen, prompt, row = encoder_backbone(family), random_prompt(family, 2), [5, 6]
    keys, values = frozen.keys_values(prompt)
    table = bare(family).get_input_embeddings()
    one_way = torch.ones(1, 1, 4, 4, dtype=torch.bool)  # shorter than any window: it stands in for every layer's mask
    one_way[..., :2, 2:] = False
    with torch.no_grad():
        whole = torch.cat([prompt, table(torch.tensor(row))])[None]
        wanted = outputs(family, bare(family)(inputs_embeds=whole, attention_mask=one_way))[0, 2:]
        kv = {layer: (keys[layer], values[layer]) for layer in range(LAYERS)}
        assert error(answer(family, frozen.hidden(TokenBatch.of([row]), Injection(kv=kv))), wanted) < 1e-5


@families
def test_layer_inputs_are_the_states_of_the_prompt_alone(family):
    frozen, prompt = encoder_backbone(family), random_prompt(family, 4)
    ours = frozen.layer_inputs([9, 8], Injection(tokens={0: prompt}))
    table = bare(family).get_input_embeddings()
    whole = torch.cat([prompt, table(torch.tensor([9, 8]))])[None]
    with torch.no_grad():
        theirs = bare(family)(inputs_embeds=whole, output_hidden_states=True).hidden_states
    assert len(ours) == LAYERS
    for mine, wanted in zip(ours, theirs, strict=False):
        assert error(mine, wanted[0]) < 1e-5


@families
def test_words_are_scored_by_the_models_own_head(family):
    frozen = encoder_backbone(family)
    if not frozen.has_words:
        pytest.skip("an encoder without a head")
    row, words = [5, 6, 7, 8], torch.tensor([3, 200, 17])
    with torch.no_grad():
        wanted = bare(family)(input_ids=torch.tensor([row])).logits[0]
        hidden = frozen.hidden(TokenBatch.of([row]))
        assert error(frozen.logits(hidden), wanted) < 1e-5
        assert error(frozen.logits(hidden, words), wanted[:, words]) < 1e-5


@families
def test_long_rows_take_the_fused_kernel_and_stay_exact(family, monkeypatch):
    from cuetune.backbones import attention

    monkeypatch.setattr(attention, "FUSED_FROM", 1)
    rows, prompt, frozen = [[5, 6, 7] * 9, [8, 9]], random_prompt(family, 6), encoder_backbone(family)
    with torch.no_grad():
        ours = answer(family, frozen.hidden(TokenBatch.of(rows), Injection(tokens={0: prompt})))
        assert error(ours, padded(family, [prompt] * 2, rows)) < 1e-5
