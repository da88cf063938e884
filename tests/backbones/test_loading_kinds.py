"""Which class of backbone a folder of weights becomes."""

import pytest
import torch
from transformers import (
    AlbertConfig,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    BertModel,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    EsmConfig,
    EsmForMaskedLM,
    FNetConfig,
    FNetForMaskedLM,
    GPT2Config,
    T5Config,
)

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.injection import Injection
from cuetune.backbones.loading import kind_of
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from tiny import encoder, masked_tokenizer, model, tokenizer

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": len(masked_tokenizer()),
}


def saved(folder, made, words=None):
    made.save_pretrained(folder)
    (words or masked_tokenizer()).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "distilbert", "modernbert"])
def test_a_masked_language_model_is_an_encoder_with_words(family, tmp_path):
    made = encoder(family)
    frozen = load_backbone(saved(tmp_path / family, made), dtype="float32", device="cpu")
    assert type(frozen) is EncoderBackbone
    assert (frozen.has_words, frozen.pooling) == (True, "first")
    with torch.no_grad():
        wanted = made(input_ids=torch.tensor([[5, 6, 7]])).logits[0]
        assert torch.allclose(frozen.logits(frozen.hidden(TokenBatch.of([[5, 6, 7]]))), wanted, atol=1e-5)


def test_an_encoder_saved_without_a_head_has_no_words_and_one_identity(tmp_path):
    """The pooler, which such files may lack, is random at every loading and must not change who the model is."""
    place = saved(tmp_path / "sentence", BertModel(BertConfig(**SIZE), add_pooling_layer=False))
    first, again = (load_backbone(place, dtype="float32", device="cpu") for _ in range(2))
    assert type(first) is EncoderBackbone
    assert (first.has_words, first.pooling) == (False, "mean")
    assert first.identity == again.identity
    with pytest.raises(CuetuneError, match="--readout head"):
        first.logits(torch.zeros(1, 32))


def test_causal_models_stay_causal(tmp_path):
    frozen = load_backbone(saved(tmp_path / "llama", model("llama"), tokenizer()), dtype="float32", device="cpu")
    assert type(frozen) is TextBackbone
    config = BertLMHeadModel(BertConfig(**SIZE, is_decoder=True)).config
    assert kind_of(config) == "causal"


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (AlbertConfig(), "encoder"),
        (BertConfig(architectures=["BertForPreTraining"]), "encoder"),
        (BertConfig(architectures=["BertLMHeadModel"]), "causal"),
        (GPT2Config(), "causal"),
        (T5Config(), "encoder-decoder"),
    ],
)
def test_the_kind_follows_from_the_configuration(config, kind):
    assert kind_of(config) == kind


@pytest.mark.parametrize(
    "made",
    [
        lambda: DebertaV2ForMaskedLM(DebertaV2Config(**SIZE, relative_attention=True, pos_att_type=["c2p", "p2c"])),
        lambda: FNetForMaskedLM(FNetConfig(**{k: v for k, v in SIZE.items() if k != "num_attention_heads"})),
    ],
    ids=["deberta", "fnet"],
)
def test_models_whose_layers_take_no_injections_take_prompts_at_the_embedding_layer(made, tmp_path):
    stock = made().eval()
    frozen = load_backbone(saved(tmp_path / "other", stock), dtype="float32", device="cpu")
    assert (frozen.path, frozen.path_reason) == ("plain", "its layers do not use transformers' attention interface")
    prompt, rows = frozen.embed(torch.tensor([4, 9])) + 0.1, [[5, 6, 7], [8, 9, 10, 11, 12]]
    with torch.no_grad():
        ours = frozen.logits(frozen.hidden(TokenBatch.of(rows), Injection(tokens={0: prompt}))).split([3, 5])
        table = stock.get_input_embeddings()
        for row, mine in zip(rows, ours, strict=True):
            whole = torch.cat([prompt, table(torch.tensor(row))])
            assert torch.allclose(mine, stock(inputs_embeds=whole[None]).logits[0, 2:], atol=1e-5)


def test_a_model_that_neither_path_gives_right_is_refused_in_one_line(tmp_path):
    config = EsmConfig(**SIZE, mask_token_id=4, token_dropout=True, position_embedding_type="rotary")
    with pytest.raises(CuetuneError, match="choose another model") as refused:
        load_backbone(saved(tmp_path / "other", EsmForMaskedLM(config)), dtype="float32", device="cpu")
    assert "\n" not in str(refused.value)


def test_a_wrapped_model_can_be_wrapped_again():
    """Copies of a backbone's model make backbones of their own; layers must not be entered twice."""
    for family in ("albert", "bert"):
        first = EncoderBackbone(encoder(family), masked_tokenizer(), "first")
        second = EncoderBackbone(first.model, masked_tokenizer(), "second")
        with torch.no_grad():
            ours, theirs = (each.hidden(TokenBatch.of([[5, 6, 7]])) for each in (first, second))
        assert torch.equal(ours, theirs)
    assert isinstance(first.model, BertForMaskedLM)
