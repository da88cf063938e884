"""Fixes on a tiny model: what they correct, what they leave alone bit by bit, and that nothing of the rows is kept."""

import base64
import hashlib
import json
import os
import signal
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import cuetune
from cuetune.data.reading import read_rows
from cuetune.data.splits import text_key
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.correcting.correcting import fix
from cuetune.methods.correcting.rolling_back import roll_back
from cuetune.methods.correcting.written import written_rows
from cuetune.prediction.edited import queries_for
from cuetune.prediction.text import Predictor
from cuetune.prompts import CorrectedPrompt, SoftPrompt
from cuetune.readouts import Head
from tiny import backbone, rows, write_csv

TASK = Task(template="Say {text} =", labels=("pos", "neg"), name="mood")
RECORD = {"seed": 3, "scores": {"tuned": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}, "scored_rows": 9}
QUIET = {"log": lambda line: None, "reporters": []}


@pytest.fixture(autouse=True)
def few_written_rows(monkeypatch):
    monkeypatch.setattr("cuetune.methods.correcting.correcting.written_rows", partial(written_rows, n=48))


@pytest.fixture
def saved(tmp_path):
    """A saved soft prompt in a folder of its own."""
    start = 0.3 * torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    tuned = TunedPrompt(SoftPrompt(start), TASK, backbone().identity, RECORD)
    return tuned.save(tmp_path / "kept" / "mood")


def answers(folder, data) -> list[str]:
    return [answer.label for answer in cuetune.predict(folder, data, model=backbone())]


def turned(folder, data) -> list[dict[str, str]]:
    """The rows with labels other than the prompt's answers: all of them mistakes."""
    other = {"pos": "neg", "neg": "pos"}
    return [{**row, "label": other[label]} for row, label in zip(data, answers(folder, data), strict=True)]


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fixed(folder, corrections, **how):
    return fix(folder, corrections, model=backbone(), **QUIET, **how)


def test_mistakes_are_corrected_and_earlier_numbers_keep_their_bits(saved):
    base = dict(TunedPrompt.load(saved).prompt.state_dict())
    first, second = turned(saved, rows(12, 1)), rows(40, 2)[20:28]
    found = fixed(saved, first, steps=40)
    assert (found.mistakes, found.right) == (12, 0)
    assert found.corrected >= 11
    assert (
        sum(label == row["label"] for label, row in zip(answers(saved, first), first, strict=True)) == found.corrected
    )
    once = dict(TunedPrompt.load(saved).prompt.state_dict())
    assert all(torch.equal(once[f"base.{name}"], value) for name, value in base.items())
    again = fixed(saved, turned(saved, second))
    twice = dict(TunedPrompt.load(saved).prompt.state_dict())
    assert again.corrected >= 7
    assert all(torch.equal(twice[name], value) for name, value in once.items())
    assert {name.split(".")[1] for name in twice.keys() - once.keys()} == {"1"}
    assert [each["rows"] for each in again.tuned.record["fixes"]] == [12, 8]


def test_rolled_back_bit_by_bit(saved):
    before = files_of(saved)
    fixed(saved, turned(saved, rows(6, 1)))
    between = files_of(saved)
    assert between != before
    fixed(saved, turned(saved, rows(6, 2)))
    roll_back(saved)
    assert files_of(saved) == between
    roll_back(saved)
    assert files_of(saved) == before
    with pytest.raises(CuetuneError, match="nothing was fixed in it"):
        roll_back(saved)


def test_a_folder_that_was_altered_is_not_rolled_back(saved):
    fixed(saved, turned(saved, rows(4, 1)))
    tuned = TunedPrompt.load(saved)
    with torch.no_grad():
        tuned.prompt.base.embeddings.add_(1)
    tuned.save(saved, overwrite=True)
    whole = files_of(saved)
    with pytest.raises(CuetuneError, match="not the prompt that was fixed"):
        roll_back(saved)
    assert files_of(saved) == whole


