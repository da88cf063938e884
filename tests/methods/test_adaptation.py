"""Fine-tuning and LoRA in the common loop against plain padded PyTorch and PEFT, and what they leave behind."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

import tiny
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods.adaptation import FINE_TUNING_RATE, LORA_RATE, RANK, ModelWeights, fine_tuning, lora
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings

TASK = Task("Text: {text}\nLabel:", labels=("pos", "neg"), label_words=(" pos", " neg"))
EXAMPLES = [TASK.example(Row(f"row {number}", row)) for number, row in enumerate(tiny.rows(6))]


def tuner_for(backbone, weights, rate=None, steps=4):
    settings = Settings(steps=steps, batch_size=len(EXAMPLES), learning_rate=rate, warmup=0)
    return Tuner(backbone, weights, TaskData(TASK, EXAMPLES, []), settings.resolved(backbone, len(EXAMPLES), weights))


def padded_loss(bare):
    """Mean cross-entropy over the two label words, as an ordinary right-padded batch gives it."""
    words = tiny.tokenizer()
    rows = [words(TASK.template.format(**example.fields))["input_ids"] for example in EXAMPLES]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    logits = bare(input_ids=ids, attention_mask=mask, use_cache=False).logits
    last = logits[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
    label_ids = [words(word)["input_ids"][0] for word in TASK.label_words]
    return F.cross_entropy(last[:, label_ids], torch.tensor([TASK.labels.index(e.label) for e in EXAMPLES]))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_packed_gradient_is_that_of_a_padded_batch(family):
    own, weights = fine_tuning(tiny.backbone(family))
    loss = tuner_for(own, weights)._loss([(0, range(len(EXAMPLES)))])
    loss.backward()
    bare = tiny.model(family)
    expected = padded_loss(bare)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for (name, parameter), master in zip(bare.named_parameters(), weights.masters, strict=True):
        torch.testing.assert_close(master.grad, parameter.grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_one_step_is_a_plain_adamw_step():
    own, weights = fine_tuning(tiny.backbone())
    tuner = tuner_for(own, weights, rate=1e-3)
    tuner._step([(0, list(range(len(EXAMPLES))))])
    bare = tiny.model("llama")
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, weight_decay=0.0)
    padded_loss(bare).backward()
    torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
    optimizer.step()
    for parameter, master in zip(bare.parameters(), weights.masters, strict=True):
        clear = parameter.grad.abs() > 1e-5  # AdamW's first step is the gradient's sign: noise around zero has none
        torch.testing.assert_close(master[clear], parameter[clear], rtol=1e-4, atol=2e-6)


def test_bfloat16_weights_take_steps_that_bfloat16_cannot_tell_apart():
    live = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    weights = ModelWeights([live], 1e-4)
    optimizer = torch.optim.AdamW(weights.parameters(), lr=1e-4, weight_decay=0.0)
    for step in range(60):
        weights.injection()
        (live.sum() * 1.0).backward()
        assert live.grad is None
        assert weights.masters[0].grad.dtype == torch.float32
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            weights.injection()
            assert (live == 1).all(), "one step is below bfloat16's resolution"
    weights.injection()
    torch.testing.assert_close(weights.masters[0].detach(), torch.full((4,), 1 - 60e-4), rtol=1e-4, atol=1e-5)
    assert (live == weights.masters[0].bfloat16()).all()
    assert (live < 1).all()


@pytest.mark.parametrize("make", [fine_tuning, lora])
def test_the_frozen_model_stays_and_the_copy_goes(make):
    backbone = tiny.backbone()
    make(backbone)  # what libraries log when they are imported keeps the frames, and so the copy, of that call
    gc.collect()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    own, weights = make(backbone)
    tuner = tuner_for(own, weights, rate=1e-2)
    tuner.run()
    weights.injection()
    assert all(torch.equal(live, master) for live, master in zip(weights._live, weights.masters, strict=True))
    gone = weakref.ref(own.model), weakref.ref(weights)
    del own, weights, tuner
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert before.keys() == backbone.model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in backbone.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_loras_packed_gradient_is_that_of_peft_on_a_padded_batch():
    peft = pytest.importorskip("peft")
    own, weights = lora(tiny.backbone())
    names = [name for name, _ in own.model.named_parameters() if "lora_" in name]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for master in weights.masters:
            master.copy_(0.1 * torch.randn(master.shape, generator=generator))
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    bare = peft.get_peft_model(tiny.model("llama"), config)
    theirs = {name.removeprefix("base_model.model."): value for name, value in bare.named_parameters()}
    with torch.no_grad():
        for name, master in zip(names, weights.masters, strict=True):
            theirs[name].copy_(master)
    loss, expected = tuner_for(own, weights)._loss([(0, range(len(EXAMPLES)))]), padded_loss(bare)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for name, master in zip(names, weights.masters, strict=True):
        torch.testing.assert_close(master.grad, theirs[name].grad, rtol=1e-3, atol=1e-6)


def test_lora_starts_as_the_frozen_model_and_is_drawn_by_the_seed():
    own, weights = lora(tiny.backbone(), seed=3)
    expected = sum(
        RANK * (module.in_features + module.out_features)
        for name, module in tiny.model("llama").named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    )
    assert weights.n_trained == expected
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(own.model(ids).logits, tiny.model("llama")(ids).logits, rtol=1e-5, atol=1e-5)
    again, other = lora(tiny.backbone(), seed=3)[1], lora(tiny.backbone(), seed=4)[1]
    assert all(torch.equal(a, b) for a, b in zip(weights.masters, again.masters, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights.masters, other.masters, strict=True))


@pytest.mark.parametrize(("make", "rate"), [(fine_tuning, FINE_TUNING_RATE), (lora, LORA_RATE)])
def test_the_usual_learning_rate_is_its_own_and_not_the_embeddings(make, rate):
    own, weights = make(tiny.backbone())
    assert Settings().resolved(own, 100, weights).learning_rate == pytest.approx(rate)
    assert weights.length == 0


def test_weights_are_not_saved_as_a_prompt():
    with pytest.raises(CuetuneError, match="not a prompt"):
        ModelWeights.from_spec({}, {})
