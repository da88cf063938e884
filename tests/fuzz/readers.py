"""Everything that reads a file of others: how a sound one is made, which of its files are damaged, how it is read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.whole_weights import check_config
from cuetune.cli.config import read_config
from cuetune.cost.prices import read_prices
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.methods.continual.answering import load_learned
from cuetune.methods.continual.learned import STATE, Learned, LearnedTask
from cuetune.methods.continual.reading import read_stream
from cuetune.prompts import MultitaskPrompt, PrefixPrompt, Prompt, SoftPrompt
from cuetune.prompts.calibrated import CalibratedPrompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.ensemble import EnsemblePrompt
from cuetune.prompts.lowrank import UltraLowPrompt
from cuetune.readouts import Head
from cuetune.support.yaml_file import read_lined
from cuetune.tuning.checkpoint import NAME, Progress, load_checkpoint, save_checkpoint

IDENTITY = BackboneIdentity("tiny-llama", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
TASK = Task(labels=("neg", "pos"))
START = torch.arange(24.0).reshape(4, 6)
ROWS = [{"text": "good day", "label": "pos"}, {"text": "bad", "label": "neg"}, {"text": "é 𐍈", "label": "pos"}]


@dataclass(frozen=True)
class Reader:
    """make(folder) writes a sound file or folder; files: those that are damaged; read(folder) reads it."""

    make: Callable[[Path], Any]
    files: tuple[str, ...]
    read: Callable[[Path], Any]


def _prompt(prompt: Prompt, head: Head | None = None) -> Callable[[Path], Any]:
    scores = {"tuned": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    record = {"seed": 0, "settings": {"rank": 3}, "scores": scores, "scored_rows": 9}
    return lambda folder: TunedPrompt(prompt, TASK, IDENTITY, record, head=head).save(folder, overwrite=True)


def _read_prompt(folder: Path) -> Any:
    tuned = TunedPrompt.load(folder)
    return tuned.prompt.described(), tuned.task.fields, tuned.n_trained


def _peft(folder: Path) -> None:
    keys = torch.randn(2, 1, 4, 3, generator=torch.Generator().manual_seed(0))
    _prompt(PrefixPrompt(keys, keys))(folder)
    (folder / "cuetune.json").unlink()


def _universal(folder: Path) -> None:
    UniversalPrompt(MultitaskPrompt(START, ("a", "b")), IDENTITY, {"seed": 0}).save(folder)


def _stream(folder: Path) -> None:
    report = {"seconds": 1.0, "steps": 2, "tokens": 3, "trained": 4, "validation": {}}
    spec = {"learner": "simple-cil", "seed": 0, "options": {}, "labels": ["neg", "pos"], "tasks": 1, "own": {}}
    tasks = [LearnedTask("a", ["neg", "pos"], 3, 2, report)]
    learned = Learned("simple-cil", 0, "classes", None, {}, IDENTITY, {}, tasks)
    learned.accuracies, learned.spec = [[0.5]], {**spec, "task": TASK.to_dict()}
    learned.tensors = {"sums": torch.ones(2, 6).double(), "counts": torch.ones(2).double()}
    folder.mkdir(exist_ok=True)
    _without_seal(learned.save(folder))


def _checkpoint(folder: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    folder.mkdir(exist_ok=True)
    trained, best = ({"w": weight.detach().clone()} for _ in range(2))
    save_checkpoint(folder, "key", Progress(3), trained, best, optimizer)
    _without_seal(folder / NAME)


def _without_seal(path: Path) -> None:
    """As earlier versions wrote it: the seal would stop every change at once."""
    with safe_open(path, framework="pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "sha256"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata)


def _library(folder: Path) -> None:
    shelf = PromptLibrary(folder)
    for number in range(2):
        shelf.add(TunedPrompt(SoftPrompt(START + number), TASK, IDENTITY, {"created": "2026-01-01"}), f"p{number}")
    shelf.survey()


def _written(name: str, content: bytes) -> Callable[[Path], Any]:
    def make(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return make


def _rows(name: str, content: bytes) -> Reader:
    def read(folder: Path) -> Any:
        return [TASK.example(row) for row in read_rows(str(folder / name))]

    return Reader(_written(name, content), (name,), read)


def _array(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / "p.npy", START.numpy())
    torch.save(START, folder / "p.pt")


def _stream_file(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "STREAM.yaml").write_text("data: rows.jsonl\ndivide: 1\ntemplate: 'Text: {text}'\nlabel: label\n")


LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS * 4).encode()
TABLE = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
YAML = b"tasks:\n  - name: spam\n    data: rows.csv\n    labels: [yes, 'no']\n  - name: \"b\"\n    data: >\n      x\n"
TOML = b"steps = 100\nlearning-rate = 0.1\n[columns]\ntext = 'body'\n"
PRICES = {"usd_per_kwh": 0.2, "gpus": {"h100": {"usd_per_hour": 2.5}}}
CONFIG = {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "text_config": {"hidden_size": 8}}
MEMBERS = EnsemblePrompt([SoftPrompt(START), OffsetPrompt(START, 8, 2), UltraLowPrompt(START, 3)])
FOLDED = CalibratedPrompt(MEMBERS, torch.tensor([0.4, 0.6]))
HEAD = Head("last", torch.ones(2, 6), torch.zeros(2))

READERS = {
    "saved prompt": Reader(
        _prompt(SoftPrompt(START), HEAD),
        ("cuetune.json", "adapter_config.json", "adapter_model.safetensors", "head.safetensors"),
        _read_prompt,
    ),
    "prompt of prompts": Reader(_prompt(FOLDED), ("cuetune.json", "prompt.safetensors"), _read_prompt),
    "folder of PEFT": Reader(_peft, ("adapter_config.json", "adapter_model.safetensors"), _read_prompt),
    "universal prompt": Reader(_universal, ("universal.json", "universal.safetensors"), UniversalPrompt.load),
    "learned stream": Reader(_stream, (STATE,), load_learned),
    "checkpoint": Reader(_checkpoint, (NAME,), lambda folder: load_checkpoint(folder, "key")),
    "library": Reader(
        _library,
        ("index.json", "p0/*/cuetune.json", "p1/*/adapter_model.safetensors"),
        lambda folder: PromptLibrary(folder).survey(),
    ),
    "array of numpy": Reader(_array, ("p.npy",), lambda folder: TunedPrompt.load(folder / "p.npy")),
    "array of torch": Reader(_array, ("p.pt",), lambda folder: TunedPrompt.load(folder / "p.pt")),
    "YAML": Reader(_written("t.yaml", YAML), ("t.yaml",), lambda folder: read_lined(folder / "t.yaml")),
    "stream file": Reader(_stream_file, ("STREAM.yaml",), lambda folder: read_stream(folder / "STREAM.yaml")),
    "options": Reader(_written("o.toml", TOML), ("o.toml",), lambda folder: read_config(folder / "o.toml")),
    "prices": Reader(
        _written("p.json", json.dumps(PRICES).encode()), ("p.json",), lambda folder: read_prices(folder / "p.json")
    ),
    "configuration of a model": Reader(
        _written("config.json", json.dumps(CONFIG).encode()), ("config.json",), lambda folder: check_config(str(folder))
    ),
    "JSON lines": _rows("r.jsonl", LINES),
    "JSON rows": _rows("r.json", json.dumps(ROWS).encode()),
    "CSV": _rows("r.csv", TABLE.encode()),
    "TSV": _rows("r.tsv", TABLE.replace(",", "\t").encode()),
}  # fmt: skip
