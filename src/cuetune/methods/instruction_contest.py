"""The contest of instructions: proposals come in, the better half goes on to more rows, a stopped contest goes on."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from cuetune.cost.meter import matrix_parameters
from cuetune.data.row import Example
from cuetune.errors import CuetuneError
from cuetune.methods.calls import BudgetSpentError
from cuetune.methods.endpoint import EndpointError
from cuetune.methods.instruction_scores import InstructionScorer, Tally
from cuetune.methods.journal import Journal
from cuetune.methods.proposals import Sieve
from cuetune.methods.proposers import Proposer, Request
from cuetune.methods.scoring import rank, validation_scores
from cuetune.methods.searching import Found, SearchJob
from cuetune.prompts.words import choose, hard_prompt
from cuetune.tuning.checkpoint import run_key

LONGEST = 64  # tokens of an instruction
FINALISTS = 4  # meet on the validation rows
AROUND = 8  # tokens between instruction and row, at most


class Contest:
    """What APE and OPRO share: asking, sifting, scoring, halving, choosing, and going on after a stop.

    options: what decides the outcome. shown: the training rows that proposers see. most_rows: training rows to score
    on, at most. `first`: the task's own instruction, which takes part. What costs something goes through `_once` into
    the journal; everything else follows from it.
    """

    def __init__(
        self,
        job: SearchJob,
        proposer: Proposer,
        options: dict[str, Any],
        shown: Sequence[Example],
        most_rows: int,
    ) -> None:
        self.job, self.proposer = job, proposer
        self.rows = choose(job.train, min(most_rows, len(job.train)), how="random", seed=job.seed)
        self.first = [job.task.instruction] if job.task.instruction else []
        self.sieve = Sieve(job.backbone.tokenizer, job.task, shown, LONGEST)
        self.sieve.know(self.first)
        own = len(hard_prompt(job.backbone, job.task).ids)
        self.scorer = InstructionScorer(job.backbone, job.task, max(LONGEST + AROUND, own))
        self.tallies: dict[str, Tally] = {}
        self.history: list[dict[str, Any]] = []
        self.spent = ""  # what ended the calls to an endpoint early, if anything did
        self.n_requests = self._replayed = self._steps = 0
        self.journal = Journal(job.folder, self._key(options))

    def run(self, search: Callable[[], list[str]], steps: int) -> Found:
        """The whole search: `search` gives the finalists; the best of them on the validation rows is found.

        Ctrl-C gives the best so far. Raises EndpointError for an endpoint that does not answer; the journal and the
        replies stay, and the same search goes on from them.
        """
        stopped = "finished"
        for reporter in self.job.reporters:
            reporter.start(steps, 0)
        try:
            best = self.choose(search())
        except KeyboardInterrupt:
            stopped, best = "interrupted", self._best_so_far()
        except EndpointError as error:
            raise EndpointError(f"{error} Best of {len(self.tallies)} so far: {self._best_so_far()!r}.") from error
        finally:
            for reporter in self.job.reporters:
                reporter.stop()
        return self._found(best, stopped)

    def propose(self, request: Request, n: int) -> list[str]:
        """New usable instructions from one request; none when the budget of calls is spent (`spent` then says so)."""
        self.n_requests += 1
        if self.spent:
            return []
        try:
            entry = self._once(f"request {self.n_requests}", lambda: self._write(request, n))
        except BudgetSpentError as error:
            self.spent = str(error)
            return []
        return self.sieve.keep(entry["texts"])

    def measure(self, texts: Sequence[str], rows: int) -> None:
        """Score these instructions on the first `rows` scoring rows, as far as they have not been."""
        done: dict[int, list[str]] = {}
        for text in texts:
            done.setdefault(len(self.tallies.setdefault(text, Tally()).losses), []).append(text)
        for start, behind in sorted(done.items()):
            if start < min(rows, len(self.rows)):
                self._measure(behind, start, rows)

    def halve(self, texts: Sequence[str], rows: int) -> list[str]:
        """The best `FINALISTS` by successive halving: the better half goes on to twice as many rows."""
        going = list(texts)
        while True:
            rows = min(rows, len(self.rows))
            self.measure(going, rows)
            going = self.ranked(going, rows)
            self._say_stage(going, rows)
            if len(going) <= FINALISTS:
                return going
            half = math.ceil(len(going) / 2) if rows < len(self.rows) else FINALISTS
            going, rows = going[: max(FINALISTS, half)], 2 * rows

    def ranked(self, texts: Sequence[str], rows: int | None = None) -> list[str]:
        """Best first by accuracy, then loss, on the first `rows` scoring rows; the first of equals stays first."""
        return sorted(texts, key=lambda text: rank(self.tallies[text].scores(rows)), reverse=True)

    def score(self, text: str) -> float:
        """Between 0 and 1: accuracy, or for written answers the probability of a token of the answer."""
        scores = self.tallies[text].scores()
        return scores.get("accuracy", math.exp(-scores["loss"]))

    def choose(self, finalists: Sequence[str]) -> str:
        """The best of the finalists on the validation rows."""
        if not finalists:
            return ""
        entry = self._once("validation", lambda: {"scores": {text: self._validated(text) for text in finalists}})
        best = max(finalists, key=lambda text: rank(entry["scores"][text]))
        for reporter in self.job.reporters:
            reporter.validation(self._steps, entry["scores"][best], True)
        self._remember("validation", len(self.job.validation), entry["scores"])
        return best

    def step_done(self, step: int) -> None:
        """Tell the reporters."""
        self._steps = step
        if not self.tallies:
            return
        for reporter in self.job.reporters:
            reporter.step(step, {"loss": self.tallies[self._best_so_far()].scores()["loss"]})

    def _write(self, request: Request, n: int) -> dict[str, Any]:
        written = self.proposer.write(request, n, self.n_requests)
        return {"texts": written.texts, "tokens": written.tokens}

    def _measure(self, texts: Sequence[str], start: int, rows: int) -> None:
        def score() -> dict[str, Any]:
            prompts = [self.scorer.prompt(text) for text in texts]
            before = self.scorer.tokens, self.scorer.passes
            tallies = self.scorer.score(prompts, self.rows[start:rows])
            cost = {"tokens": self.scorer.tokens - before[0], "passes": self.scorer.passes - before[1]}
            return {**cost, "tallies": [vars(tally) for tally in tallies]}

        entry = self._once(f"rows {start + 1} to {min(rows, len(self.rows))} of {len(texts)} instructions", score)
        for text, tally in zip(texts, entry["tallies"], strict=True):
            self.tallies[text].add(**tally)
        self._remember("search", rows, {text: self.tallies[text].scores() for text in texts})

    def _validated(self, text: str) -> dict[str, float]:
        return validation_scores(self.job.backbone, self.job.task, self.scorer.prompt(text), self.job.validation)

    def _once(self, what: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `compute` gives, or gave in an earlier session."""
        if self._replayed == len(self.journal.entries):
            started = time.perf_counter()
            entry = compute()
            self.journal.add({"what": what, **entry, "seconds": time.perf_counter() - started})
        entry = self.journal.entries[self._replayed]
        if entry.get("what") != what:
            raise CuetuneError(f"{self.job.folder}: its journal does not fit this search; start over with --restart.")
        self._replayed += 1
        return entry

    def _remember(self, stage: str, rows: int, scores: dict[str, dict[str, float]]) -> None:
        for text, each in scores.items():
            step = len(self.history) + 1
            self.history.append({"step": step, "stage": stage, "rows": min(rows, len(self.rows)), "text": text, **each})

    def _best_so_far(self) -> str:
        """The best of those that were scored on most rows."""
        scored = [text for text, tally in self.tallies.items() if tally.losses]
        most = max((len(self.tallies[text].losses) for text in scored), default=0)
        best = self.ranked([text for text in scored if len(self.tallies[text].losses) == most])
        return next(iter(best), self.job.task.instruction)

    def _say_stage(self, texts: Sequence[str], rows: int) -> None:
        if not texts:
            return
        shown = ", ".join(f"{name} {value:.3f}" for name, value in self.tallies[texts[0]].scores(rows).items())
        self.job.log(f"{len(texts)} instructions on {rows} rows, the best: {texts[0]!r} ({shown})")

    def _found(self, best: str, stopped: str) -> Found:
        entries = self.journal.entries
        tokens = sum(entry.get("tokens", 0) for entry in entries)
        prompt = self.scorer.prompt(best) if best else self.job.start
        return Found(
            prompt,
            self.history,
            steps=self._steps,
            tokens=tokens,
            flops=2.0 * matrix_parameters(self.job.backbone) * tokens,
            seconds=sum(entry["seconds"] for entry in entries),
            calls=self.proposer.calls,
            stopped=stopped,
            note=self._note(),
        )

    def _note(self) -> str:
        passes = sum(entry.get("passes", 0) for entry in self.journal.entries)
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.sieve.dropped.most_common())
        parts = [f"{len(self.tallies)} instructions scored in {passes} passes"]
        parts += [f"dropped: {dropped}"] if dropped else []
        parts += [part for part in (self.proposer.spent(), self.spent) if part]
        return "; ".join(part.rstrip(".") for part in parts) + "."

    def _key(self, options: dict[str, Any]) -> str:
        return run_key(
            task=self.job.task.to_dict(),
            options={**options, "seed": self.job.seed},
            backbone=self.job.backbone.identity.to_dict(),
            data=self.job.data_key,
            dtype=str(self.job.backbone.dtype),
        )
