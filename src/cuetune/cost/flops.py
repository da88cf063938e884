"""Floating-point operations of tuning and using a model, by formula; and PyTorch's own count to check them against.

A product of (n, a) with (a, b) numbers is 2·n·a·b operations. Only matrix products are counted, attention scores among
them; norms, activations and softmax are left out, as PyTorch's counter does. Backward costs as much again for the
gradient of a product's input, and as much again for that of its weights, which frozen weights do not need. Attention
has no weights but two inputs per product, so its backward always costs twice its forward.

Symbols: B rows of T tokens, P virtual tokens, W label words; a model's L layers of m matrix parameters, h heads of
size d_h, width d, vocabulary V (`Shape`).
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from cuetune.cost.shapes import Shape

CHINCHILLA = 20  # tokens per parameter; Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, table 3


def soft_prompt_step(shape: Shape, rows: int, tokens: float, prompt: int, words: int, enters: int = 0) -> float:
    """One step for virtual tokens before the text, packed: the prompt goes through the model once, not once per row.

    (L - k)·[4·m·(P + B·T) + 12·h·d_h·(P² + B·T·(P + T))] - 4·m_ff·(P + B·T - B) + 4·d·W·B, with k = `enters`, the
    layer where the prompt enters. Below it nothing depends on the prompt, so it is computed once per row before tuning
    (`below`). In the last layer the feed-forward runs only where a row is read.
    """
    scores = prompt**2 + rows * tokens * (prompt + tokens)
    layer = 4 * shape.matrices * (prompt + rows * tokens) + 3 * attention(shape, scores)
    unread = 4 * left_out(shape, prompt + rows * tokens - rows)
    return (shape.layers - enters) * layer - unread + label_words(shape, rows, words)


def prefix_step(shape: Shape, rows: int, tokens: float, prompt: int, words: int) -> float:
    """One step for keys and values in every layer, which are no tokens and go through no matrix.

    L·[4·m·B·T + 12·h·d_h·B·T·(P + T)] - 2·m_qkv·B·T - 4·m_ff·(B·T - B) + 4·d·W·B: below the first layer's keys nothing
    is trained.
    """
    n = rows * tokens
    layer = 4 * shape.matrices * n + 3 * attention(shape, n * (prompt + tokens))
    unread = 4 * left_out(shape, n - rows)
    return shape.layers * layer - 2 * shape.qkv * n - unread + label_words(shape, rows, words)


def lora_step(shape: Shape, rows: int, tokens: float, rank: int) -> float:
    """One step of LoRA on queries and values (Hu et al. 2021) with the usual loss over the whole vocabulary.

    L·[4·m·B·T + 12·h·d_h·B·T² + 3·a·B·T] - 2·m_qkv·B·T - 4·r·d·B·T + 4·d·V·B·T, with a = 2·(the adapters' parameters
    per layer): what the adapters add, forward, to their input and to their weights.
    """
    n = rows * tokens
    layer = (
        4 * shape.matrices * n + 3 * attention(shape, n * tokens) + 6 * lora_parameters(shape, rank) / shape.layers * n
    )
    return shape.layers * layer - 2 * shape.qkv * n - 4 * rank * shape.width * n + 4 * shape.table * n


def full_step(shape: Shape, rows: int, tokens: float) -> float:
    """One step of tuning every weight: L·[6·m·B·T + 12·h·d_h·B·T²] + 6·d·V·B·T."""
    n = rows * tokens
    return shape.layers * (6 * shape.matrices * n + 3 * attention(shape, n * tokens)) + 6 * shape.table * n


def below(shape: Shape, tokens: float, layer: int) -> float:
    """Forward of one row through the first `layer` layers, once before tuning: k·[2·m·T + 4·h·d_h·T²]."""
    return layer * (2 * shape.matrices * tokens + attention(shape, tokens**2))


def answer(shape: Shape, tokens: float, prompt: int = 0, words: int | None = None, enters: int = 0) -> float:
    """One answer read off one row's last token: 2·L·m·T + attention.

    prompt: keys before the text, compiled, in the layers from `enters` on. words: label words scored, by a pass of
    ours, which leaves out 2·m_ff·(T - 1); None for the stock model and its whole vocabulary.
    """
    keys = shape.layers * tokens**2 + (shape.layers - enters) * tokens * prompt
    logits = 2 * shape.width * (shape.vocab if words is None else words)
    unread = 0.0 if words is None else 2 * left_out(shape, tokens - 1)
    return 2 * shape.layers * shape.matrices * tokens - unread + attention(shape, keys) + logits


def left_out(shape: Shape, tokens: float) -> float:
    """Multiply-adds of the last layer's feed-forward on tokens of which no state is read: m_ff each."""
    return shape.feed_forward * tokens if shape.pruned else 0.0


def from_scratch(parameters: float, tokens_per_parameter: float = CHINCHILLA) -> float:
    """Training a model anew: 6·N·D (Kaplan et al. 2020, section 2.1) on D = 20·N tokens (Hoffmann et al. 2022)."""
    return 6 * parameters * tokens_per_parameter * parameters


def attention(shape: Shape, scores: float) -> float:
    """Forward of one layer's attention, 4·h·d_h per pair of a query and a key: its score, and its part in the sum."""
    return 4 * shape.heads * shape.head_size * scores


def label_words(shape: Shape, rows: int, words: int) -> float:
    """Logits of W words at one place per row, forward and to the hidden state: 4·d·W·B."""
    return 4 * shape.width * words * rows


def lora_parameters(shape: Shape, rank: int) -> int:
    """Numbers in LoRA matrices of `rank` beside every layer's queries and values: L·r·(2·d + (h + h_kv)·d_h)."""
    return shape.layers * rank * (2 * shape.width + (shape.heads + shape.kv_heads) * shape.head_size)


def count(function: Callable[[], Any]) -> int:
    """Floating-point operations of calling `function`, backward passes in it included, as PyTorch counts them.

    Nothing is compiled meanwhile, because only eager operations are seen.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    compiles = "torch._dynamo" in sys.modules  # importing it takes seconds
    eager = torch.compiler.set_stance("force_eager") if compiles else nullcontext()
    with eager, FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())
