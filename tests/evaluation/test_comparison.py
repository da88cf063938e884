"""The runs of a comparison: kept, resumed, searched, refused where they do not belong."""

import json
from dataclasses import replace

import pytest

import tiny
from cuetune.comparison import runner as module
from cuetune.comparison.contenders import TEXT_CONTENDERS, Contender
from cuetune.comparison.plan import Plan
from cuetune.comparison.run_result import Outcome
from cuetune.comparison.runner import Comparison
from cuetune.comparison.throughput import spoken
from cuetune.data.row import Row
from cuetune.data.splits import split_examples
from cuetune.data.task import Task
from cuetune.errors import CuetuneError

TASK = Task("Text: {text}\nLabel:", labels=("pos", "neg"), label_words=(" pos", " neg"))
EXAMPLES = [TASK.example(Row(f"row {number}", row)) for number, row in enumerate(tiny.rows(120))]
SPLITS = split_examples(EXAMPLES, validation=0.2, test=0.2)


class Made:
    """A contender whose score follows from the learning rate; it writes down every job and can stop the whole thing."""

    def __init__(self, best=1.0, stop_after=None):
        self.jobs, self.best, self.stop_after = [], best, stop_after

    def __call__(self, job):
        if self.stop_after is not None and len(self.jobs) >= self.stop_after:
            raise KeyboardInterrupt
        self.jobs.append(job)
        away = abs(job.factor - self.best)
        outcome = Outcome(validation={"accuracy": 0.5, "loss": away}, rate=job.factor, steps=4, best_step=4)
        outcome.scores = {} if job.trial else {"accuracy": 0.5, "macro_f1": 0.5}
        return outcome


@pytest.fixture
def made(monkeypatch):
    runner = Made()
    monkeypatch.setattr(module, "settled_memory", lambda device: 0)  # a garbage collection for every run takes its time
    monkeypatch.setitem(TEXT_CONTENDERS, "soft", Contender("made up", "words", runner, tuned=True))
    words = lambda job: replace(runner(job), rate=None)  # noqa: E731
    monkeypatch.setitem(TEXT_CONTENDERS, "few-shot", Contender("made up", "words", words))
    monkeypatch.setitem(TEXT_CONTENDERS, "zero-shot", Contender("made up", "words", words, uses_train=False))
    return runner


def comparison(folder, methods=("zero-shot", "few-shot", "soft"), sizes=(8, 16), log=lambda line: None, **plan):
    return Comparison(tiny.backbone(), TASK, SPLITS, Plan(methods, sizes, **{"seeds": 2, **plan}), folder, log)


def test_runs_are_made_once_and_kept(tmp_path, made):
    results = comparison(tmp_path / "c").run()
    assert len(results) == 1 + 2 * 2 * 2
    assert len(made.jobs) == len(results) + 2 * 3  # three learning rates at each size
    assert comparison(tmp_path / "c").run() == results
    assert len(made.jobs) == len(results) + 2 * 3
    comparison(tmp_path / "c", seeds=3).run()
    assert len(made.jobs) == len(results) + 2 * 3 + 2 * 2  # what is asked for in addition, and nothing else


