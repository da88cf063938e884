"""Corrected prompts: weights by hand, rows that no fix reaches untouched, layouts in a batch and alone, saved bits."""

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.edited import EditedPredictor
from cuetune.prediction.text import Predictor
from cuetune.prompts import CalibratedPrompt, CorrectedPrompt, EnsemblePrompt, HardPrompt, PrefixPrompt, SoftPrompt
from cuetune.prompts.corrected import Fix, Space, base_for, queries_of
from tiny import FAMILIES, backbone, rows

TASK = Task(template="Say {text} =", labels=("pos", "neg"), name="mood")
EXAMPLES = [TASK.example(row) for row in read_rows(rows(24))]
ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [13]]
N, K, R = 2, 3, 6


def bases(frozen):
    draw = torch.Generator().manual_seed(1)
    layers, heads, size = frozen.kv_shape
    soft = SoftPrompt(0.3 * torch.randn(4, frozen.width, generator=draw))
    kv = torch.randn(2, layers, heads, 2, size, generator=draw)
    return {
        "soft": soft,
        "prefix": PrefixPrompt(*kv),
        "late": PrefixPrompt(kv[0, 1:], kv[1, 1:], first=1),
        "words": HardPrompt([7, 8], frozen.embed(torch.tensor([7, 8])).float()),
        "calibrated": CalibratedPrompt(soft, torch.tensor([0.3, 0.7])),
    }


def fix_for(frozen, seed: int, reach=((-1.0, 1.0), (-1.0, 1.0))) -> Fix:
    draw = torch.Generator().manual_seed(seed)
    layers, heads, size = frozen.kv_shape
    kv = torch.randn(2, layers, N, heads, K, size, generator=draw)
    keys, space = torch.randn(N, R, generator=draw), space_for(frozen)
    return Fix(space, keys, torch.tensor(reach), *kv)


def space_for(frozen) -> Space:
    draw = torch.Generator().manual_seed(2)
    width = frozen.state_width
    return Space(torch.randn(width, generator=draw), torch.randn(R, width, generator=draw))


def corrected(frozen, base=None, *fixes) -> CorrectedPrompt:
    return CorrectedPrompt(base or bases(frozen)["soft"], fixes or [fix_for(frozen, 3)])


def test_weights_are_those_of_the_equation():
    frozen = backbone("llama")
    prompt = corrected(frozen, None, fix_for(frozen, 3, ((-0.2, 0.3), (0.1, 0.2))), fix_for(frozen, 4))
    found = prompt.weights(frozen, TokenBatch.of(ROWS))
    for number, ids in enumerate(ROWS):
        with torch.no_grad():
            query = frozen.hidden(TokenBatch.of([ids])).mean(0)
        by_hand = []
        for fix in prompt.each:
            z = fix.whitening @ (query - fix.centre)
            for key, (low, high) in zip(fix.keys, fix.reach.tolist(), strict=True):
                cosine = (z @ key / (z.norm() * key.norm())).item()
                by_hand.append(min(1.0, max(0.0, (cosine - low) / (high - low))))
        total = max(1.0, sum(by_hand))
        whole = torch.cat([each[number] for each in found])
        torch.testing.assert_close(whole, torch.tensor(by_hand) / total, rtol=1e-4, atol=1e-5)
        assert whole.sum() <= 1 + 1e-6