def traces(text: str, label: str) -> dict[str, bytes]:
    """Every form in which a text could lie in a file: its words, its tokens, and what it could be looked up by."""
    tokenizer = backbone().tokenizer
    ids = tokenizer(text)["input_ids"]
    forms = {"text": text.encode(), "utf-16": text.encode("utf-16-le"), "base64": base64.b64encode(text.encode())}
    forms |= {f"words {number}": word.encode() for number, word in enumerate(text.split()) if len(word) > 5}
    forms |= {f"ids {kind}": np.array(ids[:6], kind).tobytes() for kind in ("<i8", "<i4", "<i2", "<f4")}
    forms["ids json"] = json.dumps(ids[:6])[1:-1].encode()
    example = TASK.example(next(read_rows([{"text": text, "label": label}])))
    said = [text, text_key(example), text.lower(), json.dumps([{"text": text}, label], sort_keys=True)]
    for number, words in enumerate(said):
        for name in ("md5", "sha1", "sha256", "blake2b"):
            found = hashlib.new(name, words.encode())
            forms |= {f"{name} {number}": found.digest()[:8], f"{name} hex {number}": found.hexdigest()[:16].encode()}
        forms[f"crc {number}"] = f"{zlib.crc32(words.encode()):08x}".encode()
    return forms


def test_nothing_of_the_rows_is_kept(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("CUETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    private = [f"Zyzanna{n} Quokkovich phoned wumpletree {n}{n} about xylorimba{n}" for n in range(7)]
    corrections = turned(saved, [{"text": text, "label": "pos"} for text in private])
    data = write_csv(tmp_path / "private-names.csv", corrections)
    found = fixed(saved, data, eval_data=rows(10, 3))
    assert found.corrected >= 6
    PromptLibrary(tmp_path / "library").add(saved)
    data.unlink()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path).parts[0] for path in kept} >= {"kept", "library"}
    for path, content in kept.items():
        assert b"private-names" not in content, path
        for row in corrections:
            for form, trace in traces(**row).items():
                assert trace not in content, (path, form)
    planted = saved.parent / "planted"  # the search finds what is there
    planted.write_bytes(hashlib.sha256(private[3].encode()).digest())
    assert any(trace in planted.read_bytes() for trace in traces(private[3], "pos").values())


def test_no_key_is_a_row_s_query(saved):
    corrections = turned(saved, rows(3, 1))
    prompt = fixed(saved, corrections).tuned.prompt
    reader = Predictor(backbone(), TASK, prompt.base)
    queries = queries_for(reader, [TASK.example(row) for row in read_rows(corrections)])
    (only,) = prompt.each
    whitened = F.normalize((queries - only.centre) @ only.whitening.T, dim=-1)
    cosines = whitened @ F.normalize(only.keys, dim=-1).T
    assert cosines.max() < 0.8
    assert torch.cat(prompt.weights_at(queries), dim=1).amax(dim=1).min() > 0.99


def test_what_is_right_already_is_counted_and_stays_right(saved):
    mistakes = turned(saved, rows(6, 1))
    more = rows(20, 5)[10:]
    right = [{**row, "label": label} for row, label in zip(more, answers(saved, more), strict=True)]
    found = fixed(saved, [*mistakes, *right, mistakes[0]])
    assert (found.mistakes, found.right) == (6, 10)
    assert found.kept == sum(a == row["label"] for a, row in zip(answers(saved, right), right, strict=True))
    assert found.tuned.record["fixes"] == [
        {
            "created": found.tuned.record["created"],
            "rows": 6,
            "corrected": found.corrected,
            "right": 10,
            "kept": found.kept,
        }
    ]


def test_held_out_rows_are_scored_before_and_after_without_the_corrections(saved):
    mistakes, others = turned(saved, rows(6, 1)), rows(40, 7)[20:]
    then = answers(saved, others)
    found = fixed(saved, mistakes, eval_data=[*others, *mistakes])
    now = answers(saved, others)
    assert found.evaluation.rows == 20
    scores = {name: each.scores["accuracy"].value for name, each in found.evaluation.results.items()}
    truth = [row["label"] for row in others]
    for name, given in (("before", then), ("corrected", now)):
        assert scores[name] == pytest.approx(sum(a == b for a, b in zip(given, truth, strict=True)) / 20)
    assert found.changed.answers == sum(a != b for a, b in zip(then, now, strict=True))
    assert found.changed.to_right - found.changed.to_wrong == round(20 * (scores["corrected"] - scores["before"]))
    assert TunedPrompt.load(saved).record["scored_rows"] == 20


