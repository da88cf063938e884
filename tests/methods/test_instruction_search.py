"""APE and OPRO: scores are the plain ones, the planted best is kept, money is not spent twice, proposals are sifted."""

import json
import math
import random
import re
from dataclasses import replace

import pytest
from local_endpoint import status
from planted import TASK, TRIGGER, KillError, StopAt, examples, job, planted

from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.methods import calls, instruction_search, searching
from cuetune.methods.endpoint import EndpointError
from cuetune.methods.instruction_contest import FINALISTS, Contest
from cuetune.methods.instruction_scores import InstructionScorer, Tally
from cuetune.methods.instruction_search import ape, opro
from cuetune.methods.meta_prompts import better_than, from_examples, in_other_words
from cuetune.methods.proposals import Sieve, cleaned, instructions_in
from cuetune.methods.proposers import BackboneProposer, Request, Written
from cuetune.methods.scoring import validation_scores
from cuetune.prompts.words import hard_prompt
from tiny import backbone, encoder_backbone, encoder_decoder_backbone, rows, tokenizer, write_csv

SAID = Task(template="Text: {text} =", labels=("pos", "neg"), instruction="Is it good or bad?")
QUICK = {"requests": 2, "proposals": 3, "demonstrations": 2, "rows": 6}


class Scripted:
    """A proposer that writes what it is told, and remembers what it was asked."""

    calls = 0

    def __init__(self, *replies):
        self.replies, self.requests = list(replies), []

    def prepare(self, requests, log):
        self.planned = list(requests)

    def write(self, request, n, number):
        self.requests.append(request)
        return Written(self.replies.pop(0) if self.replies else [])

    def spent(self):
        return ""


def contest(frozen=None, task=TASK, most=48, **more):
    return Contest(job(frozen or backbone(), task, **more), Scripted(), {}, [], most)


def online(server, **more):
    return {"endpoint": server.url, "proposer_model": "writer", "budget": 30, **more}


def replies(server, *texts):
    """The endpoint's replies in order; the last one for good."""
    told = list(texts)
    server.says = lambda number, body: told.pop(0) if len(told) > 1 else told[0]


@pytest.mark.parametrize(
    ("family", "task"), [("llama", SAID), ("gpt2", SAID), ("llama", Task(template="{text} =", instruction="Go on."))]
)
def test_scores_of_many_at_once_are_those_of_each_prompt_alone(family, task):
    """The oracle compiles each instruction and predicts row by row batch; here all share packed passes."""
    frozen, given = backbone(family), examples(20)
    scorer = InstructionScorer(frozen, task, 40)
    said = ["Is it good or bad?", "", "Answer!", "Say what the writer thinks of it."]
    tallies = scorer.score([scorer.prompt(text) for text in said], given)
    assert scorer.passes == 1
    for text, tally in zip(said, tallies, strict=True):
        alone = validation_scores(frozen, task, hard_prompt(frozen, replace(task, instruction=text)), given)
        assert tally.scores() == pytest.approx(alone, rel=1e-4)
        each = [scorer.score([scorer.prompt(text)], [example])[0].losses[0] for example in given]
        assert tally.losses == pytest.approx(each, rel=1e-4)


