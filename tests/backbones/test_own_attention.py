"""What a model does inside its attention, held against a copy with its own (eager) attention that nobody switched."""

import copy
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from cuetune.backbones import attention
from cuetune.backbones.attention import RowAttention, as_bias, packed_attention
from cuetune.backbones.base import PathError
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.loading import open_model
from cuetune.backbones.packing import _blocks
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from tiny import backbone, model, tokenizer

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import model_types  # noqa: E402

LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
LONG["original_max_position_embeddings"] = 32
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
KINDS = {
    "sinks": ("granite_swa", {}),
    "sinks and experts": ("gpt_oss", {}),
    "a window in the mask": ("phimoe", {}),
    "a window in some layers": ("gemma3_text", {}),
    "softcap": ("gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "chunks": ("llama4_text", {}),
    "positions that turn in long rows": ("phi3", {"rope_parameters": LONG, "original_max_position_embeddings": 32}),
    "positions that turn with every length": ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 16}),
}


def made(kind: str):
    name, own = KINDS[kind]
    torch.manual_seed(0)
    before = model_types.OWN.get(name, {})
    model_types.OWN[name] = {**before, **own}
    try:
        return model_types.tiny(name, "causal")
    finally:
        model_types.OWN[name] = before


@cache
def pair(kind: str, dtype: torch.dtype = torch.float32):
    """The backbone, and a copy of its model that nobody touched."""
    stock = made(kind).to(dtype)
    return open_model(TextBackbone, copy.deepcopy(stock), model_types.tokenizer(), kind, None), stock


@pytest.mark.parametrize("kind", KINDS)
def test_rows_longer_than_the_window_equal_the_models_own_attention(kind):
    ours, stock = pair(kind)
    assert ours.path == "fast"
    with torch.no_grad():
        difference, beside = model_types.compare(ours, fresh(stock))
    assert difference < 5e-6
    assert beside < 5e-6


def fresh(stock):
    """The stock model for one row after another: transformers lets the longest row so far turn later ones."""

    class Fresh:
        def __getattr__(self, name):
            return getattr(stock, name)

        def __call__(self, **given):
            return copy.deepcopy(stock)(**given)

    return Fresh()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_beside_others_is_bit_for_bit_what_it_is_beside_itself(kind, dtype):
    """The same shapes, other neighbours: no rounding may differ, so that not even a small leak goes unseen."""
    ours, _ = pair(kind, dtype)
    row, one, other = torch.randint(10, 120, (3, 40), generator=torch.Generator().manual_seed(3)).tolist()
    prompt = Injection(tokens={0: ours.embed(torch.tensor([20, 30, 40]))})
    with torch.no_grad():
        first, second = (ours.hidden(TokenBatch.of([row, beside], [60]), prompt)[:40] for beside in (one, other))
    if "experts" in kind or kind in (
        "a window in the mask",
        "chunks",
    ):  # how many tokens an expert gets changes rounding
        assert float((first - second).abs().max() / first.abs().max()) < (1e-6 if dtype == torch.float32 else 0.03)
    else:
        assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["sinks", "softcap", "a window in the mask", "positions that turn in long rows"])
def test_written_answers_are_those_of_the_models_own_attention(kind):
    ours, stock = pair(kind)
    rows = [[11, 12, 13], [14, 15, 16, 17, 18], list(range(20, 45))]
    prompt = ours.embed(torch.tensor([20, 30, 40]))
    compiled = ours.compile(Injection(tokens={0: prompt}), [60])
    text = generate(ours, rows, compiled, Writing(max_tokens=6))
    for row, written in zip(rows, text, strict=True):
        whole = torch.cat([prompt, stock.get_input_embeddings()(torch.tensor([60, *row]))])[None]
        wanted = copy.deepcopy(stock).generate(inputs_embeds=whole, max_new_tokens=6, do_sample=False, pad_token_id=2)
        assert written == ours.tokenizer.batch_decode(wanted, skip_special_tokens=True)[0].strip()


