"""Weights as a model's files hold them: which of them are quantised, and who the model is, whatever it runs in."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from cuetune.errors import CuetuneError

# What loads the weights that a method of quantisation wrote, as Python imports it -> as pip installs it.
LOADERS: dict[str, dict[str, str]] = {
    "bitsandbytes": {"bitsandbytes": "bitsandbytes", "accelerate": "accelerate"},
    "gptq": {"gptqmodel": "gptqmodel", "optimum": "optimum"},
    "awq": {"gptqmodel": "gptqmodel", "accelerate": "accelerate"},
    "aqlm": {"aqlm": "aqlm[cpu,gpu]", "accelerate": "accelerate"},
    "auto-round": {"auto_round": "auto-round"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "eetq": {"eetq": "eetq", "accelerate": "accelerate"},
    "hqq": {"hqq": "hqq", "accelerate": "accelerate"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "quark": {"quark": "amd-quark"},
    "torchao": {"torchao": "torchao"},
    "vptq": {"vptq": "vptq", "accelerate": "accelerate"},
}


def quantisation(config: Any) -> str | None:
    """The method by which a model's weights were quantised, as its configuration names it; None where they are whole.

    Configurations of 4 and 8 bits by bitsandbytes that name no method are older than the name.
    """
    said = getattr(config, "quantization_config", None)
    if said is None:
        return None
    values = said if isinstance(said, dict) else said.to_dict()
    method = values.get("quant_method")
    if method is None:
        return "bitsandbytes" if values.get("load_in_4bit") or values.get("load_in_8bit") else "an unknown method"
    return str(getattr(method, "value", method))


def check_loader(name: str, method: str) -> None:
    """Raise CuetuneError, saying what to install, where a package that loads such weights is missing."""
    lacking = [package for module, package in LOADERS.get(method, {}).items() if not _there(module)]
    if lacking:
        wanted = " ".join(f"'{each}'" if "[" in each else each for each in lacking)
        raise CuetuneError(
            f"{name}: its weights are quantised by {method}, and what loads them is missing: pip install {wanted}."
        )


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of what it is a part of
        return False


def packed(tensors: dict[str, Tensor], method: str) -> bool:
    """Whether tensors hold the quantised form. Folders whose config.json asks for bitsandbytes may hold whole weights,
    which are then quantised as they load."""
    return method != "bitsandbytes" or any("quant_state" in name or name.endswith("SCB") for name in tensors)


def keep_differentiable(model: Any) -> None:
    """Keep bitsandbytes from packing four-bit weights for a product on CPUs through which no gradient goes.

    It would do so at the first pass without gradients, and a prompt would then learn nothing, with no more than a
    warning.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def file_tensors(source: str, revision: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a model's safetensors files, mapped and not read: a quantised model's own change when it loads.

    Empty where the files cannot be found.
    """
    from safetensors import safe_open

    found = {}
    for path in _files(source, revision):
        with safe_open(path, framework="pt") as stream:
            found.update({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
    return found


def _files(source: str, revision: str | None) -> list[Path]:
    from transformers.utils import cached_file

    for name in ("model.safetensors.index.json", "model.safetensors"):
        try:
            path = cached_file(source, name, revision=revision)
        except OSError:
            continue
        if path is None:
            continue
        if name.endswith(".safetensors"):
            return [Path(path)]
        parts = json.loads(Path(path).read_text(encoding="utf-8"))["weight_map"].values()
        return [Path(path).parent / part for part in sorted(set(parts))]
    return []
