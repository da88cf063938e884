"""What prompts are compared with: full fine-tuning and LoRA, tuned by the same loop on the same packed batches."""

import copy
import weakref
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cuetune.backbones.base import Backbone
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.tuning.settings import RATE_PER_RMS

# The usual learning rates of AdamW, which the search of `compare` moves up and down from.
FINE_TUNING_RATE, LORA_RATE = 3e-5, 5e-4
RANK = 8
FUSED_OUT = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")  # kernels read out_proj's weight themselves

AnyBackbone = TypeVar("AnyBackbone", bound=Backbone)


class ModelWeights(Prompt):
    """Weights of a model, as something the loop can tune: no prompt is added, the model itself changes.

    live: the model's own parameters, in its dtype. Trained are float32 copies of them: steps of fine-tuning are smaller
    than what bfloat16 can tell apart. Before every pass the copies are put into the model, and gradients come back.
    rate: the usual learning rate.
    """

    def __init__(self, live: list[nn.Parameter], rate: float) -> None:
        super().__init__()
        self.masters = nn.ParameterList([nn.Parameter(each.detach().float().clone()) for each in live])
        self._live, self._rate = live, rate
        for number, parameter in enumerate(live):
            parameter.requires_grad_(True)
            parameter.register_post_accumulate_grad_hook(self._taker(number))

    def _taker(self, number: int) -> Any:
        owner = weakref.ref(self)  # torch keeps the hook where no garbage collector sees that it leads back here

        def take(parameter: Tensor) -> None:
            weights = owner()
            assert weights is not None
            assert parameter.grad is not None
            weights.masters[number].grad = parameter.grad.float()
            parameter.grad = None

        return take

    @torch.no_grad()
    def injection(self) -> Injection:
        for live, master in zip(self._live, self.masters, strict=True):
            live.copy_(master)
        return Injection()

    @property
    def length(self) -> int:
        return 0

    def size(self, embedding_size: float) -> float:
        return self._rate / RATE_PER_RMS  # the rate is known; it does not follow from the size of the weights

    def spec(self) -> dict[str, Any]:
        return {"numbers": self.n_trained}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "Prompt":
        raise CuetuneError("weights of a model are not a prompt; they are compared, not saved.")


def fine_tuning(backbone: AnyBackbone, seed: int = 0) -> tuple[AnyBackbone, ModelWeights]:
    """A copy of the backbone whose every weight is trained; nothing in it is drawn by the seed."""
    own: Any = backbone.around(copy.deepcopy(backbone.model))
    return own, ModelWeights(list(own.model.parameters()), FINE_TUNING_RATE)


def lora(backbone: AnyBackbone, seed: int = 0) -> tuple[AnyBackbone, ModelWeights]:
    """A copy of the backbone with LoRA (Hu et al. 2022) of rank 8 in every linear layer, alpha = 2 · rank, by PEFT."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise CuetuneError("LoRA comes from PEFT: pip install 'cuetune[peft]', or leave lora out.") from error
    model = copy.deepcopy(backbone.model)
    torch.manual_seed(seed)
    without = ["out_proj"] if model.config.model_type in FUSED_OUT else None
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", exclude_modules=without)
    try:
        inject_adapter_in_model(config, model)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise CuetuneError(f"{backbone.identity.name} takes no LoRA: {reason}; leave lora out of --methods.") from error
    adapters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in adapters:
        parameter.data = parameter.data.float()
    around: Any = backbone.around(model)
    return around, ModelWeights(adapters, LORA_RATE)
