"""`cuetune search` from a file to a saved prompt, what it says, and what it refuses."""

import json

import pytest

from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.methods import searching
from cuetune.methods.searching import Found, search
from cuetune.prompts.hard import HardPrompt
from tiny import backbone, folder, rows, write_csv

MODEL = ("--model", folder(), "--dtype", "float32")
SAID = (*MODEL, "--instruction", "Is it good or bad?")
FEW = {"greedy": {"steps": 2, "candidates": 4, "batch_size": 4}, "pez": {"steps": 2, "batch_size": 4}}


def options(method):
    return [word for name, value in FEW[method].items() for word in ("--method-option", f"{name}={value}")]


@pytest.mark.parametrize("method", FEW)
def test_words_are_found_compared_saved_and_handed_on(cuetune, tmp_path, method):
    data, place = write_csv(tmp_path / "rows.csv", rows(60)), tmp_path / "words"
    code, out, err = cuetune("search", data, "--to", place, "--method", method, *options(method), *SAID)
    assert code == 0, err
    assert "12 held-out rows" in out
    assert out.index("untouched: 'Is it good or bad?") < out.index("found:")
    saved = TunedPrompt.load(place)
    assert saved.prompt.kind == "hard"
    assert set(saved.record["scores"]) == {"found", "untouched"}
    assert saved.record["settings"]["search"] == method
    assert saved.record["settings"]["steps"] == 2
    assert saved.record["cost"]["tokens"] > 0
    history = (tmp_path / "words.run" / "history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["step"] == 2
    assert not (tmp_path / "words.run" / "search.jsonl").exists()
    for words in (("show", place), ("evaluate", place, data, *MODEL)):
        code, out, err = cuetune(*words)
        assert code == 0, err
    tune = ("tune", data, "--start", place, "--to", tmp_path / "tuned", "--steps", "1", "--no-baselines")
    code, out, err = cuetune(*tune, *SAID)
    assert code == 0, err
    assert TunedPrompt.load(tmp_path / "tuned").prompt.length == saved.prompt.length


def test_a_search_goes_on_from_the_words_of_another(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    assert cuetune("search", data, "--to", tmp_path / "a", *options("greedy"), *SAID)[0] == 0
    code, out, err = cuetune("search", data, "--to", tmp_path / "b", "--start", tmp_path / "a", *options("pez"), *SAID)
    assert code == 0, err
    first, second = (TunedPrompt.load(tmp_path / name).record["search"] for name in "ab")
    assert second["untouched"] == first["found"]


def run_with(monkeypatch, function, to, **given):
    """`search` with this function in the place of every method's."""
    monkeypatch.setattr(searching.Search, "function", property(lambda self: function))
    return search(rows(60), to, model=backbone(), instruction="Good?", log=str, reporters=[], **given)


def test_held_out_rows_are_never_searched_with(tmp_path, monkeypatch):
    jobs = []

    def spy(job):
        jobs.append(job)
        return Found(job.start, [], 1)

    held = rows(20, seed=5)
    for given in ({"test": held}, {}):
        found = run_with(monkeypatch, spy, tmp_path / str(len(jobs)), **given)
        seen = {example.fields["text"] for part in (jobs[-1].train, jobs[-1].validation) for example in part}
        assert found.record["scored_rows"] == (20 if given else 12)
        assert len(seen) == 60 - (0 if given else 12)
        assert not seen & {row["text"] for row in held}


@pytest.mark.parametrize("better", [True, False])
def test_what_is_worse_on_the_validation_rows_is_not_kept(tmp_path, monkeypatch, better):
    def other(job):
        ids = [70, *job.start.ids[1:]]
        return Found(HardPrompt(ids, job.backbone.embedding_table()[ids]), [], 1)

    def scores(backbone, task, prompt, examples):
        assert len(examples) == 6, "neither the rows that were searched with nor the held-out ones choose"
        return {"accuracy": 0.5, "loss": 1.0 if (prompt.ids[0] == 70) == better else 2.0}

    monkeypatch.setattr(searching, "validation_scores", scores)
    found = run_with(monkeypatch, other, tmp_path / "words")
    assert (found.prompt.ids[0] == 70) == better
    assert ("does better than the untouched" in found.record["search"]["note"]) != better


def test_ctrl_c_saves_the_best_and_the_same_command_goes_on(tmp_path):
    class Press:
        def start(self, total, done):
            self.done = done

        def step(self, step, values):
            if step == 2:
                raise KeyboardInterrupt

        def validation(self, step, scores, best):
            pass

        def stop(self):
            pass

    def run(reporters, **more):
        given = {"method_options": {**FEW["greedy"], "steps": 3}, "model": backbone(), "instruction": "Good?"}
        return search(rows(60), tmp_path / "words", log=str, reporters=reporters, **given, **more)

    stopped = run([Press()])
    assert stopped.record["stopped"] == "interrupted"
    assert stopped.record["cost"]["steps"] == 1
    assert "scores" not in TunedPrompt.load(tmp_path / "words").record
    done = run([], overwrite=True)
    assert (done.record["stopped"], done.record["cost"]["steps"]) == ("finished", 3)


def test_mistakes_are_one_line(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    soft = ("tune", data, "--to", tmp_path / "soft", "--steps", "1", "--length", "2", "--no-baselines", *SAID)
    assert cuetune(*soft)[0] == 0
    for words, said in (
        (("--method", "guess"), "unknown search 'guess'; choose one of greedy, pez"),
        (("--method-option", "words=3"), "no option 'words' (its options: steps=30"),
        (("--method-option", "steps=0"), "--method-option steps: input should be greater than or equal to 1"),
        (("--method-option", "steps=many"), "--method-option steps: input should be a valid integer"),
        (("--method", "pez", "--method-option", "rate=-1"), "--method-option rate: input should be greater than 0"),
        (("--start", tmp_path / "soft"), "a 'soft' prompt has no words to start from"),
    ):
        code, _, err = cuetune("search", data, "--to", tmp_path / "p", *SAID, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
    code, _, err = cuetune("search", data, "--to", tmp_path / "soft", *SAID)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already" in err


def test_a_search_with_other_options_does_not_go_on(tmp_path):
    given = {"model": backbone(), "instruction": "Good?", "log": str, "reporters": []}
    (tmp_path / "words.run").mkdir()
    (tmp_path / "words.run" / "search.jsonl").write_text(f'{{"key": "{"a" * 64}"}}\n')
    with pytest.raises(CuetuneError, match="--restart"):
        search(rows(60), tmp_path / "words", method_options=FEW["greedy"], **given)
    search(rows(60), tmp_path / "words", method_options=FEW["greedy"], restart=True, **given)
