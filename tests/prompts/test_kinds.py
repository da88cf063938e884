"""Every tuned prompt kind on every model family: exact, foldable, resumable, and the same after saving."""

from functools import cache

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.text import TextBackbone
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.text import Predictor
from cuetune.prompts import EnsemblePrompt, Prompt, SoftPrompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.initial import initial_embeddings
from cuetune.prompts.lowrank import DecomposedPrompt, UltraLowPrompt
from cuetune.prompts.prefix import PrefixNetwork, PrefixPrompt
from cuetune.prompts.registry import build
from cuetune.prompts.residual import ResidualPrompt
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.support.ownership import MARKER
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import FAMILIES, LAYERS, backbone, model, rows, tokenizer

TASK = Task(template="{text} =", labels=("pos", "neg"), instruction="Is it good or bad?")
ROWS, SHARED = [[5, 6, 7], [8, 9, 10, 11, 12], [13]], [20, 21]
OPTIONS = {"prefix-mlp": {"hidden": 16, "fit": 5}, "dept": {"reach": 4, "rank": 3}, "ultra-low": {"rank": 8}}
VARIANTS = [(method, {}) for method in TEXT_METHODS] + [
    ("p-tuning", {"encoder": "lstm", "hidden": 8}),
    ("prefix", {"layer": 2}),
    ("late", {"layer": 1, "deep": False}),
]
each_kind = pytest.mark.parametrize(("method", "more"), VARIANTS, ids=lambda value: str(value))


def made(method: str, more: dict, frozen: TextBackbone, init: str = "text", seed: int = 0) -> Prompt:
    start = initial_embeddings(frozen, TASK, init=init, length=5, seed=seed)
    prompt = build(method, TextStart(frozen, start, init, seed), {**OPTIONS.get(method, {}), **more})
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():  # away from the start, where networks add nothing
        for parameter in prompt.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return prompt


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@cache
def plain(family: str) -> torch.Tensor:
    with torch.no_grad():
        return backbone(family).hidden(TokenBatch.of(ROWS, SHARED))


@pytest.mark.parametrize("family", FAMILIES)
@each_kind
@torch.no_grad()
def test_batch_mixed_batch_and_compiled_prompt_equal_rows_alone(family, method, more):
    frozen = backbone(family)
    injection = made(method, more, frozen).injection()
    alone = torch.cat([frozen.hidden(TokenBatch.of([row], SHARED), injection) for row in ROWS])
    assert error(plain(family), alone) > 1e-3  # the prompt does something
    assert error(frozen.hidden(TokenBatch.of(ROWS, SHARED), injection), alone) < 1e-5
    compiled = frozen.compile(injection, SHARED)
    assert error(frozen.hidden(TokenBatch.of(ROWS), compiled), alone) < 1e-5
    other = made("soft", {}, frozen, seed=3).injection()
    mixed = frozen.hidden_mixed([(TokenBatch.of(ROWS, SHARED), other), (TokenBatch.of(ROWS), compiled)])
    assert error(mixed[1], alone) < 1e-5


@each_kind
def test_every_trained_number_gets_a_gradient(method, more):
    frozen = backbone("llama")
    prompt = made(method, more, frozen)
    hidden = frozen.hidden(TokenBatch.of(ROWS, SHARED), prompt.injection())
    (hidden * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    trained = [parameter for parameters, _ in prompt.groups() for parameter in parameters]
    assert {id(parameter) for parameter in trained} == {id(parameter) for parameter in prompt.parameters()}
    for parameter in trained:
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in frozen.model.parameters())


@each_kind
@torch.no_grad()
def test_folded_equals_unfolded_and_keeps_no_network(method, more):
    frozen = backbone("llama")
    prompt = made(method, more, frozen)
    folded = prompt.fold()
    wanted = frozen.hidden(TokenBatch.of(ROWS), prompt.injection())
    assert error(frozen.hidden(TokenBatch.of(ROWS), folded.injection()), wanted) < 1e-6
    assert not any(isinstance(module, torch.nn.Linear | torch.nn.LSTM) for module in folded.modules())


@each_kind
@pytest.mark.parametrize("folded", [False, True])
def test_saved_and_loaded_it_answers_the_same(tmp_path, method, more, folded):
    frozen = backbone("llama")
    prompt = made(method, more, frozen)
    prompt = prompt.fold() if folded else prompt
    TunedPrompt(prompt, TASK, frozen.identity, {}).save(tmp_path / "p")
    loaded = TunedPrompt.load(tmp_path / "p")
    assert loaded.prompt.kind == prompt.kind
    examples = [TASK.example(row) for row in read_rows(rows(12))]
    ours = list(Predictor(frozen, TASK, prompt).predict(examples))
    assert list(Predictor(frozen, TASK, loaded.prompt).predict(examples)) == ours


