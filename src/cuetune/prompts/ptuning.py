"""P-tuning (Liu et al. 2021, GPT Understands, Too): virtual tokens put out by a small encoder that is dropped later."""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.base import NETWORK_RATE, Prompt, affordable
from cuetune.prompts.soft import SoftPrompt

ENCODERS = ("mlp", "lstm")


class EncodedPrompt(Prompt):
    """h = start + encoder(start), (P, d); the encoder is an MLP or an LSTM.

    encoder: "mlp" (d → H → H → d, ReLU) or "lstm" (two bidirectional layers of H, then an MLP).
    The last layer of the encoder starts at zero, so that step 0 is exactly `start`: the paper's encoder starts at
    random, far from the embeddings of any word.
    start: (P, d). hidden: H.
    """

    kind = "p-tuning"

    def __init__(self, start: Tensor, encoder: str = "mlp", hidden: int | None = None) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise CuetuneError(f"unknown encoder {encoder!r}; choose one of {', '.join(ENCODERS)}.")
        width = start.shape[1]
        self.encoder, self.hidden = encoder, hidden or width
        self.start = nn.Parameter(start.detach().clone().to(torch.float32))
        inner = self.hidden
        if encoder == "lstm":
            self.lstm = nn.LSTM(width, self.hidden, num_layers=2, bidirectional=True, batch_first=True)
            inner = 2 * self.hidden
            layers = [nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, width)]
        else:
            layers = [nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, width)]
        nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(layers[-1].bias)  # type: ignore[arg-type]
        self.mlp = nn.Sequential(*layers)

    def embeddings(self) -> Tensor:
        """(P, d)."""
        states = self.lstm(self.start[None])[0][0] if self.encoder == "lstm" else self.start
        return self.start + self.mlp(states)

    def injection(self) -> Injection:
        return Injection(tokens={0: self.embeddings()})

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        network = [parameter for name, parameter in self.named_parameters() if name != "start"]
        return [([self.start], 1.0), (network, NETWORK_RATE)]

    def fold(self) -> Prompt:
        return SoftPrompt(self.embeddings())

    def spec(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "hidden": self.hidden}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "EncodedPrompt":
        hidden = tensors["lstm.weight_hh_l0"].shape[1] if spec["encoder"] == "lstm" else len(tensors["mlp.0.weight"])
        affordable(2 * hidden, max(2 * hidden, len(tensors["start"])))
        prompt = cls(tensors["start"], spec["encoder"], hidden)
        prompt.load_state_dict(tensors)
        return prompt
