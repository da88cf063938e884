"""Loading a backbone by name: bundled models, local folders, the Hugging Face hub. No remote code unless asked for."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.backbones.bundled import resolve
from cuetune.errors import CuetuneError

if TYPE_CHECKING:
    from cuetune.backbones.text import TextBackbone

DEFAULT = "smollm2-135m"


def load_backbone(
    name: str = DEFAULT,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> "TextBackbone":
    """A frozen `TextBackbone`, ready for prompts.

    name: a bundled model (`cuetune models`), a local folder, or a model id of the hub (HF_HUB_OFFLINE is honoured).
    dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the hardware multiplies it, else float32.
    device: "cpu", "cuda", "cuda:1", or "auto": a GPU when there is one.
    Raises CuetuneError when the model is not found, is not a causal language model, or does not take injections.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from cuetune.backbones.text import TextBackbone

    place = _device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    tokenizer = load_tokenizer(name, **options)
    source = resolve(name)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=_dtype(dtype, place), use_safetensors=True, **options
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CuetuneError(_not_loaded(name, source, error)) from error
    try:
        model = model.to(place)
    except torch.OutOfMemoryError as error:
        raise CuetuneError(
            f"{name}: does not fit on {place}; try --dtype bfloat16, --device cpu or a smaller model."
        ) from error
    commit = getattr(model.config, "_commit_hash", None)
    return TextBackbone(model, tokenizer, _plain_name(name), revision or commit)


def load_tokenizer(name: str = DEFAULT, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model by name, without its weights."""
    from transformers import AutoTokenizer

    source = resolve(name)
    quiet()
    try:
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CuetuneError(_not_loaded(name, source, error)) from error


def _device(device: str) -> Any:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise CuetuneError(f"unknown device {device!r}; use cpu, cuda, cuda:0, … or auto.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise CuetuneError("--device cuda: torch sees no GPU here; use --device cpu, or install a CUDA build of torch.")
    return place


def _dtype(dtype: str, device: Any) -> Any:
    import torch

    from cuetune import compat

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype in known:
        return known[dtype]
    if dtype != "auto":
        raise CuetuneError(f"unknown dtype {dtype!r}; use auto, {', '.join(known)}.")
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else compat.cpu_has_bf16()
    return torch.bfloat16 if fast else torch.float32


def _not_loaded(name: str, source: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return f"{name}: brings its own code, which is not run unless you pass --trust-remote-code."
    if Path(source).is_dir():
        return f"{name}: not a causal language model with safetensors weights: {reason}"
    return (
        f"{name}: not found as a bundled model, a folder or on the hub ({reason}); "
        "`cuetune models` lists what needs no download."
    )


def _plain_name(name: str) -> str:
    """What a prompt records of a backbone's name: never a machine's path, only the folder's own name."""
    path = Path(name)
    return path.resolve().name if path.is_dir() else name


def quiet() -> None:
    """Loading bars and notices of transformers are not for our users; warnings and errors are."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
