"""The YAML before a card: what the hub reads of a saved prompt."""

import json

from cuetune.library.contents import UNKNOWN_BACKBONE, PromptContents
from cuetune.library.record import own_scores
from cuetune.metrics.classification import metric_name

METRICS = {"macro_f1": "f1"}  # what the hub calls a metric, where it calls it otherwise


def front_matter(tuned: PromptContents, name: str) -> str:
    """YAML between two lines of dashes. name: of the model, as the hub lists its results."""
    own = own_scores(tuned.record)
    lines = [
        "---",
        *([] if tuned.backbone.name == UNKNOWN_BACKBONE else [f"base_model: {yaml(tuned.backbone.name)}"]),
        "base_model_relation: adapter",
        "library_name: cuetune",
        f"pipeline_tag: {_pipeline(tuned)}",
        *([f"license: {yaml(tuned.record['license'])}"] if "license" in tuned.record else []),
        "tags:",
        "- prompt-tuning",
        *(["- peft"] if tuned.task.modality == "text" else []),
        f"- {tuned.prompt.kind}-prompt",
    ]
    if own:
        lines += ["metrics:", *(f"- {yaml(METRICS.get(metric, metric))}" for metric in own)]
    if own and "data" in tuned.record:
        lines += [
            "model-index:",
            f"- name: {yaml(name)}",
            "  results:",
            f"  - task: {{type: {_pipeline(tuned)}}}",
            f"    dataset: {{name: {yaml(tuned.record['data']['source'])}, type: custom, split: test}}",
            "    metrics:",
            *(_metric(metric, score) for metric, score in own.items()),
        ]
    return "\n".join([*lines, "---"])


def _metric(metric: str, score: dict[str, float]) -> str:
    kind = yaml(METRICS.get(metric, metric))
    return f"    - {{type: {kind}, name: {yaml(title(metric))}, value: {score['value']:.4f}}}"


def _pipeline(tuned: PromptContents) -> str:
    return f"{tuned.task.modality}-{'generation' if tuned.task.generates else 'classification'}"


def title(metric: str) -> str:
    """A metric's name for a reader."""
    return metric_name(metric)


def yaml(text: str) -> str:
    """A string that YAML reads back as itself: JSON's, with what YAML does not allow in plain sight escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