@each_kind
@pytest.mark.parametrize("init", ["text", "labels", "vocabulary", "random"])
def test_each_kind_starts_from_each_init(method, more, init):
    prompt = made(method, more, backbone("llama"), init)
    hidden = backbone("llama").hidden(TokenBatch.of(ROWS), prompt.injection())
    assert hidden.isfinite().all()


def tuner(method: str, more: dict, folder, steps: int = 9, frozen=None, **changes) -> Tuner:
    frozen = frozen or backbone("llama")
    start = TextStart(frozen, initial_embeddings(frozen, TASK, length=4), "text", 0)
    prompt = build(method, start, {**OPTIONS.get(method, {}), **more})
    values = {"steps": 9, "batch_size": 4, "evaluate_every": 3, "checkpoint_every": 1, "length": 4, **changes}
    settings = Settings(**values).resolved(frozen, 32, prompt)
    data = [TASK.example(row) for row in read_rows(rows(32))]
    run = Tuner(frozen, prompt, TaskData(TASK, data, data[:8]), settings, folder=folder)
    if steps < 9:
        original = run._step

        def stopping(numbers):
            if run.progress.step == steps:
                raise KeyboardInterrupt
            return original(numbers)

        run._step = stopping
    return run


@each_kind
def test_resumed_equals_never_stopped(tmp_path, method, more):
    never = tuner(method, more, tmp_path / "a")
    never.run()
    tuner(method, more, tmp_path / "b", steps=5).run()
    resumed = tuner(method, more, tmp_path / "b")
    resumed.run()
    assert resumed.progress.step == 9
    for name, value in never.prompt.state_dict().items():
        assert torch.equal(value, resumed.prompt.state_dict()[name]), name


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_late_prompt_learns_the_same_from_cached_states(tmp_path, monkeypatch, family, deep):
    """Against the same run through the whole model at every step."""
    frozen = TextBackbone(model(family), tokenizer(), family)
    cached = tuner("late", {"layer": 2, "deep": deep}, None, frozen=frozen)
    cached.run()
    assert cached.runs[0].states is not None
    whole = tuner("late", {"layer": 2, "deep": deep}, None, frozen=frozen)
    monkeypatch.setattr(type(whole.runs[0]), "freeze", lambda self, layer, folder: None)
    whole.run()
    assert whole.runs[0].states is None
    for ours, theirs in zip(cached.prompt.parameters(), whole.prompt.parameters(), strict=True):
        assert error(ours, theirs) < 1e-4


def test_a_large_cache_of_states_goes_to_a_file_that_vanishes(tmp_path, monkeypatch):
    monkeypatch.setattr("cuetune.support.spill_table.IN_MEMORY", 0)
    mapped = tuner("late", {}, tmp_path / "run")
    mapped.run()
    monkeypatch.undo()
    kept = tuner("late", {}, None)
    kept.run()
    assert torch.equal(mapped.prompt.states.values, kept.prompt.states.values)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {MARKER, "checkpoint.safetensors"}


# Published counts of trained parameters (T5-base: d = 768; sources in docs/prompts.md).


def start(length: int, width: int = 768) -> torch.Tensor:
    return torch.randn(length, width, generator=torch.Generator().manual_seed(0))


def test_parameter_counts_are_the_papers():
    assert SoftPrompt(start(100)).n_trained == 76_800
    assert UltraLowPrompt(start(100), rank=64).n_trained == 7_936
    assert OffsetPrompt(start(40), reach=256, rank=45).n_trained == 40 * 768 + (256 + 768) * 45 == 76_800
    assert DecomposedPrompt(start(100), rank=10).n_trained == 8_680
    # T5-large, bottleneck 400, 100 tokens: quoted as 925 thousand.
    assert ResidualPrompt(start(100, 1024), bottleneck=400).n_trained == 2 * 1024 * 400 + 2 * 1024 + 100 * 1024
    assert round(ResidualPrompt(start(100, 1024), bottleneck=400).n_trained, -3) in (923_000, 924_000, 925_000)
    # RoBERTa-large, 8 positions: 2 · 24 · 1024 · 8 (P-tuning v2, "393K").
    assert PrefixPrompt(torch.ones(24, 16, 8, 64), torch.ones(24, 16, 8, 64)).n_trained == 393_216


