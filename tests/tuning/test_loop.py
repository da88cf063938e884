"""The loop: it learns, keeps the best, stops early, resumes to the same bits, and refuses nothing silently."""

import pytest
import torch

from cuetune.backbones.text import TextBackbone
from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts.initial import soft_from_hard, soft_prompt, typical_norm
from cuetune.prompts.words import choose, hard_prompt
from cuetune.tuning.loop import Tuner
from cuetune.tuning.progress import JsonLog
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, model, rows, tokenizer

TASK = Task(template="{text} =", labels=("pos", "neg"), instruction="Is it good or bad?")


def data(n: int = 48, seed: int = 0):
    return [TASK.example(row) for row in read_rows(rows(n, seed))]


def tuner(folder=None, reporters=(), frozen=None, **changes) -> Tuner:
    frozen = frozen or backbone("llama")
    values = {"steps": 24, "learning_rate": 0.05, "evaluate_every": 8, "batch_size": 8, "length": 4, **changes}
    settings = Settings(**values).resolved(frozen, 48)
    prompt = soft_prompt(frozen, TASK, length=4)
    return Tuner(frozen, prompt, TaskData(TASK, data(), data(16, 1)), settings, folder=folder, reporters=reporters)


class StopAt:
    """A reporter that does something at one step."""

    def __init__(self, step, action):
        self.at, self.action, self.losses = step, action, []

    def start(self, total, done):
        pass

    def step(self, step, values):
        self.losses.append(values["loss"])
        if step == self.at:
            self.action()

    def validation(self, step, scores, best):
        pass

    def stop(self):
        pass


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_only_the_prompt_changes_and_the_loss_falls(family):
    frozen = TextBackbone(model(family), tokenizer(), family)
    before = {name: value.clone() for name, value in frozen.model.state_dict().items()}
    seen = StopAt(0, lambda: None)
    run = tuner(frozen=frozen, reporters=[seen], steps=60, patience=50)
    run.run()
    assert sum(seen.losses[-10:]) < 0.85 * sum(seen.losses[:10])
    assert all(torch.equal(value, before[name]) for name, value in frozen.model.state_dict().items())


def test_a_prompt_is_float32_whatever_the_backbone_is():
    frozen = TextBackbone(model("llama").to(torch.bfloat16), tokenizer(), "half")
    run = tuner(frozen=frozen, steps=2)
    run.run()
    assert {value.dtype for value in run.prompt.state_dict().values()} == {torch.float32}
    assert all(state["exp_avg"].dtype == torch.float32 for state in run.optimizer.state.values())


@pytest.mark.parametrize("at", [1, 7, 8, 13, 23])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, at):
    whole = tuner(tmp_path / "whole", [JsonLog(tmp_path / "whole")], checkpoint_every=3)
    outcome = whole.run()

    class KillError(BaseException):
        pass

    def kill():
        raise KillError

    with pytest.raises(KillError):
        tuner(tmp_path / "cut", [JsonLog(tmp_path / "cut"), StopAt(at, kill)], checkpoint_every=3).run()
    again = tuner(tmp_path / "cut", [JsonLog(tmp_path / "cut")], checkpoint_every=3)
    resumed = again.run()
    assert torch.equal(again.prompt.embeddings, whole.prompt.embeddings)
    assert resumed.progress.best_scores == outcome.progress.best_scores
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    tuner(tmp_path).run()
    with pytest.raises(CuetuneError, match="--restart"):
        tuner(tmp_path, learning_rate=0.01).run()


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    tuner(tmp_path).run()
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CuetuneError, match="--restart"):
        tuner(tmp_path).run()


def test_ctrl_c_keeps_the_best_so_far():
    def press():
        raise KeyboardInterrupt

    run = tuner(reporters=[StopAt(10, press)])
    outcome = run.run()
    assert outcome.progress.stopped == "interrupted"
    assert outcome.progress.best_step == 8
    assert torch.equal(run.prompt.embeddings, run.best["prompt.embeddings"])


def test_early_stopping_returns_the_best_step():
    run = tuner(steps=200, patience=2, learning_rate=30.0, evaluate_every=4)
    outcome = run.run()
    assert outcome.progress.stopped == "early"
    assert outcome.progress.step < 200
    accuracy = (
        sum(
            p.label == e.label
            for p, e in zip(Predictor(run.backbone, TASK, run.prompt).predict(data(16, 1)), data(16, 1), strict=True)
        )
        / 16
    )
    assert accuracy == outcome.progress.best_scores["accuracy"]


