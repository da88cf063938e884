"""A frozen causal language model: runs packed rows under an injection and knows who it is. Encoders build on it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

import cuetune.backbones.attention  # noqa: F401 - makes its function known to transformers
from cuetune.backbones import frozen
from cuetune.backbones.base import Backbone, relative
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.end_tokens import end_tokens
from cuetune.backbones.groups import Group, Past
from cuetune.backbones.identity import BackboneIdentity, hash_in_float16, tokenizer_hash, weights_hash
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import Packed, embedded_text, of_rows, pack, positions_of, same_length
from cuetune.backbones.tokens import know_rows
from cuetune.errors import CuetuneError

TEST_TOKENS = 24  # of the row that a model is held against its own attention with
TEST_OPERATIONS = 2 * 10**10  # that a longer one may cost, a tenth of a second on two cores


class TextBackbone(Backbone[TokenBatch]):
    """A causal model of transformers with its tokenizer, frozen.

    model: any causal language model whose attention goes through transformers' attention interface.
    kind: what a model is, as `loading.kind_of` names it.
    causal: whether what stands first is computed without what stands behind it, and so can be shared and compiled.
    writes: whether answers are written behind the text; else rows are whole texts, and words are read at a mask.
    keeps_states: whether rows' states at a layer can be kept (`states_at`) and gone on from (`hidden_from`).
    pooling: which states of a row stand for the whole: its "last", its "first", or the "mean" of all.
    path: "fast", where injections go into the layers, or "plain", where prompts stand at the embedding layer only.
    path_reason: why it is plain. compiles: whether a prompt can be kept as keys and values.
    Raises CuetuneError when the model does not honour injections, found out by a short self-test against the model's
    own attention.
    """

    kind = "causal"
    path = "fast"
    path_reason = ""
    compiles: bool = True
    kv_shape = (0, 0, 0)
    _switches: Sequence[compat.LengthSwitch] = ()
    _outer: compat.OuterHead | None = None
    _state_width = 0
    _first = 0
    causal = True
    writes = True
    stand_in = "smollm2-135m"
    pooling: str = "last"

    def __init__(self, model: PreTrainedModel, tokenizer: Any, name: str = "", revision: str | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._embedding: nn.Embedding = model.get_input_embeddings()  # type: ignore[assignment]
        know_rows(tokenizer, self._embedding.weight.shape[0])
        self._head: nn.Linear = model.get_output_embeddings()
        name = name or str(model.config.name_or_path)
        try:
            self._take_apart()
            self.identity = self._identify(name, revision)
        except (LookupError, AttributeError) as problem:
            raise self._refused(name, str(problem)) from problem
        self._test_ids = self._ordinary_ids()
        with self._testing(), torch.no_grad(), compat.own_attention(model):
            reference = self._reference(self._test_ids)
            self._rounding = self._measure_rounding(reference)
        with self._testing():
            self._switch()
        self._self_test(reference)

    def _ordinary_ids(self) -> Tensor:
        """Token ids for a self-test: such as stand in texts, none of them with a meaning of its own.

        More than the model's windows and the length at which its positions turn, where that costs next to nothing.
        """
        special = {*getattr(self.tokenizer, "all_special_ids", ()), compat.setting(self.config, "pad_token_id")}
        ids = [number for number in range(3, self._embedding.weight.shape[0]) if number not in special]
        size = sum(parameter.numel() for parameter in self.model.parameters())
        longest = min(TEST_OPERATIONS // (2 * size), self.max_positions)
        limits = [limit for limit in compat.length_limits(self.config, self._switches) if limit + 8 <= longest]
        count = max([TEST_TOKENS, *(limit + 8 for limit in limits)])
        ordered = ids[::7] + ids
        return torch.tensor((ordered * (1 + count // len(ordered)))[:count], device=self.device)

    def _measure_rounding(self, reference: Tensor) -> float:
        """What the last digit of the embeddings, up and down in turn, changes; 0 in float32, where none of it shows."""
        if self.dtype == torch.float32:
            return 0.0

        def rounded(_module: nn.Module, _inputs: Any, states: Tensor) -> Tensor:
            signs = torch.arange(states.shape[-1], device=states.device) % 2 * 2 - 1
            return (states.float() * (1 + signs * torch.finfo(states.dtype).eps)).to(states.dtype)

        shared = self._embedding.weight  # also of the tables of stacks that share it
        tables = [part for part in self.model.modules() if isinstance(part, nn.Embedding) and part.weight is shared]
        hooks = [table.register_forward_hook(rounded) for table in tables]
        try:
            return relative(self._reference(self._test_ids), reference)
        finally:
            for hook in hooks:
                hook.remove()

    def _switch(self) -> None:
        """Route the model through what takes injections, and is faster."""
        compat.use_attention(self.model)
        frozen.use_products(self.model)
        frozen.use_norms(self.model)
        compat.keep_freed_memory()
        self._open_layers()

    def _find_states(self) -> None:
        """Learn the form of final states from a first pass."""
        states = self.hidden(TokenBatch.of([self._test_ids[:2].tolist()]))
        self._state_width = states.shape[-1]
        self._find_head(states)

    def _find_head(self, states: Tensor) -> None:
        """Score words by the head's own rows, or by all that the model does around it where that is more.

        states: some final ones.
        """
        outer = compat.OuterHead(self.model, self._decoder)
        fits = states.shape[-1] == self._head.weight.shape[1]
        if not fits or not close(self.logits(states), outer(states).float()):
            self._outer = outer

    def _take_apart(self) -> None:
        """Find the part that turns embeddings into final states."""
        self.config = compat.text_config(self.model)
        self._decoder = compat.decoder(self.model)
        self._first = compat.first_position(self.model)
        self._switches = compat.length_switches(self.model)
        self.compiles = self.keeps_states = not self._switches

    def _open_layers(self) -> None:
        """Let injections into the layers."""
        if compat.reads_ids_in_layers(self._decoder):
            raise CuetuneError("its layers look tokens up by their ids")
        layers = compat.decoder_layers(self.model)
        frozen.prune_last(layers[-1])
        for index, layer in enumerate(layers):
            compat.wrap_layer(layer, index)

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
        return int(getattr(self.config, "max_position_embeddings", 0) or 2**31) - self._first

    @property
    def answers_apart(self) -> bool:
        """Whether an answer takes no positions of the text, because another stack reads it."""
        return self.writes and not self.causal

    def answer_room(self, before: int) -> int:
        """Tokens of the longest answer that fits behind `before` positions and a text, which keeps a quarter."""
        left = self.max_positions - before
        return max(1, left - max(1, left // 4))

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer, the tokenizer's first (see `end_tokens`)."""
        return end_tokens(self.model, self.tokenizer, self._embedding.weight.shape[0])

    @property
    def has_words(self) -> bool:
        """Whether the model can score the words of its vocabulary."""
        return self._head is not None

    @property
    def state_width(self) -> int:
        """The size of a final hidden state."""
        return self._state_width

    def width_at(self, layer: int) -> int:
        """The size of a virtual token that enters at this layer; some models embed in fewer numbers than they think."""
        return int(self.config.hidden_size) if layer else self.width

    def embed(self, ids: Tensor) -> Tensor:
        """Rows of the embedding table, (…) -> (…, d), scaled as the model scales them."""
        return self._embedding(ids)

    def embedding_table(self) -> Tensor:
        """(V, d) the frozen embedding table."""
        return self._embedding.weight.detach()

    def hidden(self, rows: TokenBatch, injection: Injection | None = None) -> Tensor:
        """Final hidden states (K, d) at the places that `rows.read` names, in one pass without padding."""
        return self.hidden_mixed([(rows, injection or Injection())])[0]

    def hidden_mixed(self, parts: Sequence[tuple[TokenBatch, Injection]]) -> list[Tensor]:
        """As `hidden` for several prompts at once, each with its own rows: one pass, each prompt computed once."""
        here = [(self._here(rows), injection) for rows, injection in parts]
        found = self._by_length(here) if self._switches else self._pass(here)
        return [
            rows.wanted(states, torch.arange(len(states), device=states.device))
            for (rows, _), states in zip(here, found, strict=True)
        ]

    def _pass(self, parts: Sequence[tuple[TokenBatch, Injection]]) -> list[Tensor]:
        """The states (K, d) at the places that each part's rows read, in one packed pass."""
        packed = pack(parts, self.embed)
        states = self._run(packed)[0]
        return [states.index_select(0, places) for places in packed.read]

    def _by_length(self, parts: Sequence[tuple[TokenBatch, Injection]]) -> list[Tensor]:
        """As `_pass`, with a pass for all rows whose positions turn alike, so that no row changes another's."""
        regimes: dict[tuple[int, ...], list[list[int]]] = {}
        for part, (rows, injection) in enumerate(parts):
            for number, positions in enumerate(positions_of(rows, injection)):
                regime = tuple(switch.regime(positions) for switch in self._switches)
                regimes.setdefault(regime, [[] for _ in parts])[part].append(number)
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in parts]
        for chosen in regimes.values():
            used = [part for part, numbers in enumerate(chosen) if numbers]
            picked = [of_rows(parts[part][0], chosen[part]) for part in used]
            prompts = [parts[part][1].of_rows(torch.tensor(chosen[part], device=self.device)) for part in used]
            states = self._pass([(rows, prompt) for (rows, _), prompt in zip(picked, prompts, strict=True)])
            for part, (_, reads), each in zip(used, picked, states, strict=True):
                found[part].append((reads, each))
        return [_in_order(pieces) for pieces in found]

    @torch.no_grad()
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The same prompt, followed by `shared` text, as keys and values: computed once, then free but for attention.

        A causal model's prompt does not depend on the text behind it. injection: shared by the batch, any kind.
        Returns an Injection with `kv` only, K = P + S positions, in the backbone's dtype, detached.
        """
        if injection.per_row:
            raise CuetuneError("a prompt that differs from row to row cannot be compiled.")
        if not self.compiles:
            return self._as_tokens(injection, shared)
        offsets = injection.offsets
        if offsets is not None:
            offsets = offsets[len(shared) :].detach().to(self.dtype)
        if not injection.n_tokens and not len(shared):
            return replace(injection.detached(self.dtype), offsets=offsets)
        _, captured, _, _ = self._capture(self._alone(shared), injection)
        entered = min(injection.tokens, default=0)
        kv = {}
        for layer, pair in captured.items():
            missing = injection.n_tokens if layer < entered else 0  # the prompt is not there yet
            keys, values = (part[missing:].transpose(0, 1).contiguous() for part in pair)
            kv[layer] = _joined(injection.kv.get(layer), (keys, values))
        return Injection(kv=kv, offsets=offsets)

    def _as_tokens(self, injection: Injection, shared: Sequence[int]) -> Injection:
        """As `compile`, with the shared text as virtual tokens behind the prompt's: computed with every batch."""
        kept = injection.detached(self.dtype)
        if not len(shared):
            return kept
        if any(kept.tokens):
            raise CuetuneError(
                f"{self.identity.name}: its positions turn with the length of a row, so a prompt above the embedding "
                "layer cannot be kept with the text behind it; use a soft prompt, or another --model."
            )
        offsets = kept.offsets
        text = embedded_text(self._here(self._alone(shared)), Injection(offsets=offsets), self.embed)
        tokens = torch.cat([kept.tokens[0], text]) if kept.tokens else text
        behind = None if offsets is None else offsets[len(shared) :]
        return replace(kept, tokens={0: tokens}, spelled=(*kept.spelled, *shared), offsets=behind)

    @torch.no_grad()
    def write(self, rows: Sequence[Sequence[int]], prompt: Injection, **how: Any) -> list[list[int]]:
        """The tokens of an answer behind every row, by transformers' `generate` with the options `how`.

        Rows of one length go together, so that nothing is padded. For models whose prompts are not kept as keys and
        values (`compiles`).
        """
        if prompt.kv or any(prompt.tokens) or prompt.offsets is not None:
            raise CuetuneError(
                f"{self.identity.name}: only prompts of virtual tokens at the embedding layer can write text with this "
                "model; use a soft prompt, or another --model."
            )
        written: list[list[int]] = [[] for _ in rows]
        for numbers in same_length([len(row) for row in rows]):
            ids = torch.tensor([rows[number] for number in numbers], device=self.device)
            text = self.embed(ids)
            if prompt.tokens:
                own = prompt.of_rows(torch.tensor(numbers, device=self.device)).tokens[0].to(text)
                text = torch.cat([own.expand(len(numbers), -1, -1), text], dim=1)
            seen = torch.ones(text.shape[:2], dtype=torch.long, device=self.device)
            with self._looking_up(self._spelled(ids, prompt)):
                output = self.model.generate(inputs_embeds=text, attention_mask=seen, **how)
            for number, answer in zip(numbers, output.tolist(), strict=True):
                written[number] = answer
        return written

    @property
    def _padding_id(self) -> int:
        return int(compat.setting(self.config, "pad_token_id") or 0)

    def _spelled(self, ids: Tensor, prompt: Injection) -> Tensor:
        """The ids (…, P + T) of virtual tokens, as padding where they are no text, and of the tokens (…, T) behind."""
        text = ids.new_tensor(prompt.spelled).expand(*ids.shape[:-1], -1)
        padding = prompt.n_tokens - len(prompt.spelled)
        return F.pad(torch.cat([text, ids], dim=-1), (padding, 0), value=self._padding_id)

    def _looking_up(self, ids: Tensor) -> AbstractContextManager[None]:
        """Within it, a pass over embeddings is one over the tokens (B, T), where layers ask for these."""
        return nullcontext()

    @torch.no_grad()
    def hidden_and_kv(self, rows: TokenBatch, injection: Injection) -> tuple[Tensor, dict[int, KeyValue]]:
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
    def hidden_behind(self, past: Past, rows: TokenBatch, injection: Injection) -> Tensor:
        """As `hidden`, for rows that go on from tokens read before (`hidden_and_kv`) under the same injection."""
        here = replace(self._here(rows), past=past)
        packed = pack([(here, injection)], self.embed, by_length=False)
        return self._run(packed)[0].index_select(0, packed.read[0])

    @torch.no_grad()
    def layer_inputs(self, ids: Sequence[int], injection: Injection | None = None) -> list[Tensor]:
        """What goes into each layer when this text is read, L tensors (S, d): where prompts above layer 0 can start."""
        packed = pack([(self._here(self._alone(ids)), injection or Injection())], self.embed)
        inputs: dict[int, Tensor] = {}
        packed.layout.inputs = inputs
        self._run(packed)
        return [inputs[layer] for layer in sorted(inputs)]

    @torch.no_grad()
    def states_at(self, layer: int, rows: TokenBatch, n_tokens: int) -> Tensor:
        """States (S + N, d) of the shared text and the rows, in this order, as they enter `layer`.

        No prompt is there yet, but `n_tokens` positions before the text are kept free for the one that enters.
        """
        free = torch.empty((1, n_tokens, 1), device=self.device)  # stands at `layer`, which is not run
        packed = pack([(self._here(rows), Injection(kv={layer: (free, free)}))], self.embed, by_length=False)
        inputs: dict[int, Tensor] = {}
        packed.layout.inputs, packed.layout.last = inputs, layer
        self._run(packed)
        return inputs[layer]

    def hidden_from(self, layer: int, states: Tensor, rows: TokenBatch, injection: Injection) -> Tensor:
        """As `hidden`, from the text's states (S + N, d) at `layer` (`states_at`) on: the layers below are not run.

        injection: tokens at `layer` or above only.
        """
        if min(injection.tokens, default=layer) < layer or injection.kv:
            raise CuetuneError(f"a prompt that enters below layer {layer} needs the whole model.")
        n_shared = len(rows.shared)
        places = replace(rows, ids=torch.arange(n_shared, n_shared + len(rows.ids)), shared=torch.arange(n_shared))
        table = states.to(self.device, self.dtype)
        here = self._here(places)
        packed = pack([(here, injection)], lambda wanted: table.index_select(0, wanted))
        packed.layout.first, packed.layout.states = layer, packed.embeddings
        return here.wanted(self._run(packed)[0], packed.read[0])

    def _capture(self, rows: TokenBatch, injection: Injection) -> tuple[Tensor, dict[int, KeyValue], Group, Tensor]:
        """One pass in the caller's order of rows that keeps every layer's keys and values, (N, h_kv, d_h)."""
        packed = pack([(self._here(rows), injection)], self.embed, by_length=False)
        captured: dict[int, KeyValue] = {}
        packed.layout.capture = captured
        states = self._run(packed)[0]
        return states, captured, packed.layout.groups[0], packed.read[0]

    @torch.no_grad()
    def keys_values(self, embeddings: Tensor) -> KeyValue:
        """(L, h_kv, P, d_h) keys and values that the frozen model makes of virtual tokens (P, d) read alone."""
        _, captured, _, _ = self._capture(self._alone(()), Injection(tokens={0: embeddings}))
        if not captured:
            raise CuetuneError("its layers do not use transformers' attention interface")
        keys, values = (torch.stack([captured[layer][part] for layer in sorted(captured)]) for part in (0, 1))
        return keys.transpose(1, 2), values.transpose(1, 2)

    def _here(self, rows: TokenBatch) -> TokenBatch:
        """Rows on this backbone's device, as its attention sees them."""
        return replace(rows.to(self.device), causal=self.causal)

    def _alone(self, ids: Sequence[int]) -> TokenBatch:
        """A text with nothing behind it."""
        return TokenBatch.of([], ids)

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        """Next-token logits (…, V) in float32, or (…, W) of the vocabulary rows that `words` (W,) names."""
        if self._outer is None:
            return compat.adjust_logits(self.config, self._scored(hidden, words).float())
        logits = self._outer(hidden).float()
        return logits if words is None else logits[..., words]

    def _scored(self, states: Tensor, words: Tensor | None) -> Tensor:
        """The head's product for all its rows, or for those that are named."""
        weight: Tensor = self._head.weight
        bias: Tensor | None = self._head.bias
        if words is not None:
            weight = weight[words]
            bias = bias[words] if bias is not None else None
        return frozen.product(states, weight, bias)

    def _positions(self, packed: Packed) -> dict[str, Tensor]:
        """What the model is told about each place of a packed pass beside its embedding."""
        return {"position_ids": packed.positions + self._first}

    def around(self, model: PreTrainedModel) -> "TextBackbone":
        return type(self)(model, self.tokenizer, self.identity.name, self.identity.revision)

    def _run(self, packed: Packed) -> Tensor:
        embeddings = packed.embeddings
        if packed.layout.states is not None:  # nothing of the lower layers is used, but they have a width of their own
            embeddings = embeddings.new_zeros((*embeddings.shape[:2], self.width))
        for switch in self._switches:
            switch.forget()
        with frozen.own_pass(), compat.rules_into(packed.layout.rules):
            output = self._decoder(
                inputs_embeds=embeddings,
                **self._positions(packed),
                attention_mask=compat.everything_real(embeddings),
                use_cache=False,
                cuetune_layout=packed.layout,
            )
        return output.last_hidden_state

    def _identify(self, name: str, revision: str | None) -> BackboneIdentity:
        config, weights = self.config, self.weights_of(self.model)
        kept = tuple(getattr(self.model, "_keep_in_fp32_modules", None) or ())
        loaded = weights_hash(weights)
        return BackboneIdentity(
            name=name,
            revision=revision,
            weights_hash=loaded,
            also=(loaded, hash_in_float16(weights, kept)),
            tokenizer_hash=tokenizer_hash(self.tokenizer),
            model_type=config.model_type,
            hidden_size=self.width,
            num_layers=config.num_hidden_layers,
            num_heads=compat.setting(config, "num_attention_heads", 0),  # recurrent models have none
            state_size=0 if self.width_at(1) == self.width else self.width_at(1),
            kind=self.kind,
            path=self.path,
        )

    @staticmethod
    def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
        """The tensors that decide what the model answers."""
        return model.state_dict()

    def _reference(self, ids: Tensor) -> Tensor:
        """What plain transformers gives for a text by its own attention: logits (T, V), or states without a head."""
        return self.model(input_ids=ids[None], use_cache=False).logits[0].float()

    def _prompted(self, ids: Tensor) -> Tensor:
        """The same for all but the text's first three tokens, behind a compiled prompt and beside another row."""
        compiled = self.compile(Injection(tokens={0: self.embed(ids[:2])}), ids[2:3].tolist())
        rows = [ids[3:5].tolist(), ids[3:].tolist()]
        return self.logits(self.hidden(TokenBatch.of(rows), compiled)[len(rows[0]) :])

    @torch.no_grad()
    def _self_test(self, reference: Tensor) -> None:
        """A packed pass with a prompt must give what plain transformers gives, and no row may see another."""
        with self._testing():
            keys, _ = self.keys_values(self.embed(self._test_ids[:2]))
            self.kv_shape = (keys.shape[0], keys.shape[1], keys.shape[3])
            self._find_states()
            ours = self._prompted(self._test_ids)
            self._check_rows_apart()
        self._must_equal(ours, reference[-len(ours) :], self._rounding)

    def _check_rows_apart(self) -> None:
        """Raise CuetuneError where a row's states depend on the row before it, by however little.

        The first row's prompt is not a number; whatever sees any of it is none either, in every precision.
        """
        rows = TokenBatch.of([self._test_ids[:6].tolist(), self._test_ids[6:12].tolist()])
        prompt = self.embed(self._test_ids[:2])
        prompts = torch.stack([torch.full_like(prompt, torch.nan), prompt])
        if not self.hidden(rows, Injection(tokens={0: prompts}))[6:].isfinite().all():
            raise CuetuneError("rows that are packed into one sequence see each other")


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two computations of the same numbers agree up to the dtype's rounding."""
    return relative(ours, theirs) < (1e-5 if theirs.dtype == torch.float32 else 0.05)


def _in_order(pieces: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """States (K, d) from pieces of them, each with the numbers of its own."""
    places = torch.cat([numbers for numbers, _ in pieces])
    states = torch.cat([each for _, each in pieces])
    return states.index_select(0, places.argsort())


def _joined(first: KeyValue | None, then: KeyValue) -> KeyValue:
    """Keys and values one behind the other, each (h_kv, K, d_h)."""
    if first is None:
        return then
    keys, values = (torch.cat([a.to(b), b], dim=-2) for a, b in zip(first, then, strict=True))
    return keys, values
