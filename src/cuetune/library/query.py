"""What is looked for in a library."""

from dataclasses import dataclass

from cuetune.library.entry import Entry


@dataclass(frozen=True)
class Query:
    """Conditions that an entry must all meet; None and "" ask for nothing. Upper and lower case are the same.

    text: words that all occur in name, task, labels, template, instruction, data or backbone. task, backbone: a part of
    the name; backbone also the beginning of the SHA-256 of its weights. label, kind: as a whole. min_score: of the
    metric that the task is judged by.
    """

    text: str = ""
    task: str | None = None
    backbone: str | None = None
    label: str | None = None
    kind: str | None = None
    min_score: float | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether the entry meets every condition."""
        return (
            all(word in _said(entry) for word in self.text.casefold().split())
            and (self.task is None or self.task.casefold() in entry.task.casefold())
            and (self.backbone is None or self._on_backbone(self.backbone.casefold(), entry))
            and (self.label is None or self.label.casefold() in [label.casefold() for label in entry.labels])
            and (self.kind is None or self.kind.casefold() == entry.kind.casefold())
            and (self.min_score is None or (entry.score is not None and entry.score[1].value >= self.min_score))
        )

    @staticmethod
    def _on_backbone(wanted: str, entry: Entry) -> bool:
        return wanted in entry.backbone.casefold() or entry.weights_hash.startswith(wanted)


def best_first(entry: Entry) -> float:
    """Sorts entries: the best score first, those without one last."""
    return -entry.score[1].value if entry.score else float("inf")


def _said(entry: Entry) -> str:
    words = [entry.name, entry.task, *entry.labels, entry.template, entry.instruction, entry.source, entry.backbone]
    return " ".join(words).casefold()
