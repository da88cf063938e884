"""Instruction search: a model writes instructions, the frozen backbone says which of them work on training rows.

APE (Zhou et al. 2023): from examples of what is wanted, then variations of the best. OPRO (Yang et al. 2023): from
earlier instructions and their scores, step by step. Both score alike, and the best few meet on the validation rows.
"""

from typing import Annotated, Any

from pydantic import Field

from cuetune.data.row import Example
from cuetune.methods.calls import CallLog, Prices
from cuetune.methods.endpoint import Endpoint
from cuetune.methods.instruction_contest import FINALISTS, LONGEST, Contest
from cuetune.methods.meta_prompts import better_than, from_examples, in_other_words
from cuetune.methods.proposers import BackboneProposer, EndpointProposer, Proposer
from cuetune.methods.searching import Found, SearchJob
from cuetune.prompts.words import choose

MOST = 16  # times the rows of the first stage are scored at most

Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Price = Annotated[float | None, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]


def ape(
    job: SearchJob,
    *,
    requests: Size = 6,
    proposals: Size = 8,
    demonstrations: Size = 6,
    rows: Size = 16,
    rounds: Count = 1,
    endpoint: str | None = None,
    proposer_model: str = "",
    proposer_key: str | None = None,
    budget: Size | None = None,
    price_in: Price = None,
    price_out: Price = None,
    reply_tokens: Size = 1024,
    timeout: Seconds = 60.0,
    retries: Count = 5,
) -> Found:
    """Instructions guessed from examples, then variations of the best (Zhou et al. 2023, algorithm 1).

    requests: sets of `demonstrations` solved training rows; for each, `proposals` instructions are written. All are
    scored on `rows` training rows; the better half goes on to twice as many, until four are left. rounds: times that
    these and the task's own instruction are said in other words and the field is halved again.
    endpoint: base URL of the model that writes, called `proposer_model`; None for the backbone itself. proposer_key:
    NAME of the environment variable with the key. budget: calls at most, retries included; else the user is asked.
    price_in, price_out: dollars per million tokens. reply_tokens: longest reply. timeout: seconds for a reply.
    """
    options: dict[str, Any] = {
        "method": "ape",
        "requests": requests,
        "proposals": proposals,
        "demonstrations": demonstrations,
        "rows": rows,
    }
    proposer = _proposer(
        job, endpoint, proposer_model, proposer_key, budget, Prices(price_in, price_out), reply_tokens, timeout, retries
    )
    shown = [_drawn(job, demonstrations, number) for number in range(requests)]
    asked = [from_examples(job.task, each) for each in shown]
    later = [in_other_words("word " * LONGEST)] * (FINALISTS * rounds)
    options |= {"rounds": rounds, "writer": [endpoint, proposer_model, reply_tokens if endpoint else 0]}
    contest = Contest(job, proposer, options, sum(shown, []), MOST * rows)

    def search() -> list[str]:
        proposer.prepare([*asked, *later], job.log)
        written = [text for request in asked for text in contest.propose(request, proposals)]
        best = contest.halve([*contest.first, *written], rows)
        contest.step_done(1)
        for number in range(rounds):
            parents = list(dict.fromkeys([*best[: FINALISTS - len(contest.first)], *contest.first]))
            varied = [text for parent in parents for text in contest.propose(in_other_words(parent), proposals)]
            best = contest.halve([*best, *varied], rows)
            contest.step_done(number + 2)
        return best

    return contest.run(search, rounds + 1)


def opro(
    job: SearchJob,
    *,
    steps: Size = 12,
    proposals: Size = 8,
    history: Size = 20,
    exemplars: Size = 3,
    rows: Size = 64,
    endpoint: str | None = None,
    proposer_model: str = "",
    proposer_key: str | None = None,
    budget: Size | None = None,
    price_in: Price = None,
    price_out: Price = None,
    reply_tokens: Size = 1024,
    timeout: Seconds = 60.0,
    retries: Count = 5,
) -> Found:
    """Instructions written from earlier ones and their scores, worst first (Yang et al. 2023, section 4).

    Each of `steps` requests shows the best `history` instructions so far and `exemplars` solved training rows, and asks
    for `proposals` better ones, which are scored on the same `rows` training rows. The other options are as in `ape`.
    """
    options: dict[str, Any] = {
        "method": "opro",
        "steps": steps,
        "proposals": proposals,
        "history": history,
        "exemplars": exemplars,
        "rows": rows,
    }
    proposer = _proposer(
        job, endpoint, proposer_model, proposer_key, budget, Prices(price_in, price_out), reply_tokens, timeout, retries
    )
    shown = [_drawn(job, exemplars, number) for number in range(steps)]
    longest = [better_than(job.task, [("word " * LONGEST, 0.5)] * history, each) for each in shown]
    options |= {"writer": [endpoint, proposer_model, reply_tokens if endpoint else 0]}
    contest = Contest(job, proposer, options, sum(shown, []), rows)

    def search() -> list[str]:
        proposer.prepare(longest, job.log)
        tried = list(contest.first)
        contest.measure(tried, rows)
        for step, each in enumerate(shown):
            best = contest.ranked(tried)[:history]
            request = better_than(job.task, [(text, contest.score(text)) for text in best], each)
            written = contest.propose(request, proposals)
            contest.measure(written, rows)
            tried += written
            contest.step_done(step + 1)
            if contest.spent:
                break
        return contest.ranked(tried)[:FINALISTS]

    return contest.run(search, steps)


def _drawn(job: SearchJob, n: int, number: int) -> list[Example]:
    """Solved training rows to show: as many of each label as n allows."""
    return choose(job.train, min(n, len(job.train)), seed=job.seed * 1_000_003 + number)


def _proposer(
    job: SearchJob,
    endpoint: str | None,
    model: str,
    key: str | None,
    budget: int | None,
    prices: Prices,
    reply_tokens: int,
    timeout: float,
    retries: int,
) -> Proposer:
    """Who writes: the backbone, or the endpoint where one is given."""
    if endpoint is None:
        return BackboneProposer(job.backbone, job.seed, LONGEST)
    place = Endpoint(endpoint, model, key, timeout, retries)
    return EndpointProposer(place, CallLog(job.folder), job.backbone.tokenizer, budget, prices, reply_tokens)
