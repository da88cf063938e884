"""Whether a prompt fits a backbone: the same widths, layers and heads."""

from collections.abc import Callable

from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError


def check_states(
    injection: Injection, name: str, width_at: Callable[[int], int], kv_shape: tuple[int, int, int], where: str
) -> None:
    """Raise CuetuneError unless virtual tokens, keys and values have the backbone's sizes.

    name: the backbone's. width_at: the size of a virtual token by layer. kv_shape: L, h_kv and d_h. where: the prompt.
    """
    layers, heads, size = kv_shape
    for layer, states in injection.tokens.items():
        width = width_at(layer)
        if states.shape[-1] != width or layer >= layers:
            raise CuetuneError(
                f"{where}: virtual tokens of width {states.shape[-1]} at layer {layer}, but {name} has width {width} "
                f"there and {layers} layers; load the model the prompt was made for."
            )
    for layer, (keys, _) in injection.kv.items():
        if (keys.shape[-3], keys.shape[-1]) != (heads, size) or layer >= layers:
            raise CuetuneError(
                f"{where}: a prefix of {keys.shape[-3]} heads of {keys.shape[-1]} numbers at layer {layer}, but {name} "
                f"has {heads} heads of {size} and {layers} layers; load the model the prompt was made for."
            )