def test_the_prefix_network_fits_keys_and_values_of_words():
    frozen = backbone("llama")
    begin = TextStart(frozen, initial_embeddings(frozen, TASK, length=5), "text", 0)
    keys, values = begin.keys_values()
    torch.manual_seed(0)
    network = PrefixNetwork(begin.embeddings, LAYERS, 2, 8, hidden=64)
    assert network.fit(keys, values, steps=300) < 0.02
    assert error(network.keys_values()[1], values) < 0.5


def test_a_prefix_from_a_text_is_that_text():
    frozen = backbone("llama")
    ids = [30, 31, 32, 33, 34]
    prefix = build("prefix", TextStart(frozen, frozen.embed(torch.tensor(ids)).detach(), "text", 0), {})
    with torch.no_grad():
        assert (
            error(frozen.hidden(TokenBatch.of(ROWS), prefix.injection()), frozen.hidden(TokenBatch.of(ROWS, ids)))
            < 1e-5
        )


def test_the_low_rank_start_is_the_best_of_its_rank():
    begin = start(20, 32)
    u, s, v = torch.linalg.svd(begin)
    best = (u[:, :4] * s[:4]) @ v[:4]
    assert error(DecomposedPrompt(begin, 4).injection().tokens[0], best) < 1e-5
    assert error(UltraLowPrompt(begin, rank=32).injection().tokens[0], begin) < 1e-3


# Ensembles


def ensemble(vote: str) -> EnsemblePrompt:
    frozen = backbone("llama")
    kinds = ("soft", "prefix", "late")
    return EnsemblePrompt([made(kind, {}, frozen, seed=number) for number, kind in enumerate(kinds)], vote)


@pytest.mark.parametrize("vote", ["majority", "mean"])
def test_an_ensemble_answers_as_its_members_vote(tmp_path, vote):
    frozen, voting = backbone("llama"), ensemble(vote)
    examples = [TASK.example(row) for row in read_rows(rows(30))]
    members = [list(Predictor(frozen, TASK, member).predict(examples)) for member in voting.members]
    answers = list(Predictor(frozen, TASK, voting).predict(examples))
    for answer, each in zip(answers, zip(*members, strict=True), strict=True):
        mean = torch.tensor([one.probabilities for one in each]).mean(0)
        votes = [one.label for one in each]
        wanted = TASK.labels[int(mean.argmax())] if vote == "mean" else max(set(votes), key=votes.count)
        assert answer.label == wanted
        assert abs(sum(answer.probabilities) - 1) < 1e-5
    TunedPrompt(voting, TASK, frozen.identity, {}).save(tmp_path / "p")
    assert list(Predictor(frozen, TASK, TunedPrompt.load(tmp_path / "p").prompt).predict(examples)) == answers


def test_a_tie_goes_to_the_higher_mean():
    voting = EnsemblePrompt([SoftPrompt(torch.ones(1, 2))] * 2)
    probabilities = torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]]])
    assert voting.combine(probabilities).argmax(-1).tolist() == [0]
    assert voting.combine(probabilities.flip(-1)).argmax(-1).tolist() == [1]


# Bad input


def test_unknown_methods_and_options_are_named():
    frozen = backbone("llama")
    begin = TextStart(frozen, initial_embeddings(frozen, TASK, length=4), "text", 0)
    with pytest.raises(CuetuneError, match="unknown prompt 'lora' for texts; choose one of soft"):
        build("lora", begin, {})
    with pytest.raises(CuetuneError, match=r"'soft' has no option 'rank' \(its options: none\)"):
        build("soft", begin, {"rank": 3})
    with pytest.raises(CuetuneError, match="--prompt-option rank=many: give a number"):
        build("ultra-low", begin, {"rank": "many"})
    with pytest.raises(CuetuneError, match="layer 7: of tiny-llama layers 0 to 2 are run"):
        build("late", begin, {"layer": "7"})


def test_a_prefix_for_another_head_count_is_refused():
    foreign = PrefixPrompt(torch.ones(LAYERS, 3, 2, 8), torch.ones(LAYERS, 3, 2, 8))
    with pytest.raises(CuetuneError, match="a prefix of 3 heads of 8 numbers at layer 0, but tiny-llama has 2 heads"):
        Predictor(backbone("llama"), TASK, foreign)


def test_an_ensemble_is_not_tuned_as_one_and_never_empty():
    with pytest.raises(CuetuneError, match="tune its members"):
        ensemble("mean").injection()
    with pytest.raises(CuetuneError, match="no prompts"):
        EnsemblePrompt([])
    with pytest.raises(CuetuneError, match="unknown vote"):
        EnsemblePrompt([SoftPrompt(torch.ones(1, 2))], "loudest")
