"""All of vision models that depends on the version of transformers, beside `compat`. Tested with transformers 5.x."""

import inspect
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from cuetune.backbones.compat import text as compat
from cuetune.backbones.whole_weights import check_preprocessing, load_whole

# Models of images and words in one, of which the part that sees is loaded alone.
SEES_AND_READS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}


def is_vision(config: Any) -> bool:
    """Whether a configuration is that of an image model, over patches or convolutional, and not of videos."""
    patches = hasattr(config, "patch_size") and hasattr(config, "image_size") and not hasattr(config, "num_frames")
    return hasattr(config, "vision_config") or patches or is_convolutional(config)


def is_convolutional(config: Any) -> bool:
    """Whether a configuration is that of a classifier of images without attention."""
    attends = hasattr(config, "vision_config") or any("num_heads" in n or "attention_heads" in n for n in vars(config))
    return config.model_type in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES and not attends


def load_vision(source: str, **options: Any) -> PreTrainedModel:
    """The model in a folder or of the hub: with its classes where its weights have them, else what sees alone."""
    import transformers

    named = {name: options[name] for name in ("revision", "trust_remote_code") if name in options}
    config = AutoConfig.from_pretrained(source, **named)
    if not is_vision(config):
        raise ValueError(f"a model of type {config.model_type!r} does not see images")
    if config.model_type in SEES_AND_READS:
        return load_whole(getattr(transformers, SEES_AND_READS[config.model_type]), source, **options)
    classifies = any("ForImageClassification" in name for name in config.architectures or ())
    return load_whole(AutoModelForImageClassification if classifies else AutoModel, source, **options)


def processor_config(source: str, **options: Any) -> dict[str, Any]:
    """What `preprocessor_config.json` holds, of a folder or of the hub. Raises OSError where there is none."""
    check_preprocessing(source)
    config, _ = ImageProcessingMixin.get_image_processor_dict(source, **options)
    return config


def model_type(source: str, **options: Any) -> str:
    """The type of the model in a folder or of the hub; empty where its configuration names none."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(source, **options)
    except (OSError, ValueError):
        return ""
    return str(config.get("model_type") or "")


def seeing_part(model: PreTrainedModel) -> nn.Module:
    """The part of a model that turns pixels into states of patches; DINOv3 calls its layers alone its base."""
    part = getattr(model, "vision_model", None) or model.base_model
    return part if "pixel_values" in inspect.signature(part.forward).parameters else model


def pooled_feature(model: nn.Module, pixels: Tensor) -> Tensor:
    """(B, d) what the classifier of a convolutional network reads. Raises LookupError where there is none."""
    feature = getattr(model(pixel_values=pixels), "pooler_output", None)
    if feature is None:
        raise LookupError("no pooled feature")
    return feature.flatten(1)


def vision_config(model: PreTrainedModel) -> Any:
    """The configuration of that part."""
    return getattr(model.config, "vision_config", model.config)


def vision_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Its layers in order. Raises LookupError where there is no list of them."""
    return compat.layers_of(seeing_part(model), vision_config(model).num_hidden_layers)


def patch_size(config: Any) -> tuple[int, int]:
    """(height, width) of a patch."""
    size = getattr(config, "patch_size", None) or config.tubelet_size[1:]  # of videos, a patch's sides in a tube
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) else (int(size), int(size))


def size_arguments(model: PreTrainedModel, size: tuple[int, int]) -> dict[str, bool]:
    """What a model must be told to take images of another (H, W) than it was built for."""
    built = vision_config(model).image_size
    built = tuple(built) if isinstance(built, list | tuple) else (built, built)
    asked = "interpolate_pos_encoding" in inspect.signature(seeing_part(model).forward).parameters
    return {"interpolate_pos_encoding": True} if asked and built != size else {}


def last_norm(model: PreTrainedModel) -> nn.Module:
    """What is left to do to final states: CLIP's last norm stands outside of them and is for the state that is read."""
    part = seeing_part(model)
    outside = vision_config(model).model_type.startswith("clip") and hasattr(part, "post_layernorm")
    return part.post_layernorm if outside else nn.Identity()  # type: ignore[return-value]


class ClassHead(nn.Module):
    """From final states (B, F + N, d) to the classes that a model was trained on, (B, K): the model's own code.

    It is a copy of the model's outer module, its weights shared, in which the part that sees hands the states through.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        part = seeing_part(model)
        name = next(name for name, module in model.named_modules() if module is part)
        self.outer = compat._with(model, name, _HandThrough())

    def forward(self, states: Tensor) -> Tensor:
        return self.outer(pixel_values=states).logits


class _HandThrough(nn.Module):
    def forward(self, pixel_values: Tensor, *args: Any, **kwargs: Any) -> Any:
        return BaseModelOutputWithPooling(last_hidden_state=pixel_values)  # type: ignore[arg-type]


def last_linear(model: PreTrainedModel) -> nn.Linear | None:
    """The layer that gives a model's classes, where its classifier has one linear layer."""
    found = [part for part in getattr(model, "classifier", nn.Identity()).modules() if isinstance(part, nn.Linear)]
    return found[0] if len(found) == 1 else None


def classes(model: PreTrainedModel) -> tuple[str, ...]:
    """The names of the classes that a model was trained on; empty for one without them."""
    if not type(model).__name__.endswith("ForImageClassification"):
        return ()
    names: dict[int, str] = model.config.id2label or {}  # type: ignore[assignment]
    return tuple(names[number] for number in sorted(names))
