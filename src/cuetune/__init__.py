"""cuetune: tune the prompt, not the model. The public names, imported when first used so that start-up stays fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers; `_PUBLIC` is what is imported
    from cuetune.answers.prediction import Prediction as Prediction
    from cuetune.api.adapt import adapt as adapt
    from cuetune.api.check import check as check
    from cuetune.api.evaluate import evaluate as evaluate
    from cuetune.api.predict import load as load
    from cuetune.api.predict import predict as predict
    from cuetune.api.predict_together import predict_together as predict_together
    from cuetune.api.tune import tune as tune
    from cuetune.backbones.generation import Writing as Writing
    from cuetune.backbones.injection import Injection as Injection
    from cuetune.backbones.registry import load_backbone as load_backbone
    from cuetune.backbones.text import TextBackbone as TextBackbone
    from cuetune.comparison.compare import compare as compare
    from cuetune.comparison.worth import worth as worth
    from cuetune.data.task import Task as Task
    from cuetune.errors import CuetuneError as CuetuneError
    from cuetune.library.collection import PromptLibrary as PromptLibrary
    from cuetune.library.tuned import TunedPrompt as TunedPrompt
    from cuetune.library.universal import UniversalPrompt as UniversalPrompt
    from cuetune.methods.continual.learned import Learned as Learned
    from cuetune.methods.continual.learning import learn as learn
    from cuetune.methods.correcting.correcting import fix as fix
    from cuetune.methods.correcting.rolling_back import roll_back as roll_back
    from cuetune.methods.multitask.training import train_multitask as train_multitask
    from cuetune.methods.recycling import recycle as recycle
    from cuetune.methods.searching import search as search
    from cuetune.methods.transfer.transfer import transfer as transfer
    from cuetune.prediction.text import Predictor as Predictor
    from cuetune.prompts import HardPrompt as HardPrompt
    from cuetune.prompts import MultitaskPrompt as MultitaskPrompt
    from cuetune.prompts import Prompt as Prompt
    from cuetune.prompts import SoftPrompt as SoftPrompt
    from cuetune.tuning.settings import Settings as Settings

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
