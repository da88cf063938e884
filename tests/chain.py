"""A model that writes what it is told to: after each token one certain other, whatever stands before."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def chain_model(vocabulary: int, pairs: list[tuple[int, int]], *, ends: int | list[int] | None = None, positions=512):
    """A Llama of one layer that does nothing but look up: behind token a of a pair comes b. ends: what its
    configuration and its generation settings call the end."""
    width = -(-vocabulary // 8) * 8
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=ends,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.zero_()
        table = model.model.embed_tokens.weight
        table.zero_()
        table[:, :vocabulary] = torch.eye(vocabulary)
        model.lm_head.weight.zero_()
        for before, behind in pairs:
            model.lm_head.weight[behind, before] = 10.0
    return model


def written_chain(tokenizer, answer: str, *more: int) -> list[tuple[int, int]]:
    """The pairs of a model that writes `answer` behind a colon, no token twice, and then these tokens."""
    colon = tokenizer(":", add_special_tokens=False)["input_ids"][-1]
    ids = [colon, *tokenizer(" " + answer, add_special_tokens=False)["input_ids"], *more]
    assert len(set(ids)) == len(ids)
    return list(zip(ids, ids[1:], strict=False))
