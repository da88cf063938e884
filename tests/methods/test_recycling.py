"""Moving a prompt to another model of the same vocabulary: exact where the words map exactly, refused elsewhere."""

import pytest
import torch

from cuetune.backbones.text import TextBackbone
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.recycling import linear_map, recycle
from cuetune.prompts import HardPrompt, PrefixPrompt, SoftPrompt
from tiny import backbone, encoder_backbone, model, tokenizer

TASK = Task(template="{text} =", labels=("pos", "neg"), name="mood")


def turned() -> tuple[TextBackbone, torch.Tensor]:
    """A model whose embedding table is the tiny one's, turned and scaled."""
    bare = model("llama", seed=5)
    matrix = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    bare.get_input_embeddings().weight.data = backbone("llama").embedding_table() @ matrix
    return TextBackbone(bare, tokenizer(), "turned"), matrix


def tuned(prompt) -> TunedPrompt:
    return TunedPrompt(prompt, TASK, backbone("llama").identity, {"created": "2026-01-01", "scores": {}})


def test_it_follows_the_words():
    target, matrix = turned()
    tokens = torch.randn(4, 32)
    recycled = recycle(tuned(SoftPrompt(tokens)), backbone("llama"), target)
    torch.testing.assert_close(recycled.prompt.embeddings, tokens @ matrix, rtol=1e-3, atol=1e-3)
    assert recycled.record["map_explains"] == pytest.approx(1, abs=1e-4)
    assert recycled.record["lineage"][0]["relation"] == "moved from"
    assert "scores" not in recycled.record, "what the prompt scored on another model says nothing of this one"
    assert recycled.backbone == target.identity


def test_tables_that_have_nothing_in_common_explain_nothing():
    generator = torch.Generator().manual_seed(2)
    source, target = (torch.randn(3000, 16, generator=generator) for _ in range(2))
    assert abs(linear_map(source, target)[1]) < 0.05


def test_a_hard_prompt_keeps_its_tokens():
    target, _ = turned()
    ids = [5, 9, 30]
    recycled = recycle(tuned(HardPrompt(ids, backbone("llama").embed(torch.tensor(ids)))), backbone("llama"), target)
    assert recycled.prompt.ids == ids
    assert torch.equal(recycled.prompt.embeddings, target.embed(torch.tensor(ids)))


def test_a_saved_prompt_of_it_loads(tmp_path):
    target, _ = turned()
    recycle(tuned(SoftPrompt(torch.randn(4, 32))), backbone("llama"), target).save(tmp_path / "recycled")
    assert TunedPrompt.load(tmp_path / "recycled").record["map_explains"] > 0.99


def test_what_cannot_be_moved():
    keys = torch.randn(3, *backbone("llama").kv_shape[1:2], 4, backbone("llama").kv_shape[2])
    with pytest.raises(CuetuneError, match="'prefix' prompt is more than virtual tokens"):
        recycle(tuned(PrefixPrompt(keys, keys, 0)), backbone("llama"), turned()[0])
    with pytest.raises(CuetuneError, match="different vocabularies"):
        recycle(tuned(SoftPrompt(torch.randn(4, 32))), backbone("llama"), encoder_backbone())
    with pytest.raises(CuetuneError, match="the prompt's model"):
        recycle(tuned(SoftPrompt(torch.randn(4, 32))), backbone("gpt2"), turned()[0])
