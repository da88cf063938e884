"""Memory: what PyTorch really keeps for a backward pass, against the planner's formula."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import tiny
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.cost import memory
from cuetune.cost.shapes import shape_of_config

ROWS, TOKENS, PROMPT = 4, 64, 8
SIZES = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2}


def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tiny.tokenizer()), **SIZES, **HEADS)).to(torch.bfloat16)


def kept_bytes(function, module):
    """Bytes of all storages that autograd keeps while `function` runs forward, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    sizes, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(sizes.values())


def test_frozen_layers():
    backbone = TextBackbone(model(), tiny.tokenizer(), "wide")
    shape = shape_of_config(backbone.config, "wide")
    rows = TokenBatch.of(torch.randint(2, 200, (ROWS, TOKENS)).tolist())
    states = torch.randn(PROMPT, backbone.width, requires_grad=True)
    kept = kept_bytes(lambda: backbone.hidden(rows, Injection(tokens={0: states})), backbone.model)
    n = ROWS * TOKENS
    scores = 2 * shape.heads * (n * (PROMPT + TOKENS) + PROMPT**2)  # kept on a CPU, not by a fused kernel
    output = 2 * shape.heads * shape.head_size * (PROMPT + n)  # kept by a fused kernel only
    expected = shape.layers * (memory.frozen_layer(shape) * (PROMPT + n) - output + scores)
    assert kept == pytest.approx(expected, rel=0.12)


def test_trained_layers_and_logits():
    bare = model().train()
    shape = shape_of_config(bare.config, "wide")
    ids = torch.randint(2, 200, (ROWS, TOKENS))
    kept = kept_bytes(lambda: bare.model(input_ids=ids, use_cache=False), bare)
    expected = shape.layers * (memory.frozen_layer(shape) + memory.trained_inputs(shape)) * ids.numel()
    assert kept == pytest.approx(expected, rel=0.12)


def test_lora_keeps_more_than_a_frozen_layer_and_less_than_a_trained_one():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model(), config).train()
    shape = shape_of_config(adapted.config, "wide")
    ids = torch.randint(2, 200, (ROWS, TOKENS))
    kept = kept_bytes(lambda: adapted.base_model.model.model(input_ids=ids, use_cache=False), adapted)
    layer = memory.frozen_layer(shape) + memory.lora_inputs(shape)
    assert kept == pytest.approx(shape.layers * layer * ids.numel(), rel=0.15)
    assert memory.lora_inputs(shape) < memory.trained_inputs(shape)
