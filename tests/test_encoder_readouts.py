"""Readouts of encoders against the stock model on whole texts, and a head against its formula."""

import pytest
import torch

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.injection import Injection
from cuetune.data.row import Example, Row
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError
from cuetune.prediction.text import Predictor
from cuetune.prompts import HardPrompt, PrefixPrompt, SoftPrompt
from cuetune.prompts.start_text import TEXT_METHODS, TextStart
from cuetune.readouts import GeneratedText, LabelWords, MaskedWords, TextHead, readout_for
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import ENCODERS, backbone, encoder, encoder_backbone, masked_tokenizer, rows

WITH_WORDS = tuple(family for family in ENCODERS if family != "sentence")
TEXTS = ["good xx", "it was bad and <mask> long, the longest of all", "é"]
TASK = Task(labels=("pos", "neg"))


def examples() -> list[Example]:
    return [Example(f"row {n}", {"text": text}, TASK.labels[n % 2]) for n, text in enumerate(TEXTS)]


def whole_texts(task: Task, mask_at_the_end: bool) -> list[list[int]]:
    """Tokens as the tokenizer itself would make them of the filled template, a mask written in a text aside."""
    own = masked_tokenizer()
    made = []
    for text in TEXTS:
        before, after = task.template.split("{text}")
        spaced = before.endswith(" ") and before.strip()
        before, text = (before[:-1], " " + text) if spaced else (before, text)
        middle = own(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        outer = [own(part, add_special_tokens=False)["input_ids"] for part in (before, after)]
        mask = [own.mask_token_id] if mask_at_the_end else []
        made.append([own.cls_token_id, *outer[0], *middle, *outer[1], *mask, own.sep_token_id])
    return made


@pytest.mark.parametrize("family", WITH_WORDS)
@pytest.mark.parametrize("template", ["Text: {text}\nLabel:", "<mask> it was. {text}"])
def test_words_at_the_mask_are_those_of_the_stock_model(family, template):
    frozen, task = encoder_backbone(family), Task(template=template, labels=TASK.labels)
    prompt = torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(0)) * 0.5
    ours = torch.tensor([p.probabilities for p in Predictor(frozen, task, SoftPrompt(prompt)).predict(examples())])
    bare, own = encoder(family), masked_tokenizer()
    words = [own(word, add_special_tokens=False)["input_ids"][0] for word in (" pos", " neg")]
    wanted = []
    with torch.no_grad():
        for ids in whole_texts(task, "mask" not in template):
            embedded = torch.cat([prompt, bare.get_input_embeddings()(torch.tensor(ids))])[None]
            place = len(prompt) + ids.index(own.mask_token_id)
            wanted.append(bare(inputs_embeds=embedded).logits[0, place, words].softmax(-1))
    assert torch.allclose(ours, torch.stack(wanted), atol=1e-5)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_a_head_reads_the_pooled_states_of_the_whole_text(family, pooling):
    frozen = encoder_backbone(family)
    head = TextHead(frozen, TASK, pooling, seed=1)
    prompt = torch.randn(3, frozen.width, generator=torch.Generator().manual_seed(0)) * 0.5
    predictor = Predictor(frozen, TASK, SoftPrompt(prompt), readout=head)
    ours = torch.tensor([p.probabilities for p in predictor.predict(examples())])
    pool = {"first": lambda h: h[0], "last": lambda h: h[-1], "mean": lambda h: h.mean(0)}[pooling]
    wanted = []
    with torch.no_grad():
        for ids in whole_texts(TASK, False):
            hidden = frozen.hidden(TokenBatch.of([ids]), Injection(tokens={0: prompt}))
            wanted.append((head.weight @ pool(hidden) + head.bias).softmax(-1))
    assert torch.allclose(ours, torch.stack(wanted), atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_head_on_a_causal_model_predicts_what_it_is_trained_on(pooling):
    """Training reads the shared beginning in the pass, prediction has it compiled; both must pool the same states."""
    frozen = backbone("llama")
    head, prompt = TextHead(frozen, TASK, pooling), SoftPrompt(torch.randn(3, frozen.width))
    predictor = Predictor(frozen, TASK, prompt, readout=head)
    rendered = list(predictor.renderer.render(examples()))
    with torch.no_grad():
        hidden = frozen.hidden(head.rows(rendered, predictor.renderer.shared), prompt.injection())
        trained = head.scores(frozen, hidden).softmax(-1)
    ours = torch.tensor([p.probabilities for p in predictor.predict(examples())])
    assert torch.allclose(ours, trained, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "albert", "sentence"])
