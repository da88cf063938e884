"""The card beside a saved prompt, written for whoever finds the folder: what it does, how well, at what cost."""

import json
from typing import Any

from cuetune.library.tuned import TunedPrompt


def card(tuned: TunedPrompt, name: str) -> str:
    """Markdown with YAML front matter. Sections whose numbers are not known are left out."""
    sections = [
        _front(tuned, name),
        _what(tuned, name),
        _use(tuned, name),
        _labels(tuned),
        _scores(tuned),
        _training(tuned),
        _cost(tuned),
        _origin(tuned),
        _limits(tuned),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front(tuned: TunedPrompt, name: str) -> str:
    kind = "text-generation" if tuned.task.generates else "text-classification"
    lines = [
        "---",
        f"base_model: {_yaml(tuned.backbone.name)}",
        "base_model_relation: adapter",
        "library_name: cuetune",
        f"pipeline_tag: {kind}",
        "tags:",
        "- prompt-tuning",
        "- peft",
        f"- {tuned.prompt.kind}-prompt",
    ]
    own = _own_scores(tuned)
    if own:
        lines += [
            "model-index:",
            f"- name: {_yaml(name)}",
            "  results:",
            f"  - task: {{type: {kind}}}",
            f"    dataset: {{name: {_yaml(_source(tuned))}, type: custom}}",
            "    metrics:",
        ]
        lines += [f"    - {{type: {metric}, value: {score['value']:.4f}}}" for metric, score in own.items()]
    return "\n".join([*lines, "---"])


def _what(tuned: TunedPrompt, name: str) -> str:
    task = tuned.task
    length = tuned.prompt.injection().n_tokens
    does = "writes an answer to" if task.generates else "tells " + " / ".join(map(_plain, task.labels[:6])) + " for"
    learned = f"{tuned.prompt.n_trained:,} learned numbers" if tuned.prompt.n_trained else "nothing learned, words only"
    return (
        f"# {_plain(name)}\n\nA {tuned.prompt.kind} prompt of {length} virtual tokens ({learned}) for the frozen model "
        f"**{_plain(tuned.backbone.name)}**. It {does} each row. The model itself is unchanged."
    )


def _use(tuned: TunedPrompt, name: str) -> str:
    field = tuned.task.columns.get(tuned.task.fields[0], tuned.task.fields[0])
    return f"""## Use

```bash
cuetune predict {name} new_rows.csv --to answers.csv
```

```python
import cuetune

for answer in cuetune.predict({json.dumps(name)}, [{{{json.dumps(field)}: "…"}}]):
    print(answer.label, answer.probabilities)
```

PEFT loads the same folder (`PeftModel.from_pretrained(model, {json.dumps(name)})`). The input must then follow the
template, without padding on the left:

```text
{tuned.task.template}
```"""


def _labels(tuned: TunedPrompt) -> str:
    if tuned.task.generates:
        return ""
    rows = [
        f"| {_plain(label)} | `{_plain(repr(word))}` |"
        for label, word in zip(tuned.task.labels, tuned.task.label_words, strict=True)
    ]
    return "\n".join(["## Labels", "", "| label | words that are scored |", "| --- | --- |", *rows])


def _scores(tuned: TunedPrompt) -> str:
    scores = tuned.record.get("scores")
    if not scores:
        return ""
    names = list(dict.fromkeys(metric for each in scores.values() for metric in each))
    lines = [
        "## Scores",
        "",
        f"On {tuned.record.get('scored_rows', 0):,} held-out rows, with 95 % confidence intervals, beside "
        "the same task said in words.",
        "",
        "| prompt | " + " | ".join(name.replace("_", "-") for name in names) + " |",
        "| --- |" + " --- |" * len(names),
    ]
    for method, each in scores.items():
        cells = [
            f"{s['value']:.3f} ({s['low']:.3f}–{s['high']:.3f})" if (s := each.get(name)) else "" for name in names
        ]
        lines.append(f"| {_plain(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _training(tuned: TunedPrompt) -> str:
    settings = tuned.record.get("settings")
    if not settings:
        return ""
    known = {key: value for key, value in settings.items() if value is not None}
    rows = [f"| {key.replace('_', ' ')} | {_plain(str(value))} |" for key, value in known.items()]
    ended = {"early": "stopped early", "interrupted": "was interrupted", "finished": "ran to the end"}
    how = ended.get(tuned.record.get("stopped", ""), "ended")
    return "\n".join(
        [
            "## Tuning",
            "",
            f"The run {how}; the numbers are those of step {tuned.record.get('best_step', '?')}, the "
            "best on the validation rows.",
            "",
            "| setting | value |",
            "| --- | --- |",
            *rows,
        ]
    )


def _cost(tuned: TunedPrompt) -> str:
    cost = tuned.record.get("cost")
    if not cost:
        return ""
    return (
        "## Cost\n\n"
        f"{cost['seconds']:.0f} seconds on {cost['device']}: {cost['steps']} steps, {cost['tokens']:,} tokens, "
        f"{cost['tflop']:.1f} TFLOP, peak memory {cost['peak_memory_bytes'] / 2**20:,.0f} MiB. "
        f"{cost['trained_parameters']:,} numbers were trained; the prompt takes {cost['stored_bytes'] / 1024:.0f} KiB."
    )


def _origin(tuned: TunedPrompt) -> str:
    backbone, data = tuned.backbone, tuned.record.get("data", {})
    lines = [
        f"- backbone: {_plain(backbone.name)}, revision {backbone.revision or 'not recorded'}, weights "
        f"`{backbone.weights_hash[:16]}`, tokenizer `{backbone.tokenizer_hash[:16]}`"
    ]
    if data:
        rows = ", ".join(f"{count:,} {part}" for part, count in data["rows"].items())
        lines.append(f"- data: {_plain(data['source'])} ({rows} rows), fingerprint `{data['fingerprint'][:16]}`")
    if versions := tuned.record.get("versions"):
        lines.append("- made with " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    if created := tuned.record.get("created"):
        lines.append(f"- made on {created}")
    return "\n".join(["## Where it came from", "", *lines])


def _limits(tuned: TunedPrompt) -> str:
    inside = (
        "The prompt consists of the words of its instruction and demonstrations, so it contains those rows."
        if tuned.prompt.kind == "hard"
        else "No training row is stored in this folder."
    )
    return (
        "## Limits\n\nThe scores hold for rows like those it was tested on. Fairness between groups of people was not "
        f"measured. {inside}"
    )


def _own_scores(tuned: TunedPrompt) -> dict[str, Any]:
    scores = tuned.record.get("scores", {})
    return scores.get("tuned") or scores.get("hard") or {}


def _source(tuned: TunedPrompt) -> str:
    return str(tuned.record.get("data", {}).get("source", "unknown"))


def _plain(text: str) -> str:
    """Users' words inside Markdown: on one line, and nothing in them is markup."""
    flat = " ".join(text.split())
    return "".join("\\" + char if char in "|*_[]<>#`" else char for char in flat)


def _yaml(text: str) -> str:
    """A string that YAML reads back as itself: JSON strings are YAML strings."""
    return json.dumps(text, ensure_ascii=False)
