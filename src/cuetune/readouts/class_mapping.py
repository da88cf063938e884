"""Label mapping: classes that a model was trained on stand for the labels of a task (ILM-VP, Chen et al., CVPR 2023).

A prompt in pixels changes no output layer, so each label borrows one of the model's own classes. Which one is decided
by how often the prompted model says a class to the images of a label, and anew after every pass over the data.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class ClassMapping:
    """sources: (C,) the model's class that stands for each label, no two the same."""

    sources: Tensor

    def scores(self, logits: Tensor) -> Tensor:
        """Scores of the labels (B, C) from the model's own logits (B, K)."""
        return logits.index_select(1, self.sources.to(logits.device))

    @classmethod
    def by_frequency(cls, said: Tensor, labels: Tensor, n_classes: int, n_labels: int) -> "ClassMapping":
        """The paper's greedy choice: the pair of class and label that occurs most is fixed, and both are taken out.

        said: (N,) the class with the highest logit for each image. labels: (N,) its label. Of pairs that occur
        equally often the one with the lowest class comes first. Raises CuetuneError for more labels than classes.
        """
        _check(n_classes, n_labels)
        counts = torch.bincount(said * n_labels + labels, minlength=n_classes * n_labels).view(n_classes, n_labels)
        sources = torch.empty(n_labels, dtype=torch.long)
        for _ in range(n_labels):
            source, label = divmod(int(counts.argmax()), n_labels)
            sources[label] = source
            counts[source], counts[:, label] = -1, -1
        return cls(sources)

    @classmethod
    def at_random(cls, n_classes: int, n_labels: int, seed: int = 0) -> "ClassMapping":
        """The baseline: any classes (RLM in the paper)."""
        _check(n_classes, n_labels)
        return cls(torch.randperm(n_classes, generator=torch.Generator().manual_seed(seed))[:n_labels])


def _check(n_classes: int, n_labels: int) -> None:
    if n_labels > n_classes:
        raise CuetuneError(f"{n_labels} labels, but the model has {n_classes} classes to stand for them; train a head.")
