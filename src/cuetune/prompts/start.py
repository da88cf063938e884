"""What a prompt begins from, whatever its backbone reads, and how a way to tune prompts is described."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.prefix import PrefixPrompt


class Start(ABC):
    """What a prompt begins from; one subclass for each modality.

    modality: by its name. rows: what its rows are called.
    """

    modality: ClassVar[str]
    rows: ClassVar[str]
    backbone: Any
    seed: int

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many layers are run: a prompt has nothing in those above."""

    @abstractmethod
    def keys_values(self) -> tuple[Tensor, Tensor]:
        """(L, h_kv, P, d_h) keys and values that a prefix begins as, on the CPU."""

    def check_layer(self, layer: int) -> None:
        """Raise CuetuneError unless this layer is run."""
        if not 0 <= layer < self.depth:
            name = self.backbone.identity.name
            raise CuetuneError(f"layer {layer}: of {name} layers 0 to {self.depth - 1} are run.")


def prefix(start: Start, layer: int = 0) -> Prompt:
    start.check_layer(layer)
    keys, values = (part[layer : start.depth] for part in start.keys_values())
    return PrefixPrompt(keys, values, layer)


@dataclass(frozen=True)
class Method:
    """One way to tune a prompt: a line for people, and the function that makes its first state.

    readout: what the method reads answers by, where the user does not say (`readouts.readout_for`).
    """

    title: str
    build: Callable[..., Prompt]
    readout: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """Its own options with their defaults."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}


def given_options(
    method: str, known: Mapping[str, Any], options: Mapping[str, Any], kind: str = "prompt"
) -> dict[str, Any]:
    """The options of a method that were given, in the types of `known`. Raises CuetuneError for an unknown one.

    kind: what the method is called on the command line, "prompt" or "method".
    """
    for name in options:
        if name not in known:
            listed = ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
            raise CuetuneError(f"{kind} {method!r} has no option {name!r} (its options: {listed}).")
    return {name: _like(known[name], value, f"--{kind}-option {name}={value}") for name, value in options.items()}


def _like(default: Any, value: Any, where: str) -> Any:
    """A value from the command line in the type of the option's default."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false", "yes", "no"):
            raise CuetuneError(f"{where}: give true or false.")
        return value.lower() in ("true", "yes")
    try:
        return float(value) if isinstance(default, float) else int(value)
    except ValueError as error:
        raise CuetuneError(f"{where}: give a number.") from error
