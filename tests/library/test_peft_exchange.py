"""Exchange with PEFT itself, both ways: what it loads gives our numbers, what it saves is read exactly."""

import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import cuetune as package
from cuetune.backbones.batches import TokenBatch
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, PrefixPrompt, SoftPrompt
from tiny import (
    WIDTH,
    backbone,
    encoder,
    encoder_backbone,
    encoder_decoder,
    encoder_decoder_backbone,
    folder,
    model,
    stock_logits,
)

peft = pytest.importorskip("peft")

IDS = torch.tensor([[5, 6, 7, 8]])


def made(family="llama", kind="soft"):
    frozen = backbone(family)
    words = torch.tensor([3, 4, 5])
    prompt = (
        HardPrompt(words.tolist(), frozen.embed(words))
        if kind == "hard"
        else SoftPrompt(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0)))
    )
    return TunedPrompt(prompt, Task(labels=("neg", "pos")), frozen.identity, {})


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_peft_gives_the_logits_of_the_embeddings_put_before_the_text(tmp_path, family, kind):
    saved = made(family, kind)
    wrapped = peft.PeftModel.from_pretrained(model(family), str(saved.save(tmp_path / "p")))
    theirs = wrapped(input_ids=IDS).logits[0]
    bare = model(family)
    by_hand = stock_logits(bare, torch.cat([saved.prompt.embeddings, bare.get_input_embeddings()(IDS[0])]))
    assert torch.allclose(theirs, by_hand, atol=1e-5)
    without = stock_logits(bare, bare.get_input_embeddings()(IDS[0]))
    assert (theirs[3:] - without).abs().max() > 0.01  # the prompt matters, so the agreement says something


@pytest.mark.parametrize("kind", ["encoder", "encoder-decoder"])
@torch.no_grad()
def test_peft_gives_our_logits_on_other_kinds_of_models(tmp_path, kind):
    frozen = encoder_backbone("bert") if kind == "encoder" else encoder_decoder_backbone("t5")
    prompt = SoftPrompt(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.5)
    saved = TunedPrompt(prompt, Task(labels=("neg", "pos")), frozen.identity, {}).save(tmp_path / "p")
    bare = encoder("bert") if kind == "encoder" else encoder_decoder("t5")
    wrapped = peft.PeftModel.from_pretrained(bare, str(saved))
    if kind == "encoder":
        theirs = wrapped(input_ids=IDS).logits[0, 3:]
        ours = frozen.logits(frozen.hidden(TokenBatch.of(IDS.tolist()), prompt.injection()))
    else:
        start, end = frozen.config.decoder_start_token_id, frozen.tokenizer.eos_token_id
        text = torch.cat([IDS, torch.tensor([[end]])], dim=1)
        theirs = wrapped(input_ids=text, decoder_input_ids=torch.tensor([[start]])).logits[0]
        rows = replace(TokenBatch.of(IDS.tolist()), read=torch.tensor([IDS.shape[1] - 1]))
        ours = frozen.logits(frozen.hidden(rows, prompt.injection()))
    assert torch.allclose(theirs.float(), ours, atol=1e-4)


def test_a_prefix_of_an_encoder_is_not_offered_to_peft(tmp_path):
    frozen = encoder_backbone("bert")
    layers, heads, size = frozen.kv_shape
    prompt = PrefixPrompt(torch.randn(layers, heads, 3, size), torch.randn(layers, heads, 3, size))
    saved = TunedPrompt(prompt, Task(labels=("neg", "pos")), frozen.identity, {}).save(tmp_path / "p")
    assert not (saved / "adapter_config.json").exists()
    assert torch.equal(TunedPrompt.load(saved).prompt.injection().kv[0][0], prompt.injection().kv[0][0])


def test_peft_knows_every_key_of_the_configuration(tmp_path):
    """PEFT drops what it does not know with a warning, older versions fail on it: nothing may be dropped."""
    saved = made().save(tmp_path / "p")
    written = json.loads((saved / "adapter_config.json").read_text())
    read = peft.PeftConfig.from_pretrained(str(saved))
    assert type(read) is peft.PromptTuningConfig
    for key, value in written.items():
        assert getattr(read, key) == value, key


def test_peft_saves_our_prompt_and_we_read_it_back(tmp_path):
    saved = made()
    wrapped = peft.PeftModel.from_pretrained(model("llama"), str(saved.save(tmp_path / "ours")))
    wrapped.save_pretrained(tmp_path / "theirs")
    again = TunedPrompt.load(tmp_path / "theirs")
    assert again.origin == "peft"
    assert again.backbone.name == "tiny-llama"
    assert torch.equal(again.prompt.embeddings, saved.prompt.embeddings)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_prompt_of_peft_is_read_exactly(tmp_path, family):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    wrapped = peft.get_peft_model(model(family), config)
    wrapped.save_pretrained(tmp_path / "theirs")
    task = Task(labels=("x", "y"))
    read = TunedPrompt.load(tmp_path / "theirs", task)
    assert (read.origin, read.task, read.record) == ("peft", task, {})
    assert torch.equal(read.prompt.embeddings, wrapped.prompt_encoder["default"].embedding.weight)
    assert torch.equal(
        read.prompt.embeddings, load_file(tmp_path / "theirs" / "adapter_model.safetensors")["prompt_embeddings"]
    )
    identity = read.backbone
    assert (identity.hidden_size, identity.num_layers, identity.num_heads) == (WIDTH, 3, 4)
    identity.check(backbone(family).identity, "prompt")  # only the width is known, and it fits
    wider = type(identity)(**{**identity.to_dict(), "hidden_size": 64})
    with pytest.raises(CuetuneError, match="width"):
        wider.check(backbone(family).identity, "prompt")
    assert TunedPrompt.load(tmp_path / "theirs").task.generates  # nobody said what is asked


