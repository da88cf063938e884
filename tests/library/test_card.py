"""The card: YAML that parses, Markdown that users' words cannot break, no gaps, and snippets that run."""

import ast
import re
import shlex
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.library.card import card
from cuetune.library.contents import UNKNOWN_BACKBONE
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, SoftPrompt

yaml = pytest.importorskip("yaml")

IDENTITY = BackboneIdentity("org/tiny", "v1.2", "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
SOFT = SoftPrompt(torch.zeros(5, 6))
RECORD = {
    "data": {"source": "reviews.csv", "fingerprint": "ef" * 32, "rows": {"train": 1200, "validation": 30, "test": 45}},
    "settings": {"init": "text", "init_text": None, "steps": 5, "learning_rate": 0.01, "compile": False},
    "seed": 7,
    "stopped": "early",
    "best_step": 4,
    "versions": {"cuetune": "0.1.0", "torch": "2.13.0"},
    "created": "2026-01-02",
    "scored_rows": 45,
    "scores": {
        "tuned": {
            "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
            "macro_f1": {"value": 0.88, "low": 0.7, "high": 0.9},
        },
        "zero-shot": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "few-shot (k=8)": {"accuracy": {"value": 0.6, "low": 0.5, "high": 0.7}},
    },
    "cost": {
        "seconds": 83.25,
        "steps": 5,
        "tokens": 61000,
        "tflop": 12.5,
        "peak_memory_bytes": 3 * 2**30,
        "device": "CPU, 2 threads",
        "stored_bytes": 120,
        "trained_parameters": 30,
    },
}
TASK = Task(
    template="Review: {text}\nSentiment:",
    labels=("neg", "pos"),
    label_words=(" bad", " good"),
    instruction="Judge the review.",
    columns={"text": "body"},
)
MADE = TunedPrompt(SOFT, TASK, IDENTITY, RECORD)


def front(text):
    opening, matter, _ = text.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(matter)


def sections(text):
    return re.findall("^## (.*)$", text, re.MULTILINE)


def blocks(text, language):
    return re.findall(f"^```{language}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


def rows(text, section):
    """The cells of a section's table, without its head."""
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {len(cells[0])}
    return cells[2:]


def test_the_front_matter_is_what_the_hub_reads():
    assert front(card(MADE, "prompts: mine")) == {
        "base_model": "org/tiny",
        "base_model_relation": "adapter",
        "library_name": "cuetune",
        "pipeline_tag": "text-classification",
        "tags": ["prompt-tuning", "peft", "soft-prompt"],
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": "prompts: mine",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"name": "reviews.csv", "type": "custom", "split": "test"},
                        "metrics": [
                            {"type": "accuracy", "name": "accuracy", "value": 0.9},
                            {"type": "f1", "name": "macro-f1", "value": 0.88},
                        ],
                    }
                ],
            }
        ],
    }
    assert front(card(replace(MADE, record={**RECORD, "license": "mit"})))["license"] == "mit"


def test_the_hub_library_accepts_the_front_matter():
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(card(MADE, "mine")).data.eval_results
    assert [(each.metric_type, each.metric_value) for each in results] == [("accuracy", 0.9), ("f1", 0.88)]


def test_every_number_of_the_record_is_there():
    text = card(MADE, "mine")
    assert sections(text) == [
        "Use",
        "Labels",
        "Prompt",
        "Scores",
        "Tuning",
        "Cost",
        "Where it came from",
        "Limits",
    ]
    assert rows(text, "Labels") == [["neg", "`' bad'`"], ["pos", "`' good'`"]]
    assert rows(text, "Scores") == [
        ["tuned", "0.900 (0.800–0.950)", "0.880 (0.700–0.900)"],
        ["zero-shot", "0.500 (0.400–0.600)", ""],
        ["few-shot (k=8)", "0.600 (0.500–0.700)", ""],
    ]
    assert ["learning rate", "0.01"] in rows(text, "Tuning")
    assert "stopped early" in text
    assert "step 4" in text
    assert dict(rows(text, "Cost")) == {
        "time": "83.2 seconds on CPU, 2 threads",
        "steps": "5",
        "tokens": "61,000",
        "operations": "12.5 TFLOP",
        "peak memory": "3,072 MiB",
        "trained numbers": "30",
        "stored": "120 bytes",
    }
    assert dict(rows(text, "Where it came from")) == {
        "backbone": "org/tiny",
        "revision": "v1.2",
        "weights (SHA-256)": f"`{'ab' * 32}`",
        "tokenizer (SHA-256)": f"`{'cd' * 32}`",
        "data": "reviews.csv (rows: 1,200 train, 30 validation, 45 test)",
        "data (SHA-256)": f"`{'ef' * 32}`",
        "versions": "cuetune 0.1.0, torch 2.13.0",
        "seed": "7",
        "created": "2026-01-02",
    }
    assert "5 virtual tokens at the embedding layer; 30 learned numbers" in text
    assert "Initial text:\n\n```text\nJudge the review.\n```" in text
    assert "45 held-out rows of reviews.csv" in text