def test_components_are_added_up_by_weight():
    frozen = backbone("llama")
    prompt = corrected(frozen, None, fix_for(frozen, 3), fix_for(frozen, 4))
    weights = [torch.tensor([[0.5, 0.0]]), torch.tensor([[0.0, 0.25]])]
    made = prompt.with_weights(prompt.base.injection(), weights)
    assert set(made.kv) == {0, 1, 2}
    keys, values = made.kv[1]
    first, second = prompt.each
    assert keys.shape == (1, *first.prefix_keys().shape[2:])
    torch.testing.assert_close(keys[0], 0.5 * first.prefix_keys()[1, 0] + 0.25 * second.prefix_keys()[1, 1])
    torch.testing.assert_close(values[0], 0.5 * first.prefix_values()[1, 0] + 0.25 * second.prefix_values()[1, 1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("base", ["soft", "prefix", "late", "words"])
@torch.no_grad()
def test_a_batch_is_its_rows(family, base):
    frozen = backbone(family)
    prompt = corrected(frozen, bases(frozen)[base], fix_for(frozen, 3, ((-1.0, 1.0), (2.0, 3.0))))
    batch = frozen.hidden(TokenBatch.of(ROWS, [9]), prompt.for_rows(frozen, TokenBatch.of(ROWS, [9]))).split([3, 5, 1])
    for whole, ids in zip(batch, ROWS, strict=True):
        alone = frozen.hidden(TokenBatch.of([ids], [9]), prompt.for_rows(frozen, TokenBatch.of([ids], [9])))
        torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("base", ["soft", "prefix", "late", "words"])
@torch.no_grad()
def test_a_row_out_of_reach_sees_the_base_alone_and_a_reached_one_more(base):
    frozen = backbone("llama")
    prompt = corrected(frozen, bases(frozen)[base], fix_for(frozen, 3))
    plain = base_for(frozen, prompt.base, TokenBatch.of(ROWS))
    weights = torch.tensor([[0.0, 0.0], [0.7, 0.0], [0.0, 0.0]])
    found = frozen.hidden(TokenBatch.of(ROWS), prompt.with_weights(plain, [weights])).split([3, 5, 1])
    without = frozen.hidden(TokenBatch.of(ROWS), prompt.base.injection()).split([3, 5, 1])
    torch.testing.assert_close(found[0], without[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], without[2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[1], without[1], atol=1e-2)


@pytest.mark.parametrize("base", ["soft", "prefix", "words", "calibrated"])
def test_answers_out_of_reach_are_the_former_ones_bit_by_bit(base):
    frozen = backbone("llama")
    former = bases(frozen)[base]
    queries = torch.stack([queries_of(frozen, TokenBatch.of([[5, 6]]))[0]])
    never = corrected(frozen, former, fix_for(frozen, 3, ((2.0, 3.0), (2.0, 3.0))))
    assert not torch.cat(never.weights_at(queries)).any()
    before = list(Predictor(frozen, TASK, former).predict(EXAMPLES))
    assert list(EditedPredictor(frozen, TASK, never).predict(EXAMPLES)) == before
    some = corrected(frozen, former, fix_for(frozen, 3, ((0.0, 1.0), (2.0, 3.0))))
    predictor = EditedPredictor(frozen, TASK, some)
    reached = predictor.weights(EXAMPLES).amax(dim=1) > 0
    assert 0 < reached.sum() < len(EXAMPLES)
    after = list(predictor.predict(EXAMPLES))
    for own, then, now in zip(reached.tolist(), before, after, strict=True):
        assert (then == now) is not own
        (alone,) = predictor.predict([EXAMPLES[before.index(then)]])
        assert alone.probabilities == pytest.approx(now.probabilities, abs=1e-5)


def test_the_query_knows_nothing_of_the_answers_behind_the_row():
    frozen = backbone("llama")
    long = Task(template="Say {text} =", labels=("pos", "neg"), label_words=(" xyz", " xuv"), name="mood")
    plain, tree = (EditedPredictor(frozen, task, corrected(frozen)) for task in (TASK, long))
    assert tree.readout.n_answer > plain.readout.n_answer
    torch.testing.assert_close(plain.weights(EXAMPLES), tree.weights(EXAMPLES), rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_to_the_same_bits(tmp_path):
    frozen = backbone("llama")
    for name, base in bases(frozen).items():
        prompt = corrected(frozen, base, fix_for(frozen, 3), fix_for(frozen, 4))
        with torch.no_grad():  # as if trained: the scale that numbers began with is no longer their own
            prompt.each[0].prefix_keys.values.mul_(7.3)
        TunedPrompt(prompt, TASK, frozen.identity, {}).save(tmp_path / name)
        loaded = TunedPrompt.load(tmp_path / name)
        kept, found = prompt.state_dict(), loaded.prompt.state_dict()
        assert kept.keys() == found.keys()
        assert all(torch.equal(kept[key], found[key]) for key in kept)
        answers = [
            list(each.predict(EXAMPLES)) for each in (EditedPredictor(frozen, TASK, prompt), loaded.predictor(frozen))
        ]
        assert answers[0] == answers[1]
        assert "2 fixes (4 components of 3 positions)" in loaded.prompt.described()


def test_what_was_before_the_last_fix():
    frozen = backbone("llama")
    first, second = fix_for(frozen, 3), fix_for(frozen, 4)
    both = corrected(frozen, None, first, second)
    assert both.former.each == [first]
    assert both.former.former is both.base


def test_bad_input():
    frozen = backbone("llama")
    soft = bases(frozen)["soft"]
    with pytest.raises(CuetuneError, match="'ensemble' prompt takes no corrections"):
        corrected(frozen, EnsemblePrompt([soft, soft]))
    with pytest.raises(CuetuneError, match="'corrected' prompt takes no corrections"):
        corrected(frozen, corrected(frozen))
    with pytest.raises(CuetuneError, match="acts fully before it begins to act"):
        fix_for(frozen, 3, ((0.5, 0.5), (0.0, 1.0)))
    fix, space = fix_for(frozen, 3), space_for(frozen)
    components = fix.prefix_keys(), fix.prefix_values()
    wrong = Space(space.centre, space.whitening[1:])
    for parts in (
        (wrong, fix.keys, fix.reach, *components),
        (space, fix.keys, fix.reach[:1], *components),
        (space, fix.keys, fix.reach, components[0][:, :1], components[1]),
    ):
        with pytest.raises(CuetuneError, match="do not fit together"):
            Fix(*parts)
    shorter = Fix(space, fix.keys, fix.reach, *(part[:, :, :, :2] for part in components))
    for fixes in ([], [fix, shorter]):
        with pytest.raises(CuetuneError, match="do not fit together"):
            CorrectedPrompt(soft, fixes)