def test_a_head_gets_gradients_and_passes_them_to_the_prompt(family):
    frozen = encoder_backbone(family)
    head, prompt = TextHead(frozen, TASK), SoftPrompt(torch.randn(3, frozen.width))
    rendered = list(Renderer(frozen.tokenizer, TASK).render(examples()))
    loss = head.row_losses(frozen, frozen.hidden(head.rows(rendered, [5]), prompt.injection()), rendered).mean()
    loss.backward()
    assert sorted(dict(head.named_parameters())) == sorted(head.state_dict()) == ["bias", "weight"]
    for part in (*head.parameters(), *prompt.parameters()):
        assert part.grad is not None
        assert part.grad.abs().max() > 0


@pytest.mark.parametrize("method", TEXT_METHODS)
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_every_kind_of_prompt_learns_on_an_encoder(family, method):
    """And answers after tuning what it answered while tuned: the loss over the rows, through the compiled prompt."""
    frozen = encoder_backbone(family)
    data = [TASK.example(Row(str(n), row)) for n, row in enumerate(rows(24))]
    start = TextStart(frozen, torch.randn(4, frozen.width, generator=torch.Generator().manual_seed(0)), "text", 0)
    options = {"fit": 20} if method == "prefix-mlp" else {"reach": 8} if method == "dept" else {}
    prompt = TEXT_METHODS[method].build(start, **options)
    before = loss_over(frozen, prompt, data)
    settings = Settings(steps=12, batch_size=8, learning_rate=0.03, warmup=0).resolved(frozen, len(data), prompt)
    Tuner(frozen, prompt, TaskData(TASK, data, data), settings).run()
    assert loss_over(frozen, prompt.fold(), data) < before


def loss_over(frozen, prompt, data: list[Example]) -> float:
    predicted = list(Predictor(frozen, TASK, prompt).predict(data))
    chosen = [p.probabilities[TASK.labels.index(e.label)] for p, e in zip(predicted, data, strict=True)]
    return -torch.tensor(chosen).log().mean().item()


def test_states_below_a_late_prompt_can_be_kept_for_masked_rows():
    frozen = encoder_backbone("albert")
    rendered = list(Renderer(frozen.tokenizer, TASK).render(examples()))
    packed = MaskedWords(frozen, TASK).rows(rendered, [5, 6])
    late = Injection(tokens={2: torch.randn(3, frozen.width_at(2))})
    with torch.no_grad():
        whole = frozen.hidden(packed, late)
        above = frozen.hidden_from(2, frozen.states_at(2, packed, 3), packed, late)
    assert torch.allclose(whole, above, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "task", "kind", "wanted"),
    [
        ("bert", TASK, "auto", MaskedWords),
        ("bert", TASK, "words", MaskedWords),
        ("bert", TASK, "head", TextHead),
        ("sentence", TASK, "auto", TextHead),
        ("llama", TASK, "auto", LabelWords),
        ("llama", TASK, "head", TextHead),
        ("llama", Task(), "auto", GeneratedText),
    ],
)
def test_the_readout_follows_from_backbone_and_task(family, task, kind, wanted):
    frozen = encoder_backbone(family) if family in ENCODERS else backbone(family)
    assert type(readout_for(frozen, task, kind)) is wanted


@pytest.mark.parametrize(
    ("family", "task", "kind", "says"),
    [
        ("bert", Task(labels=("good", "of two")), "words", "--readout head"),
        ("bert", Task(), "auto", "--labels"),
        ("llama", Task(), "head", "--labels"),
        ("sentence", TASK, "words", "--readout head"),
        ("bert", Task(template="<mask> {text} <mask>", labels=("pos", "neg")), "auto", "2 masks"),
        ("bert", TASK, "tail", "auto, words, head"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(family, task, kind, says):
    frozen = encoder_backbone(family) if family in ENCODERS else backbone(family)
    with pytest.raises(CuetuneError, match=says) as refused:
        readout_for(frozen, task, kind)
    assert "\n" not in str(refused.value)


def test_the_prefix_of_an_encoder_starts_from_its_own_keys_and_values():
    frozen = encoder_backbone("bert")
    embeddings = torch.randn(4, frozen.width)
    prompt = TEXT_METHODS["prefix"].build(TextStart(frozen, embeddings, "text", 0))
    assert isinstance(prompt, PrefixPrompt)
    keys, _ = frozen.keys_values(embeddings)
    assert torch.equal(prompt.injection().kv[1][0], keys[1])


def test_hard_prompts_stand_before_the_whole_text():
    frozen, ids = encoder_backbone("bert"), [5, 6, 7]
    prompt = HardPrompt(ids, frozen.embed(torch.tensor(ids)))
    [first, *_] = Predictor(frozen, TASK, prompt).predict(examples())
    bare, own = encoder("bert"), masked_tokenizer()
    whole = ids + whole_texts(TASK, True)[0]
    with torch.no_grad():
        logits = bare(input_ids=torch.tensor([whole])).logits[0, whole.index(own.mask_token_id)]
    words = [own(word, add_special_tokens=False)["input_ids"][0] for word in (" pos", " neg")]
    assert torch.allclose(torch.tensor(first.probabilities), logits[words].softmax(-1), atol=1e-5)
