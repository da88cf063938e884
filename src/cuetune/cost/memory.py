"""Memory that tuning needs, in bytes: weights and what is trained are exact, activations within about a tenth.

Weights and activations are bfloat16, norms work in float32 as in transformers; attention is a fused kernel that keeps
no scores; no activation is recomputed. Of a frozen matrix only the output's consumers keep something, not its input.
"""

from cuetune.cost.shapes import Shape

WORKSPACE = 2**30  # CUDA context, kernels' workspace and fragmentation: about a gibibyte
ADAM = 16  # bytes per trained number: float32 value, gradient and AdamW's two moments
FULL = 16  # the same sum for a whole model: 2 weight, 2 gradient, 12 master copy and moments (ZeRO, section 3.1)
LOGITS = 10  # bytes per token and vocabulary entry: 2 logits, 4 as float32, 4 log-probabilities


def frozen_layer(shape: Shape) -> float:
    """Bytes that a frozen layer keeps per token for its backward pass.

    8·d + 4·(h + h_kv)·d_h + g·f: two norms' inputs in float32; queries, keys, values and attention's output; the
    feed-forward's gate, activated gate and other half (g = 6), or its one half before the activation (g = 2).
    """
    return 8 * shape.width + 4 * (shape.heads + shape.kv_heads) * shape.head_size + kept(shape) * shape.ffn


def kept(shape: Shape) -> int:
    """g, bytes that a frozen feed-forward layer keeps per token and unit of its width."""
    return 6 if shape.gated else 2


def trained_inputs(shape: Shape) -> float:
    """Bytes per token that a layer keeps besides when its weights are trained: 8·d + 2·h·d_h + 2·f.

    The inputs of all its matrices (attention's and the feed-forward's, 2·d each), and both norms' outputs.
    """
    return 8 * shape.width + 2 * shape.heads * shape.head_size + 2 * shape.ffn


def lora_inputs(shape: Shape) -> float:
    """Bytes per token that a layer keeps besides for LoRA on queries and values: 6·d, their input in both dtypes."""
    return 6 * shape.width
