"""cuetune: tune the prompt, not the model. The public names, imported when first used so that start-up stays fast."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "CuetuneError": "cuetune.errors",
    "HardPrompt": "cuetune.prompts",
    "Injection": "cuetune.backbones.injection",
    "Learned": "cuetune.methods.continual.learned",
    "MultitaskPrompt": "cuetune.prompts",
    "Prediction": "cuetune.answers.prediction",
    "Predictor": "cuetune.prediction.text",
    "Prompt": "cuetune.prompts",
    "PromptLibrary": "cuetune.library.collection",
    "Settings": "cuetune.tuning.settings",
    "SoftPrompt": "cuetune.prompts",
    "Task": "cuetune.data.task",
    "TextBackbone": "cuetune.backbones.text",
    "TunedPrompt": "cuetune.library.tuned",
    "UniversalPrompt": "cuetune.library.universal",
    "Writing": "cuetune.backbones.generation",
    "adapt": "cuetune.api.adapt",
    "check": "cuetune.api.check",
    "compare": "cuetune.comparison.compare",
    "evaluate": "cuetune.api.evaluate",
    "fix": "cuetune.methods.correcting.correcting",
    "learn": "cuetune.methods.continual.learning",
    "load": "cuetune.api.predict",
    "load_backbone": "cuetune.backbones.registry",
    "predict": "cuetune.api.predict",
    "predict_together": "cuetune.api.predict_together",
    "recycle": "cuetune.methods.recycling",
    "roll_back": "cuetune.methods.correcting.rolling_back",
    "search": "cuetune.methods.searching",
    "train_multitask": "cuetune.methods.multitask.training",
    "transfer": "cuetune.methods.transfer.transfer",
    "tune": "cuetune.api.tune",
    "worth": "cuetune.comparison.worth",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cuetune' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
