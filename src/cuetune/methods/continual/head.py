"""A head that grows: one row for each label so far, of which a task trains its own and leaves the others alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.readouts import Head


class GrowingHead:
    """W h + b over all labels so far, W (C, d) and b (C,) in float32. labels: in the order of the rows."""

    def __init__(self, width: int) -> None:
        self.labels: list[str] = []
        self.weight, self.bias = torch.zeros(0, width), torch.zeros(0)

    def begin(self, head: Any, labels: Sequence[str], fixed: bool = False) -> None:
        """Let a head in training, with a row for each of these labels, begin from the rows that are known.

        fixed: and leave those as they are, whatever is trained.
        """
        known = [number for number, label in enumerate(labels) if label in self.labels]
        rows = [self.labels.index(labels[number]) for number in known]
        with torch.no_grad():
            head.weight[known] = self.weight[rows].to(head.weight)
            head.bias[known] = self.bias[rows].to(head.bias)
        if fixed and known:
            for part in (head.weight, head.bias):
                part.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor(known), 0.0))

    def take(self, head: Head, labels: Sequence[str]) -> None:
        """Take over the trained rows of these labels; all others stay bit by bit."""
        self.add(labels)
        rows = [self.labels.index(label) for label in labels]
        self.weight[rows], self.bias[rows] = head.weight.float(), head.bias.float()

    def add(self, labels: Sequence[str]) -> None:
        """Rows of zeros for those of these labels that have none."""
        new = [label for label in labels if label not in self.labels]
        self.labels += new
        self.weight = torch.cat([self.weight, self.weight.new_zeros(len(new), self.weight.shape[1])])
        self.bias = torch.cat([self.bias, self.bias.new_zeros(len(new))])

    def scores(self, states: Tensor) -> Tensor:
        """(B, C) logits of states (B, d)."""
        return F.linear(states.float(), self.weight.to(states.device), self.bias.to(states.device))

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` takes."""
        return {"head.weight": self.weight, "head.bias": self.bias}

    def restore(self, tensors: Mapping[str, Tensor], labels: Sequence[str]) -> None:
        """Become the head whose `tensors` these were."""
        self.labels = list(labels)
        self.weight, self.bias = tensors["head.weight"].clone(), tensors["head.bias"].clone()
