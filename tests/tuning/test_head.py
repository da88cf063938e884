"""A head trained with the prompt: in the loop, in checkpoints, in the saved folder, on the command line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuetune
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts.initial import soft_prompt
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.readouts import Head
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, encoder_backbone, folder, rows, write_csv

TASK = Task(template="{text} =", labels=("pos", "neg"), instruction="Is it good or bad?")


def data(n=48, seed=0):
    return [TASK.example(Row(f"row {number}", row)) for number, row in enumerate(rows(n, seed))]


def tuner(frozen, place=None, **changes):
    chosen = {
        "steps": 24,
        "batch_size": 8,
        "evaluate_every": 8,
        "checkpoint_every": 3,
        "readout": "head",
        "head_init": "random",
        **changes,
    }
    prompt = soft_prompt(frozen, TASK, length=4)
    settings = Settings(**chosen).resolved(frozen, 48, prompt)
    return Tuner(frozen, prompt, TaskData(TASK, data(), data(16, 1)), settings, folder=place)


@pytest.mark.parametrize("frozen", [backbone("llama"), encoder_backbone("sentence")], ids=["causal", "sentence"])
def test_prompt_and_head_are_tuned_together_and_kept_at_the_best_step(frozen):
    run = tuner(frozen, steps=48)
    everything = [(0, list(range(48)))]
    before = run._loss(everything).item()
    first = run.runs[0].readout.weight.detach().clone()
    outcome = run.run()
    assert not torch.equal(outcome.head.weight, first)
    tuned = TunedPrompt(run.prompt, TASK, frozen.identity, head=outcome.head)
    answers = list(tuned.predictor(frozen).predict(data(16, 1)))
    right = sum(answer.label == row.label for answer, row in zip(answers, data(16, 1), strict=True)) / 16
    assert right == outcome.progress.best_scores["accuracy"]
    assert run._loss(everything).item() < 0.95 * before
    assert tuned.n_trained == run.prompt.n_trained + 2 * frozen.state_width + 2


def test_p_tuning_v2_is_a_prefix_with_a_head():
    """Parameters 2·L·h_kv·d_h·P and C·(d + 1), section 2.3 of Liu et al. 2022."""
    frozen = encoder_backbone("bert")
    prompt = TEXT_METHODS["prefix"].build(TextStart(frozen, torch.randn(5, frozen.width), "random", 0))
    settings = Settings(steps=2, readout="head", pooling="first").resolved(frozen, 48, prompt)
    outcome = Tuner(frozen, prompt, TaskData(TASK, data(), data(16, 1)), settings).run()
    layers, heads, size = frozen.kv_shape
    tuned = TunedPrompt(prompt, TASK, frozen.identity, head=outcome.head)
    assert tuned.n_trained == 2 * layers * heads * size * 5 + 2 * (frozen.state_width + 1)


def test_a_stopped_run_goes_on_to_the_same_head(tmp_path):
    frozen = backbone("llama")
    whole = tuner(frozen).run()
    half = tuner(frozen, tmp_path)
    kept, half._checkpoint = half._checkpoint, lambda: kept() or (_ for _ in ()).throw(RuntimeError("killed"))
    with pytest.raises(RuntimeError, match="killed"):
        half.run()
    again = tuner(frozen, tmp_path).run()
    assert torch.equal(again.head.weight, whole.head.weight)
    assert torch.equal(again.head.bias, whole.head.bias)


def saved(place):
    frozen = backbone("llama")
    head = Head("last", torch.randn(2, frozen.width), torch.randn(2))
    tuned = TunedPrompt(soft_prompt(frozen, TASK, length=3), TASK, frozen.identity, head=head)
    tuned.save(place)
    return frozen, tuned


def test_a_saved_head_answers_the_same(tmp_path):
    frozen, tuned = saved(tmp_path / "p")
    again = TunedPrompt.load(tmp_path / "p")
    assert list(again.predictor(frozen).predict(data(9))) == list(tuned.predictor(frozen).predict(data(9)))
    assert "trained head" in (tmp_path / "p" / "README.md").read_text()
    assert "PeftModel" not in (tmp_path / "p" / "README.md").read_text()


def damage_numbers(place):
    tensors = load_file(place / "head.safetensors")
    save_file({**tensors, "weight": tensors["weight"][:, :-1].contiguous()}, place / "head.safetensors")


def drop_file(place):
    (place / "head.safetensors").unlink()


def other_pooling(place):
    record = json.loads((place / "cuetune.json").read_text())
    record["head"]["pooling"] = "middle"
    (place / "cuetune.json").write_text(json.dumps(record))


@pytest.mark.parametrize("damage", [damage_numbers, drop_file, other_pooling])
def test_a_damaged_head_is_one_line(tmp_path, damage):
    saved(tmp_path / "p")
    damage(tmp_path / "p")
    with pytest.raises(CuetuneError, match="head") as refused:
        TunedPrompt.load(tmp_path / "p")
    assert "\n" not in str(refused.value)


def test_a_head_of_another_width_is_refused():
    frozen = backbone("llama")
    head = Head("last", torch.zeros(2, frozen.width + 1), torch.zeros(2))
    tuned = TunedPrompt(soft_prompt(frozen, TASK, length=3), TASK, frozen.identity, head=head)
    with pytest.raises(CuetuneError, match="states of"):
        tuned.predictor(frozen)


def test_the_command_line_tunes_shows_and_uses_heads(cuetune, tmp_path):
    table = write_csv(tmp_path / "rows.csv", rows(60))
    fast = ("--steps", "4", "--evaluate-every", "2", "--batch-size", "4", "--length", "3", "--dtype", "float32")
    wanted = ("--readout", "head", "--pooling", "mean", "--instruction", "Is it good or bad?")
    code, out, err = cuetune("tune", table, "--to", tmp_path / "p", "--model", folder(), *fast, *wanted)
    assert code == 0, err
    assert "zero-shot" in out
    code, out, err = cuetune("show", tmp_path / "p")
    assert "head on the mean state" in out
    code, out, err = cuetune("evaluate", tmp_path / "p", table, "--model", folder(), "--dtype", "float32")
    assert code == 0, err
    code, _, err = cuetune("ensemble", tmp_path / "p", tmp_path / "p", "--to", tmp_path / "both")
    assert code == 2
    assert "heads do not vote" in err


def test_python_predicts_with_a_head(tmp_path):
    frozen, tuned = saved(tmp_path / "p")
    (answer,) = cuetune.predict(tmp_path / "p", [{"text": "good"}], model=frozen)
    (same,) = tuned.predictor(frozen).predict([TASK.example(Row("row", {"text": "good"}), labelled=False)])
    assert answer.probabilities == same.probabilities
