"""Encoder-decoder models against the unwrapped model of transformers, fed `[prompt ; text ; end]` as embeddings."""

from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface
from transformers.modeling_outputs import BaseModelOutput

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.encoder_decoder import EncoderDecoderBackbone
from cuetune.backbones.generation import Writing, generate
from cuetune.backbones.injection import Injection
from cuetune.backbones.registry import load_backbone
from cuetune.data.row import Example, Row
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.readouts import GeneratedText, LabelWords, TextHead, readout_for
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import ENCODER_DECODERS, LAYERS, WIDTH, encoder_decoder, encoder_decoder_backbone, rows, tokenizer_of

few = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
token_rows = st.lists(st.lists(st.integers(2, 250), min_size=1, max_size=10), min_size=1, max_size=4)
shared_text = st.lists(st.integers(2, 250), max_size=3)
families = pytest.mark.parametrize("family", ENCODER_DECODERS)
TASK = Task(labels=("pos", "neg"))


@cache
def bare(family: str):
    """The same weights, never wrapped."""
    return encoder_decoder(family)


@cache
def around(family: str) -> tuple[list[int], list[int]]:
    """The decoder's first tokens and the encoder's last ones, spelled out here for each family."""
    own = tokenizer_of(family)
    return ([1, own.cls_token_id], [own.sep_token_id]) if family == "bart" else ([0], [1])


def random_prompt(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.5


def random_kv(length: int, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {n: tuple(torch.randn(4, length, 8, generator=generator) for _ in "kv") for n in range(LAYERS)}


def padded(family: str, prompts: list[torch.Tensor], rows: list[list[int]], answers: list[list[int]]) -> torch.Tensor:
    """(B, V) logits behind each answer, from one padded batch whose padding is noise."""
    (start, end), table = around(family), bare(family).get_input_embeddings()
    whole = [torch.cat([p, table(torch.tensor(row + end))]) for p, row in zip(prompts, rows, strict=True)]
    width, longest = max(map(len, whole)), max(map(len, answers))
    batch = torch.stack([torch.cat([each, torch.randn(width - len(each), WIDTH)]) for each in whole])
    mask = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in whole])
    decoder = torch.tensor([start + answer + [7] * (longest - len(answer)) for answer in answers])
    logits = bare(family)(inputs_embeds=batch, attention_mask=mask, decoder_input_ids=decoder).logits
    return torch.stack([logits[n, len(start) - 1 + len(answer)] for n, answer in enumerate(answers)])


def at_the_end(given_rows: list[list[int]], shared: list[int] = ()) -> TokenBatch:
    """Rows of which the state before the first token of an answer is wanted."""
    plain = TokenBatch.of(given_rows, shared)
    return TokenBatch(plain.ids, plain.lengths, torch.tensor(plain.lengths).cumsum(0) - 1, plain.shared)


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def logits(family: str, rows: TokenBatch, injection: Injection) -> torch.Tensor:
    frozen = encoder_decoder_backbone(family)
    return frozen.logits(frozen.hidden(rows, injection))


@families
@few
@given(rows=token_rows, shared=shared_text, length=st.integers(0, 7))
def test_a_batch_equals_the_stock_one(family, rows, shared, length):
    prompt = random_prompt(length)
    injection = Injection(tokens={0: prompt} if length else {})
    with torch.no_grad():
        wanted = padded(family, [prompt] * len(rows), [shared + row for row in rows], [[]] * len(rows))
        assert error(logits(family, at_the_end(rows, shared), injection), wanted) < 1e-5
        compiled = encoder_decoder_backbone(family).compile(injection)
        alone = torch.cat([logits(family, at_the_end([shared + row]), compiled) for row in rows])
        assert error(alone, wanted) < 1e-5


@families
def test_mixed_and_per_row_prompts_equal_each_alone(family):
    frozen, some = encoder_decoder_backbone(family), [[5, 6, 7], [8], [9, 10, 11, 12]]
    prompts = [random_prompt(4, seed) for seed in range(3)]
    with torch.no_grad():
        wanted = padded(family, prompts, some, [[]] * 3)
        assert error(logits(family, at_the_end(some), Injection(tokens={0: torch.stack(prompts)})), wanted) < 1e-5
        parts = [(at_the_end([row]), Injection(tokens={0: p})) for row, p in zip(some, prompts, strict=True)]
        assert error(frozen.logits(torch.cat(frozen.hidden_mixed(parts))), wanted) < 1e-5


