"""Sentence vectors: the oracle is the unwrapped model on a padded batch with its mask, and a loop in plain Python."""

import json

import pytest
import torch
import torch.nn.functional as F

import tiny
from cuetune.backbones import sentences
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.sentences import ASKED, SETTINGS, SentenceEncoder, nearest
from cuetune.errors import CuetuneError

TEXTS = ["good", "a bad day", "", "awful " * 9, "great", "naïve café 😀", "so-so " * 20, "good"]
LONG = "one two three four five six seven " * 40
FAMILIES = ("bert", "roberta", "albert", "modernbert", "sentence", "llama", "gpt2")
families = pytest.mark.parametrize("family", FAMILIES)
some = pytest.mark.parametrize("family", ["bert", "sentence", "llama"])


def backbone(family):
    return tiny.encoder_backbone(family) if family in tiny.ENCODERS else tiny.backbone(family)


def padded(family, texts):
    """(N, d) the same vectors from transformers alone."""
    causal = family not in tiny.ENCODERS
    model = (tiny.model if causal else tiny.encoder)(family).base_model
    tokenizer = tiny.tokenizer() if causal else tiny.masked_tokenizer()
    before, after = (tokenizer(part).input_ids if causal else [] for part in ASKED)
    room = min(512, backbone(family).max_positions) - len(before) - len(after)
    rows = [before + tokenizer(text, truncation=True, max_length=room).input_ids + after for text in texts]
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    real = batch["attention_mask"]
    states = model(input_ids=batch["input_ids"], attention_mask=real).last_hidden_state
    if causal:
        return F.normalize(states[torch.arange(len(rows)), real.sum(1) - 1], dim=-1)
    return F.normalize((states * real[..., None]).sum(1) / real.sum(1, keepdim=True), dim=-1)


@families
@torch.no_grad()
def test_vectors_are_those_of_the_padded_model(family):
    texts = [text for text in TEXTS if text] + [LONG]
    vectors = SentenceEncoder(backbone(family)).encode(texts)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (len(texts), tiny.WIDTH)
    torch.testing.assert_close(vectors, padded(family, texts), rtol=1e-4, atol=1e-5)


@some
def test_a_batch_equals_its_texts_one_by_one_whatever_fits_a_pass(family, monkeypatch):
    encoder = SentenceEncoder(backbone(family))
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    torch.testing.assert_close(encoder.encode(TEXTS), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.norm(dim=1), torch.ones(len(TEXTS)))
    monkeypatch.setattr(sentences, "PASS", 30)
    monkeypatch.setattr(sentences, "WINDOW", 3)
    torch.testing.assert_close(encoder.encode(iter(TEXTS)), alone, rtol=1e-4, atol=1e-5)


def test_texts_are_read_as_they_are_needed(monkeypatch):
    monkeypatch.setattr(sentences, "WINDOW", 3)
    encoder, read, seen = SentenceEncoder(backbone("bert")), [], []
    passes = encoder.backbone.hidden
    monkeypatch.setattr(encoder.backbone, "hidden", lambda rows: seen.append(len(read)) or passes(rows))
    encoder.encode(read.append(text) or text for text in TEXTS)
    assert seen == [3, 6, 8]


@some
def test_a_long_text_is_cut_and_ends_as_it_should(family):
    encoder = SentenceEncoder(backbone(family))
    (row,), (whole,) = encoder._tokens([LONG]), encoder._tokens(["one two"])
    assert len(encoder._before) + len(row) == min(512, encoder.backbone.max_positions)
    assert row[:4] == whole[:4]
    assert row[-1] == whole[-1]  # the end token, or the end of the question
    if family in tiny.ENCODERS:
        assert (row[0], row[-1]) == (encoder.backbone.tokenizer.cls_token_id, encoder.backbone.tokenizer.sep_token_id)


def test_no_texts_and_texts_of_nothing():
    for family in ("bert", "llama"):
        encoder = SentenceEncoder(backbone(family))
        assert encoder.encode([]).shape == (0, encoder.width)
        assert encoder.encode([""]).norm().item() == pytest.approx(1)
    unmarked = EncoderBackbone(tiny.encoder("sentence"), tiny.tokenizer(), "unmarked")
    assert SentenceEncoder(unmarked).encode(["", "good"]).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_a_prefix_stands_before_every_text(tmp_path):
    plain, marked = (SentenceEncoder(backbone("bert"), prefix=prefix) for prefix in ("", "query: "))
    torch.testing.assert_close(marked.encode(TEXTS), plain.encode([f"query: {text}" for text in TEXTS]))
    assert not torch.allclose(marked.encode(TEXTS), plain.encode(TEXTS))


def test_the_folder_of_a_model_names_its_prefix(tmp_path):
    tiny.encoder("sentence").save_pretrained(tmp_path)
    tiny.masked_tokenizer().save_pretrained(tmp_path)
    assert SentenceEncoder(str(tmp_path)).prefix == ""
    said = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}
    (tmp_path / SETTINGS).write_text(json.dumps(said))
    encoder = SentenceEncoder(str(tmp_path))
    assert encoder.prefix == "query: "
    assert SentenceEncoder(load_backbone(str(tmp_path))).prefix == "query: "
    assert SentenceEncoder(str(tmp_path), prefix="").prefix == ""
    assert isinstance(encoder.backbone, EncoderBackbone)
    assert encoder.identity.weights_hash == backbone("sentence").identity.weights_hash
    assert encoder.backbone.dtype == torch.float32
    (tmp_path / SETTINGS).write_text(json.dumps({**said, "default_prompt_name": None}))
    assert SentenceEncoder(str(tmp_path)).prefix == ""


def test_an_encoder_decoder_is_refused():
    with pytest.raises(CuetuneError, match="tiny-t5 is an encoder-decoder; sentence vectors need"):
        SentenceEncoder(tiny.encoder_decoder_backbone("t5"))


def test_nearest_equals_a_full_sort(monkeypatch):
    monkeypatch.setattr(sentences, "SCORES", 150)  # blocks of three queries
    generator = torch.Generator().manual_seed(0)
    queries, table = (F.normalize(torch.randn(n, 8, generator=generator), dim=1) for n in (7, 50))
    scores, numbers = nearest(queries, table, 5)
    for query, found, at in zip(queries, scores, numbers, strict=True):
        cosines = [
            (sum(a * b for a, b in zip(query.tolist(), row.tolist(), strict=True)), n) for n, row in enumerate(table)
        ]
        assert at.tolist() == [n for _, n in sorted(cosines, reverse=True)[:5]]
        assert found.tolist() == pytest.approx([cosine for cosine, _ in sorted(cosines, reverse=True)[:5]], abs=1e-6)
    assert nearest(queries, table[:3], 5)[1].shape == (7, 3)
    assert nearest(queries[:0], table, 5)[1].shape == (0, 5)
    assert nearest(queries, table[:0], 5)[1].shape == (7, 0)
