"""Task embeddings: what the first steps on a task do to a prompt tells what the task asks (SPoT, Vu et al., ACL 2022).

SPoT takes a prompt's early checkpoint, all tasks having begun at the same place. Here prompts begin with words of their
task, so the start is taken off: e = mean over the virtual tokens of (P at step EARLY - P at the start), in R^d.
"""

import base64

import numpy as np
import torch
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt

EARLY = 20  # steps; a fixed early step tells tasks apart better than each task's best (SPoT, section 4)


def virtual_tokens(prompt: Prompt) -> Tensor | None:
    """(P, d) the prompt's virtual tokens at the embedding layer, None where there are none."""
    with torch.no_grad():
        tokens = prompt.injection().tokens.get(0)
    return None if tokens is None or tokens.dim() != 2 else tokens.detach().float().cpu().clone()


def embedding(start: Tensor | None, now: Tensor | None) -> str:
    """The task embedding as text: base64 of d float16 numbers, scaled to norm 1; empty where there is none."""
    if start is None or now is None:
        return ""
    moved = (now - start).mean(dim=0)
    scaled = moved / moved.norm().clamp_min(1e-12)
    return base64.b64encode(scaled.numpy().astype("<f2").tobytes()).decode()


def read_embedding(text: str, where: str) -> Tensor:
    """(d,) the numbers of `embedding`. Raises CuetuneError for a text that is none."""
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float32)
    except ValueError as error:
        raise CuetuneError(f"{where}: task_embedding is damaged ({error}); tune the prompt again.") from error
    if not numbers.size or not np.isfinite(numbers).all():
        raise CuetuneError(f"{where}: task_embedding holds no numbers or such as are not finite; tune it again.")
    return torch.from_numpy(numbers)