class PlainPrefix:
    """Attention of one row over `kv` and its own keys, the bias by distance on its own keys only."""

    def __init__(self, kv: dict) -> None:
        self.kv, self.called = kv, 0

    def __call__(self, module, query, key, value, attention_mask, scaling=None, position_bias=None, **kwargs):
        before_k, before_v = self.kv[self.called]
        self.called += 1
        own = query @ key.transpose(2, 3) * scaling
        own = own if position_bias is None else own + position_bias
        scores = torch.cat([query @ before_k[None].transpose(2, 3) * scaling, own], dim=-1)
        return (scores.softmax(-1) @ torch.cat([before_v[None], value], dim=2)).transpose(1, 2), None


def with_prefix(family: str, kv: dict, rows: list[list[int]]) -> torch.Tensor:
    start, end = around(family)
    other, answers = encoder_decoder(family), []
    for row in rows:
        AttentionInterface.register("plain_prefix", PlainPrefix(kv))
        other.set_attn_implementation("plain_prefix")
        states = other.get_encoder()(input_ids=torch.tensor([row + end])).last_hidden_state
        other.set_attn_implementation("sdpa")
        encoded = BaseModelOutput(last_hidden_state=states)
        answers.append(other(encoder_outputs=encoded, decoder_input_ids=torch.tensor([start])).logits[0, -1])
    return torch.stack(answers)


@families
@few
@given(rows=token_rows, length=st.integers(1, 7))
def test_keys_and_values_stand_before_every_row_of_the_encoder(family, rows, length):
    kv = random_kv(length)
    with torch.no_grad():
        wanted = with_prefix(family, kv, rows)
        assert error(logits(family, at_the_end(rows), Injection(kv=kv)), wanted) < 1e-5
        compiled = encoder_decoder_backbone(family).compile(Injection(kv=kv))
        assert error(logits(family, at_the_end(rows), compiled), wanted) < 1e-5
        longer = {n: tuple(torch.cat([part, part], 1).expand(len(rows), -1, -1, -1) for part in kv[n]) for n in kv}
        cut = Injection(kv=longer, lengths=torch.full((len(rows),), length))
        assert error(logits(family, at_the_end(rows), cut), wanted) < 1e-5


