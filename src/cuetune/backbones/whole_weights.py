"""Loading a model's weights, and whether they are whole: what is missing would be random, in silence."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import DAMAGED, read_json, reason_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEEDLESS = ("pooler", "position_ids", "masked_spec_embed", "mask_token")  # no answer goes through them
LARGEST_LAYERS = 10_000
LARGEST_SIDE = 2**31
LARGEST_PREPARED = 2**27  # of pixels, samples, frames that are prepared at a time; some files count pixels
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth")


def load_whole(kind: Any, source: str, **options: Any) -> "PreTrainedModel":
    """The model that `kind.from_pretrained` loads. Raises CuetuneError unless all its weights are in the files.

    kind: a model class of transformers, or one of its auto classes. options: of `from_pretrained`. A pooler and tokens
    for masking may be missing; weights of heads that the model has not may be there beyond its own.
    """
    model, found = load_reported(kind, source, **options)
    check_whole(model, found, source)
    return model


def load_encoder(kind: Any, source: str, **options: Any) -> "PreTrainedModel":
    """A model with its head; without it where the files have nothing of it, as those of sentence encoders."""
    model, found = load_reported(kind, source, **options)
    inner = f"{model.base_model_prefix}."
    tied = set(model.all_tied_weights_keys)
    head = {name for name in model.state_dict() if not name.startswith(inner)} - tied
    if head and head <= set(found["missing_keys"]) | tied:
        found["missing_keys"] = {name for name in found["missing_keys"] if name.startswith(inner)}
        check_whole(model, found, source)
        return model.base_model  # type: ignore[return-value]
    check_whole(model, found, source)
    return model


def load_reported(kind: Any, source: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model and transformers' report of what the files had for it. Raises CuetuneError for damaged files."""
    from safetensors import SafetensorError

    check_config(source)
    try:
        return kind.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except (OSError, ValueError, ImportError, KeyError):
        raise  # a model that is not there, or not of this kind: callers say what was looked for
    except (SafetensorError, *DAMAGED) as error:
        reason = reason_of(error)
        raise CuetuneError(f"{source}: its weights cannot be read ({reason}); copy the model again.") from error


def check_whole(model: Any, found: dict[str, Any], source: str) -> None:
    """Raise CuetuneError naming the first weights that are missing, of another shape, or left over in its layers."""
    missing = sorted(name for name in found["missing_keys"] if not _needless(name))
    if missing:
        raise _not_whole(source, "lack", missing)
    if other := sorted(found["mismatched_keys"]):
        name, there, asked = other[0]
        raise CuetuneError(
            f"{source}: {name} has shape {tuple(there)}, but the configuration asks for {tuple(asked)} "
            f"({len(other)} such weights); copy the model again."
        )
    inside = {name for name, _ in model.named_modules()}
    over = sorted(name for name in found["unexpected_keys"] if _belongs(model, inside, name) and not _needless(name))
    if over:
        raise _not_whole(source, "have beyond the configuration", over)


def check_config(source: str) -> None:
    """Raise CuetuneError for a folder whose config.json is damaged, or names sizes that no model has."""
    path = Path(source) / "config.json"
    for name, value in _numbers(_settings(path)):
        largest = LARGEST_LAYERS if name in DEPTHS else LARGEST_SIDE
        if isinstance(value, int) and abs(value) > largest:
            raise CuetuneError(f"{path}: {name} is {value}, expected at most {largest}; copy the model again.")


def check_preprocessing(source: str) -> None:
    """The same for the file that says how a model's images, audio or video are prepared."""
    path = Path(source) / "preprocessor_config.json"
    for name, value in _numbers(_settings(path)):
        if abs(value) > LARGEST_PREPARED:
            raise CuetuneError(f"{path}: {name} is {value:g}, expected at most {LARGEST_PREPARED:,}; copy it again.")


def _settings(path: Path) -> Any:
    """What a JSON file of a model's folder holds; nothing where there is none. Raises CuetuneError unless an object."""
    if not os.path.lexists(path):
        return {}
    settings = read_json(path, remedy="copy the model again")
    if not isinstance(settings, dict):
        raise CuetuneError(f"{path}: holds no settings; copy the model again.")
    return settings


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in JSON values, with the name of the setting that it is part of."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _numbers(value, key)
    elif isinstance(values, list):
        for value in values:
            yield from _numbers(value, name)
    elif isinstance(values, int | float):
        yield name, values


def _needless(name: str) -> bool:
    return any(part in NEEDLESS for part in name.split("."))


def _belongs(model: Any, inside: Iterable[str], name: str) -> bool:
    """Whether a left-over weight lies in a layer or a list of layers of the model, or beside weights of one module.

    Then the model would answer otherwise than the one that was saved. A whole part that it has not (a head, a tower for
    images) does not change its answers.
    """
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if (near := ".".join(parts[:end])) in inside:
            module = model.get_submodule(near)
            listed = any(part.isdigit() for part in near.split(".")) or type(module).__name__ == "ModuleList"
            return listed or bool(module._parameters)
    return False


def _not_whole(source: str, what: str, names: list[str]) -> CuetuneError:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return CuetuneError(f"{source}: its weights {what} {shown}; the folder is not whole, copy the model again.")
