"""The programme from source tasks to a saved universal prompt, new tasks from it, and every way it can be stopped."""

import json
import shutil

import pytest
import torch

from cuetune.api.adapt import adapt
from cuetune.api.tune import tune
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.methods.multitask.programme import Programme
from cuetune.methods.multitask.training import train_multitask
from cuetune.tuning.settings import Settings
from tiny import backbone, model, rows, tokenizer

SETTINGS = Settings(steps=6, batch_size=6, length=4, evaluate_every=3, learning_rate=0.05)
PROGRAMME = Programme(teacher_steps=4)
TASKS = {
    "good": {"data": rows(40), "template": "{text} ="},
    "bad": {"data": rows(40, 1), "template": "Say {text} ?"},
    "small": {"data": rows(60, 2), "template": "{text} :", "rows": 20},
}


def train(to, tasks=TASKS, **how):
    options = {"settings": SETTINGS, "programme": PROGRAMME, "model": backbone("llama"), "reporters": (), **how}
    return train_multitask(tasks, to, log=lambda line: None, **options)


class StopAt:
    """Ctrl-C at one step of whatever runs."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def start(self, total, done):
        pass

    def step(self, step, values):
        self.seen += 1
        if self.seen == self.at:
            raise KeyboardInterrupt

    def validation(self, step, scores, best):
        pass

    def stop(self):
        pass


def test_every_task_stands_alone_once_everything_else_is_gone(tmp_path):
    universal = train(tmp_path / "universal")
    assert universal.prompt.tasks == ("good", "bad", "small")
    kept = tmp_path / "universal" / "tasks" / "bad"
    shutil.move(kept, tmp_path / "alone")
    shutil.rmtree(tmp_path / "universal")
    shutil.rmtree(tmp_path / "universal.run", ignore_errors=True)
    alone = TunedPrompt.load(tmp_path / "alone")
    assert torch.equal(alone.prompt.injection().tokens[0], universal.prompt.embeddings(1))
    assert alone.task.template == "Classify the text as neg or pos.\n\nSay {text} ?", (
        "the instruction tells tasks apart"
    )
    assert set(alone.record["scores"]) == {"tuned", "teacher", "zero-shot"}
    ancestor = alone.record["lineage"][0]
    assert ancestor["relation"] == "distilled from"
    assert ancestor["name"] == "bad"


def test_loaded_as_it_was_saved(tmp_path):
    universal = train(tmp_path / "universal")
    again = UniversalPrompt.load(tmp_path / "universal")
    assert again.prompt.tasks == universal.prompt.tasks
    assert again.record == json.loads(json.dumps(universal.record))
    assert all(torch.equal(again.prompt.embeddings(n), universal.prompt.embeddings(n)) for n in range(3))
    assert again.digest == universal.digest
    teacher = TunedPrompt.load(tmp_path / "universal" / "teachers" / "good")
    assert teacher.prompt.kind == "soft"
    assert "multitask adapt" in (tmp_path / "universal" / "README.md").read_text()


@pytest.mark.parametrize("at", [6, 14], ids=["in a teacher", "in the shared run"])
def test_stopped_and_called_again_it_is_as_never_stopped(tmp_path, at):
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", reporters=(StopAt(at),))
    lines = []
    parts = train_multitask(
        TASKS,
        tmp_path / "parts",
        settings=SETTINGS,
        programme=PROGRAMME,
        model=backbone("llama"),
        reporters=(),
        log=lines.append,
        overwrite=True,
    )
    assert any("is there already" in line for line in lines), "finished teachers are not tuned again"
    for one, other in zip(whole.prompt.parameters(), parts.prompt.parameters(), strict=True):
        assert torch.equal(one, other)


def test_one_missing_file_leaves_the_others_work(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TASKS[name]["data"]))
    (tmp_path / "tasks.yaml").write_text(
        "tasks:\n- name: good\n  data: good.jsonl\n  template: '{text} ='\n"
        "- name: bad\n  data: bad.jsonl\n  template: 'Say {text} ?'\n"
    )
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "to", tmp_path / "tasks.yaml", reporters=(StopAt(6),))
    (tmp_path / "bad.jsonl").rename(tmp_path / "away.jsonl")
    with pytest.raises(CuetuneError, match=r"tasks.yaml, line 6: task 'bad': data: no file"):
        train(tmp_path / "to", tmp_path / "tasks.yaml")
    assert TunedPrompt.load(tmp_path / "to.run" / "teachers" / "good" / "prompt").prompt.length == 4
    (tmp_path / "away.jsonl").rename(tmp_path / "bad.jsonl")
    assert train(tmp_path / "to", tmp_path / "tasks.yaml").prompt.tasks == ("good", "bad")


def test_teachers_that_are_given(tmp_path):
    train(tmp_path / "first")
    given = train(tmp_path / "second", teachers=tmp_path / "first" / "teachers")
    assert not (tmp_path / "second.run" / "teachers").exists()
    assert torch.equal(given.prompt.shared, UniversalPrompt.load(tmp_path / "first").prompt.shared)
    shutil.rmtree(tmp_path / "first" / "teachers" / "small")
    with pytest.raises(CuetuneError, match="small: no such folder"):
        train(tmp_path / "third", teachers=tmp_path / "first" / "teachers")


def test_a_stopped_run_does_not_go_on_with_other_teachers(tmp_path):
    often = SETTINGS.model_copy(update={"checkpoint_every": 1})
    train(tmp_path / "first")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "second", teachers=tmp_path / "first" / "teachers", reporters=(StopAt(3),), settings=often)
    train(tmp_path / "other", programme=Programme(teacher_steps=2))
    with pytest.raises(CuetuneError, match="belongs to a run with other data"):
        train(tmp_path / "second", teachers=tmp_path / "other" / "teachers", overwrite=True, settings=often)


def test_without_teachers_without_sampling_without_decomposition(tmp_path):
    plain = Programme(distil=False, stochastic=False, rank=0, mixing="uniform")
    universal = train(tmp_path / "plain", programme=plain)
    assert not universal.teachers
    assert torch.equal(universal.prompt.embeddings(0), universal.prompt.embeddings(2))
    assert UniversalPrompt.load(tmp_path / "plain").prompt.rank == 0


def test_a_new_task_from_few_rows(tmp_path):
    universal = train(tmp_path / "universal")
    few = {"train_rows": 6, "template": "{text} -", "settings": SETTINGS, "log": lambda line: None, "reporters": ()}
    new = adapt(tmp_path / "universal", rows(50, 9), tmp_path / "new", draws=2, model=backbone("llama"), **few)
    assert [each.record["data"]["rows"] for each in new] == [{"train": 6, "validation": 0, "test": 10}] * 2
    assert new[0].prompt.kind == "soft"
    assert new[0].record["lineage"] == [{"relation": "started from", "name": "universal", "digest": universal.digest}]
    assert not torch.equal(new[0].prompt.embeddings, new[1].prompt.embeddings), "two draws of rows"
    shutil.rmtree(tmp_path / "universal")
    assert TunedPrompt.load(tmp_path / "new" / "draw-1").record["best_step"] == 6
    with pytest.raises(CuetuneError, match="--train-rows 99: list has 36 rows to tune on"):
        tune(rows(50, 9), tmp_path / "more", model=backbone("llama"), train_rows=99, log=lambda line: None)


def test_draws_go_on_where_they_were_stopped(tmp_path):
    train(tmp_path / "universal")
    how = {"train_rows": 6, "draws": 2, "template": "{text} -", "settings": SETTINGS, "reporters": ()}
    call = (tmp_path / "universal", rows(50, 9), tmp_path / "new")
    adapt(*call, model=backbone("llama"), log=lambda line: None, **how)
    first, second = (tmp_path / "new" / f"draw-{number}" / "cuetune.json" for number in (0, 1))
    before, wanted = first.stat().st_mtime_ns, TunedPrompt.load(second.parent)
    shutil.rmtree(second.parent)  # as if it had been stopped between the two
    said = []
    found = adapt(*call, model=backbone("llama"), log=said.append, **how)
    assert f"{first.parent}: is finished already" in said
    assert first.stat().st_mtime_ns == before
    assert len(found) == 2
    assert torch.equal(found[1].prompt.embeddings, wanted.prompt.embeddings)
    assert torch.equal(found[0].prompt.embeddings, TunedPrompt.load(first.parent).prompt.embeddings)
    with pytest.raises(CuetuneError, match="exists already"):
        adapt(*call, model=backbone("llama"), log=said.append, **{**how, "train_rows": 7})
    train(tmp_path / "universal", settings=SETTINGS.model_copy(update={"seed": 5}), overwrite=True)
    with pytest.raises(CuetuneError, match="exists already"):  # from another universal prompt
        adapt(*call, model=backbone("llama"), log=said.append, **how)


def test_only_the_tasks_own_numbers(tmp_path):
    universal = train(tmp_path / "universal")
    how = {"settings": SETTINGS, "log": lambda line: None, "reporters": (), "template": "{text} -"}
    (new,) = adapt(tmp_path / "universal", rows(50, 9), tmp_path / "new", shared=False, model=backbone("llama"), **how)
    assert new.record["cost"]["trained_parameters"] == 4 + backbone("llama").width
    ratio = new.prompt.embeddings / universal.prompt.shared
    u, s, v = torch.linalg.svd(ratio)
    assert s[1] < 1e-4 * s[0], "P* scaled by one outer product"


def test_several_targets_share_one_prompt(tmp_path):
    train(tmp_path / "universal")
    targets = {"x": {"data": rows(30, 4), "template": "{text} !"}, "y": {"data": rows(30, 5), "template": "{text} %"}}
    how = {"start": tmp_path / "universal", "programme": Programme(distil=False)}
    assert train(tmp_path / "targets", targets, **how).prompt.tasks == ("x", "y")


def test_another_backbone_is_refused(tmp_path):
    from cuetune.backbones.text import TextBackbone

    train(tmp_path / "universal")
    other = TextBackbone(model("llama", seed=4), tokenizer(), "other")
    with pytest.raises(CuetuneError, match="universal: "):
        adapt(tmp_path / "universal", rows(50), tmp_path / "new", model=other, log=lambda line: None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "universal.safetensors").write_bytes(b"x"), "SHA-256 differs"),
        (lambda folder: (folder / "universal.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "universal.json").unlink(), "no universal prompt is there"),
        (lambda folder: (folder / "universal.safetensors").unlink(), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, change, said):
    train(tmp_path / "universal")
    change(tmp_path / "universal")
    with pytest.raises(CuetuneError, match=said) as caught:
        UniversalPrompt.load(tmp_path / "universal")
    assert "\n" not in str(caught.value)


def test_nothing_else_is_overwritten(tmp_path):
    train(tmp_path / "universal")
    with pytest.raises(CuetuneError, match="exists already"):
        train(tmp_path / "universal")
    (tmp_path / "universal" / "notes.txt").write_text("mine")
    with pytest.raises(CuetuneError, match=r"holds 'notes.txt'"):
        train(tmp_path / "universal", overwrite=True)
    with pytest.raises(CuetuneError, match="give at least two"):
        train(tmp_path / "one", {"good": TASKS["good"]})