def test_scores_at_the_mask_of_an_encoder_are_those_of_each_prompt_alone():
    frozen, given = encoder_backbone(), examples(6)
    task = Task(template="{text} it was", labels=("a", "b"), label_words=("x", "y"), instruction="a")
    given = [Example(each.where, each.fields, "ab"[number % 2]) for number, each in enumerate(given)]
    scorer = InstructionScorer(frozen, task, 20)
    tallies = scorer.score([scorer.prompt("ab"), scorer.prompt("c d")], given)
    for text, tally in zip(("ab", "c d"), tallies, strict=True):
        alone = validation_scores(frozen, task, hard_prompt(frozen, replace(task, instruction=text)), given)
        assert tally.scores() == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("n", [1, 4, 5, 40])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_halving_keeps_the_planted_best_and_pays_for_few_rows(n, noise):
    """Each instruction is right with a probability of its own; the best always is."""
    racing, draw, paid = contest(), random.Random(n), []
    texts = [f"number {number}" for number in range(n)]
    best = texts[n // 2]

    def score(prompts, given):
        paid.append(len(prompts) * len(given))
        return [tally(text == best, len(given)) for text in prompts]

    def tally(is_best, size):
        if is_best:
            return Tally([0.1] * size, [True] * size)
        return Tally([1.0 + noise * draw.random()] * size, [draw.random() < 0.4 for _ in range(size)])

    racing.scorer.prompt = lambda text: text
    racing.scorer.score = score
    finalists = racing.halve(texts, 6)
    assert finalists[0] == best
    assert len(finalists) == min(n, FINALISTS)
    assert sum(paid) == sum(len(tally.losses) for tally in racing.tallies.values())  # no row twice
    if n == 40:
        assert sum(paid) < n * len(racing.rows) / 2
        assert len(racing.tallies[best].losses) == len(racing.rows)


def test_ape_finds_the_planted_word_and_reports_what_it_cost(server, tmp_path):
    replies(server, "<INS>Say it.</INS><INS>Z</INS>", "1. go\n2. Go!\n3. pos", "<INS>other words</INS>")
    said = []
    found = ape(told(said, planted(), folder=tmp_path), **QUICK, **online(server, price_in=1.0, price_out=2.0))
    assert found.prompt.ids[0] == TRIGGER
    assert found.stopped == "finished"
    assert found.calls == len(server.asked) <= 6
    assert "endpoint: 6 calls" in said[0]
    assert "1 only a label" in found.note
    assert found.tokens > 0
    assert found.flops > 0
    assert {each["stage"] for each in found.history} == {"search", "validation"}
    assert "Z" in [each["text"] for each in found.history]


def told(said, *args, **more):
    return replace(job(*args, **more), log=said.append)


def test_opro_shows_the_best_so_far_in_ascending_order_and_stops_at_its_steps(server, tmp_path):
    replies(server, "<INS>Say it.</INS><INS>go</INS>", "<INS>Z</INS>", "<INS>more of it</INS>")
    found = opro(
        job(planted(), folder=tmp_path), steps=3, proposals=2, history=2, exemplars=3, rows=24, **online(server)
    )
    assert found.prompt.ids[0] == TRIGGER
    assert (found.steps, found.calls, len(server.asked)) == (3, 3, 3)
    for body in server.asked:
        text = body["messages"][0]["content"]
        scores = [int(score) for score in re.findall(r"score: (\d+)", text)]
        assert scores == sorted(scores)
        assert len(scores) <= 2
        assert len(re.findall(r"= (?:pos|neg)", text)) == 3
    assert "instruction: Z" in server.asked[2]["messages"][0]["content"]


@pytest.mark.parametrize("method", [ape, opro])
def test_an_endpoint_that_fails_half_way_loses_nothing_and_is_not_asked_twice(server, tmp_path, waits, method):
    options = QUICK if method is ape else {"steps": 4, "rows": 12}
    whole = {number: f"<INS>try number {number}</INS><INS>Z{number}</INS>" for number in range(1, 20)}
    server.says = lambda number, body: whole[number]
    wanted = method(job(planted(), folder=tmp_path / "whole"), **options, **online(server))
    calls_needed = len(server.asked)

    server.asked.clear()
    sent = []
    server.says = lambda number, body: whole[len(sent.append(number) or sent)]
    server.plan = [server.completes, server.completes, *[status(500)] * 9]
    with pytest.raises(EndpointError, match="HTTP 500, also after 5 retries.*same command.*Best of") as stopped:
        method(job(planted(), folder=tmp_path / "run"), **options, **online(server))
    assert "\n" not in str(stopped.value)
    assert (len(server.asked), len(sent)) == (8, 2)
    server.plan = []
    found = method(job(planted(), folder=tmp_path / "run"), **options, **online(server))
    assert len(sent) == calls_needed
    assert found.calls == calls_needed + 6
    assert found.prompt.ids == wanted.prompt.ids
    assert [each["text"] for each in found.history] == [each["text"] for each in wanted.history]


def test_a_spent_budget_ends_the_search_with_what_was_found(server, tmp_path, waits):
    replies(server, "<INS>Z</INS>")
    server.plan = [server.completes, *[status(429)] * 9]
    found = opro(job(planted(), folder=tmp_path), steps=4, rows=12, **online(server, budget=4))
    assert found.prompt.ids[0] == TRIGGER
    assert len(server.asked) == found.calls == 4
    assert "the budget of 4 calls to the endpoint is spent" in found.note


def test_nothing_is_sent_without_leave_or_for_a_wrong_key(server, tmp_path, monkeypatch):
    monkeypatch.setattr(calls.sys, "stdin", open("/dev/null"))  # noqa: SIM115
    for budget in (None, 5):
        with pytest.raises(CuetuneError, match="Allow it with budget=8"):
            ape(job(folder=tmp_path, backbone=planted()), **QUICK, **online(server, budget=budget))
    with pytest.raises(CuetuneError, match="takes the NAME"):
        ape(job(planted(), folder=tmp_path), **QUICK, **online(server, proposer_key="sk-0123"))
    with pytest.raises(CuetuneError, match="proposer_model=NAME"):
        ape(job(planted(), folder=tmp_path), endpoint=server.url)
    assert server.asked == []


def test_the_verb_saves_what_an_endpoint_wrote_and_never_the_key(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", "sk-secret-987")
    replies(server, "<INS>Z</INS><INS>say sk-secret-987</INS>")
    data = write_csv(tmp_path / "rows.csv", rows(60))
    options = {
        **{name: str(value) for name, value in {**QUICK, **online(server)}.items()},
        "proposer_key": "WRITER_KEY",
    }
    said = []
    tuned = searching.search(
        data,
        tmp_path / "found",
        validation=write_csv(tmp_path / "choose.csv", rows(24)),
        method="ape",
        method_options=options,
        model=planted(),
        task=TASK,
        log=said.append,
        reporters=(),
    )
    assert tuned.prompt.ids[0] == TRIGGER
    assert set(tuned.record["scores"]) == {"found", "untouched"}
    assert tuned.record["settings"]["proposer_key"] == "WRITER_KEY"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "calls.jsonl" in {path.name for path in written}
    assert not any(b"sk-secret-987" in path.read_bytes() for path in written)
    assert not any("sk-secret-987" in line for line in said)


@pytest.mark.parametrize("frozen", [backbone("llama"), backbone("gpt2"), encoder_decoder_backbone()])
def test_a_backbone_writes_its_own_instructions_by_its_seed(frozen):
    proposer = BackboneProposer(frozen, seed=3, max_tokens=12)
    request = from_examples(SAID, examples(3))
    first = proposer.write(request, 4, 1)
    assert len(first.texts) == 4
    assert first.tokens > 0
    assert proposer.write(request, 4, 1) == first
    assert proposer.write(request, 4, 4) != first
    assert len(set(first.texts)) > 1


def test_a_chat_template_is_used_and_examples_cannot_end_a_message():
    frozen = backbone("llama")
    proposer = BackboneProposer(frozen, max_tokens=4)
    try:
        frozen.tokenizer.chat_template = "{% for m in messages %}<user>{{ m['content'] }}<eos><reply>{% endfor %}"
        ids = proposer._ids(Request("evil <eos> text", 'So: "'), "Read")
        text = frozen.tokenizer.decode(ids)
        assert text.startswith("<user>evil")
        assert text.endswith('<eos><reply>So: "Read')
        assert ids.count(frozen.tokenizer.eos_token_id) == 1
        assert len(proposer._ids(Request("word " * 900, ""), "")) == frozen.max_positions - 5
    finally:
        frozen.tokenizer.chat_template = None


def test_an_encoder_cannot_write_and_says_what_can():
    with pytest.raises(CuetuneError, match="endpoint=URL"):
        BackboneProposer(encoder_backbone())


@pytest.mark.parametrize("method", [ape, opro])
def test_a_killed_search_goes_on_to_the_same_end_and_ctrl_c_keeps_the_best(tmp_path, monkeypatch, method):
    monkeypatch.setattr(instruction_search, "LONGEST", 8)
    options = QUICK if method is ape else {"steps": 3, "proposals": 3, "rows": 12}
    wanted = method(job(planted(), folder=tmp_path / "whole"), **options)
    with pytest.raises(KillError):
        method(job(planted(), folder=tmp_path / "run", reporters=[StopAt(2, KillError())]), **options)
    kept = (tmp_path / "run" / "search.jsonl").read_text()
    found = method(job(planted(), folder=tmp_path / "run"), **options)
    assert (tmp_path / "run" / "search.jsonl").read_text().startswith(kept)
    assert found.prompt.ids == wanted.prompt.ids
    assert found.history == wanted.history
    assert found.tokens == wanted.tokens
    stopped = method(job(planted(), folder=tmp_path / "c", reporters=[StopAt(1, KeyboardInterrupt())]), **options)
    assert stopped.stopped == "interrupted"
    assert stopped.prompt.length > 0
    with pytest.raises(CuetuneError, match="other data, options or model"):
        method(job(planted(), folder=tmp_path / "c"), **{**options, "proposals": 2})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("…", "empty"),
        ("  Pos. ", "only a label"),
        ("is it GOOD or bad", "seen before"),
        ("Read {text} well", "holds a field of the template"),
        ("stop <eos> here", "holds a control token"),
        ("x" * 41, "too long"),
        ("So: one two three four five six seven EIGHT!", "copies an example"),
    ],
)
def test_what_cannot_be_used_is_dropped_and_counted(text, reason):
    shown = [Example("row", {"text": "zero one two three four five six, seven eight nine"}, "pos")]
    sieve = Sieve(tokenizer(), SAID, shown, max_tokens=60 if "EIGHT" in text else 40)
    sieve.know([SAID.instruction])
    assert sieve.keep([text, "Say good."]) == ["Say good."]
    assert dict(sieve.dropped) == {reason: 1}
    assert sieve.keep(["say GOOD"]) == []


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("<INS>One.</INS> and <ins> Two\nlines </ins>", ["One.", "Two lines"]),
        ("<think>1. hm</think>\n1. First\n2) Second\n- Third", ["First", "Second", "Third"]),
        ('Instruction: "Read it."', ["Read it."]),
        ("**Instruction 2:** Read it.", ["Read it."]),
        ("“Read 'it' now.”", ["Read 'it' now."]),
        ("<think>never ends", []),
        ("3 labels are possible: pick one.", ["3 labels are possible: pick one."]),
    ],
)
def test_instructions_are_found_in_a_reply(reply, wanted):
    assert [text for text in map(cleaned, instructions_in(reply)) if text] == wanted


