"""Audio in the one training loop: every prompt learns, a stopped run goes on, and what is kept changes no number."""

import numpy as np
import pytest
import soundfile
import torch

from cuetune.backbones.batches import AudioBatch
from cuetune.data.media.audio_files import SOUNDS, infer_transcripts
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prediction.audio import AudioPredictor, untuned
from cuetune.prompts import EnsemblePrompt, Prompt
from cuetune.prompts.registry import build
from cuetune.prompts.start_audio import AudioStart
from cuetune.readouts import MediaHead, audio_readout
from cuetune.support import spill_table
from cuetune.support.spill_table import SpillTable
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import AudioRun, TaskData
from cuetune.tuning.runs.cache import AudioCache
from cuetune.tuning.settings import Settings
from stopping import stop_after
from tiny_audio import LAYERS, RATE, audio_backbone, whisper_backbone

TASK = Task(template="{audio}", labels=("high", "low"), name="tones")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tones with noise that are low or high, 0.1 to 0.3 seconds long, a folder for each."""
    folder, draw = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for label, pitch in (("high", 2000), ("low", 300)):
        (folder / label).mkdir()
        for number in range(8):
            times = np.arange(int(RATE * draw.uniform(0.1, 0.3))) / RATE
            wave = 0.3 * np.sin(2 * np.pi * pitch * times) + 0.02 * draw.normal(size=len(times))
            soundfile.write(folder / label / f"{number}.wav", wave, RATE)
    return folder


@pytest.fixture(scope="module")
def examples(folder):
    return [TASK.example(row) for row in SOUNDS.read(folder)]


@pytest.fixture(scope="module")
def spoken(folder):
    """The same audio files with a word for each: what a tiny Whisper is to write."""
    rows = [{"audio": row.values["audio"], "caption": {"high": "good", "low": "bad"}[row.values["label"]]}
            for row in SOUNDS.read(folder)]  # fmt: skip
    read = list(SOUNDS.read(rows))
    task = infer_transcripts(read, name="words")
    return task, [task.example(row) for row in read]


def tuner(task, examples, frozen, method="deep", options=None, folder=None, length=4, **settings) -> Tuner:
    prompt = build(method, AudioStart.of(frozen, task, examples, length), options or {})
    chosen = Settings(
        **{
            "steps": 30,
            "batch_size": 8,
            "evaluate_every": 10,
            "checkpoint_every": 5,
            "head_init": "random",
            **settings,
        }
    )
    data = TaskData(task, [*examples[:6], *examples[8:14]], [*examples[6:8], *examples[14:]])
    return Tuner(frozen, prompt, data, chosen.resolved(frozen, 12, prompt), folder=folder)


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
@pytest.mark.parametrize("method", ["deep", "shallow", "prefix", "wave"])
def test_every_prompt_learns_in_the_one_loop(examples, family, method):
    run = tuner(TASK, examples, audio_backbone(family), method, {"seconds": 0.1} if method == "wave" else {})
    assert isinstance(run.runs[0], AudioRun)
    before = {name: value.clone() for name, value in run.backbone.model.state_dict().items()}
    start = {name: value.detach().clone() for name, value in run.prompt.named_parameters()}
    outcome = run.run()
    assert outcome.progress.best_scores["accuracy"] == 1.0
    assert any(not torch.equal(value, start[name]) for name, value in run.prompt.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in run.backbone.model.state_dict().items())
    head = MediaHead.of(run.backbone, TASK, outcome.head)
    predictions = list(AudioPredictor(run.backbone, TASK, run.prompt, head).predict(examples))
    # The rows that were validated on; of the others a random Whisper's states tell the pitch only just.
    assert all(predictions[number].label == examples[number].label for number in (6, 7, 14, 15))
    assert [answer.where for answer in predictions] == [example.where for example in examples]
    assert all(abs(sum(answer.probabilities) - 1) < 1e-5 for answer in predictions)


def test_states_below_a_late_prompt_are_kept_and_change_no_number(examples, monkeypatch):
    frozen = audio_backbone("whisper")
    kept, plain = (tuner(TASK, examples, frozen, options={"layer": 1}) for _ in range(2))
    kept.run()
    monkeypatch.setattr(frozen, "keeps_states", False, raising=False)
    plain.run()
    assert kept.runs[0].states.layer == 1
    assert plain.runs[0].states is None
    for ours, theirs in zip(kept.prompt.parameters(), plain.prompt.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert 0 < kept.runs[0].frozen_flops() < kept.flops()
    assert kept.progress.best_scores["loss"] == pytest.approx(plain.progress.best_scores["loss"], abs=1e-4)


@pytest.mark.parametrize("method", ["decoder", "decoder-prefix", "prefix", "deep"])
def test_transcripts_are_learned_and_written(spoken, method):
    task, examples = spoken
    frozen = whisper_backbone()
    run = tuner(task, examples, frozen, method, steps=60, learning_rate=0.2)
    assert run.runs[0].head is None
    first = run.runs[0].scores(run.prompt)["loss"]
    outcome = run.run()
    assert outcome.head is None
    assert outcome.progress.best_scores["loss"] < 0.7 * first
    assert (run.runs[0].states is not None) == method.startswith("decoder")
    saved = Prompt.rebuild(run.prompt.kind, run.prompt.spec(), run.prompt.state_dict())
    texts = [
        [answer.label for answer in AudioPredictor(frozen, task, prompt, audio_readout(frozen, task)).predict(examples)]
        for prompt in (run.prompt, saved)
    ]
    assert texts[0] == texts[1]
    plain = [answer.label for answer in untuned(frozen, task).predict(examples)]
    assert texts[0] != plain


def test_a_text_that_does_not_fit_behind_the_prompt_is_refused(spoken):
    task, examples = spoken
    with pytest.raises(
        CuetuneError, match=r"tokens to write, and 36 virtual tokens leave room for [0-3]; lower --length"
    ):
        tuner(task, examples, whisper_backbone(), "decoder", length=36)
    tuner(task, examples, whisper_backbone(), "decoder-prefix", length=36)  # keys and values take no positions


def test_a_stopped_run_goes_on_to_the_same_numbers(spoken, tmp_path, monkeypatch):
    task, examples = spoken
    whole = tuner(task, examples, whisper_backbone(), "decoder", folder=tmp_path / "whole")
    whole.run()
    stopped = tuner(task, examples, whisper_backbone(), "decoder", folder=tmp_path / "stopped")
    stop_after(17, stopped, monkeypatch)
    assert stopped.run().progress.stopped == "interrupted"
    again = tuner(task, examples, whisper_backbone(), "decoder", folder=tmp_path / "stopped")
    assert again.run().progress.step == 30
    assert torch.equal(again.prompt.states.values, whole.prompt.states.values)


@torch.no_grad()
def test_an_ensemble_combines_its_members(examples):
    frozen = audio_backbone("whisper")
    members = [build("deep", AudioStart.of(frozen, TASK, examples, 2, seed), {}) for seed in (0, 1)]
    head = MediaHead(frozen, TASK, seed=3)
    both = AudioPredictor(frozen, TASK, EnsemblePrompt(members), head).predict(examples)
    each = [list(AudioPredictor(frozen, TASK, member, head).predict(examples)) for member in members]
    for number, answer in enumerate(both):
        wanted = EnsemblePrompt(members).combine(torch.tensor([[own[number].probabilities] for own in each]))
        assert torch.allclose(torch.tensor(answer.probabilities), wanted[0], atol=1e-5)


def test_what_a_run_keeps_may_lie_in_a_file(examples, monkeypatch, tmp_path):
    whole = AudioCache(audio_backbone("whisper")).read(examples, TASK)
    monkeypatch.setattr(spill_table, "IN_MEMORY", whole.table.bytes // 3)
    filed = AudioCache(audio_backbone("whisper"), folder=tmp_path / "run").read(examples, TASK)
    numbers = [3, 15, 0, 9]
    assert torch.equal(filed.of(numbers), whole.of(numbers))
    assert torch.equal(filed.at_layer(LAYERS - 1).of(numbers), whole.at_layer(LAYERS - 1).of(numbers))
    assert list((tmp_path / "run").iterdir()) == []  # the file has no name
    table = SpillTable(tmp_path)
    for number in (0, 1):
        table.put(number, torch.full((3, 4), number, dtype=torch.bfloat16))
    assert torch.equal(table.of(1), torch.ones(3, 4, dtype=torch.bfloat16))


def test_what_cannot_be_read_or_written_is_refused(examples, spoken):
    prompt = build("deep", AudioStart.of(audio_backbone("whisper"), TASK, examples, 2), {})
    with pytest.raises(CuetuneError, match="tones: no rows to tune on"):
        AudioRun(audio_backbone("whisper"), prompt, TaskData(TASK, []), Settings(), 4)
    with pytest.raises(CuetuneError, match="tiny-wav2vec2 hears and writes nothing"):
        audio_readout(audio_backbone("wav2vec2"), spoken[0])
    with pytest.raises(CuetuneError, match="layer 3: tiny-whisper has layers 0 to 2"):
        MediaHead(audio_backbone("whisper"), TASK, layer=3)
    with pytest.raises(CuetuneError, match="--pooling last: not known here; choose one of first, mean"):
        MediaHead(audio_backbone("whisper"), TASK, pooling="last")
    with pytest.raises(CuetuneError, match="no first state before those of a row"):
        audio_backbone("whisper").hidden(AudioBatch([torch.randn(900)], pooling="first"))


def test_validation_of_many_recordings_is_counted(examples):
    """Operations are counted on the first of them, after all were decoded."""
    made = tuner(TASK, examples, audio_backbone("whisper"), steps=2, evaluate_every=2)
    made.runs[0].validation = [*examples, *examples[:4]]
    made.run()
    few = made.validation_flops()
    assert few > 0
    assert len(made.runs[0].validation) == 20
