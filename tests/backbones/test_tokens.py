"""Rows in pieces against the tokenizer's own reading of the whole text, for every way to mark a text's beginning."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import begins_anew, inside, know_rows
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer, answer_ids
from cuetune.errors import CuetuneError
from cuetune.prompts.words import hard_prompt
from cuetune.readouts import GeneratedText, LabelWords
from tiny import backbone, model, tokenizer

SPACE = "▁"
WORDS = ("good", "bad", "film", "the", "Label", "Text", "positive", "negative")


def sentencepiece(kind: str, *, bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-fallback BPE as converted from sentencepiece. kind: how it marks a text's beginning."""
    control = ["<unk>", "<s>", "</s>", "<|end|>"]
    letters = sorted({letter for word in WORDS for letter in word} | set("abcxyz:'\"(") | {SPACE, "Ġ"})
    names = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    vocabulary = {token: number for number, token in enumerate(names)}
    merges = []
    for word in (*(mark + word for word in WORDS for mark in (SPACE, "Ġ")), *WORDS):
        for end in range(2, len(word) + 1):
            merges.append((word[: end - 1], word[end - 1]))
            vocabulary.setdefault(word[:end], len(vocabulary))
    inner = Tokenizer(
        models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges)), byte_fallback=True, unk_token="<unk>")
    )
    replace = normalizers.Replace(" ", SPACE)
    if kind == "prepend":
        inner.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace])
    elif kind == "nested prepend":
        inner.normalizer = normalizers.Sequence([normalizers.Sequence([normalizers.Prepend(SPACE)]), replace])
    elif kind == "none":
        inner.normalizer = replace
    elif kind == "byte level":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=kind)
    inner.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["<|end|>"]}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


KINDS = ("prepend", "nested prepend", "always", "first", "never", "none", "byte level")
TEMPLATES = (
    "Text: {text}\nLabel:",
    "{text}\nLabel:",
    'Text "{text}" {b}:',
    "Text:{text}\n\n{b} (",
    "<|end|>{text}<|end|>",
    "Text: <|end|> {text} a<|end|>Label:",
    "<|end|>\n{text}\n<|end|>\n",
)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_in_pieces_is_what_the_tokenizer_makes_of_the_whole(kind, template):
    words = sentencepiece(kind)
    task = Task(template=template, labels=("a", "b"), label_words=(" positive", "negative"))
    fields = {"text": "the film", "b": "bad"}
    renderer = Renderer(words, task)
    (row,) = renderer.render([Example("row", fields, "a")])
    for word in task.label_words:
        ours = renderer.shared + row.ids + answer_ids(words, task, [word], control_tokens=True)[0]
        wanted = words(template.format(**fields) + word)["input_ids"]
        assert words.convert_ids_to_tokens(ours) == words.convert_ids_to_tokens(wanted)


def test_a_tokenizer_that_marks_no_beginning_is_left_as_it_is():
    for words in (sentencepiece("never"), sentencepiece("none"), tokenizer()):
        assert inside(words) is words
        assert not begins_anew(words, [words.eos_token_id])


def test_where_every_word_is_a_beginning_a_space_is_put_before_each():
    """T5's and XLM-R's way: white space is gone before the marks are made, so a copy without them would lose all."""
    words = sentencepiece("always")
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    assert inside(words) is words


def test_tokens_that_are_added_later_are_read_inside_too():
    words = sentencepiece("prepend")
    inside(words)
    words.add_tokens(["brandnewword"])
    new = words.convert_tokens_to_ids("brandnewword")
    assert new in inside(words)("the brandnewword")["input_ids"]


def llama_like(kind: str, rows: int = 0) -> TextBackbone:
    from chain import chain_model

    words = sentencepiece(kind, bos=False)
    return TextBackbone(chain_model(rows or len(words), [], ends=2), words, "chain")


@pytest.mark.parametrize("kind", ["prepend", "always", "first"])
def test_label_words_answers_and_demonstrations_have_no_stray_mark(kind):
    frozen = llama_like(kind)
    words = frozen.tokenizer
    task = Task(labels=("a", "b"), label_words=(" positive", " negative"), instruction="the film")
    assert [words.convert_ids_to_tokens(each) for each in LabelWords(frozen, task).words] == [
        [f"{SPACE}positive"],
        [f"{SPACE}negative"],
    ]
    free = Task(template=task.template)
    shown = [Example("row", {"text": "good"}, "positive")]
    (answer,) = GeneratedText(frozen, free).answers(list(Renderer(words, free).render(shown)))
    assert words.convert_ids_to_tokens(answer) == [f"{SPACE}positive", "</s>"]
    hard = hard_prompt(frozen, task, [Example("row", {"text": "good"}, "a")])
    wanted = words("the film\n\nText: good\nLabel: positive\n\n", add_special_tokens=False)["input_ids"]
    assert words.convert_ids_to_tokens(hard.ids) == words.convert_ids_to_tokens(wanted)


def extended():
    """A tokenizer with two tokens more than its model has embeddings for, and that model's backbone."""
    words = tokenizer()
    rows = len(words)
    words.add_tokens(["brandnewword"])
    words.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    return TextBackbone(model("llama"), words, "tiny"), rows


def test_tokens_beyond_the_embeddings_harm_nobody_who_does_not_use_them():
    frozen, _ = extended()
    task = Task(labels=("a", "b"), label_words=(" pos", " neg"))
    assert len(list(Renderer(frozen.tokenizer, task).render([Example("row", {"text": "good"}, "a")]))) == 1


def test_a_row_with_a_token_beyond_the_embeddings_is_named_with_its_column():
    frozen, rows = extended()
    task = Task(labels=("a", "b"), columns={"text": "body"})
    rendered = Renderer(frozen.tokenizer, task)
    good, bad = Example("x.csv, row 1", {"text": "good"}, "a"), Example("x.csv, row 2", {"text": "brandnewword"}, "a")
    with pytest.raises(CuetuneError, match=rf"x.csv, row 2, column 'body': token 'brandnewword' has number {rows}"):
        list(rendered.render([good, bad]))


@pytest.mark.parametrize("place", ["template", "label word", "instruction"])
def test_a_token_beyond_the_embeddings_is_found_wherever_it_is_read(place):
    frozen, _ = extended()
    how = {"labels": ("a", "b"), "label_words": (" pos", " neg")}
    changed = {
        "template": {"template": "<|user|>{text}\nLabel:"},
        "label word": {"label_words": (" brandnewword", " neg")},
        "instruction": {"instruction": "brandnewword"},
    }[place]
    task = Task(**{**how, **changed})
    with pytest.raises(CuetuneError, match="its tokenizer got new tokens, its embeddings did not"):
        [Renderer(frozen.tokenizer, task), LabelWords(frozen, task), hard_prompt(frozen, task)]


def test_a_model_with_more_rows_than_tokens_reads_all_of_them():
    words = tokenizer()
    know_rows(words, len(words) + 50)
    assert Renderer(words, Task()).shared
    assert backbone("llama").embed(torch.tensor([len(words) - 1])).shape[0] == 1
