"""A number with the formula it came from: what was computed, from which numbers, after whom."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAME = re.compile(r"[A-Za-z][A-Za-z_0-9]*")

SYMBOLS = {
    "n": "examples",
    "T": "tokens per example",
    "E": "epochs",
    "B": "rows per step",
    "S": "steps",
    "P": "virtual tokens",
    "W": "label words",
    "r": "rank of LoRA",
    "k": "layer where a late prompt enters",
    "N": "parameters of the model",
    "L": "layers",
    "d": "width",
    "h": "heads",
    "h_kv": "key and value heads",
    "d_h": "size of a head",
    "f": "feed-forward width",
    "g": "feed-forward numbers kept per token and unit of f",
    "V": "vocabulary",
    "m": "matrix parameters of a layer",
    "m_qkv": "of these queries, keys, values",
    "m_ff": "of these the feed-forward, where a last layer is pruned",
    "t": "trained numbers",
    "a": "bytes of activations per token and layer",
    "M": "bytes of the GPU",
    "u": "share of the GPU's peak that is reached",
    "R": "the GPU's peak, FLOP/s",
    "w": "watts of the GPU",
    "pue": "energy of the data centre by that of its machines",
    "p": "dollars per GPU-hour",
    "c": "kg of CO2 per kWh",
    "q": "dollars per kWh",
}


@dataclass(frozen=True)
class Figure:
    """One computed figure.

    formula: in the letters of `SYMBOLS` and in names of other figures; `·` multiplies. symbols: the value of each.
    unit: of the value. source: whose formula it is, or what it rests on.
    """

    name: str
    value: float
    unit: str
    formula: str
    symbols: Mapping[str, float]
    source: str

    @property
    def numbers(self) -> str:
        """The formula with the numbers in it."""
        return NAME.sub(lambda found: _plain(self.symbols.get(found[0], found[0])), self.formula)

    @property
    def used(self) -> dict[str, float]:
        """The symbols that the formula names, with their values."""
        return {name: self.symbols[name] for name in NAME.findall(self.formula) if name in self.symbols}

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "unit": self.unit,
            "formula": self.formula,
            "numbers": self.numbers,
            "source": self.source,
        }


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
