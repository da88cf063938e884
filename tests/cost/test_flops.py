"""The formulas against PyTorch's own count of real steps, on tiny random models and on a real one."""

import pytest
import torch

import tiny
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.cost import flops
from cuetune.cost.shapes import shape_of_config

ROWS, TOKENS, PROMPT, WORDS = 5, 24, 7, 3
FAMILIES = ("llama", "gpt2", "gpt_neox", "opt", "mistral")


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def shape(family):
    return shape_of_config(tiny.backbone(family).config, family)


def batch():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 200, (ROWS, TOKENS), generator=generator)
    rows = TokenBatch.of(ids.tolist())
    last = torch.arange(1, ROWS + 1) * TOKENS - 1
    return ids, TokenBatch(rows.ids, rows.lengths, last, rows.shared)


def tokens_at(layer, width=tiny.WIDTH):
    states = torch.randn(PROMPT, width, requires_grad=True)
    return states, Injection(tokens={layer: states})


def counted_step(backbone, injection):
    rows = batch()[1]
    words = torch.arange(WORDS)
    return flops.count(lambda: backbone.logits(backbone.hidden(rows, injection), words).sum().backward())


def test_soft_prompt_step(family):
    states, injection = tokens_at(0)
    counted = counted_step(tiny.backbone(family), injection)
    assert counted == pytest.approx(flops.soft_prompt_step(shape(family), ROWS, TOKENS, PROMPT, WORDS), rel=0.01)
    assert states.grad is not None


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"gpt_neox"}))
def test_prefix_step(family):
    """GPT-NeoX runs attention and feed-forward side by side: its first layer's feed-forward needs no gradient."""
    backbone = tiny.backbone(family)
    layers, heads, size = backbone.kv_shape
    pairs = {
        layer: tuple(torch.randn(heads, PROMPT, size, requires_grad=True) for _ in range(2)) for layer in range(layers)
    }
    counted = counted_step(backbone, Injection(kv=pairs))
    assert counted == pytest.approx(flops.prefix_step(shape(family), ROWS, TOKENS, PROMPT, WORDS), rel=0.01)


@pytest.mark.parametrize("layer", [1, 2])
def test_late_prompt_step_and_what_lies_below_it(layer):
    backbone, rows = tiny.backbone("llama"), batch()[1]
    made = []
    below = flops.count(lambda: made.append(backbone.states_at(layer, rows, PROMPT)))
    assert below == pytest.approx(ROWS * flops.below(shape("llama"), TOKENS, layer), rel=0.01)
    _, injection = tokens_at(layer)

    def step():
        hidden = backbone.hidden_from(layer, made[0], rows, injection)
        backbone.logits(hidden, torch.arange(WORDS)).sum().backward()

    expected = flops.soft_prompt_step(shape("llama"), ROWS, TOKENS, PROMPT, WORDS, enters=layer)
    assert flops.count(step) == pytest.approx(expected, rel=0.01)


def test_answer_of_a_compiled_prompt(family):
    backbone, rows = tiny.backbone(family), batch()[1]
    compiled = backbone.compile(tokens_at(0)[1])
    words = torch.arange(WORDS)
    with torch.no_grad():
        counted = flops.count(lambda: backbone.logits(backbone.hidden(rows, compiled), words))
    assert counted == pytest.approx(ROWS * flops.answer(shape(family), TOKENS, PROMPT, WORDS), rel=0.01)


def stock(family):
    bare = tiny.model(family)
    bare.set_attn_implementation("eager")
    return bare


def stock_step(model):
    ids = batch()[0]
    return flops.count(lambda: model(input_ids=ids, labels=ids, use_cache=False).loss.backward())


def test_full_fine_tuning_step(family):
    model = stock(family).train()
    assert stock_step(model) == pytest.approx(flops.full_step(shape(family), ROWS, TOKENS), rel=0.01)


@pytest.mark.parametrize("rank", [1, 8])
def test_lora_step(rank):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], lora_dropout=0.0, task_type="CAUSAL_LM")
    model = peft.get_peft_model(stock("llama"), config)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == flops.lora_parameters(shape("llama"), rank)
    assert stock_step(model) == pytest.approx(flops.lora_step(shape("llama"), ROWS, TOKENS, rank), rel=0.05)


def test_entering_later_and_a_shorter_prompt_cost_less():
    model = shape("llama")
    steps = [flops.soft_prompt_step(model, ROWS, TOKENS, PROMPT, WORDS, enters=layer) for layer in range(3)]
    assert steps == sorted(steps, reverse=True)
    assert flops.soft_prompt_step(model, ROWS, TOKENS, 1, WORDS) < steps[0]
    assert steps[0] < flops.full_step(model, ROWS, TOKENS)


def test_training_anew_is_twenty_tokens_per_parameter():
    """Hoffmann et al. 2022, table 3: 67 billion parameters on 1.5 trillion tokens cost 5.76e23."""
    assert flops.from_scratch(67e9) == pytest.approx(5.76e23, rel=0.1)
    assert flops.from_scratch(2e9) == 6 * 2e9 * 40e9