def test_a_prompt_of_peft_becomes_one_of_ours(tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    peft.get_peft_model(model("llama"), config).save_pretrained(tmp_path / "theirs")
    read = TunedPrompt.load(tmp_path / "theirs", Task(labels=("x", "y")))
    again = TunedPrompt.load(read.save(tmp_path / "theirs", overwrite=True))
    assert (again.origin, again.task) == ("cuetune", read.task)
    assert torch.equal(again.prompt.embeddings, read.prompt.embeddings)


def test_other_adapters_are_named(tmp_path):
    peft.get_peft_model(model("llama"), peft.LoraConfig(task_type="CAUSAL_LM")).save_pretrained(tmp_path / "theirs")
    with pytest.raises(CuetuneError, match="holds a LORA adapter; only PROMPT_TUNING, P_TUNING, PREFIX_TUNING, CART"):
        TunedPrompt.load(tmp_path / "theirs")


CONFIGS = {
    "PROMPT_TUNING": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "PREFIX_TUNING": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "PREFIX_TUNING projected": lambda: peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=8
    ),
    "P_TUNING": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=8),
    "CARTRIDGE": lambda: peft.CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_what_peft_saves_gives_its_logits_here(tmp_path, name, family):
    """Grouped heads (llama) and one head each (gpt2); encoders of P-tuning and prefixes are folded by PEFT."""
    theirs = peft.get_peft_model(model(family), CONFIGS[name]()).eval()
    for parameter in theirs.prompt_encoder.parameters():
        parameter.mul_(0.3)
    wanted = theirs(input_ids=IDS).logits[0][-IDS.shape[1] :]
    theirs.save_pretrained(tmp_path / "theirs")
    frozen, read = backbone(family), TunedPrompt.load(tmp_path / "theirs")
    ours = frozen.logits(frozen.hidden(TokenBatch.of(IDS.tolist()), read.prompt.injection()))
    assert torch.allclose(ours, wanted, atol=1e-4)
    again = TunedPrompt.load(read.save(tmp_path / "ours")).prompt
    assert torch.equal(frozen.logits(frozen.hidden(TokenBatch.of(IDS.tolist()), again.injection())), ours)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_peft_gives_our_logits_of_a_prefix(tmp_path, family):
    frozen = backbone(family)
    layers, heads, size = frozen.kv_shape
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(layers, heads, 4, size, generator=generator) for _ in range(2))
    saved = TunedPrompt(PrefixPrompt(keys, values), Task(labels=("neg", "pos")), frozen.identity, {})
    folder = saved.save(tmp_path / "p")
    assert not (folder / "prompt.safetensors").exists()  # stored once
    theirs = peft.PeftModel.from_pretrained(model(family), str(folder))(input_ids=IDS).logits[0]
    ours = frozen.logits(frozen.hidden(TokenBatch.of(IDS.tolist()), saved.prompt.injection()))
    assert torch.allclose(ours, theirs, atol=1e-4)
    plain = frozen.logits(frozen.hidden(TokenBatch.of(IDS.tolist())))
    assert (ours - plain).abs().max() > 0.01
    assert torch.equal(TunedPrompt.load(folder).prompt.keys(), keys)


def test_the_snippets_of_the_card_run_as_they_stand(tmp_path, monkeypatch, capsys):
    """In the folder above the prompt, with the backbone's folder beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-llama").symlink_to(folder())
    frozen = package.load_backbone("tiny-llama", dtype="float32")
    TunedPrompt(made().prompt, made().task, frozen.identity, {}).save("my prompt")
    assert frozen.identity.name == "tiny-llama"
    text = (tmp_path / "my prompt" / "README.md").read_text()
    ours, theirs = re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    (tmp_path / "ours.py").write_text(ours)
    (tmp_path / "theirs.py").write_text(theirs)
    runpy.run_path(str(tmp_path / "ours.py"))
    assert capsys.readouterr().out.split()[0] in ("neg", "pos")
    wrapped = runpy.run_path(str(tmp_path / "theirs.py"))["model"]
    assert torch.equal(wrapped.prompt_encoder["default"].embedding.weight, made().prompt.embeddings)
    (command,) = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    (tmp_path / "new_rows.csv").write_text("text\nWorks like a charm.\n")
    import shlex

    from cuetune.cli.main import app

    monkeypatch.setattr(sys, "argv", shlex.split(command))
    app(standalone_mode=False)
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 2


def test_the_snippets_of_the_guide_run_as_they_stand(tmp_path, monkeypatch):
    """One after the other, as a reader would; the tiny model stands in for the bundled one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cuetune.support.plugins.resolve_model", lambda name: str(folder()))
    saved = made()
    saved.save("prompts/reviews")
    guide = (Path(__file__).parents[2] / "docs" / "saved-prompts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)\n```", guide, re.DOTALL)
    assert len(blocks) == 3
    said: dict = {}
    for block in blocks:
        exec(block, said)
    assert said["prompt"].task.labels == ("negative", "positive")
    for name in ("copy", "from-peft"):
        assert torch.equal(TunedPrompt.load(f"prompts/{name}").prompt.embeddings, saved.prompt.embeddings)
    assert set(json.loads(Path("prompts/copy/cuetune.json").read_text())) | {"state_sha256"} == set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", guide.split("## `cuetune.json`")[1], re.MULTILINE)))
    )
