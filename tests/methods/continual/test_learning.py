"""The runner: any stop goes on to the same numbers, only the next task, what is kept holds no example."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import cuetune
from cuetune.errors import CuetuneError
from cuetune.methods.continual import learning
from cuetune.methods.continual.features import FrozenFeatures
from cuetune.methods.continual.learned import STATE, Learned, is_learned
from cuetune.methods.continual.learning import accuracy, learn, learn_many
from cuetune.methods.continual.reading import read_stream
from cuetune.methods.continual.registry import new_learner
from cuetune.support.tensor_file import read_sealed, write_sealed
from cuetune.tuning.settings import Settings
from tiny import backbone, write_csv
from tiny_vision import image_backbone, picture

WORDS = {"ant": "legs", "bee": "wings", "cat": "claws", "dog": "barks", "eel": "wet", "fox": "sly"}
CODA = Settings(
    steps=6, batch_size=4, checkpoint_every=2, prompt_options={"components": 2, "length": 2, "layers": "0-1"}
)
HOW = {"simple-cil": None, "ranpac": Settings(prompt_options={"width": 30}), "coda": CODA}


def stream_file(folder, tasks=3, rows=10):
    """Labelled rows of six classes, dealt into tasks."""
    draw = random.Random(0)
    table = [
        {"text": f"{draw.choice('xyz')} {said} secret{label}{number}", "label": label}
        for label, said in WORDS.items()
        for number in range(rows)
    ]
    write_csv(folder / "rows.csv", table)
    (folder / "STREAM.yaml").write_text(f"data: rows.csv\ndivide: {tasks}\n")
    return folder / "STREAM.yaml"


def run(path, to, method="simple-cil", **how):
    quiet = {"log": lambda line: None, "reporters": (), "model": backbone()}
    return learn(path, to, method=method, **{"settings": HOW[method.removesuffix("-joint")], **quiet, **how})


def same(one, other):
    assert one.accuracies == other.accuracies
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    kept = [{k: v for k, v in dict(learned.spec).items() if k != "own"} for learned in (one, other)]
    assert kept[0] == kept[1]


def test_every_task_is_learned_and_measured_on_all_so_far(tmp_path):
    path = stream_file(tmp_path)
    learned = run(path, tmp_path / "out")
    assert learned.names == ["classes-1", "classes-2", "classes-3"]
    assert [len(row) for row in learned.accuracies] == [1, 2, 3]
    assert learned.task.labels == tuple(WORDS)
    stream = read_stream(path)
    learner = new_learner("simple-cil", backbone())
    for task in stream.tasks:
        learner.learn(task.data)
    assert learned.accuracies[-1] == [accuracy(learner, task) for task in stream.tasks]
    assert learned.scores["final_accuracy"] == pytest.approx(np.mean(learned.accuracies[-1]))
    same(Learned.load(tmp_path / "out"), learned)


@pytest.mark.parametrize("method", list(HOW))
def test_one_task_at_a_time_comes_to_the_same_numbers(tmp_path, method):
    path = stream_file(tmp_path)
    whole = run(path, tmp_path / "whole", method)
    for number in range(3):
        step = run(path, tmp_path / "steps", method, tasks=1)
        assert len(step.tasks) == number + 1
    same(step, whole)
    assert len(run(path, tmp_path / "steps", method, tasks=1).tasks) == 3  # nothing is left


class Killed(BaseException):
    """As if the process were gone: nothing handles it."""


@pytest.mark.parametrize("method", ["ranpac", "coda"])
def test_a_run_killed_at_any_write_goes_on_to_the_same_numbers(tmp_path, monkeypatch, method):
    path = stream_file(tmp_path, tasks=2)
    whole = run(path, tmp_path / "whole", method)
    saved = Learned.save
    for last in range(4):  # two tasks, each written twice
        for before in (True, False):
            count = 0

            def save(self, folder, last=last, before=before):
                nonlocal count
                count += 1
                if before and count > last:
                    raise Killed
                saved(self, folder)
                if count > last:
                    raise Killed

            monkeypatch.setattr(Learned, "save", save)
            to = tmp_path / f"{last}{before}"
            with pytest.raises(Killed):
                run(path, to, method)
            monkeypatch.setattr(Learned, "save", saved)
            same(run(path, to, method), whole)
            assert sorted(each.name for each in to.iterdir()) == [STATE]


@pytest.mark.parametrize("choosing", ["", "validation_fraction: 0.25\n"])
@pytest.mark.parametrize("task", [1, 2])
def test_a_run_killed_within_a_task_goes_on_from_its_checkpoint(tmp_path, task, choosing):
    path = stream_file(tmp_path, tasks=2)
    path.write_text(path.read_text() + choosing)
    how = {"settings": CODA.model_copy(update={"evaluate_every": 1})}
    whole = run(path, tmp_path / "whole", "coda", **how)

    class Kill:
        """Kills at the fourth step of one task; `steps` are those that were seen."""

        def __init__(self, kills):
            self.steps, self.kills, self.number = [], kills, 0

        def start(self, total, done):
            self.number += 1

        def step(self, step, values):
            self.steps.append(step)
            if self.kills and self.number == task and step == 4:
                raise Killed

        def validation(self, step, scores, best):
            pass

        def stop(self):
            pass

    with pytest.raises(Killed):
        run(path, tmp_path / "cut", "coda", reporters=[Kill(True)], **how)
    assert (tmp_path / "cut" / "run" / f"task-{task}" / "checkpoint.safetensors").exists()
    watch = Kill(False)
    same(run(path, tmp_path / "cut", "coda", reporters=[watch], **how), whole)
    assert watch.steps[0] == 3  # steps 1 and 2 are in the checkpoint


def test_tasks_may_be_added_later_and_old_data_be_gone(tmp_path):
    tables = {
        name: [{"text": f"{WORDS[name]} {n}", "label": name} for n in range(8)]
        + [{"text": f"{WORDS[other]} {n}", "label": other} for n in range(8)]
        for name, other in (("ant", "bee"), ("cat", "dog"), ("eel", "fox"))
    }
    for name, table in tables.items():
        write_csv(tmp_path / f"{name}.csv", table)
    path = tmp_path / "STREAM.yaml"
    tasks = [f"  - name: {name}\n    data: {name}.csv\n" for name in tables]
    path.write_text("tasks:\n" + "".join(tasks[:2]))
    run(path, tmp_path / "out")
    (tmp_path / "ant.csv").unlink()
    path.write_text("tasks:\n" + "".join(tasks))
    learned = run(path, tmp_path / "out")
    assert learned.names == ["ant", "cat", "eel"]
    assert learned.accuracies[2][0] is None
    assert not np.isnan(learned.scores["final_accuracy"])
    same(Learned.load(tmp_path / "out"), learned)


@pytest.mark.parametrize("method", list(HOW))
def test_what_is_kept_holds_no_text_of_an_example(tmp_path, method):
    path = stream_file(tmp_path, tasks=2)
    run(path, tmp_path / "out", method)
    files = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert [each.name for each in files] == [STATE]
    content = files[0].read_bytes()
    assert b"ant" in content  # labels are kept
    for row in (tmp_path / "rows.csv").read_text().splitlines()[1:]:
        assert row.split(",")[0].split()[-1].encode() not in content
    with safe_open(files[0], framework="pt") as file:
        assert json.loads(file.metadata()["stream"])["method"] == method


def test_the_upper_bound_learns_all_tasks_at_once(tmp_path):
    path = stream_file(tmp_path)
    once = run(path, tmp_path / "once", "simple-cil-joint")
    assert once.names == ["classes-1", "classes-2", "classes-3"]
    assert once.accuracies[:2] == [[None], [None, None]]
    assert once.accuracies[2] == run(path, tmp_path / "out").accuracies[2]  # class means do not forget
    same(run(path, tmp_path / "once", "simple-cil-joint"), once)


def test_several_methods_beside_each_other(tmp_path):
    path = stream_file(tmp_path)
    found = learn_many(
        path,
        tmp_path / "out",
        ["simple-cil", "simple-cil-joint"],
        model=backbone(),
        log=lambda line: None,
        reporters=(),
    )
    assert list(found) == ["simple-cil", "simple-cil-joint"]
    assert all(is_learned(tmp_path / "out" / method) for method in found)


def test_methods_beside_each_other_share_what_the_frozen_model_says(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(FrozenFeatures, "_computed", counting(FrozenFeatures._computed, asked))
    path, settings = (
        stream_file(tmp_path, tasks=1),
        {"coda": CODA, "dual": Settings(steps=2, prompt_options={"shared": 2})},
    )
    quiet = {"log": lambda line: None, "reporters": (), "model": backbone()}
    found = learn_many(path, tmp_path / "out", ["coda", "dual"], settings=settings, **quiet)
    assert [each.settings["steps"] for each in found.values()] == [6, 2]
    assert len(asked) == len(set(asked)) == 2, "the rows to learn and those held out, once for both"
    monkeypatch.undo()
    same(found["coda"], run(path, tmp_path / "alone", "coda"))


def counting(computed, asked):
    def also_counted(self, examples, task):
        asked.append(tuple(each.where for each in examples))
        return computed(self, examples, task)

    return also_counted


def test_rows_to_choose_on_are_counted_by_what_chooses_nothing(tmp_path):
    path = stream_file(tmp_path)
    before = run(path, tmp_path / "all")
    path.write_text(path.read_text() + "validation_fraction: 0.25\n")
    after = run(path, tmp_path / "parted")
    assert torch.equal(before.tensors["counts"], after.tensors["counts"])
    assert torch.allclose(before.tensors["sums"], after.tensors["sums"])
    assert after.accuracies == before.accuracies


def test_method_options_are_the_settings_of_a_method(tmp_path):
    path, quiet = stream_file(tmp_path), {"log": lambda line: None, "reporters": (), "model": backbone()}
    learned = learn(path, tmp_path / "given", method="ranpac", method_options={"width": 30}, **quiet)
    same(learned, run(path, tmp_path / "settings", "ranpac"))
    made = learn_many(path, tmp_path / "both", ("ranpac", "simple-cil"), method_options={"width": 30}, **quiet)
    same(made["ranpac"], learned)
    with pytest.raises(CuetuneError, match="--method-option heigth: no method here has it"):
        learn(path, tmp_path / "other", method="ranpac", method_options={"heigth": 30}, **quiet)


def test_earlier_names_in_a_saved_stream_read_as_todays(tmp_path):
    """A stream that was saved before options were renamed goes on with the same command."""
    how = {"settings": CODA.model_copy(update={"prompt_options": {**CODA.prompt_options, "freeze_head": True}})}
    path = stream_file(tmp_path, tasks=2)
    run(path, tmp_path / "out", "coda", tasks=1, **how)
    tensors, metadata = read_sealed(tmp_path / "out" / STATE, ("stream",), "")
    tensors = {name: value.clone() for name, value in tensors.items()}  # the file is mapped into memory
    saved = json.loads(metadata["stream"])
    options = saved["settings"].pop("prompt_options")
    saved["settings"]["options"] = {**{k: v for k, v in options.items() if k != "freeze_head"}, "fixed": True}
    saved["learner"]["options"]["fixed"] = saved["learner"]["options"].pop("freeze_head")
    with (tmp_path / "out" / STATE).open("wb") as file:
        write_sealed(file, tmp_path / "out" / STATE, tensors, {"stream": json.dumps(saved)})
    assert len(run(path, tmp_path / "out", "coda", **how).tasks) == 2
    saved |= {"method": "coda-at-once", "learner": {**saved["learner"], "options": {"head": "sums", "pull": 0.5}}}
    with (tmp_path / "out" / STATE).open("wb") as file:
        write_sealed(file, tmp_path / "out" / STATE, tensors, {"stream": json.dumps(saved)})
    learned = Learned.load(tmp_path / "out")
    assert (learned.method, learned.spec["options"]) == ("coda-joint", {"head": "ridge", "key_loss_weight": 0.5})


def test_a_task_keeps_its_best_step_on_the_rows_to_choose_on(tmp_path):
    path = stream_file(tmp_path, tasks=1)
    path.write_text(path.read_text() + "validation_fraction: 0.25\n")
    said = []
    learned = run(path, tmp_path / "out", "coda", log=said.append)
    assert "36 rows to learn, 12 to choose on, 12 held out" in said[0]
    assert learned.tasks[0].report["validation"].keys() == {"accuracy", "loss"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "simple-cil-joint"}, "was begun with method simple-cil, not simple-cil-joint"),
        ({"seed": 1}, "was begun with seed 0, not 1"),
        ({"class_order": 3}, "was begun with class order None, not 3"),
        ({"settings": Settings(steps=3)}, r"was begun with settings \{\}, not \{'steps': 3\}"),
        ({"method": "codda"}, "unknown method 'codda'; choose one of coda, "),
    ],
)
def test_another_run_in_the_same_folder_is_refused(tmp_path, change, said):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out")
    before = (tmp_path / "out" / STATE).read_bytes()
    how = {"method": "simple-cil", "settings": None, **change}
    with pytest.raises(CuetuneError, match=said):
        learn(path, tmp_path / "out", model=backbone(), log=print, reporters=(), **how)
    assert (tmp_path / "out" / STATE).read_bytes() == before
    if change.get("method") != "codda":
        assert len(learn(path, tmp_path / "out", model=backbone(), reporters=(), restart=True, **how).tasks) == 3


def test_a_stream_with_other_tasks_is_refused(tmp_path):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", tasks=2)
    path.write_text("data: rows.csv\ndivide: 2\n")
    with pytest.raises(
        CuetuneError, match=r"task 1 was 'classes-1' \(ant, bee\), but the stream has 'classes-1' \(ant"
    ):
        run(path, tmp_path / "out")


def test_another_model_is_refused(tmp_path):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", tasks=1)
    with pytest.raises(CuetuneError, match="made for tiny-llama"):
        run(path, tmp_path / "out", model=backbone("gpt2"))


def test_a_damaged_state_is_one_line(tmp_path):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", tasks=1)
    whole = (tmp_path / "out" / STATE).read_bytes()
    for broken in (b"", whole[:50], whole[:-10], b"\x08\0\0\0\0\0\0\0{}      "):
        (tmp_path / "out" / STATE).write_bytes(broken)
        with pytest.raises(CuetuneError, match="not a whole safetensors file") as error:
            Learned.load(tmp_path / "out")
        assert "\n" not in str(error.value)
    with pytest.raises(CuetuneError, match="no learned stream is there"):
        Learned.load(tmp_path / "nowhere")


@pytest.mark.parametrize("method", ["simple-cil", "ranpac", "coda"])
def test_a_flipped_bit_or_a_nan_in_a_state_is_one_line_whatever_learned_it(tmp_path, method):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", method, tasks=1)
    state = tmp_path / "out" / STATE
    whole = state.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        state.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(CuetuneError, match="copy it again"):
            cuetune.load(tmp_path / "out")
    state.write_bytes(whole)
    unsealed(state)
    cuetune.load(tmp_path / "out")  # as it was written before
    unsealed(state, lambda tensors: next(iter(tensors.values())).view(-1)[:1].fill_(float("nan")))
    with pytest.raises(CuetuneError, match="not finite"):
        cuetune.load(tmp_path / "out")


def unsealed(state, change=lambda tensors: None, edit=lambda said: None):
    """Write a state as it was before there were seals, changed."""
    with safe_open(state, framework="pt") as file:
        said = json.loads(file.metadata()["stream"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    edit(said)
    save_file(tensors, state, {"stream": json.dumps(said)})


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("method",), 5),
        (("seed",), "x"),
        (("tasks",), [{"name": "a"}]),
        (("tasks", 0, "report"), {}),
        (("backbone", "num_layers"), 10**12),
        (("backbone", "hidden_size"), "x"),
        (("settings",), []),
        (("settings", "prompt_options"), {"width": 10**12}),
        (("settings", "prompt_options"), {"width": 10**400}),
        (("learner", "options"), {"width": 10**9}),
        (("learner", "task", "labels"), 5),
        (("learner", "labels"), None),
        (("learner", "tasks"), "x"),
        (("learner", "own"), []),
        (("learner", "own", "ridge"), "x"),
        (("accuracies",), [["x"]]),
        (("learner", "deep"), json.loads('{"a":' * 900 + "1" + "}" * 900)),
    ],
)
def test_a_hostile_state_is_one_line(tmp_path, keys, value):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", method="ranpac", tasks=1)

    def edit(said):
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = value

    unsealed(tmp_path / "out" / STATE, edit=edit)
    with pytest.raises(CuetuneError) as error:
        list(cuetune.predict(tmp_path / "out", [{"text": "good"}], model=backbone()))
    assert "\n" not in str(error.value)


def test_a_stream_beside_a_saved_prompt_does_not_take_its_place(tmp_path):
    path = stream_file(tmp_path)
    run(path, tmp_path / "out", tasks=1)
    (tmp_path / "out" / "cuetune.json").write_text("{}")
    with pytest.raises(CuetuneError, match="a saved prompt .* and a learned stream"):
        cuetune.load(tmp_path / "out")


def test_pictures(tmp_path):
    for label, colour in (("ant", "red"), ("bee", "blue"), ("cat", "green"), ("dog", "yellow")):
        (tmp_path / "zoo" / label).mkdir(parents=True)
        for number in range(5):
            picture(colour, (20 + number, 24)).save(tmp_path / "zoo" / label / f"{number}.png")
    path = tmp_path / "STREAM.yaml"
    path.write_text("data: zoo\ndivide: 2\n")
    learned = learn(path, tmp_path / "out", method="simple-cil", model=image_backbone(), log=print, reporters=())
    assert learned.scores["final_accuracy"] == 1.0
    with pytest.raises(CuetuneError, match="tiny-llama reads texts, but the stream is of images"):
        learn(path, tmp_path / "other", method="simple-cil", model=backbone(), reporters=())
    changed = {"settings": CODA.model_copy(update={"augment": "crop,flip"}), "model": image_backbone()}
    made = [learn(path, tmp_path / name, **{**changed, **how}, log=print, reporters=()).tensors for name, how in {
        "changed": {}, "again": {}, "plain": {"settings": CODA},
    }.items()]  # fmt: skip
    keys = next(name for name in made[0] if name.startswith("prompt.keys"))
    assert torch.equal(made[0][keys], made[1][keys])
    assert not torch.equal(made[0][keys], made[2][keys])
    with pytest.raises(CuetuneError, match="--augment is for images and videos, and these rows hold texts"):
        run(stream_file(tmp_path), tmp_path / "texts", settings=changed["settings"])


def test_a_person_is_told_what_is_going_on(tmp_path):
    told = []
    run(stream_file(tmp_path), tmp_path / "out", log=told.append)
    assert told[0] == "task 1 of 3: classes-1 (ant, bee), 16 rows to learn, 4 held out"
    assert told[1].startswith("  accuracy on held-out rows: classes-1 ")
    assert "2 tasks left" in told[2]
    told.clear()
    run(stream_file(tmp_path), tmp_path / "out", log=told.append)
    assert told == ["going on after 3 of 3 tasks (classes-3)"]


def test_a_smaller_batch_of_rows_scores_the_same(tmp_path, monkeypatch):
    path = stream_file(tmp_path)
    whole = run(path, tmp_path / "one")
    monkeypatch.setattr(learning, "ROWS_AT_ONCE", 3)
    assert run(path, tmp_path / "two").accuracies == whole.accuracies