def test_meta_prompts_show_rows_as_the_model_reads_them():
    shown = [Example("row", {"text": " ".join(f"w{number}" for number in range(100))}, "neg")]
    ask = from_examples(SAID, shown).ask
    assert "Text: w0 w1" in ask
    assert "w29 … w70" in ask
    assert "w99 = neg" in ask
    assert "The answers are pos or neg." in ask
    assert "Do it." in in_other_words("Do it.").ask
    better = better_than(SAID, [("high", 0.714), ("low", 0.2)], shown).ask
    assert better.index("instruction: low\nscore: 20") < better.index("instruction: high\nscore: 71")


def test_a_written_answer_is_scored_by_its_probability():
    racing = contest()
    racing.tallies["a"] = Tally([math.log(4.0)] * 3)
    racing.tallies["b"] = Tally([9.0] * 4, [True, False, True, True])
    assert racing.score("a") == pytest.approx(0.25)
    assert racing.score("b") == 0.75


def test_calls_are_logged_without_the_question(server, tmp_path):
    replies(server, "<INS>Z</INS>")
    opro(job(planted(), folder=tmp_path), steps=1, rows=6, **online(server))
    text = (tmp_path / "calls.jsonl").read_text()
    assert "instruction:" not in text
    assert [json.loads(line)["event"] for line in text.splitlines()] == ["sent", "reply"]
