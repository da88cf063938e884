"""Every tuned prompt kind on encoders and encoder-decoder models: exact, folded, saved, tuned."""

import pytest
import torch

from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.library.tuned import TunedPrompt
from cuetune.prediction.text import Predictor
from cuetune.prompts.initial import initial_embeddings
from cuetune.prompts.registry import build
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.readouts import readout_for
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import encoder_backbone, encoder_decoder_backbone, rows

TASK = Task(template="{text} =", labels=("pos", "neg"), instruction="Is it good or bad?")
OPTIONS = {"prefix-mlp": {"hidden": 16, "fit": 5}, "dept": {"reach": 4, "rank": 3}, "ultra-low": {"rank": 8}}
BACKBONES = {
    "bert": lambda: encoder_backbone("bert"),
    "albert": lambda: encoder_backbone("albert"),
    "t5": lambda: encoder_decoder_backbone("t5"),
}
each_kind = pytest.mark.parametrize("method", TEXT_METHODS)
each_family = pytest.mark.parametrize("family", BACKBONES)


def data(n=24):
    return [TASK.example(Row(f"row {number}", row)) for number, row in enumerate(rows(n))]


def made(method, frozen, seed=0):
    start = initial_embeddings(frozen, TASK, length=4, seed=seed)
    prompt = build(method, TextStart(frozen, start, "text", seed), OPTIONS.get(method, {}))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():  # away from the start, where networks add nothing
        for parameter in prompt.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return prompt


def error(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@each_family
@each_kind
@torch.no_grad()
def test_batch_mixed_batch_and_folded_prompt_equal_rows_alone(family, method):
    frozen = BACKBONES[family]()
    prompt = made(method, frozen)
    injection, other = prompt.injection(), made("soft", frozen, seed=3).injection()
    readout = readout_for(frozen, TASK)
    renderer = Renderer(frozen.tokenizer, TASK)
    rendered, shared = list(renderer.render(data(4))), renderer.shared
    alone = torch.cat([frozen.hidden(readout.rows([row], shared), injection) for row in rendered])
    plain = frozen.hidden(readout.rows(rendered, shared))
    assert error(plain, alone) > 1e-3  # the prompt does something
    packed = readout.rows(rendered, shared)
    assert error(frozen.hidden(packed, injection), alone) < 1e-5
    assert error(frozen.hidden(packed, prompt.fold().injection()), alone) < 1e-5
    mixed = frozen.hidden_mixed([(packed, other), (packed, frozen.compile(injection))])
    assert error(mixed[1], alone) < 1e-5


@each_family
@each_kind
def test_tuned_saved_and_loaded_it_answers_the_same(tmp_path, family, method):
    frozen = BACKBONES[family]()
    prompt = made(method, frozen)
    settings = Settings(steps=6, batch_size=8, evaluate_every=3, readout=TEXT_METHODS[method].readout)
    if family == "t5":
        settings = settings.model_copy(update={"readout": "auto"})  # an encoder-decoder model has no state for a head
    done = Tuner(frozen, prompt, TaskData(TASK, data(), data()), settings.resolved(frozen, 24, prompt)).run()
    tuned = TunedPrompt(prompt.fold(), TASK, frozen.identity, {}, head=done.head)
    tuned.save(tmp_path / "p")
    again = TunedPrompt.load(tmp_path / "p")
    ours = list(tuned.predictor(frozen).predict(data()))
    assert list(again.predictor(frozen).predict(data())) == ours
    right = sum(answer.label == row.label for answer, row in zip(ours, data(), strict=True)) / 24
    assert right == done.progress.best_scores["accuracy"]
    assert not any(isinstance(module, torch.nn.Linear) for module in again.prompt.modules())


def test_a_late_prompt_on_an_encoder_decoder_is_tuned_without_kept_states():
    frozen = encoder_decoder_backbone("t5")
    prompt = made("late", frozen)
    run = Tuner(frozen, prompt, TaskData(TASK, data(), data()), Settings(steps=2).resolved(frozen, 24, prompt))
    run.run()
    assert run.runs[0].states is None
    assert Predictor(frozen, TASK, prompt).members[0].compiled.tokens
