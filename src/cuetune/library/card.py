"""The card beside a saved prompt, written for whoever finds the folder: what it does, how well, at what cost.

Sections whose numbers are not known are left out. Users' words are escaped: nothing in them is markup.
"""

import json
import re
import shlex
from typing import Any

from cuetune.backbones.bundled import CATALOGUE
from cuetune.library.peft_format import to_peft
from cuetune.library.record import visible
from cuetune.library.tuned import UNKNOWN_BACKBONE, TunedPrompt

POOLED = {"first": "first state", "last": "last state", "mean": "mean state"}
AUTO = {
    "causal": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
}
METRICS = {"macro_f1": "f1"}  # what the hub calls a metric, where it calls it otherwise


def card(tuned: TunedPrompt, name: str | None = None) -> str:
    """Markdown with YAML front matter. name: of the folder, used in title and commands; by default the task's name."""
    name = name or tuned.task.name
    sections = [
        _front(tuned, name),
        _what(tuned, name),
        _use(tuned, name),
        _labels(tuned),
        _prompt(tuned),
        _scores(tuned),
        _tuning(tuned),
        _cost(tuned),
        _origin(tuned),
        _limits(tuned),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front(tuned: TunedPrompt, name: str) -> str:
    own = own_scores(tuned.record)
    lines = [
        "---",
        *([] if tuned.backbone.name == UNKNOWN_BACKBONE else [f"base_model: {_yaml(tuned.backbone.name)}"]),
        "base_model_relation: adapter",
        "library_name: cuetune",
        f"pipeline_tag: {_pipeline(tuned)}",
        *([f"license: {_yaml(tuned.record['license'])}"] if "license" in tuned.record else []),
        "tags:",
        "- prompt-tuning",
        "- peft",
        f"- {tuned.prompt.kind}-prompt",
    ]
    if own:
        lines += ["metrics:", *(f"- {_yaml(METRICS.get(metric, metric))}" for metric in own)]
    if own and "data" in tuned.record:
        lines += [
            "model-index:",
            f"- name: {_yaml(name)}",
            "  results:",
            f"  - task: {{type: {_pipeline(tuned)}}}",
            f"    dataset: {{name: {_yaml(tuned.record['data']['source'])}, type: custom, split: test}}",
            "    metrics:",
            *(_metric(metric, score) for metric, score in own.items()),
        ]
    return "\n".join([*lines, "---"])


def _metric(metric: str, score: dict[str, float]) -> str:
    kind = _yaml(METRICS.get(metric, metric))
    return f"    - {{type: {kind}, name: {_yaml(_title(metric))}, value: {score['value']:.4f}}}"


def _what(tuned: TunedPrompt, name: str) -> str:
    task = tuned.task
    more = f" and {len(task.labels) - 6} more labels" if len(task.labels) > 6 else ""
    labels = " / ".join(map(_plain, task.labels[:6])) + more
    does = "writes an answer to each row" if task.generates else f"tells {labels} for each row"
    model = (
        "a frozen model"
        if tuned.backbone.name == UNKNOWN_BACKBONE
        else f"the frozen model **{_plain(tuned.backbone.name)}**"
    )
    return f"# {_plain(name)}\n\nThis {tuned.prompt.kind} prompt for {model} {does}. The model itself is unchanged."


def _use(tuned: TunedPrompt, name: str) -> str:
    columns = [tuned.task.columns.get(field, field) for field in tuned.task.fields]
    row = ", ".join(f'{json.dumps(column, ensure_ascii=False)}: "…"' for column in columns)
    quoted = json.dumps(name, ensure_ascii=False)
    printed = "answer.label" if tuned.task.generates else "answer.label, answer.probabilities"
    python = f"import cuetune\n\nfor answer in cuetune.predict({quoted}, [{{{row}}}]):\n    print({printed})"
    parts = [
        "## Use",
        "On the command line:",
        _fenced(f"cuetune predict {shlex.quote(name)} new_rows.csv --to answers.csv", "bash"),
        "In Python:",
        _fenced(python, "python"),
    ]
    if tuned.backbone.name != UNKNOWN_BACKBONE and not tuned.head and to_peft(tuned.prompt, tuned.backbone) is not None:
        parts += [
            "With PEFT, which loads the same folder:",
            _fenced(_with_peft(tuned, quoted), "python"),
            "PEFT takes text that follows the template, without padding on the left:",
        ]
    else:
        parts.append("The template that every row is put in:")
    parts.append(_fenced(tuned.task.template, "text"))
    return "\n\n".join(parts)


def _with_peft(tuned: TunedPrompt, quoted: str) -> str:
    model, revision = json.dumps(tuned.backbone.name, ensure_ascii=False), tuned.backbone.revision
    bundled = tuned.backbone.name in CATALOGUE
    loaded = f"resolve({model})" if bundled else model + (f", revision={json.dumps(revision)}" if revision else "")
    auto = AUTO[tuned.backbone.kind]
    lines = [
        "from peft import PeftModel",
        f"from transformers import {auto}",
        *(["", "from cuetune.backbones.bundled import resolve"] if bundled else []),
        "",
        f"model = {auto}.from_pretrained({loaded})",
        f"model = PeftModel.from_pretrained(model, {quoted})",
    ]
    return "\n".join(lines)


def _labels(tuned: TunedPrompt) -> str:
    if tuned.task.generates:
        return ""
    if tuned.head:
        return "## Labels\n\n" + ", ".join(map(_plain, tuned.task.labels))
    pairs = zip(tuned.task.labels, tuned.task.label_words, strict=True)
    rows = [(_plain(label), _code(repr(word))) for label, word in pairs]
    return "## Labels\n\n" + _table(("label", "words that are scored"), rows)


def _prompt(tuned: TunedPrompt) -> str:
    settings = tuned.record.get("settings", {})
    learned = f"{tuned.n_trained:,} learned numbers" if tuned.n_trained else "words only, nothing learned"
    said = f"A {tuned.prompt.kind} prompt: {_plain(tuned.prompt.described())}; {learned}."
    if tuned.head:
        said += f" Answers are read by a trained head on each row's {POOLED[tuned.head.pooling]}."
    if settings.get("init"):
        said += f" It started from: {_plain(str(settings['init']))}."
    text = settings.get("init_text") or (tuned.task.instruction if settings.get("init") == "text" else "")
    if text:
        said += "\n\nInitial text:\n\n" + _fenced(str(text), "text")
    return "## Prompt\n\n" + said


def _scores(tuned: TunedPrompt) -> str:
    scores = {method: each for method, each in tuned.record.get("scores", {}).items() if each}
    if not scores:
        return ""
    names = list(dict.fromkeys(metric for each in scores.values() for metric in each))
    rows = [
        (_plain(method), *(interval(each[name]) if name in each else "" for name in names))
        for method, each in scores.items()
    ]
    beside = ", beside the same task said in words" if len(scores) > 1 else ""
    return (
        f"## Scores\n\nOn {tuned.record['scored_rows']:,} held-out rows, with 95 % confidence intervals{beside}.\n\n"
        + _table(("prompt", *(_plain(_title(name)) for name in names)), rows)
    )


def _tuning(tuned: TunedPrompt) -> str:
    settings = {key: value for key, value in tuned.record.get("settings", {}).items() if value not in (None, "")}
    if not settings:
        return ""
    ended = {"early": "stopped early", "interrupted": "was interrupted", "finished": "ran to the end"}
    said = []
    if how := ended.get(tuned.record.get("stopped", "")):
        said.append(f"The run {how}.")
    if "best_step" in tuned.record:
        said.append(f"The numbers are those of step {tuned.record['best_step']}, the best on the validation rows.")
    rows = [(_plain(key.replace("_", " ")), _plain(_value(value))) for key, value in settings.items()]
    return "\n\n".join(["## Tuning", *([" ".join(said)] if said else []), _table(("setting", "value"), rows)])


def _cost(tuned: TunedPrompt) -> str:
    cost = tuned.record.get("cost")
    if not cost:
        return ""
    return "## Cost\n\n" + _table(
        ("what", "tuning took"),
        [
            ("time", f"{cost['seconds']:,.1f} seconds on {_plain(cost['device'])}"),
            ("steps", f"{cost['steps']:,}"),
            ("tokens", f"{cost['tokens']:,}"),
            ("operations", f"{cost['tflop']:,.3g} TFLOP"),
            ("peak memory", f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB"),
            ("trained numbers", f"{cost['trained_parameters']:,}"),
            ("stored", f"{cost['stored_bytes']:,} bytes"),
        ],
    )


def _origin(tuned: TunedPrompt) -> str:
    backbone, data = tuned.backbone, tuned.record.get("data")
    hashes = {
        "backbone": "" if backbone.name == UNKNOWN_BACKBONE else _plain(backbone.name),
        "revision": _plain(backbone.revision or ""),
        "weights (SHA-256)": backbone.weights_hash and _code(backbone.weights_hash),
        "tokenizer (SHA-256)": backbone.tokenizer_hash and _code(backbone.tokenizer_hash),
    }
    rows = [pair for pair in hashes.items() if pair[1]]
    if data:
        parts = ", ".join(f"{count:,} {_plain(part)}" for part, count in data["rows"].items())
        rows += [("data", _plain(data["source"]) + (f" (rows: {parts})" if parts else ""))]
        rows += [("data (SHA-256)", _code(data["fingerprint"]))] if data["fingerprint"] else []
    if versions := tuned.record.get("versions"):
        rows += [("versions", _plain(", ".join(f"{name} {version}" for name, version in versions.items())))]
    rows += [(key, _plain(str(tuned.record[key]))) for key in ("seed", "created") if key in tuned.record]
    return "## Where it came from\n\n" + _table(("what", "value"), rows) if rows else ""


def _limits(tuned: TunedPrompt) -> str:
    data = tuned.record.get("data")
    tested = "It was not scored on held-out rows."
    if own_scores(tuned.record):
        where = f" of {_plain(data['source'])}" if data else ""
        tested = (
            f"The scores hold for rows like the {tuned.record['scored_rows']:,} held-out rows{where}; rows of another "
            "source, language or period were not tested."
        )
    cut = f"Of texts longer than {tuned.task.max_tokens:,} tokens the middle is cut."
    return f"## Limits\n\n{tested} {cut} Fairness between groups of people was not measured. {_inside(tuned)}"


def _inside(tuned: TunedPrompt) -> str:
    """What of the training data someone with this folder can read."""
    if "search" in tuned.record:
        return "The prompt consists of the words that were found and an instruction; no training row is stored."
    if tuned.prompt.holds_examples:
        return (
            "The prompt consists of the words of its instruction and demonstrations, so it contains those rows: share "
            "it only where they may be shared."
        )
    if tuned.record.get("start") == "soft-from-hard":
        return (
            "No training row is stored, but the prompt started from the words of its demonstrations and may still be "
            "close enough to them to be read back."
        )
    return "No training example is stored in this folder."


def own_scores(record: dict[str, Any]) -> dict[str, Any]:
    """The scores of the saved prompt itself, which come first, without the baselines."""
    return next(iter(record.get("scores", {}).values()), {})


def interval(score: dict[str, float]) -> str:
    """A score as people read it: value and its confidence interval."""
    return f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"


def _pipeline(tuned: TunedPrompt) -> str:
    return "text-generation" if tuned.task.generates else "text-classification"


def _title(metric: str) -> str:
    return metric.replace("_", "-")


def _value(value: Any) -> str:
    """A setting as it would be written by hand."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Users' words inside Markdown: on one line, and nothing in them is markup."""
    return "".join("\\" + char if char in "\\`|*_[]<>#~$&" else char for char in visible(text))


def _code(text: str) -> str:
    """Users' words as code, also inside a table: fenced by more backticks than they hold."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{visible(text)}{pad}{fence}".replace("|", "\\|")


def _fenced(text: str, language: str) -> str:
    """A block of code that its own content cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _yaml(text: str) -> str:
    """A string that YAML reads back as itself: JSON's, with what YAML does not allow in plain sight escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