def loss_of(answers: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(answers, torch.arange(len(answers)) % answers.shape[-1])


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@families
def test_loss_and_gradients_equal_the_stock_ones(family, checkpointing):
    frozen, some = encoder_decoder_backbone(family), [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    theirs, ours = (random_prompt(5).requires_grad_() for _ in range(2))
    their_kv, our_kv = ({n: tuple(p.requires_grad_() for p in pair) for n, pair in random_kv(4).items()} for _ in "ab")
    wanted = [loss_of(padded(family, [theirs] * 3, some, [[]] * 3)), loss_of(with_prefix(family, their_kv, some))]
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    injections = Injection(tokens={0: ours}), Injection(kv=our_kv)
    losses = [loss_of(logits(family, at_the_end(some), injection)) for injection in injections]
    for loss in (*wanted, *losses):
        loss.backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    assert torch.allclose(torch.stack(losses), torch.stack(wanted), rtol=1e-5)
    mine, expected = (torch.stack([part.grad for n in kv for part in kv[n]]) for kv in (our_kv, their_kv))
    for grad, true in ((ours.grad, theirs.grad), (mine, expected)):
        assert (grad - true).norm() < 1e-5 * true.norm()


@families
def test_tokens_of_every_layer_replace_those_of_the_layer_below(family):
    some, states = [[5, 6, 7], [8, 9, 10, 11, 12]], {layer: random_prompt(4, layer) for layer in range(LAYERS)}
    other = encoder_decoder(family)

    def replace(layer):
        def hook(module, args, kwargs):
            return (torch.cat([states[layer][None], args[0][:, 4:]], dim=1), *args[1:]), kwargs

        return hook

    for layer, module in enumerate(compat.layers_of(other.get_encoder(), LAYERS)):
        if layer:
            module.register_forward_pre_hook(replace(layer), with_kwargs=True)
    (start, end), table, wanted = around(family), other.get_input_embeddings(), []
    with torch.no_grad():
        for row in some:
            embedded = torch.cat([states[0], table(torch.tensor(row + end))])[None]
            wanted.append(other(inputs_embeds=embedded, decoder_input_ids=torch.tensor([start])).logits[0, -1])
        assert error(logits(family, at_the_end(some), Injection(tokens=states)), torch.stack(wanted)) < 1e-5


@pytest.mark.parametrize("family", ["t5", "flan-t5"])
def test_below_the_layer_where_a_prompt_enters_the_text_is_alone(family):
    """Where positions are relative, its states there are those of the text without any prompt."""
    text = [5, 6, 7, 8]
    ours = encoder_decoder_backbone(family).layer_inputs(text, Injection(tokens={2: random_prompt(3)}))
    with torch.no_grad():
        stock = bare(family).get_encoder()(input_ids=torch.tensor([text]), output_hidden_states=True).hidden_states
    for layer in (1, 2):
        assert error(ours[layer][3:], stock[layer][0]) < 1e-5


@families
def test_wrapping_changes_no_output_of_the_model(family):
    given_ids = {"input_ids": torch.tensor([[5, 6, 7, 8]]), "decoder_input_ids": torch.tensor([[0, 9]])}
    with torch.no_grad():
        ours, theirs = (each(**given_ids).logits for each in (encoder_decoder_backbone(family).model, bare(family)))
    assert torch.equal(ours, theirs)


def examples() -> list[Example]:
    texts = ["good xx", "it was bad and long, the longest of all", "é"]
    return [Example(f"row {n}", {"text": text}, None) for n, text in enumerate(texts)]


@families
@pytest.mark.parametrize(
    "words",
    [[" pos", " neg"], [" not", " not sure", " very good", " very bad", "x"], ["a", "ab", "abc", "b"]],
    ids=["one token", "several tokens", "chain of prefixes"],
)
@pytest.mark.parametrize("scoring", ["walk", "vocabulary"])
def test_label_scores_equal_brute_force(family, words, scoring):
    """Every label spelled out in a pass of its own; closed by the end token where one begins another.

    Each token is normalised among those that some label goes on with, or among the whole vocabulary.
    """
    frozen, own = encoder_decoder_backbone(family), tokenizer_of(family)
    task = Task(labels=tuple(f"label {n}" for n in range(len(words))), label_words=tuple(words), scoring=scoring)
    prompt = random_prompt(3)
    predictor = Predictor(frozen, task, SoftPrompt(prompt))
    predicted = torch.tensor([each.probabilities for each in predictor.predict(examples())])
    spelled = [own(word, add_special_tokens=False)["input_ids"] for word in words]
    if "a" in words or " not" in words:
        spelled = [word + [own.eos_token_id] for word in spelled]
    scores = []
    with torch.no_grad():
        for row in predictor.renderer.render(examples()):
            text = predictor.renderer.shared + row.ids
            for word in spelled:
                total = torch.zeros(())
                for i, token in enumerate(word):
                    logits = padded(family, [prompt], [text], [word[:i]])[0]
                    can_follow = sorted({other[i] for other in spelled if other[:i] == word[:i]})
                    among = can_follow if scoring == "walk" else list(range(len(logits)))
                    total += logits[token] - logits[among].logsumexp(0)
                scores.append(total)
    logs = torch.stack(scores).view(-1, len(words))
    wanted = logs.exp() if scoring == "walk" else logs.softmax(-1)
    assert torch.allclose(predicted, wanted, atol=2e-5)


@families
def test_written_targets_have_the_stock_loss(family):
    frozen, task = encoder_decoder_backbone(family), Task()
    prompt, readout = random_prompt(3), readout_for(frozen, Task())
    assert isinstance(readout, GeneratedText)
    renderer = Renderer(frozen.tokenizer, task)
    targets = ["good", "a longer answer"]
    given_rows = [Example("", {"text": text}, target) for text, target in zip(["x", "yy z"], targets, strict=True)]
    rendered = list(renderer.render(given_rows))
    with torch.no_grad():
        packed = readout.rows(rendered, renderer.shared)
        ours = readout.row_losses(frozen, frozen.hidden(packed, Injection(tokens={0: prompt})), rendered)
        wanted = []
        for row, answer in zip(rendered, readout.answers(rendered), strict=True):
            text = renderer.shared + row.ids
            steps = [padded(family, [prompt], [text], [answer[:i]])[0] for i in range(len(answer))]
            wanted.append(torch.nn.functional.cross_entropy(torch.stack(steps), torch.tensor(answer)))
    assert torch.allclose(ours, torch.stack(wanted), rtol=1e-4)


@families
def test_every_row_writes_what_the_stock_model_writes(family):
    frozen, prompt, texts = encoder_decoder_backbone(family), random_prompt(3), [[5, 6, 7], [8, 9, 10, 11, 12]]
    ours = generate(frozen, texts, frozen.compile(Injection(tokens={0: prompt})), Writing(max_tokens=6))
    wanted = []
    for text in texts:
        answer: list[int] = []
        while len(answer) < 6 and (not answer or answer[-1] != 1):
            with torch.no_grad():
                answer.append(padded(family, [prompt], [text], [answer])[0].argmax().item())
        wanted.append(frozen.tokenizer.decode(answer, skip_special_tokens=True))
    assert ours == wanted


@pytest.mark.parametrize("method", ["soft", "prefix", "dept", "p-tuning"])
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_prompts_learn(family, method):
    frozen = encoder_decoder_backbone(family)
    data = [TASK.example(Row(str(n), row)) for n, row in enumerate(rows(24))]
    start = TextStart(frozen, random_prompt(4), "text", 0)
    prompt = TEXT_METHODS[method].build(start, **({"reach": 8} if method == "dept" else {}))
    before = loss_over(frozen, prompt, data)
    options = {"steps": 12, "batch_size": 8, "learning_rate": 0.05, "warmup": 0}
    Tuner(frozen, prompt, TaskData(TASK, data, data), Settings(**options).resolved(frozen, len(data), prompt)).run()
    assert loss_over(frozen, prompt.fold(), data) < before


def loss_over(frozen, prompt, data: list[Example]) -> float:
    predicted = list(Predictor(frozen, TASK, prompt).predict(data))
    chosen = [p.probabilities[TASK.labels.index(e.label)] for p, e in zip(predicted, data, strict=True)]
    return -torch.tensor(chosen).log().mean().item()


def test_a_head_reads_the_decoders_first_state():
    frozen = encoder_decoder_backbone("t5")
    head = TextHead(frozen, TASK)
    ours = list(Predictor(frozen, TASK, SoftPrompt(random_prompt(3)), readout=head).predict(examples()))
    renderer = Renderer(frozen.tokenizer, TASK)
    texts = [renderer.shared + row.ids for row in renderer.render(examples())]
    with torch.no_grad():
        states = frozen.hidden(at_the_end(texts), Injection(tokens={0: random_prompt(3)}))
        wanted = (states @ head.weight.T + head.bias).softmax(-1)
    assert torch.allclose(torch.tensor([each.probabilities for each in ours]), wanted, atol=1e-5)


def test_what_cannot_be_read_is_refused():
    frozen = encoder_decoder_backbone("t5")
    head = TextHead(frozen, TASK, "mean")
    with pytest.raises(CuetuneError, match="pool the last"):
        frozen.hidden(head.rows(list(Renderer(frozen.tokenizer, TASK).render(examples())), ()))
    with pytest.raises(CuetuneError, match="where its answer starts"):
        frozen.hidden(TokenBatch(torch.tensor([5, 6]), [1, 1], torch.tensor([0]), torch.tensor([], dtype=torch.long)))
    with pytest.raises(CuetuneError, match="keeps no states"):
        frozen.states_at(1, TokenBatch.of([[5]]), 2)


@families
def test_a_folder_becomes_the_right_class(family, tmp_path):
    encoder_decoder(family).save_pretrained(tmp_path)
    tokenizer_of(family).save_pretrained(tmp_path)
    frozen = load_backbone(str(tmp_path), dtype="float32", device="cpu")
    assert type(frozen) is EncoderDecoderBackbone
    assert type(readout_for(frozen, TASK)) is LabelWords
    with torch.no_grad():
        ours = frozen.logits(frozen.hidden(at_the_end([[5, 6, 7]])))
        assert error(ours, padded(family, [random_prompt(0)], [[5, 6, 7]], [[]])) < 1e-5
