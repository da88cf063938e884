"""Who writes the instructions: the frozen backbone itself, or a model behind an OpenAI-compatible endpoint."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.data.templating import cut_middle, encode
from cuetune.errors import CuetuneError
from cuetune.methods.calls import CallLog, Estimate, Prices, allowed_calls
from cuetune.methods.endpoint import Client, Endpoint
from cuetune.methods.proposals import instructions_in


@dataclass(frozen=True)
class Request:
    """What is asked for. ask: the question, as to a person. lead: before the answer, which a quotation mark ends."""

    ask: str
    lead: str


# How an instruction may begin. A small model asked for one tends to talk about the examples; these words keep it to the
# point. The last leaves it free.
STARTS = ("Read the text and", "Decide whether the text", "")


@dataclass(frozen=True)
class Written:
    """Texts as they were written, nothing cleaned, and the tokens that went through the backbone for them."""

    texts: list[str]
    tokens: int = 0


class Proposer(ABC):
    """Writes instructions."""

    @property
    def calls(self) -> int:
        """Sent to an endpoint so far, by earlier sessions too."""
        return 0

    def spent(self) -> str:
        """What the calls came to, as a line for a person; "" where none are made."""
        return ""

    @abstractmethod
    def prepare(self, requests: Sequence[Request], log: Callable[[str], Any]) -> None:
        """Told all requests that may come, or ones as long, before the first. Raises CuetuneError if not allowed."""

    @abstractmethod
    def write(self, request: Request, n: int, number: int) -> Written:
        """About n instructions. number: tells the requests of one search apart, and decides what chance decides."""


class BackboneProposer(Proposer):
    """The frozen model writes: n samples in one batch, at temperature 1 without the unlikeliest 5 %.

    A tokenizer with a chat template is asked as a user would ask; any other model continues the text. The request's
    lead and one of `STARTS` in turn begin the answer. What is written follows from `seed` and the request's number.
    Raises CuetuneError for a backbone that cannot write.
    """

    def __init__(self, backbone: TextBackbone, seed: int = 0, max_tokens: int = 64) -> None:
        if not backbone.writes:
            raise CuetuneError(
                f"{backbone.identity.name} is an encoder and writes no instructions; give an endpoint that does "
                "(endpoint=URL, proposer_model=NAME)."
            )
        self.backbone, self.seed, self.max_tokens = backbone, seed, max_tokens

    def prepare(self, requests: Sequence[Request], log: Callable[[str], Any]) -> None:
        log(f"{self.backbone.identity.name} writes the instructions itself, {len(requests)} times asked")

    def write(self, request: Request, n: int, number: int) -> Written:
        begun = STARTS[number % len(STARTS)]
        ids = self._ids(request, begun)
        seed = self.seed * 100_003 + number
        writing = Writing(self.max_tokens, temperature=1.0, top_p=0.95, stop=('"', "\n"), seed=seed)
        texts = generate(self.backbone, [ids] * n, Injection(), writing)
        return Written([begun + text for text in texts], n * (len(ids) + self.max_tokens))

    def _ids(self, request: Request, begun: str) -> list[int]:
        """The request and its answer's beginning as tokens; the middle is cut where the model has too few positions."""
        tokenizer = self.backbone.tokenizer
        ask = self._without_control(request.ask)
        if getattr(tokenizer, "chat_template", None):
            message = [{"role": "user", "content": ask}]
            text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
            text += request.lead + begun
            ids = encode(tokenizer, [text], control_tokens=True, begins=True)[0]
        else:
            text = f"{ask}\n\n{request.lead}{begun}"
            ids = surroundings(tokenizer)[0] + encode(tokenizer, [text], control_tokens=True, begins=True)[0]
        (ids,), _ = cut_middle([ids], self.backbone.max_positions - self.max_tokens - 1)
        return ids

    def _without_control(self, text: str) -> str:
        """The text without what the tokenizer would read as control tokens: examples in it are users' data."""
        for token in self.backbone.tokenizer.all_special_tokens:
            text = text.replace(token, " ")
        return text


class EndpointProposer(Proposer):
    """Another model writes, all n instructions of a request in one call (see `methods.endpoint`).

    budget: calls that may be made, retries and earlier sessions included; None asks the user. tokenizer: only for the
    estimate; the endpoint's own may count otherwise.
    """

    def __init__(
        self, endpoint: Endpoint, log: CallLog, tokenizer: Any, budget: int | None, prices: Prices, reply_tokens: int
    ) -> None:
        self.client = Client(endpoint, log, 0)
        self.tokenizer, self.budget, self.prices, self.reply_tokens = tokenizer, budget, prices, reply_tokens

    @property
    def calls(self) -> int:
        return self.client.log.sent

    def prepare(self, requests: Sequence[Request], log: Callable[[str], Any]) -> None:
        texts = encode(self.tokenizer, [_asked(request, 9) for request in requests], control_tokens=False)
        estimate = Estimate(len(texts), sum(map(len, texts)), len(texts) * self.reply_tokens)
        if self.client.log.sent:
            log(f"endpoint: {len(self.client.log)} replies are at hand and are not asked for again")
        self.client.budget = allowed_calls(estimate, self.budget, self.prices, log)

    def write(self, request: Request, n: int, number: int) -> Written:
        reply = self.client.ask(_asked(request, n), number, self.reply_tokens)
        return Written([text for text in instructions_in(reply.text) if text.strip()])

    def spent(self) -> str:
        log = self.client.log
        dollars = self.prices.dollars(log.tokens_in, log.tokens_out)
        cost = "" if dollars is None else f", ${dollars:.4f}"
        tokens = f"{log.tokens_in:,} tokens in, {log.tokens_out:,} out"
        return f"endpoint: {log.sent} calls ({log.failed} failed), {tokens}{cost}"


def _asked(request: Request, n: int) -> str:
    """The question to a model that follows instructions."""
    return (
        f"{request.ask}\n\nGive {n} different answers, each in one sentence, every one between <INS> and </INS> and "
        "nothing else."
    )