def test_saved_elsewhere_the_former_prompt_stays(saved, tmp_path):
    before = files_of(saved)
    fixed(saved, turned(saved, rows(4, 1)), to=tmp_path / "other")
    assert files_of(saved) == before
    with pytest.raises(CuetuneError, match="exists already"):
        fixed(saved, turned(saved, rows(4, 1)), to=tmp_path / "other")
    roll_back(tmp_path / "other", to=tmp_path / "mood")
    assert files_of(tmp_path / "mood") == before
    assert isinstance(TunedPrompt.load(tmp_path / "other").prompt, CorrectedPrompt)


class Stops:
    """Ends a run in the middle of it."""

    def __init__(self, how) -> None:
        self.how = how

    def start(self, total, done): ...
    def validation(self, step, scores, best): ...
    def stop(self): ...

    def step(self, step, values):
        if step == 3:
            self.how()


def interrupt():
    raise KeyboardInterrupt


def test_a_stopped_fix_leaves_the_former_prompt_and_nothing_else(saved, tmp_path):
    before, corrections = files_of(saved), turned(saved, rows(6, 1))
    with pytest.raises(KeyboardInterrupt):
        fix(saved, corrections, model=backbone(), log=lambda line: None, reporters=[Stops(interrupt)])
    assert files_of(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == ["mood"]


@pytest.mark.parametrize("when", ["learning", "saving"])
def test_a_killed_fix_leaves_the_former_prompt(saved, monkeypatch, when):
    before, corrections = files_of(saved), turned(saved, rows(6, 1))

    def kill(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    frozen, reporters = backbone(), [Stops(kill)] if when == "learning" else []
    if when == "saving":
        monkeypatch.setattr("cuetune.support.files._swap", kill)
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)  # the parent's threads are not there
            fix(saved, corrections, model=frozen, log=lambda line: None, reporters=reporters)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert files_of(saved) == before
    assert answers(saved, rows(4)) == answers(saved, rows(4))
    words = [row["text"].encode() for row in corrections]
    left = [path.read_bytes() for path in saved.parent.rglob("*") if path.is_file()]
    assert not any(text in content for text in words for content in left)


def test_bad_corrections_change_nothing(saved, tmp_path):
    before, good = files_of(saved), turned(saved, rows(2, 1))
    empty = tmp_path / "empty.csv"
    empty.write_text("text,label\n")
    right = [{**row, "label": label} for row, label in zip(rows(3), answers(saved, rows(3)), strict=True)]
    twice = [{"text": "One  two", "label": "pos"}, {"text": "one two", "label": "neg"}]
    for corrections, said in (
        (
            [{"text": "good", "label": "fine"}],
            r"rows\[0\], column 'label': unknown label 'fine'; expected one of 'pos'",
        ),
        (twice, r"rows\[1\]: corrects to 'neg' what rows\[0\] corrects to 'pos'; decide which is right"),
        ([{"text": "good"}], r"rows\[0\]: no column 'label' \(found: 'text'\)"),
        ([{"label": "pos"}], r"rows\[0\]: no column 'text'"),
        ([], "no corrections; give rows with a text and the label"),
        (empty, "empty.csv: no rows"),
        (right, "all 3 corrections are answered right already; there is nothing to fix"),
    ):
        with pytest.raises(CuetuneError, match=said) as raised:
            fixed(saved, corrections)
        assert "two" not in str(raised.value)
        assert files_of(saved) == before
    with pytest.raises(CuetuneError, match="every held-out row is among the corrections"):
        fixed(saved, good, eval_data=good)
    with pytest.raises(CuetuneError, match="made for tiny-llama"):
        fix(saved, good, model=backbone("gpt2"), **QUIET)
    assert files_of(saved) == before


def test_prompts_that_take_no_corrections(saved, tmp_path):
    good, tuned = turned(saved, rows(2, 1)), TunedPrompt.load(saved)
    head = Head("last", torch.zeros(2, 32), torch.zeros(2))
    replace(tuned, head=head).save(tmp_path / "head")
    replace(tuned, task=Task(template="{text}", name="free")).save(tmp_path / "free")
    for folder, said in (("head", "read by a trained head"), ("free", "writes free text")):
        with pytest.raises(CuetuneError, match=said):
            fixed(tmp_path / folder, good)
    entry = PromptLibrary(tmp_path / "library").add(saved)
    with pytest.raises(CuetuneError, match="versions never change; give --to FOLDER"):
        fixed(tmp_path / "library" / entry.path, good)
    fixed(tmp_path / "library" / entry.path, good, to=tmp_path / "out")
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(CuetuneError, match=r"holds 'notes.txt'"):
        fixed(saved, good)
