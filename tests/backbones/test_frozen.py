"""Faster layers give what the model gives: values, both orders of gradient, compiled too."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

import tiny
from cuetune.backbones import frozen as faster
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone

CASES = {
    "plain": lambda: (torch.randn(2, 5, 8), torch.randn(6, 8), torch.randn(6)),
    "transposed weight": lambda: (torch.randn(1, 8), torch.randn(8, 6).t(), None),
    "strided states": lambda: (torch.randn(5, 8, 2)[..., 0], torch.randn(6, 8), None),
    "no states": lambda: (torch.randn(0, 8), torch.randn(6, 8), None),
    "bfloat16": lambda: (torch.randn(3, 8).bfloat16(), torch.randn(6, 8).bfloat16(), None),
}


@pytest.fixture(params=[False, True], ids=["MKL", "oneDNN"])
def either(request, monkeypatch):
    """Each library in turn, whatever this processor can do."""
    monkeypatch.setattr(faster, "ONEDNN", request.param and faster.ONEDNN_THERE)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("case", CASES)
def test_value_and_both_gradients(case):
    torch.manual_seed(0)
    x, weight, bias = CASES[case]()
    x.requires_grad_()

    def all_orders(function):
        y = function(x, weight, bias)
        (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), x)
        return y, first, second

    for ours, plain in zip(all_orders(faster.product), all_orders(F.linear), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("either")
def test_a_weight_that_learns_gets_its_gradient():
    x, weight = torch.randn(3, 8), torch.randn(6, 8, requires_grad=True)
    (ours,) = torch.autograd.grad(faster.product(x, weight).sum(), weight)
    torch.testing.assert_close(ours, x.sum(0).expand(6, 8))


@pytest.mark.usefixtures("either")
def test_compiled_with_any_number_of_states():
    compiled = torch.compile(lambda x, weight: faster.product(x, weight).relu(), dynamic=True)
    weight = torch.randn(6, 8)
    for count in (3, 7):
        x = torch.randn(count, 8, requires_grad=True)
        y = compiled(x, weight)
        torch.testing.assert_close(y, F.linear(x, weight).relu())
        (ours,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(ours, torch.autograd.grad(F.linear(x, weight).relu().sum(), x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_gives_the_models_own_bits_and_gradient(dtype):
    torch.manual_seed(0)
    frozen = TextBackbone(tiny.model("llama").to(dtype), tiny.tokenizer(), "norms")
    norm = compat.decoder_layers(frozen.model)[0].input_layernorm
    stock = type(norm).__mro__[1]
    assert stock.__name__ == type(norm).__name__ == "LlamaRMSNorm"
    norm.weight.data.uniform_(0.5, 2)
    x, grad = torch.randn(50, 32).to(dtype), torch.randn(50, 32).to(dtype)
    seen = {}
    for name, forward in {"stock": stock.forward, "own": type(norm).forward}.items():
        states = x.clone().requires_grad_()
        with faster.own_pass():
            out = forward(norm, states)
        out.backward(grad)
        seen[name] = (out, states.grad, type(out.grad_fn).__name__)
    assert seen["own"][2] == "_RootMeanSquareNormBackward" != seen["stock"][2]
    assert torch.equal(seen["own"][0], seen["stock"][0])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(seen["own"][1], seen["stock"][1], rtol=tolerance, atol=tolerance)


def test_gradients_of_the_norms_gradient():
    frozen = TextBackbone(tiny.model("llama"), tiny.tokenizer(), "norms")
    norm = compat.decoder_layers(frozen.model)[0].input_layernorm
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    second = []
    for forward in (type(norm).__mro__[1].forward, type(norm).forward):
        states = x.clone().requires_grad_()
        with faster.own_pass():
            (first,) = torch.autograd.grad(forward(norm, states).sin().sum(), states, create_graph=True)
        second.append(torch.autograd.grad(first.pow(2).sum(), states)[0])
    torch.testing.assert_close(second[1], second[0], rtol=1e-4, atol=1e-5)


def test_a_norm_that_multiplies_otherwise_stays_the_models_own():
    frozen = tiny.backbone("gemma3")  # Gemma multiplies by 1 + w, in float32
    names = {type(m).__module__ for m in frozen.model.modules() if type(m).__name__.endswith("RMSNorm")}
    assert all(type(m).forward.__module__ in names for m in frozen.model.modules() if "RMSNorm" in type(m).__name__)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_last_feed_forward_runs_only_where_it_is_read(family, checkpointing):
    frozen = TextBackbone(tiny.model(family), tiny.tokenizer(), family)
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    rows = TokenBatch.of([[5, 6, 7, 8], [9, 10, 11, 12, 13], [14, 15, 16]])
    ends = replace(rows, read=torch.tensor([3, 8, 11]))
    seen = []
    last = compat.decoder_layers(frozen.model)[-1].mlp
    inside = next(module for module in last.modules() if module is not last)
    inside.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    found = {}
    for name, asked in {"all": rows, "ends": ends}.items():
        prompt = torch.randn(4, frozen.width, generator=torch.Generator().manual_seed(1)).requires_grad_()
        states = frozen.hidden(asked, Injection(tokens={0: prompt}))
        states = states[[3, 8, 11]] if name == "all" else states
        states.sin().sum().backward()
        found[name] = (states, prompt.grad)
    for whole, part in zip(*found.values(), strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-6)
    assert (max(seen), min(seen)) == (16, 3), "prompt and rows, or the three ends alone"


def test_all_layers_share_one_compiled_form(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    counts = []
    for layers in (3, 9):
        config = copy.deepcopy(tiny.model("llama").config)
        config.num_hidden_layers = layers
        frozen = TextBackbone(LlamaForCausalLM(config), tiny.tokenizer(), "compiled")
        prompt = torch.randn(4, frozen.width).requires_grad_()
        rows = replace(TokenBatch.of([[5, 6, 7, 8], [9, 10, 11, 12, 13]]), read=torch.tensor([3, 8]))
        plain = frozen.hidden(rows, Injection(tokens={0: prompt}))
        compat.prepare_for_tuning(frozen.model, False, True)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        torch.testing.assert_close(frozen.hidden(rows, Injection(tokens={0: prompt})), plain, rtol=1e-5, atol=1e-6)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[1] > 0, f"{counts} graphs for 3 and 9 layers: each layer is compiled anew"