@pytest.mark.parametrize("kind", ["sinks", "softcap"])
def test_gradients_are_those_of_the_models_own_attention(kind):
    ours, stock = pair(kind)
    rows, start = [[11, 12, 13], [14, 15, 16, 17, 18]], ours.embed(torch.tensor([20, 30, 40])).detach()
    prompt, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    ours.logits(ours.hidden(TokenBatch.of(rows), Injection(tokens={0: prompt}))).square().sum().backward()
    table = stock.get_input_embeddings()
    for row in rows:
        whole = torch.cat([theirs, table(torch.tensor(row)).detach()])
        stock(inputs_embeds=whole[None]).logits[0, 3:].square().sum().backward()
    assert float((prompt.grad - theirs.grad).abs().max() / theirs.grad.abs().max()) < 1e-5


def test_hand_written_attention_with_sinks_has_the_gradients_of_the_plain_formula():
    """Rows of two lengths, grouped heads, finite differences in double precision."""
    torch.manual_seed(0)
    block = _blocks(TokenBatch.of([[1, 2], [3, 4, 5]]), 2)[0]
    visible = torch.cat([torch.ones(2, 3, 2, dtype=torch.bool), block.own], dim=-1)
    states = [torch.randn(5, heads, 3, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2)]
    before = [torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    sinks = torch.randn(4, dtype=torch.float64)

    def attended(*given):
        return RowAttention.apply(*given, block, as_bias(visible, torch.float64), 0.7, sinks)

    assert torch.autograd.gradcheck(attended, (*states, *before))
    without = RowAttention.apply(*states, *before, block, as_bias(visible, torch.float64), 0.7, None)
    assert not torch.allclose(attended(*states, *before), without)


def test_an_argument_of_attention_that_is_not_known_is_refused():
    with pytest.raises(CuetuneError, match="goes by block_indices"):
        packed_attention(
            torch.nn.Identity(), *torch.zeros(3, 1, 1, 2, 4), None, cuetune_layout=object(), block_indices=torch.ones(1)
        )


def test_the_self_test_sees_what_switching_hides(monkeypatch):
    """Sinks that the attention drops: the reference is the model before it was switched, so this is noticed."""
    monkeypatch.setattr(attention, "USED", {"softcap"})
    monkeypatch.setattr(attention, "UNUSED", attention.UNUSED | {"s_aux"})
    forgetful = attention.How

    def without_sinks(layer, scaling, softcap, sinks, rule):
        return forgetful(layer, scaling, softcap, None, rule)

    monkeypatch.setattr(attention, "How", without_sinks)
    with pytest.raises(PathError, match="outputs differ"):
        TextBackbone(made("sinks"), model_types.tokenizer(), "sinks")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_leak_into_their_neighbours_are_refused_in_every_precision(dtype):
    """A convolution over the packed sequence: too weak to show in the logits, and refused all the same."""

    class Leaking(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, hidden):
            return self.inner(hidden) + 1e-7 * torch.cat([hidden[:, :1] * 0, hidden[:, :-1]], dim=1)

    leaking = model("llama").to(dtype)
    leaking.model.layers[0].mlp = Leaking(leaking.model.layers[0].mlp)
    with pytest.raises(PathError, match="see each other"):
        TextBackbone(leaking, tokenizer(), "leaking")


def test_a_refused_model_is_given_back_as_it_was_loaded():
    stock = AutoModelForCausalLM.from_config(model_types.configuration("qwen3_next"))
    classes = [type(module) for module in stock.modules()]
    plain = open_model(TextBackbone, stock.eval(), model_types.tokenizer(), "qwen3-next", None)
    assert plain.path == "plain"
    assert [type(module) for module in stock.modules()] == classes
    assert not any("forward" in vars(module) for module in stock.modules())
    assert stock.config._attn_implementation != compat.ATTENTION


def test_a_copy_of_a_switched_model_is_tested_against_its_own_attention():
    first = backbone("llama")
    again = first.around(copy.deepcopy(first.model))
    assert torch.equal(again.hidden(TokenBatch.of([[5, 6]])), first.hidden(TokenBatch.of([[5, 6]])))