PARTS = sorted({*RECORD} - {"scored_rows", "scores"})


@pytest.mark.parametrize("left_out", [*PARTS, "scores", "everything"])
def test_what_is_not_known_is_left_out_and_not_filled_in(left_out):
    gone = {"scores": {"scores", "scored_rows"}, "everything": {*RECORD}}.get(left_out, {left_out})
    text = card(replace(MADE, record={key: value for key, value in RECORD.items() if key not in gone}), "mine")
    assert ("## Scores" in text) == ("scores" not in gone)
    assert ("## Tuning" in text) == ("settings" not in gone)
    assert ("## Cost" in text) == ("cost" not in gone)
    assert ("model-index" in front(text)) == (not gone & {"scores", "data"})
    assert ("was not scored" in text) == ("scores" in gone)
    no_gaps(text)


def test_of_an_unknown_backbone_nothing_is_claimed():
    identity = BackboneIdentity(UNKNOWN_BACKBONE, None, "", "", "", 6, 0, 0)
    text = card(TunedPrompt(SOFT, Task(template="{text}"), identity, {}, "peft"), "mine")
    assert "base_model" not in front(text)
    assert front(text)["pipeline_tag"] == "text-generation"
    assert "Where it came from" not in sections(text)
    no_gaps(text)


def no_gaps(text):
    said = set(re.findall(r"[\w?]+", text.lower()))
    assert not said & {"none", "nan", "null", "inf", "unknown", "?", "todo"}
    assert "More Information Needed" not in text


def test_what_is_inside_of_the_data_is_said():
    hard = replace(MADE, prompt=HardPrompt([1, 2], torch.zeros(2, 6)))
    assert "contains those rows" in card(hard)
    assert "No training example" in card(MADE)
    assert "contains those rows" not in card(MADE)
    assert "read back" in card(replace(MADE, record={**RECORD, "start": "soft-from-hard"}))


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
NASTY = 'a|b\n# c ``` ```` "d" \\ <b>[x](y)</b> *e* _f_ \x1b[31m \u2028 \x85 --- {{}} 😀'


@settings(max_examples=200, deadline=None)
@given(names, names, names, st.lists(names, min_size=2, max_size=3, unique=True), names)
@example(NASTY, NASTY, NASTY, [NASTY, "b"], NASTY)
@example("---\n", "~~~", "```", ["|", "||"], "`")
def test_users_words_break_nothing(name, model, text, labels, source):
    task = replace(TASK, template=text + "{x}", labels=tuple(labels), label_words=tuple(labels), instruction=text)
    record = {**RECORD, "data": {**RECORD["data"], "source": source}, "settings": {"init_text": text, "a|b": text}}
    read = card(TunedPrompt(SOFT, task, replace(IDENTITY, name=model, revision=source), record), name)
    matter = front(read)
    assert matter["base_model"] == model or model == UNKNOWN_BACKBONE
    assert matter["model-index"][0]["name"] == name
    assert matter["model-index"][0]["results"][0]["dataset"]["name"] == source
    kept = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", read, flags=re.MULTILINE | re.DOTALL)  # what is no block of code
    assert sections(kept)[:3] == ["Use", "Labels", "Prompt"]
    assert len(sections(kept)) == 8
    assert len(rows(kept, "Labels")) == len(labels)
    assert len(rows(kept, "Scores")) == 3
    assert kept.isprintable() or set(kept) - {"\n"} == {char for char in kept if char.isprintable()}


def test_a_template_does_not_end_its_own_block():
    template = "Code:\n```\n{text}\n```\n## Use this instead"
    text = card(replace(MADE, task=replace(TASK, template=template)), "mine")
    assert f"````text\n{template}\n````\n" in text


@settings(max_examples=100, deadline=None)
@given(names.filter(lambda name: "`" not in name and name.isprintable()))
@example("it's; rm -rf $HOME")
@example('"); import os; ("')
def test_the_snippets_say_the_name_and_nothing_else(name):
    text = card(replace(MADE, backbone=replace(IDENTITY, name=name)), name)
    (command,) = blocks(text, "bash")
    assert shlex.split(command) == ["cuetune", "predict", name, "new_rows.csv", "--to", "answers.csv"]
    ours, peft = (ast.parse(block) for block in blocks(text, "python"))
    strings = [node.value for tree in (ours, peft) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert strings.count(name) == 3 - (name == UNKNOWN_BACKBONE)
    assert set(strings) == {name, "body", "…", "v1.2"}


def test_the_bundled_model_is_loaded_from_where_it_is():
    text = card(replace(MADE, backbone=replace(IDENTITY, name="smollm2-135m", revision=None)), "mine")
    assert 'AutoModelForCausalLM.from_pretrained(resolve_model("smollm2-135m"))' in text
    for block in blocks(text, "python"):
        ast.parse(block)