def test_numbers_that_are_not_finite_name_the_rows():
    run = tuner()
    run.prompt.embeddings.data[0, 0] = float("nan")
    with pytest.raises(CuetuneError, match=r"not finite at rows\[\d+\]"):
        run.run()


def test_no_rows_is_an_error():
    with pytest.raises(CuetuneError, match="no rows"):
        Tuner(backbone(), soft_prompt(backbone(), TASK), TaskData(TASK, [], []), Settings())


def test_checkpointing_and_compiling_change_nothing():
    plain = tuner(steps=4, evaluate_every=4)
    plain.run()
    for changes in ({"gradient_checkpointing": True}, {"compile": True}):
        frozen = TextBackbone(model("llama"), tokenizer(), "tiny-llama")
        other = tuner(steps=4, evaluate_every=4, frozen=frozen, **changes)
        other.run()
        assert torch.allclose(other.prompt.embeddings, plain.prompt.embeddings, atol=1e-4), changes


def test_the_learning_rate_rises_and_follows_a_cosine():
    settings = Settings(steps=100, learning_rate=1.0, warmup=10).resolved(backbone(), 100)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_rate_follows_the_size_of_the_embeddings():
    small, large = TextBackbone(model("llama"), tokenizer(), "a"), TextBackbone(model("llama"), tokenizer(), "b")
    large.model.get_input_embeddings().weight.data *= 4
    rates = [Settings().resolved(each, 100).learning_rate for each in (small, large)]
    assert rates[1] == pytest.approx(4 * rates[0], rel=0.02)


@pytest.mark.parametrize("init", ["text", "labels", "vocabulary", "random"])
def test_starts_have_the_asked_length_and_follow_the_seed(init):
    frozen = backbone()
    first, same, other = (soft_prompt(frozen, TASK, init=init, length=7, seed=seed).embeddings for seed in (0, 0, 1))
    assert first.shape == (7, frozen.width)
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (init == "text")


def test_what_the_starts_are():
    frozen = backbone()
    table = frozen.embedding_table()
    text = soft_prompt(frozen, TASK, init="text", text="good", length=3).embeddings
    (token,) = frozen.tokenizer("good")["input_ids"]
    assert torch.equal(text, table[[token] * 3])
    labels = soft_prompt(frozen, TASK, init="labels", length=5).embeddings
    words = frozen.tokenizer(" pos", add_special_tokens=False)["input_ids"]
    assert torch.allclose(labels[0], table[words].mean(0))
    common = soft_prompt(frozen, TASK, init="vocabulary", length=50).embeddings
    special = table[frozen.tokenizer.all_special_ids]
    assert all((table == row).all(1).any() for row in common)
    assert not any((special == row).all(1).any() for row in common)
    random_rows = soft_prompt(frozen, TASK, init="random", length=50).embeddings
    assert random_rows.norm(dim=1).mean().item() == pytest.approx(typical_norm(frozen), rel=1e-4)


@pytest.mark.parametrize("options", [{"init": "nothing"}, {"length": 0}, {"init": "text", "text": ""}])
def test_starts_that_make_no_sense_are_refused(options):
    with pytest.raises(CuetuneError):
        soft_prompt(backbone(), Task(labels=("a", "b")), **options)


def test_a_soft_prompt_from_a_hard_one_answers_the_same():
    frozen = backbone()
    hard = hard_prompt(frozen, TASK, choose(data(), 4))
    a = list(Predictor(frozen, TASK, hard).predict(data(20, 2)))
    b = list(Predictor(frozen, TASK, soft_from_hard(hard)).predict(data(20, 2)))
    assert a == b


def test_demonstrations_are_balanced_and_read_like_rows():
    frozen, examples = backbone(), data()
    shown = choose(examples, 6, how="balanced", seed=1)
    assert sorted(e.label for e in shown) == ["neg"] * 3 + ["pos"] * 3
    assert choose(examples, 6, how="random", seed=1) == choose(examples, 6, how="random", seed=1)
    text = frozen.tokenizer.decode(hard_prompt(frozen, TASK, shown[:1]).ids)
    assert text == f"{TASK.instruction}\n\n{shown[0].fields['text']} = {shown[0].label}\n\n"
    with pytest.raises(CuetuneError, match="only 48"):
        choose(examples, 49)
