"""Loading a backbone by name: bundled models, local folders, the Hugging Face hub. No remote code unless asked for."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.backbones.base import PathError
from cuetune.backbones.compat import text as compat
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.encoder_decoder import EncoderDecoderBackbone
from cuetune.backbones.identity import weights_hash
from cuetune.backbones.plain import PLAIN
from cuetune.backbones.stored_weights import check_loader, file_tensors, keep_differentiable, packed, quantisation
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.whole_weights import check_config, load_encoder, load_whole
from cuetune.errors import CuetuneError
from cuetune.support.plugins import MODELS, advice, resolve_model

DEFAULT = "smollm2-135m"
notices = logging.getLogger(__name__)


def model_folder(name: str) -> Path | None:
    """The folder that a model's name names, with or without a size behind it (`folder@98`); None for other names."""
    places = (Path(each) for each in (name, name.rpartition("@")[0]) if each)
    return next((place for place in places if os.path.isdir(place)), None)


def load_text_backbone(
    name: str = DEFAULT,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> "TextBackbone":
    """A frozen `TextBackbone`: a causal model, an `EncoderBackbone` or an `EncoderDecoderBackbone`.

    Arguments and errors are those of `load_backbone`.
    """
    import torch

    place = _device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    tokenizer = load_tokenizer(name, **options)
    source, wanted = resolve_model(name), _dtype(dtype, place)
    method = _method(name, source, **options)
    try:
        stored = _stored_hash(source, wanted, method, **options)
        if method is not None:
            options |= {"device_map": {"": place}, **_quantising(source, method, **options)}
        model, kind = _read(source, dtype=wanted, use_safetensors=True, **options)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CuetuneError(_not_loaded(name, source, error)) from error
    if method is not None:
        keep_differentiable(model)
    try:
        model = model if method is not None else model.to(place)
    except torch.OutOfMemoryError as error:
        raise CuetuneError(
            f"{name}: does not fit on {place}; try --dtype bfloat16, --device cpu or a smaller model."
        ) from error
    commit = getattr(model.config, "_commit_hash", None)
    backbone = open_model(kind, model, tokenizer, _plain_name(name), revision or commit)
    if stored is not None:
        backbone.identity = replace(backbone.identity, weights_hash=stored)
    return backbone


def open_model(
    kind: type["TextBackbone"], model: Any, tokenizer: Any, name: str, revision: str | None
) -> "TextBackbone":
    """The backbone around a model: on the fast path, or on the plain one where its layers take no injections.

    The self-test decides. Raises CuetuneError where neither gives what plain transformers gives.
    """
    attention = model.config._attn_implementation
    try:
        return kind(model, tokenizer, name, revision)
    except PathError as refusal:
        if kind not in PLAIN:
            raise
        compat.release(model, attention)
        backbone = PLAIN[kind](model, tokenizer, name, revision)
        backbone.path_reason = refusal.reason
        notices.warning(
            "%s: plain path (%s): prompts stand at the embedding layer, and no row shares another's work; slower, with "
            "the numbers of plain transformers.",
            name,
            refusal.reason,
        )
        return backbone


def _method(name: str, source: str, **options: Any) -> str | None:
    """How the weights were quantised, None for whole ones. Raises CuetuneError where what loads them is missing."""
    from transformers import AutoConfig

    try:
        method = quantisation(AutoConfig.from_pretrained(source, **options))
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CuetuneError(_not_loaded(name, source, error)) from error
    if method is not None:
        check_loader(name, method)
    return method


def _quantising(source: str, method: str, **code: Any) -> dict[str, Any]:
    """Options of `from_pretrained` for whole weights that are to be quantised as they load."""
    from transformers import AutoConfig, BitsAndBytesConfig

    if packed(file_tensors(source, code.get("revision")), method):
        return {}
    config = AutoConfig.from_pretrained(source, **code)
    how = config.quantization_config
    del config.quantization_config
    return {"config": config, "quantization_config": BitsAndBytesConfig.from_dict(how)}


def _stored_hash(source: str, dtype: Any, method: str | None, **options: Any) -> str | None:
    """The hash of the weights as they are stored, None where the loaded ones give it.

    float16 rounds in another way than the hash, so the weights are read once more, as bfloat16; quantised weights may
    be packed anew when they load, so their files are read.
    """
    import torch

    if method is not None:
        found = file_tensors(source, options.get("revision"))
        return weights_hash(found) if found else None
    if dtype != torch.float16:
        return None
    model, kind = _read(source, dtype=torch.bfloat16, use_safetensors=True, **options)
    return weights_hash(kind.weights_of(model))


def kind_of(config: Any) -> str:
    """What a model is by its configuration: "causal", "encoder" or "encoder-decoder".

    Where a family can be several things, the architecture that the weights were saved from decides.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if config.is_encoder_decoder:
        return "encoder-decoder"
    saved_from = tuple(config.architectures or ())
    writes = getattr(config, "is_decoder", False) or any(
        name.endswith(("CausalLM", "LMHeadModel")) for name in saved_from
    )
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES or any("MaskedLM" in name for name in saved_from)
    return "encoder" if masked and not writes else "causal"


def _read(source: str, **options: Any) -> tuple[Any, type["TextBackbone"]]:
    """The model at `source` and the class of backbone that it makes."""
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    check_config(source)
    named = {name: options[name] for name in ("revision", "trust_remote_code")}
    config = AutoConfig.from_pretrained(source, **named)
    kind = kind_of(config)
    if kind == "encoder":
        return load_encoder(AutoModelForMaskedLM, source, **options), EncoderBackbone
    if kind == "encoder-decoder":
        return load_whole(AutoModelForSeq2SeqLM, source, **options), EncoderDecoderBackbone
    return load_whole(compat.causal_class(config), source, **options), TextBackbone


def load_tokenizer(name: str = DEFAULT, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model by name, without its weights."""
    from transformers import AutoTokenizer

    source = resolve_model(name)
    try:
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # tokenizers raises plain ones, and transformers any for a damaged file
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
        return f"{name}: not a language model with safetensors weights: {reason}"
    return f"{name}: not found as a model of an installed package, a folder or on the hub ({reason}); " + advice(
        MODELS, "`cuetune models` lists those of packages."
    )


def _plain_name(name: str) -> str:
    """What a prompt records of a backbone's name: never a machine's path, only the folder's own name."""
    path = Path(name)
    return path.resolve().name if path.is_dir() else name
