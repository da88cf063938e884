"""The card beside a saved prompt, written for whoever finds the folder: what it does, how well, at what cost.

Sections whose numbers are not known are left out. Users' words are escaped: nothing in them is markup.
"""

import json
from typing import Any

from cuetune.library.contents import UNKNOWN_BACKBONE, PromptContents
from cuetune.library.front_matter import front_matter, title
from cuetune.library.peft_format import to_peft
from cuetune.library.record import own_scores
from cuetune.support import console, plugins
from cuetune.support.markdown import code, fenced, plain, table

POOLED = {"first": "first state", "last": "last state", "mean": "mean state"}
AUTO = {
    "causal": "AutoModelForCausalLM",
    "encoder": "AutoModelForMaskedLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
}


def card(tuned: PromptContents, name: str | None = None) -> str:
    """Markdown with YAML front matter. name: of the folder, used in title and commands; by default the task's name."""
    name = name or tuned.task.name
    sections = [
        front_matter(tuned, name),
        _what(tuned, name),
        _use(tuned, name),
        _labels(tuned),
        _prompt(tuned),
        _scores(tuned),
        _fixes(tuned),
        _tuning(tuned),
        _cost(tuned),
        _origin(tuned),
        _limits(tuned),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(tuned: PromptContents, name: str) -> str:
    task = tuned.task
    model = (
        "a frozen model"
        if tuned.backbone.name == UNKNOWN_BACKBONE
        else f"the frozen model **{plain(tuned.backbone.name)}**"
    )
    does = task.answers.does
    return f"# {plain(name)}\n\nThis {tuned.prompt.kind} prompt for {model} {does}. The model itself is unchanged."


def _use(tuned: PromptContents, name: str) -> str:
    columns = [tuned.task.columns.get(field, field) for field in tuned.task.fields]
    row = ", ".join(f'{json.dumps(column, ensure_ascii=False)}: "…"' for column in columns)
    quoted = json.dumps(name, ensure_ascii=False)
    printed = "answer.label, answer.probabilities" if tuned.task.labels else "answer.label"
    python = f"import cuetune\n\nfor answer in cuetune.predict({quoted}, [{{{row}}}]):\n    print({printed})"
    parts = [
        "## Use",
        "On the command line:",
        fenced(f"cuetune predict {console.quoted(name)} new_rows.csv --to answers.csv", "bash"),
        "In Python:",
        fenced(python, "python"),
    ]
    if tuned.backbone.name != UNKNOWN_BACKBONE and not tuned.head and to_peft(tuned.prompt, tuned.backbone) is not None:
        parts += [
            "With PEFT, which loads the same folder:",
            fenced(_with_peft(tuned, quoted), "python"),
            "PEFT takes text that follows the template, without padding on the left:",
        ]
    else:
        parts.append("The template that every row is put in:")
    if tuned.task.modality == "text":
        parts.append(fenced(tuned.task.template, "text"))
    else:
        parts[-1] = f"Each row holds one {tuned.task.noun}: its path, its bytes, or the decoded object."
    return "\n\n".join(parts)


def _with_peft(tuned: PromptContents, quoted: str) -> str:
    model, revision = json.dumps(tuned.backbone.name, ensure_ascii=False), tuned.backbone.revision
    bundled = tuned.backbone.name in plugins.offers(plugins.MODELS)
    named = model + (f", revision={json.dumps(revision)}" if revision else "")
    loaded = f"resolve_model({model})" if bundled else named
    auto = AUTO[tuned.backbone.kind]
    lines = [
        "from peft import PeftModel",
        f"from transformers import {auto}",
        *(["", "from cuetune.support.plugins import resolve_model"] if bundled else []),
        "",
        f"model = {auto}.from_pretrained({loaded})",
        f"model = PeftModel.from_pretrained(model, {quoted})",
    ]
    return "\n".join(lines)


def _labels(tuned: PromptContents) -> str:
    if not tuned.task.labels:
        return ""
    if tuned.task.thresholds:
        named = zip(tuned.task.labels, tuned.task.thresholds, strict=True)
        rows = [(plain(label), f"{least:.3f}") for label, least in named]
        return "## Labels\n\n" + table(("label", "given from this probability"), rows)
    if tuned.head:
        pairs = zip(tuned.task.labels, tuned.head.classes, strict=False)
        rows = [(plain(label), plain(name)) for label, name in pairs]
        shown = table(("label", "class of the model"), rows) if rows else ", ".join(map(plain, tuned.task.labels))
        return "## Labels\n\n" + shown
    pairs = zip(tuned.task.labels, tuned.task.label_words, strict=True)
    rows = [(plain(label), code(repr(word))) for label, word in pairs]
    return "## Labels\n\n" + table(("label", "words that are scored"), rows)


def _prompt(tuned: PromptContents) -> str:
    settings = tuned.record.get("settings", {})
    learned = f"{tuned.n_trained:,} learned numbers" if tuned.n_trained else "words only, nothing learned"
    said = f"A {tuned.prompt.kind} prompt: {plain(tuned.prompt.described())}; {learned}."
    if tuned.head:
        before = f" before layer {tuned.head.layer}" if tuned.head.layer is not None else ""
        if tuned.head.classes:
            said += " The model's own classes stand for the labels; nothing of the head was trained."
        else:
            said += f" Answers are read by a trained head on each row's {POOLED[tuned.head.pooling]}{before}."
    if settings.get("init"):
        said += f" It started from: {plain(str(settings['init']))}."
    text = settings.get("init_text") or (tuned.task.instruction if settings.get("init") == "text" else "")
    if text:
        said += "\n\nInitial text:\n\n" + fenced(str(text), "text")
    return "## Prompt\n\n" + said


def _scores(tuned: PromptContents) -> str:
    scores = {method: each for method, each in tuned.record.get("scores", {}).items() if each}
    if not scores:
        return ""
    names = list(dict.fromkeys(metric for each in scores.values() for metric in each))
    rows = [
        (plain(method), *(interval(each[name]) if name in each else "" for name in names))
        for method, each in scores.items()
    ]
    others = "what it was before its last fix" if tuned.record.get("fixes") else "the same task said in words"
    beside = f", beside {others}" if len(scores) > 1 else ""
    return (
        f"## Scores\n\nOn {tuned.record['scored_rows']:,} held-out rows, with 95 % confidence intervals{beside}.\n\n"
        + table(("prompt", *(plain(title(name)) for name in names)), rows)
    )


def _fixes(tuned: PromptContents) -> str:
    if not (fixes := tuned.record.get("fixes")):
        return ""
    rows = [(fix["created"], f"{fix['corrected']:,} of {fix['rows']:,}") for fix in fixes]
    said = (
        "Mistakes were corrected with components of their own, which act on rows like those that they were made for. "
        "Nothing of the rows is stored, but whoever has the text of a row can see whether they act on it."
    )
    return f"## Corrections\n\n{said}\n\n" + table(("date", "mistakes corrected"), rows)


def _tuning(tuned: PromptContents) -> str:
    settings = {key: value for key, value in tuned.record.get("settings", {}).items() if value not in (None, "")}
    if not settings:
        return ""
    ended = {"early": "stopped early", "interrupted": "was interrupted", "finished": "ran to the end"}
    said = []
    if how := ended.get(tuned.record.get("stopped", "")):
        said.append(f"The run {how}.")
    if "best_step" in tuned.record:
        said.append(f"The numbers are those of step {tuned.record['best_step']}, the best on the validation rows.")
    rows = [(plain(key.replace("_", " ")), plain(_value(value))) for key, value in settings.items()]
    return "\n\n".join(["## Tuning", *([" ".join(said)] if said else []), table(("setting", "value"), rows)])


def _cost(tuned: PromptContents) -> str:
    cost = tuned.record.get("cost")
    if not cost:
        return ""
    return "## Cost\n\n" + table(
        ("what", "tuning took"),
        [
            ("time", f"{cost['seconds']:,.1f} seconds on {plain(cost['device'])}"),
            ("steps", f"{cost['steps']:,}"),
            ("tokens", f"{cost['tokens']:,}"),
            ("operations", f"{cost['tflop']:,.3g} TFLOP"),
            *([("of validation", f"{validation:,.3g} TFLOP")] if (validation := cost.get("validation_tflop")) else []),
            ("peak memory", f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB"),
            ("trained numbers", f"{cost['trained_parameters']:,}"),
            ("stored", f"{cost['stored_bytes']:,} bytes"),
        ],
    )


def _origin(tuned: PromptContents) -> str:
    backbone, data = tuned.backbone, tuned.record.get("data")
    hashes = {
        "backbone": "" if backbone.name == UNKNOWN_BACKBONE else plain(backbone.name),
        "revision": plain(backbone.revision or ""),
        "weights (SHA-256)": backbone.weights_hash and code(backbone.weights_hash),
        f"{backbone.prepared_by} (SHA-256)": backbone.tokenizer_hash and code(backbone.tokenizer_hash),
    }
    rows = [pair for pair in hashes.items() if pair[1]]
    if data:
        parts = ", ".join(f"{count:,} {plain(part)}" for part, count in data["rows"].items())
        rows += [("data", plain(data["source"]) + (f" (rows: {parts})" if parts else ""))]
        rows += [("data (SHA-256)", code(data["fingerprint"]))] if data["fingerprint"] else []
    made_from = [(each["relation"], plain(each["name"]), each["digest"]) for each in tuned.record.get("lineage", [])]
    rows += [(relation, f"{name} (content SHA-256 {code(digest[:16])})") for relation, name, digest in made_from]
    if versions := tuned.record.get("versions"):
        rows += [("versions", plain(", ".join(f"{name} {version}" for name, version in versions.items())))]
    rows += [(key, plain(str(tuned.record[key]))) for key in ("seed", "created") if key in tuned.record]
    return "## Where it came from\n\n" + table(("what", "value"), rows) if rows else ""


def _limits(tuned: PromptContents) -> str:
    data = tuned.record.get("data")
    tested = "It was not scored on held-out rows."
    if own_scores(tuned.record):
        where = f" of {plain(data['source'])}" if data else ""
        tested = (
            f"The scores hold for rows like the {tuned.record['scored_rows']:,} held-out rows{where}; rows of another "
            "source, language or period were not tested."
        )
    cut = f"Of texts longer than {tuned.task.max_tokens:,} tokens the middle is cut. "
    cut = cut if tuned.task.modality == "text" else ""
    return f"## Limits\n\n{tested} {cut}Fairness between groups of people was not measured. {_inside(tuned)}"


def _inside(tuned: PromptContents) -> str:
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


def interval(score: dict[str, float]) -> str:
    """A score as people read it: value and its confidence interval."""
    return f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})"


def _value(value: Any) -> str:
    """A setting as it would be written by hand."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