@pytest.mark.parametrize("after", [0, 1, 3, 7])
def test_a_stopped_comparison_goes_on_to_the_same_results(tmp_path, made, after):
    whole = comparison(tmp_path / "whole").run()
    made.jobs.clear()
    made.stop_after = after
    stopped = comparison(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    made.stop_after = None
    done = {path.name for path in (tmp_path / "stopped" / "runs").glob("*.json")}
    assert len(done) == after
    again = comparison(tmp_path / "stopped").run()
    assert len(made.jobs) == after + len(list((tmp_path / "stopped" / "runs").glob("*.json"))) - len(done)
    free = ("wall", "peak_memory_bytes")
    assert [{k: v for k, v in each.items() if k not in free} for each in again] == [
        {k: v for k, v in each.items() if k not in free} for each in whole
    ]


@pytest.mark.parametrize(("best", "tried", "taken"), [(1.0, 3, 1.0), (9.0, 5, 9.0), (1e9, 5, 27.0), (0.01, 5, 1 / 27)])
def test_the_search_goes_on_beyond_the_edge(tmp_path, made, best, tried, taken):
    made.best = best
    results = comparison(tmp_path / "c", methods=("soft",), sizes=(8,)).run()
    trials = [job for job in made.jobs if job.trial]
    assert len(trials) == tried
    assert {job.settings.seed for job in trials} == {0}
    assert {job.settings.steps for job in trials} == {33}
    assert [result["rate"] for result in results] == [pytest.approx(taken)] * 2


def test_without_a_search_the_usual_rate_is_taken(tmp_path, made):
    made.best = 3.0
    assert [r["rate"] for r in comparison(tmp_path / "c", methods=("soft",), search=False).run()] == [1.0] * 4


def test_all_methods_see_the_same_rows_and_seeds_see_others(tmp_path, made):
    comparison(tmp_path / "c", methods=("few-shot", "soft"), search=False).run()
    seen = {}
    for job in made.jobs:
        wheres = tuple(example.where for example in job.rows.train)
        assert len(wheres) in (8, 16)
        assert len(job.rows.validation) == min(len(wheres), len(SPLITS.validation))
        assert job.rows.test == SPLITS.test
        assert not {*wheres} & {example.where for example in (*job.rows.validation, *job.rows.test)}
        seen.setdefault((len(wheres), job.settings.seed), set()).add(wheres)
    assert {key: len(draws) for key, draws in seen.items()} == dict.fromkeys(seen, 1)
    assert seen[8, 0] != seen[8, 1]


def test_another_comparisons_folder_is_refused_by_what_differs(tmp_path, made):
    comparison(tmp_path / "c").run()
    with pytest.raises(CuetuneError, match=r"another steps, batch size; repeat"):
        comparison(tmp_path / "c", steps=50, batch_size=8)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(CuetuneError, match="is no comparison"):
        comparison(tmp_path / "mine")
    next((tmp_path / "c" / "runs").glob("soft-*.json")).write_text("{")
    with pytest.raises(CuetuneError, match="not JSON"):
        comparison(tmp_path / "c").run()


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        ({"methods": ("sooft",)}, "unknown method 'sooft'"),
        ({"methods": ()}, "nothing to compare"),
        ({"sizes": (2,)}, "at least 4"),
        ({"seeds": 0}, "--seeds 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"sizes": (8, 10**6)}, "only 72 rows are left to train on"),
    ],
)
def test_plans_that_make_no_sense(tmp_path, made, plan, named):
    with pytest.raises(CuetuneError, match=named):
        comparison(tmp_path / "c", **plan)
    assert not (tmp_path / "c").exists()


def test_written_answers_are_refused(tmp_path):
    with pytest.raises(CuetuneError, match="only tasks with labels"):
        Comparison(tiny.backbone(), Task("{text}"), SPLITS, Plan(("soft",), (8,)), tmp_path / "c")


def test_a_run_that_fails_is_named_and_leaves_the_others(tmp_path, made, monkeypatch):
    def broken(job):
        raise CuetuneError("no such thing")

    monkeypatch.setitem(TEXT_CONTENDERS, "soft", Contender("made up", "words", broken, tuned=True))
    with pytest.raises(CuetuneError, match="soft-8-0-rate-x0.33: no such thing"):
        comparison(tmp_path / "c").run()
    assert (tmp_path / "c" / "runs" / "few-shot-8-0.json").exists()


def test_progress_tells_the_time_that_is_left(tmp_path, made, monkeypatch):
    now = iter(range(0, 10**6, 30))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    lines = []
    comparison(tmp_path / "c", methods=("few-shot", "soft"), sizes=(8,), log=lines.append).run()
    assert lines[0] == "[1 of 4] few-shot, 8 rows, seed 0: accuracy 0.500 (30 s; 30 s left)"
    assert lines[1] == "[2 of 4] soft, 8 rows, seed 0: learning rate 1, accuracy 0.500 (30 s; 1 min left)"
    assert lines[-1].endswith("(30 s; 0 s left)")
    kept = json.loads((tmp_path / "c" / "runs" / "soft-8-1.json").read_text())
    assert kept["wall"] == 30.0


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59, "59 s"), (720, "12 min"), (4800, "1 h 20 min")])
def test_times_as_people_say_them(seconds, said):
    assert spoken(seconds) == said
