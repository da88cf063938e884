"""The bundled model is what it says, and exact under prompts."""

import torch
from transformers import AutoModelForCausalLM

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.loading import load_tokenizer
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.support.plugins import resolve_model
from cuetune_catalog.models.bundled import MODELS, pull


def test_the_tokenizer_takes_digits_alone_and_words_with_their_space(smollm2_folder):
    tokenizer = load_backbone("smollm2-135m", dtype="float32").tokenizer
    assert len(tokenizer(" 2024")["input_ids"]) == 5
    assert [len(tokenizer(word)["input_ids"]) for word in (" positive", " negative", "<|im_end|>")] == [1, 1, 1]
    for text in ("naïve café 😀\n\n  two  spaces\ttab", "it's 3.14!", "ünïcödé"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.chat_template


def test_it_speaks_english_and_its_embeddings_are_tied(smollm2_folder):
    backbone = load_backbone("smollm2-135m", dtype="float32")
    tokenizer, model = backbone.tokenizer, backbone.model
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert sum(p.numel() for p in model.parameters()) == MODELS["smollm2-135m"].parameters


def test_packed_compiled_and_mixed_equal_row_by_row(smollm2_folder):
    backbone = load_backbone("smollm2-135m", dtype="float32")
    prompts = [torch.randn(n, backbone.width, generator=torch.Generator().manual_seed(n)) * 0.13 for n in (5, 9)]
    rows = [[5, 600, 7000], [80, 90, 1000, 11000, 120], [13]]
    parts = [(TokenBatch.of(rows, [42]), Injection(tokens={0: prompts[0]}))]
    parts += [(TokenBatch.of(rows), backbone.compile(Injection(tokens={0: prompts[1]}), [42]))]
    with torch.no_grad():
        for prompt, hidden in zip(prompts, backbone.hidden_mixed(parts), strict=True):
            ours = backbone.logits(hidden)
            whole = [torch.cat([prompt, backbone.embed(torch.tensor([42, *row]))])[None] for row in rows]
            stock = torch.cat([backbone.model(inputs_embeds=w).logits[0, len(prompt) + 1 :] for w in whole])
            assert ((ours - stock).abs().max() / stock.abs().max()).item() < 1e-5


def test_packed_gradient_equals_row_by_row(smollm2_folder):
    """In float64: thirty layers amplify float32's rounding to 1e-4 of the gradient in either computation alike."""
    model = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float64)
    backbone = TextBackbone(model, load_tokenizer("smollm2-135m"), "smollm2-135m")
    head = model.get_output_embeddings().weight
    start = backbone.embed(torch.tensor([3000, 400, 52, 600, 700, 810]))
    rows, targets = [[5, 600, 7000], [80, 90, 1000, 11000, 120], [13]], torch.tensor([20, 30, 40])

    def packed(prompt):
        batch = TokenBatch.of(rows)
        return backbone.hidden(batch, Injection(tokens={0: prompt}))[torch.tensor(batch.lengths).cumsum(0) - 1] @ head.T

    def row_by_row(prompt):
        whole = [torch.cat([prompt, backbone.embed(torch.tensor(row))])[None] for row in rows]
        return torch.cat([model(inputs_embeds=each).logits[:, -1] for each in whole])

    results = []
    for way in (packed, row_by_row):
        prompt = start.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(way(prompt), targets)
        loss.backward()
        results.append((loss.item(), prompt.grad))
    (our_loss, ours), (their_loss, theirs) = results
    assert abs(our_loss - their_loss) < 1e-5 * their_loss
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < 1e-5


def test_a_second_pull_is_instant_and_names_resolve(smollm2_folder, tmp_path):
    assert pull("smollm2-135m") == smollm2_folder
    assert resolve_model("smollm2-135m") == str(smollm2_folder)
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("someone/else") == "someone/else"
