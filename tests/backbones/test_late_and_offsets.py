"""Prompts that enter above the first layer, layers with different prompts, and offsets of the text's embeddings."""

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.readouts.answer_tree import AnswerTree
from tiny import FAMILIES, LAYERS, WIDTH, backbone

ROWS, SHARED = [[5, 6, 7], [8, 9, 10, 11, 12], [13]], [20, 21]


def random_states(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.5


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def late(*layers: int) -> Injection:
    return Injection(tokens={layer: random_states(4, layer) for layer in layers})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [(1,), (2,), (1, 2)])
def test_a_late_prompt_compiles_to_itself(family, layers):
    frozen = backbone(family)
    compiled = frozen.compile(late(*layers), SHARED)
    with torch.no_grad():
        wanted = frozen.hidden(TokenBatch.of(ROWS, SHARED), late(*layers))
        assert error(frozen.hidden(TokenBatch.of(ROWS), compiled), wanted) < 1e-5
    assert not compiled.even
    assert compiled.kv[0][0].shape[1] == len(SHARED)
    assert compiled.kv[2][0].shape[1] == len(SHARED) + 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_of_the_upper_layers_alone_compiles_to_itself(family):
    frozen = backbone(family)
    whole = frozen.compile(late(0))
    upper = Injection(kv={layer: whole.kv[layer] for layer in range(1, LAYERS)})
    compiled = frozen.compile(upper, SHARED)
    with torch.no_grad():
        wanted = frozen.hidden(TokenBatch.of(ROWS, SHARED), upper)
        assert error(frozen.hidden(TokenBatch.of(ROWS), compiled), wanted) < 1e-5
        assert error(frozen.hidden(TokenBatch.of(ROWS, SHARED), whole), wanted) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_going_on_from_cached_states_equals_the_whole_pass(family):
    """Value and gradient; the states of each row are made alone, so a cache does not depend on who was beside it."""
    frozen, injection = backbone(family), late(1, 2)
    rows = TokenBatch.of(ROWS, SHARED)
    each = [frozen.states_at(1, TokenBatch.of([row], SHARED), 4) for row in ROWS]
    states = torch.cat([each[0][: len(SHARED)], *(part[len(SHARED) :] for part in each)])
    for layer in injection.tokens.values():
        layer.requires_grad_()
    gradients = []
    for hidden in (frozen.hidden(rows, injection), frozen.hidden_from(1, states, rows, injection)):
        gradients.append(
            torch.autograd.grad((hidden * random_states(len(hidden), 9)).sum(), [*injection.tokens.values()])
        )
        values = hidden.detach()
    with torch.no_grad():
        assert error(values, frozen.hidden(rows, injection)) < 1e-5
    for ours, theirs in zip(*gradients, strict=True):
        assert error(ours, theirs) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_of_the_layers_put_back_as_a_deep_prompt_change_nothing(family):
    """A text's own states at every layer, injected as virtual tokens, are that text."""
    frozen = backbone(family)
    text = [30, 31, 32, 33]
    deep = Injection(tokens=dict(enumerate(frozen.layer_inputs(text))))
    if family in ("gpt2", "opt"):  # these add positions between embedding and first layer
        deep = Injection(tokens={**deep.tokens, 0: frozen.embed(torch.tensor(text))})
    with torch.no_grad():
        assert error(frozen.hidden(TokenBatch.of(ROWS), deep), frozen.hidden(TokenBatch.of(ROWS, text))) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_late_prompt_writes_in_a_batch_what_it_writes_alone(family):
    frozen = backbone(family)
    compiled = frozen.compile(late(1), SHARED)
    together = generate(frozen, ROWS, compiled, Writing(max_tokens=5))
    alone = [generate(frozen, [row], compiled, Writing(max_tokens=5))[0] for row in ROWS]
    assert together == alone
    ids = [frozen.logits(frozen.hidden(TokenBatch.of([row]), compiled)[-1:]).argmax() for row in ROWS]
    first = [generate(frozen, [row], compiled, Writing(max_tokens=1))[0] for row in ROWS]
    assert first == [frozen.tokenizer.decode([int(each)], skip_special_tokens=True) for each in ids]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_late_prompt_writes_what_whole_passes_write(family):
    """Token by token with the uncompiled prompt is the oracle of the cache whose layers differ in length."""
    frozen, row, written = backbone(family), list(ROWS[1]), []
    with torch.no_grad():
        for _ in range(5):
            hidden = frozen.hidden(TokenBatch.of([row + written], SHARED), late(1))
            written.append(int(frozen.logits(hidden[-1]).argmax()))
    wanted = frozen.tokenizer.decode(written, skip_special_tokens=True)
    assert generate(frozen, [row], frozen.compile(late(1), SHARED), Writing(max_tokens=5)) == [wanted]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_offsets_are_added_to_the_first_tokens_of_every_row(family):
    """The oracle embeds each row by hand and enters it as a prompt of its own."""
    frozen, offsets = backbone(family), random_states(4, 7)
    prompt = random_states(3)
    injection = Injection(tokens={0: prompt}, offsets=offsets)
    compiled = frozen.compile(injection, SHARED)
    with torch.no_grad():
        ours = frozen.hidden(TokenBatch.of(ROWS, SHARED), injection)
        assert error(frozen.hidden(TokenBatch.of(ROWS), compiled), ours) < 1e-5
        start = 0
        for row in ROWS:
            text = frozen.embed(torch.tensor(SHARED + row)).clone()
            reached = min(len(text), len(offsets))
            text[:reached] += offsets[:reached]
            by_hand = torch.cat([prompt, text[:-1]])
            last = frozen.hidden(TokenBatch.of([[1]]), Injection(tokens={0: torch.cat([by_hand, text[-1:]])}))
            assert last.shape == (1, WIDTH)
            states = frozen.layer_inputs([], Injection(tokens={0: torch.cat([prompt, text])}))[-1]
            ours_states = frozen.layer_inputs(SHARED + row, injection)[-1]
            assert error(ours_states, states) < 1e-5
            start += len(row)


def test_branches_of_an_answer_tree_get_the_offsets_of_their_depth():
    frozen = backbone("llama")
    injection = Injection(tokens={0: random_states(3)}, offsets=random_states(6, 7))
    tree = AnswerTree.of([[5, 6, 7], [8, 9, 10]], whole=True)  # two branches of two nodes behind the row
    row = [40, 41, 42]
    ids = torch.tensor(row + tree.ids.tolist())
    packed = TokenBatch(
        ids, [len(ids)], torch.arange(len(ids)), torch.tensor([], dtype=torch.long), tree.sees, tree.depth
    )
    with torch.no_grad():
        hidden = frozen.hidden(packed, injection)
        for branch in ([5, 6], [8, 9]):
            alone = frozen.hidden(TokenBatch.of([row + branch]), injection)
            nodes = [len(row) + tree.ids.tolist().index(token) for token in branch]
            assert error(hidden[nodes], alone[len(row) :]) < 1e-5
