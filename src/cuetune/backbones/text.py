"""A frozen causal language model: runs packed rows under an injection and knows who it is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from cuetune import compat
from cuetune.backbones.attention import Group
from cuetune.backbones.identity import BackboneIdentity, tokenizer_hash, weights_hash
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import Packed, Rows, pack
from cuetune.errors import CuetuneError


class TextBackbone:
    """A causal model of transformers with its tokenizer, frozen.

    model: any causal language model whose attention goes through transformers' attention interface.
    Raises CuetuneError when the model does not honour injections, found out by a short self-test.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any, name: str = "", revision: str | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.config = compat.text_config(model)
        self._decoder = compat.decoder(model)
        self._embedding: nn.Embedding = model.get_input_embeddings()  # type: ignore[assignment]
        self._head: nn.Linear = model.get_output_embeddings()
        compat.use_attention(model)
        compat.keep_freed_memory()
        for index, layer in enumerate(compat.decoder_layers(model)):
            for module in layer.modules():
                module._cuetune_layer = index  # type: ignore[assignment]
            compat.wrap_layer(layer, index)
        self.kv_shape: tuple[int, int, int] = (0, 0, 0)  # L, h_kv, d_h: what an injection's `kv` must fit
        self.identity = self._identify(name or str(model.config.name_or_path), revision)
        self._self_test()

    @property
    def device(self) -> torch.device:
        return self._embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self._embedding.weight.dtype

    @property
    def width(self) -> int:
        """d, the size of an embedding row."""
        return int(self._embedding.weight.shape[1])

    @property
    def max_positions(self) -> int:
        """The longest sequence in tokens, prompt included, that the model was made for."""
        return int(getattr(self.config, "max_position_embeddings", 0) or 2**31)

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection has this backbone's width, layers and heads."""
        layers, heads, size = self.kv_shape
        for layer, states in injection.tokens.items():
            if states.shape[-1] != self.width or layer >= layers:
                raise CuetuneError(
                    f"{where}: virtual tokens of width {states.shape[-1]} at layer {layer}, but {self.identity.name} "
                    f"has width {self.width} and {layers} layers; load the model the prompt was made for."
                )
        for layer, (keys, _) in injection.kv.items():
            if (keys.shape[-3], keys.shape[-1]) != (heads, size) or layer >= layers:
                raise CuetuneError(
                    f"{where}: a prefix of {keys.shape[-3]} heads of {keys.shape[-1]} numbers at layer {layer}, but "
                    f"{self.identity.name} has {heads} heads of {size} and {layers} layers; load the model the prompt "
                    "was made for."
                )

    def embed(self, ids: Tensor) -> Tensor:
        """Rows of the embedding table, (…) -> (…, d), scaled as the model scales them."""
        return self._embedding(ids)

    def embedding_table(self) -> Tensor:
        """(V, d) the frozen embedding table."""
        return self._embedding.weight.detach()

    def hidden(self, rows: Rows, injection: Injection | None = None) -> Tensor:
        """Final hidden states (K, d) at the places that `rows.read` names, in one pass without padding."""
        return self.hidden_mixed([(rows, injection or Injection())])[0]

    def hidden_mixed(self, parts: Sequence[tuple[Rows, Injection]]) -> list[Tensor]:
        """As `hidden` for several prompts at once, each with its own rows: one pass, each prompt computed once."""
        moved = [(rows.to(self.device), injection) for rows, injection in parts]
        packed = pack(moved, self.embed)
        states = self._run(packed)[0]
        return [states.index_select(0, read) for read in packed.read]

    @torch.no_grad()
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The same prompt, followed by `shared` text, as keys and values: computed once, then free but for attention.

        A causal model's prompt does not depend on the text behind it. injection: shared by the batch, any kind.
        Returns an Injection with `kv` only, K = P + S positions, in the backbone's dtype, detached.
        """
        if injection.per_row:
            raise CuetuneError("a prompt that differs from row to row cannot be compiled.")
        offsets = injection.offsets
        if offsets is not None:
            offsets = offsets[len(shared) :].detach().to(self.dtype)
        if not injection.n_tokens and not len(shared):
            return Injection(kv={layer: _as(pair, self.dtype) for layer, pair in injection.kv.items()}, offsets=offsets)
        _, captured, _, _ = self._capture(Rows.of([], shared), injection)
        entered = min(injection.tokens, default=0)
        kv = {}
        for layer, pair in captured.items():
            missing = injection.n_tokens if layer < entered else 0  # the prompt is not there yet
            keys, values = (part[missing:].transpose(0, 1).contiguous() for part in pair)
            kv[layer] = _joined(injection.kv.get(layer), (keys, values))
        return Injection(kv=kv, offsets=offsets)

    @torch.no_grad()
    def hidden_and_kv(self, rows: Rows, injection: Injection) -> tuple[Tensor, dict[int, KeyValue]]:
        """As `hidden`, and each layer's keys and values of the rows' own tokens, right-padded, (B, h_kv, T, d_h)."""
        states, captured, group, read = self._capture(rows, injection)
        sizes = [int(block.places.numel()) for block in group.blocks]
        width = max(block.rows.shape[1] for block in group.blocks)

        def padded(packed: Tensor) -> Tensor:
            parts = packed[group.n_shared :].split(sizes)
            laid = [part[block.rows].transpose(1, 2) for part, block in zip(parts, group.blocks, strict=True)]
            return torch.cat([F.pad(part, (0, 0, 0, width - part.shape[2])) for part in laid])

        own = {layer: (padded(keys), padded(values)) for layer, (keys, values) in captured.items()}
        return states.index_select(0, read), own

    @torch.no_grad()
    def layer_inputs(self, ids: Sequence[int], injection: Injection | None = None) -> list[Tensor]:
        """What goes into each layer when this text is read, L tensors (S, d): where prompts above layer 0 can start."""
        packed = pack([(Rows.of([], ids).to(self.device), injection or Injection())], self.embed)
        inputs: dict[int, Tensor] = {}
        packed.layout.inputs = inputs
        self._run(packed)
        return [inputs[layer] for layer in sorted(inputs)]

    @torch.no_grad()
    def states_at(self, layer: int, rows: Rows, n_tokens: int) -> Tensor:
        """States (S + N, d) of the shared text and the rows, in this order, as they enter `layer`.

        No prompt is there yet, but `n_tokens` positions before the text are kept free for the one that enters.
        """
        free = torch.empty((1, n_tokens, 1), device=self.device)  # stands at `layer`, which is not run
        packed = pack([(rows.to(self.device), Injection(kv={layer: (free, free)}))], self.embed, by_length=False)
        inputs: dict[int, Tensor] = {}
        packed.layout.inputs, packed.layout.last = inputs, layer
        self._run(packed)
        return inputs[layer]

    def hidden_from(self, layer: int, states: Tensor, rows: Rows, injection: Injection) -> Tensor:
        """As `hidden`, from the text's states (S + N, d) at `layer` (`states_at`) on: the layers below are not run.

        injection: tokens at `layer` or above only.
        """
        if min(injection.tokens, default=layer) < layer or injection.kv:
            raise CuetuneError(f"a prompt that enters below layer {layer} needs the whole model.")
        n_shared = len(rows.shared)
        places = replace(rows, ids=torch.arange(n_shared, n_shared + len(rows.ids)), shared=torch.arange(n_shared)).to(
            self.device
        )
        table = states.to(self.device, self.dtype)
        packed = pack([(places, injection)], lambda wanted: table.index_select(0, wanted))
        packed.layout.first, packed.layout.states = layer, packed.embeddings
        return self._run(packed)[0].index_select(0, packed.read[0])

    def _capture(self, rows: Rows, injection: Injection) -> tuple[Tensor, dict[int, KeyValue], Group, Tensor]:
        """One pass in the caller's order of rows that keeps every layer's keys and values, (N, h_kv, d_h)."""
        packed = pack([(rows.to(self.device), injection)], self.embed, by_length=False)
        captured: dict[int, KeyValue] = {}
        packed.layout.capture = captured
        states = self._run(packed)[0]
        return states, captured, packed.layout.groups[0], packed.read[0]

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        """Next-token logits (…, V) in float32, or (…, W) of the vocabulary rows that `words` (W,) names."""
        weight: Tensor = self._head.weight
        bias: Tensor | None = self._head.bias
        if words is not None:
            weight = weight[words]
            bias = bias[words] if bias is not None else None
        return compat.adjust_logits(self.config, F.linear(hidden, weight, bias).float())

    def _run(self, packed: Packed) -> Tensor:
        output = self._decoder(
            inputs_embeds=packed.embeddings,
            position_ids=packed.positions,
            attention_mask=compat.no_mask(packed.embeddings),
            use_cache=False,
            cuetune_layout=packed.layout,
        )
        return output.last_hidden_state

    def _identify(self, name: str, revision: str | None) -> BackboneIdentity:
        config = self.config
        return BackboneIdentity(
            name=name,
            revision=revision,
            weights_hash=weights_hash(self.model.state_dict()),
            tokenizer_hash=tokenizer_hash(self.tokenizer),
            model_type=config.model_type,
            hidden_size=self.width,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
        )

    @torch.no_grad()
    def _self_test(self) -> None:
        """Six tokens through the stock path and through a packed, compiled one must give the same logits."""
        ids = torch.tensor([3, 5, 7, 11, 13, 17], device=self.device) % self._head.weight.shape[0]
        stock = self.model(input_ids=ids[None], use_cache=False).logits[0, -1].float()
        try:
            compiled = self.compile(Injection(tokens={0: self.embed(ids[:2])}), ids[2:3].tolist())
            self.kv_shape = (len(compiled.kv), compiled.kv[0][0].shape[0], compiled.kv[0][0].shape[2])
            ours = self.logits(self.hidden(Rows.of([ids[3:5].tolist(), ids[3:].tolist()]), compiled)[-1])
            error = ((ours - stock).abs().max() / stock.abs().max().clamp_min(1e-6)).item()
        except Exception as problem:
            error, reason = float("inf"), f" ({type(problem).__name__}: {problem})"
        else:
            reason = f" (logits differ by {error:.1e})"
        if not error < (1e-3 if self.dtype == torch.float32 else 0.1):
            raise CuetuneError(
                f"{self.identity.name}: models of type {self.config.model_type!r} do not take injections through "
                f"transformers' attention interface{reason}; choose another model, e.g. --model smollm2-135m."
            )


def _joined(first: KeyValue | None, then: KeyValue) -> KeyValue:
    """Keys and values one behind the other, each (h_kv, K, d_h)."""
    if first is None:
        return then
    keys, values = (torch.cat([a.to(b), b], dim=-2) for a, b in zip(first, then, strict=True))
    return keys, values


def _as(pair: tuple[Tensor, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return pair[0].detach().to(dtype), pair[1].detach().to(dtype)
