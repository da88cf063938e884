"""The plain path: what models whose layers take no injections answer, held against plain transformers, row by row."""

import copy
import json
import logging
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

import cuetune
from cuetune.api.tune import tune
from cuetune.backbones.answer_paths import leaf_paths
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.loading import open_model
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.tuning.settings import Settings
from tiny import encoder_decoder_backbone, tokenizer, write_csv
from tiny import rows as labelled

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import model_types  # noqa: E402

CAUSAL = ("mamba", "qwen3_next", "falcon", "bloom", "deepseek_v3", "gemma4_text")
ENCODERS = ("deberta-v2", "mpnet", "longformer")
ROWS = [[11, 12, 13], [14, 15, 16, 17, 18], list(range(20, 45))]


@cache
def pair(name: str):
    """The backbone on the plain path, and a copy of its model."""
    kind = "masked" if name in ENCODERS else "causal"
    stock = model_types.tiny(name, kind)
    backbone = TextBackbone if kind == "causal" else EncoderBackbone
    return open_model(backbone, copy.deepcopy(stock), model_types.tokenizer(), name, None), stock


def prompt(backbone, length: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(length, backbone.width, generator=torch.Generator().manual_seed(seed)) * 0.1


def oracle(name: str, tokens: torch.Tensor, row: list[int], offsets: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (T, V) of a row behind a prompt, alone."""
    _, stock = pair(name)
    text = stock.get_input_embeddings()(torch.tensor(row))
    if offsets is not None:
        text = text + torch.nn.functional.pad(offsets[: len(row)], (0, 0, 0, max(0, len(row) - len(offsets))))
    return model_types.alone(stock, torch.cat([tokens, text]), row)[len(tokens) :]


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", CAUSAL + ENCODERS)
def test_rows_in_a_batch_equal_each_row_alone(name):
    ours, _ = pair(name)
    assert ours.path == "plain"
    with torch.no_grad():
        logits = ours.logits(ours.hidden(TokenBatch.of(ROWS), Injection({0: prompt(ours)})))
        for mine, row in zip(logits.split([len(row) for row in ROWS]), ROWS, strict=True):
            assert error(mine, oracle(name, prompt(ours), row)) < 5e-6


@pytest.mark.parametrize("name", CAUSAL + ENCODERS)
def test_a_mixed_batch_with_a_prompt_for_each_row_equals_each_alone(name):
    ours, _ = pair(name)
    each = torch.stack([prompt(ours, seed=seed) for seed in range(len(ROWS))])
    with torch.no_grad():
        parts = [
            (TokenBatch.of(ROWS), Injection({0: each})),
            (TokenBatch.of(ROWS[:1]), Injection({0: prompt(ours, 5)})),
        ]
        first, second = (ours.logits(states) for states in ours.hidden_mixed(parts))
        for mine, tokens, row in zip(first.split([len(row) for row in ROWS]), each, ROWS, strict=True):
            assert error(mine, oracle(name, tokens, row)) < 5e-6
        assert error(second, oracle(name, prompt(ours, 5), ROWS[0])) < 5e-6


@pytest.mark.parametrize("name", CAUSAL)
def test_shared_text_that_is_compiled_is_read_as_the_text_that_it_is(name):
    ours, _ = pair(name)
    compiled = ours.compile(Injection({0: prompt(ours)}), [50, 51])
    with torch.no_grad():
        mine = ours.logits(ours.hidden(TokenBatch.of(ROWS[:1]), compiled))
        assert error(mine, oracle(name, prompt(ours), [50, 51, *ROWS[0]])[2:]) < 5e-6


class Faint(torch.nn.Module):
    """A base model that lets a little of the padding into every token, and knows no mask."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def forward(self, inputs_embeds, **given):
        leak = 1e-3 * inputs_embeds.mean(dim=1, keepdim=True)
        return self.base(inputs_embeds=inputs_embeds + leak)


def test_padding_that_leaks_less_than_a_low_precision_shows_is_not_used(monkeypatch):
    ours = open_model(
        TextBackbone, model_types.tiny("mamba", "causal").bfloat16(), model_types.tokenizer(), "faint", None
    )
    assert ours._padding == "right"
    ours._decoder = Faint(ours._decoder)
    monkeypatch.setattr("cuetune.backbones.plain.close", lambda ours, theirs: True)  # a tolerance that sees nothing
    with torch.no_grad():
        super(type(ours), ours)._check_padding()
    assert ours._padding == "none"


def test_offsets_are_added_to_the_first_tokens_of_every_row():
    ours, _ = pair("falcon")
    offsets = prompt(ours, 4, 9)
    with torch.no_grad():
        mine = ours.logits(ours.hidden(TokenBatch.of(ROWS), Injection({0: prompt(ours)}, offsets=offsets)))
        for logits, row in zip(mine.split([len(row) for row in ROWS]), ROWS, strict=True):
            assert error(logits, oracle("falcon", prompt(ours), row, offsets)) < 5e-6


def test_an_answer_tree_is_read_as_one_text_for_each_leaf():
    """Nodes 0 and 3 are roots; 1 and 2 stand behind node 0."""
    sees = torch.eye(4, dtype=torch.bool)
    sees[1, 0] = sees[2, 0] = True
    assert leaf_paths(sees) == [[0, 1], [0, 2], [3]]
    ours, _ = pair("mamba")
    ids = torch.tensor([11, 12, 30, 31, 32, 33])
    tree = TokenBatch(ids, [6], torch.arange(6), torch.tensor([50]), sees, torch.tensor([1, 2, 2, 1]))
    with torch.no_grad():
        mine = ours.logits(ours.hidden(tree, Injection({0: prompt(ours)})))
        for nodes, answer in (([2, 3], [30, 31]), ([2, 4], [30, 32]), ([5], [33])):
            wanted = oracle("mamba", prompt(ours), [50, 11, 12, *answer])[3:]
            assert error(mine[nodes], wanted) < 5e-6


@pytest.mark.parametrize("name", ["mamba", "qwen3_next", "deberta-v2", "gemma4_text"])
def test_gradients_of_a_prompt_are_those_of_plain_transformers(name):
    ours, _ = pair(name)
    mine, theirs = (prompt(ours).requires_grad_() for _ in range(2))
    ours.logits(ours.hidden(TokenBatch.of(ROWS[:2]), Injection({0: mine}))).square().sum().backward()
    for row in ROWS[:2]:
        oracle(name, theirs, row).square().sum().backward()
    assert error(mine.grad, theirs.grad) < 1e-4


@pytest.mark.parametrize("name", ["mamba", "falcon", "gemma4_text"])
def test_written_answers_are_those_of_plain_transformers(name):
    ours, stock = pair(name)
    compiled = ours.compile(Injection({0: prompt(ours)}), [50])
    for row, written in zip(ROWS, generate(ours, ROWS, compiled, Writing(max_tokens=5)), strict=True):
        answer: list[int] = []
        while len(answer) < 5 and (not answer or answer[-1] != 0):
            answer.append(int(oracle(name, prompt(ours), [50, *row, *answer])[-1].argmax()))
        assert written == ours.tokenizer.decode(answer, skip_special_tokens=True).strip()


def saved(folder, name):
    model = model_types.tiny(name, "causal")
    model.config.pad_token_id = None
    model.resize_token_embeddings(len(tokenizer()))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def test_a_plain_model_is_tuned_kept_and_asked_again(tmp_path, caplog):
    model = saved(tmp_path / "mamba", "mamba")
    data = write_csv(tmp_path / "rows.csv", labelled(40))
    with caplog.at_level(logging.WARNING, "cuetune"):
        tuned = tune(data, tmp_path / "prompt", model=model, settings=Settings(steps=2), log=lambda line: None)
    (notice,) = [record.getMessage() for record in caplog.records if "plain path" in record.getMessage()]
    assert "do not use transformers' attention interface" in notice
    assert tuned.backbone.path == "plain"
    (answer,) = cuetune.predict(tmp_path / "prompt", [{"text": "good film"}], model=model)
    assert answer.label in tuned.task.labels
    assert cuetune.load(tmp_path / "prompt").backbone.path == "plain"


@pytest.mark.parametrize("method", ["prefix", "late", "p-tuning-v2", "prefix-mlp"])
def test_kinds_that_need_the_fast_path_are_refused_by_name(method, tmp_path):
    data = write_csv(tmp_path / "rows.csv", labelled(40))
    model = saved(tmp_path / "mamba", "mamba")
    with pytest.raises(CuetuneError, match="takes prompts at the embedding layer only .*prefix, late and pool prompts"):
        tune(data, tmp_path / "prompt", model=model, prompt=method, settings=Settings(steps=2), log=lambda line: None)


@pytest.mark.parametrize("methods", [None, ["soft", "prefix"]])
def test_a_comparison_knows_before_it_runs_what_a_plain_model_takes(methods, tmp_path):
    data = write_csv(tmp_path / "rows.csv", labelled(40))
    model = saved(tmp_path / "mamba", "mamba")

    def runs():
        plan = {"sizes": [8], "seeds": 1, "steps": 1, "search": False}
        return cuetune.compare(data, tmp_path / "to", methods=methods, model=model, log=lambda line: None, **plan)

    if methods:
        with pytest.raises(CuetuneError, match="prefix: mamba does not take it; of prompts it takes soft"):
            runs()
        assert not (tmp_path / "to").exists()
    else:
        runs()
        made = {json.loads(path.read_text())["method"] for path in (tmp_path / "to" / "runs").glob("*.json")}
        assert made == {"zero-shot", "few-shot", "linear-probe", "soft", "lora", "fine-tuning"}


def test_a_comparison_leaves_the_probe_out_for_an_encoder_decoder(tmp_path):
    data = write_csv(tmp_path / "rows.csv", labelled(40))
    plan = {"sizes": [8], "seeds": 1, "steps": 1, "search": False, "log": lambda line: None}
    plan["model"] = encoder_decoder_backbone("t5")
    with pytest.raises(CuetuneError, match="linear-probe: .* does not take it"):
        cuetune.compare(data, tmp_path / "to", methods=["zero-shot", "linear-probe"], **plan)
    cuetune.compare(data, tmp_path / "to", **plan)
    assert not list((tmp_path / "to" / "runs").glob("linear-probe*"))


def test_texts_go_to_the_language_part_of_a_model_that_also_sees(tmp_path):
    text = {"vocab_size": len(tokenizer()), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8}
    seen = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    seen |= {"image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text, vision_config=seen, mm_tokens_per_image=4, image_token_index=5)
    torch.manual_seed(0)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "both")
    tokenizer().save_pretrained(tmp_path / "both")
    backbone = load_backbone(str(tmp_path / "both"), dtype="float32", device="cpu", reads="text")
    assert isinstance(backbone, TextBackbone)
    assert backbone.path == "fast"
    data = write_csv(tmp_path / "rows.csv", labelled(40))
    both = str(tmp_path / "both")
    tuned = tune(data, tmp_path / "prompt", model=both, settings=Settings(steps=2), log=lambda line: None)
    (answer,) = cuetune.predict(tmp_path / "prompt", [{"text": "good film"}], model=both)
    assert answer.label in tuned.task.labels
