"""Saved prompts: what is read is what was written, PEFT agrees, and nothing damaged or foreign gets through."""

import json
import os
import random

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.card import card
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, SoftPrompt
from tiny import WIDTH, backbone, model, stock_logits

RECORD = {
    "data": {"source": "rows|.csv", "fingerprint": "ab" * 32, "rows": {"train": 10, "validation": 2, "test": 3}},
    "settings": {"steps": 5, "learning_rate": 0.01, "init_text": None},
    "seed": 0,
    "stopped": "early",
    "best_step": 4,
    "versions": {"cuetune": "0.1.0"},
    "created": "2026-01-02",
    "scored_rows": 3,
    "scores": {
        "tuned": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}},
        "zero-shot": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
    },
    "cost": {
        "seconds": 3.2,
        "steps": 5,
        "tokens": 1000,
        "tflop": 0.1,
        "peak_memory_bytes": 2**30,
        "device": "CPU",
        "stored_bytes": 640,
        "trained_parameters": 160,
    },
}


def tuned(kind: str = "soft") -> TunedPrompt:
    frozen = backbone()
    words = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))
    prompt = SoftPrompt(words) if kind == "soft" else HardPrompt([3, 4, 5], frozen.embed(torch.tensor([3, 4, 5])))
    task = Task(labels=("a|b", "c\nd"), instruction="Tell: <x> *y*", columns={"text": "body"})
    return TunedPrompt(prompt, task, frozen.identity, RECORD)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_what_is_loaded_is_what_was_saved(tmp_path, kind):
    made = tuned(kind)
    again = TunedPrompt.load(made.save(tmp_path / "p"))
    assert (again.task, again.backbone, again.record, again.prompt.spec()) == (
        made.task,
        made.backbone,
        made.record,
        made.prompt.spec(),
    )
    for name, value in made.prompt.state_dict().items():
        assert torch.equal(again.prompt.state_dict()[name], value)


def test_peft_loads_the_folder_and_gives_the_same_logits(tmp_path):
    peft = pytest.importorskip("peft")
    made = tuned()
    folder = made.save(tmp_path / "p")
    wrapped = peft.PeftModel.from_pretrained(model("llama"), str(folder))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        theirs = wrapped(input_ids=ids).logits[0, 5:]
        bare = model("llama")
        whole = torch.cat([made.prompt.embeddings, bare.get_input_embeddings()(ids[0])])
        assert torch.allclose(theirs, stock_logits(bare, whole)[5:], atol=1e-5)
        ours = backbone()
        from cuetune.backbones.batches import TokenBatch

        hidden = ours.hidden(TokenBatch.of([[5, 6, 7]]), made.prompt.injection())
        assert torch.allclose(theirs, ours.logits(hidden), atol=1e-5)


def test_a_folder_of_peft_loads_here(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    wrapped = peft.get_peft_model(model("llama"), config)
    wrapped.save_pretrained(tmp_path / "theirs")
    task = Task(labels=("x", "y"))
    read = TunedPrompt.load(tmp_path / "theirs", task)
    assert (read.origin, read.task) == ("peft", task)
    assert torch.equal(read.prompt.embeddings, wrapped.prompt_encoder["default"].embedding.weight)
    read.backbone.check(backbone().identity, "prompt")  # only the width is known, and it fits


def test_other_adapters_of_peft_are_named(tmp_path):
    peft = pytest.importorskip("peft")
    peft.get_peft_model(model("llama"), peft.LoraConfig(task_type="CAUSAL_LM")).save_pretrained(tmp_path / "lora")
    with pytest.raises(CuetuneError, match="LORA"):
        TunedPrompt.load(tmp_path / "lora")


def damage(folder, kind):
    weights, config, record = (folder / n for n in ("adapter_model.safetensors", "adapter_config.json", "cuetune.json"))
    tensors = load_file(weights)
    values = json.loads(record.read_text())
    if kind == "no weights":
        weights.unlink()
    elif kind == "pickle instead":
        weights.rename(folder / "adapter_model.bin")
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:200])
    elif kind == "other numbers":
        save_file({"prompt_embeddings": tensors["prompt_embeddings"] + 1}, weights)
    elif kind == "NaN":
        data = save({"prompt_embeddings": tensors["prompt_embeddings"] * float("nan")}, {"format": "pt"})
        weights.write_bytes(data)
    elif kind == "other shape":
        save_file({"prompt_embeddings": tensors["prompt_embeddings"][:, :8].contiguous()}, weights)
    elif kind == "other tensor":
        save_file({"lora": tensors["prompt_embeddings"]}, weights)
    elif kind == "link outside":
        outside = folder.parent / "outside"
        weights.rename(outside)
        weights.symlink_to(outside)
    elif kind == "broken JSON":
        record.write_text(record.read_text()[:-30])
    elif kind == "wrong type":
        record.write_text(json.dumps({**values, "task": {**values["task"], "labels": "oops"}}))
    elif kind == "unknown key":
        record.write_text(json.dumps({**values, "run": "rm -rf /"}))
    elif kind == "newer format":
        record.write_text(json.dumps({**values, "format": 99}))
    elif kind == "unknown kind":
        record.write_text(json.dumps({**values, "kind": "../../evil"}))
    elif kind == "no config":
        config.unlink()
    else:
        raise AssertionError(kind)


DAMAGES = {
    "no weights": "adapter_model.safetensors",
    "pickle instead": "can run code",
    "truncated": "not a whole safetensors",
    "other numbers": "SHA-256",
    "NaN": "not finite",
    "other shape": "shape",
    "other tensor": "prompt_embeddings",
    "link outside": "outside",
    "broken JSON": "not JSON",
    "wrong type": "task.labels",
    "unknown key": "run",
    "newer format": "newer",
    "unknown kind": "not known",
    "no config": "not a saved prompt",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_folders_are_one_line(tmp_path, kind):
    folder = tuned().save(tmp_path / "p")
    damage(folder, kind)
    with pytest.raises(CuetuneError) as raised:
        TunedPrompt.load(folder)
    assert DAMAGES[kind] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value) or kind == "unknown kind"


def test_no_cut_or_changed_byte_gives_anything_but_one_line_or_the_same_prompt(tmp_path):
    folder = tuned().save(tmp_path / "p")
    draw = random.Random(0)
    for name in ("adapter_model.safetensors", "adapter_config.json", "cuetune.json"):
        whole = (folder / name).read_bytes()
        for _ in range(60):
            broken = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.5 else whole)
            if broken and draw.random() < 0.7:
                broken[draw.randrange(len(broken))] = draw.randrange(256)
            (folder / name).write_bytes(bytes(broken))
            try:
                TunedPrompt.load(folder)
            except CuetuneError as error:
                assert "\n" not in str(error)  # noqa: PT017
        (folder / name).write_bytes(whole)
    TunedPrompt.load(folder)


def test_another_backbone_is_refused():
    mine = tuned().backbone
    for family, said in (("gpt2", "weights"), ("llama", "")):
        other = backbone(family).identity
        if said:
            with pytest.raises(CuetuneError, match=said):
                mine.check(other, "p")
        else:
            mine.check(other, "p")
    wider = type(mine)(**{**mine.to_dict(), "hidden_size": 64})
    with pytest.raises(CuetuneError, match="width"):
        mine.check(wider, "p")


def test_another_seed_of_the_same_model_is_another_backbone():
    from cuetune.backbones.identity import weights_hash

    assert weights_hash(model("llama", 0).state_dict()) != weights_hash(model("llama", 1).state_dict())
    half = model("llama", 0).to(torch.bfloat16)
    assert weights_hash(half.state_dict()) == weights_hash(model("llama", 0).state_dict())


def test_saving_replaces_a_prompt_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tuned().save(tmp_path / "p")
    with pytest.raises(CuetuneError, match="overwrite"):
        tuned().save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with pytest.raises(CuetuneError, match="No space left"):
            tuned("hard").save(folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["p"]
    tuned("hard").save(folder, overwrite=True)
    assert TunedPrompt.load(folder).prompt.kind == "hard"
    assert os.listdir(tmp_path) == ["p"]


def test_a_folder_of_something_else_is_never_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CuetuneError, match="not a saved prompt"):
        tuned().save(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_card_is_valid_and_has_no_gaps():
    yaml = pytest.importorskip("yaml")
    text = card(tuned(), "my: prompt")
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "tiny-llama"
    assert front["model-index"][0]["name"] == "my: prompt"
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.9
    assert "0.900 (0.800–0.950)" in text
    assert "None" not in text
    assert "nan" not in text.lower().split()
    bare = card(TunedPrompt(tuned().prompt, tuned().task, tuned().backbone), "p")
    assert "## Scores" not in bare
    assert "## Cost" not in bare


def test_saved_folders_name_no_path_of_this_machine(tmp_path):
    folder = tuned().save(tmp_path / "p")
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
