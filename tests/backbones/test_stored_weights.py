"""Who a model is, in whatever precision it runs, and folders whose weights are quantised."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from cuetune.api.predict import backbone_for, load
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.identity import BackboneIdentity, weights_hash
from cuetune.backbones.injection import Injection
from cuetune.backbones.registry import load_backbone
from cuetune.backbones.stored_weights import check_loader, file_tensors, quantisation
from cuetune.errors import CuetuneError
from tiny import ending_tokenizer, rows, tokenizer, write_csv

PRECISIONS = ("float32", "bfloat16", "float16")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models whose weights no other precision holds exactly: with digits below bfloat16's and float16's."""
    made, words = {}, tokenizer()
    torch.manual_seed(0)
    small = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 1}
    llama = LlamaConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        bos_token_id=None, **small,
    )  # fmt: skip
    t5 = T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, **small)
    for name, model, tok in (
        ("llama", LlamaForCausalLM(llama), words),
        ("t5", T5ForConditionalGeneration(t5), ending_tokenizer()),
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter[..., ::3] *= 1e-6  # numbers that float16 has few digits left for
        made[name] = tmp_path_factory.mktemp(name) / name
        model.save_pretrained(made[name])
        tok.save_pretrained(made[name])
    return made


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_model_is_the_same_in_every_precision(folders, name):
    identities = [load_backbone(str(folders[name]), dtype=dtype).identity for dtype in PRECISIONS]
    assert len({each.weights_hash for each in identities}) == 1
    assert identities[0].to_dict() == BackboneIdentity.from_dict(identities[0].to_dict()).to_dict()


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_what_was_recorded_in_float16_before_is_known_in_float16_and_float32(folders, name):
    loaded = load_backbone(str(folders[name]), dtype="float16")
    recorded = weights_hash(loaded.model.state_dict())
    assert recorded != loaded.identity.weights_hash
    assert loaded.identity.has_weights(recorded)
    assert load_backbone(str(folders[name]), dtype="float32").identity.has_weights(recorded)


def test_another_model_is_still_another(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folders["llama"], other)
    model = LlamaForCausalLM.from_pretrained(other)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight *= 1.1
    model.save_pretrained(other)
    first = load_backbone(str(folders["llama"]), dtype="float16").identity
    for dtype in PRECISIONS:
        with pytest.raises(CuetuneError, match="load the model it was made for"):
            first.check(load_backbone(str(other), dtype=dtype).identity, "prompt")


@pytest.mark.parametrize(("tuned_in", "runs_in"), [("float16", "float32"), ("float32", "float16")])
def test_a_prompt_of_another_precision_loads_and_says_so(folders, tmp_path, cuetune, tuned_in, runs_in):
    data, to, model = write_csv(tmp_path / "rows.csv", rows(12)), tmp_path / "p", ("--model", folders["llama"])
    how = ("--train-rows", 4, "--steps", 1, "--length", 2, "--no-baselines")
    assert cuetune("tune", data, "--to", to, *model, "--dtype", tuned_in, *how)[0] == 0
    assert json.loads((to / "cuetune.json").read_text())["record"]["settings"]["dtype"] == tuned_in
    code, said, _ = cuetune("predict", to, "--input", "good", *model, "--dtype", runs_in)
    assert (code, "good" in said) == (0, True)
    assert f"tuned in {tuned_in}, and llama runs in {runs_in} here" in said
    assert "tuned in" not in cuetune("predict", to, "--input", "good", *model, "--dtype", tuned_in)[1]
    heard = []
    backbone_for(load(to), str(folders["llama"]), dtype=runs_in, log=heard.append)
    assert len(heard) == 1


class Quantised:
    """A configuration that says how weights are quantised."""

    def __init__(self, **said):
        self.quantization_config = said


def test_the_method_of_quantisation_is_read_from_the_configuration():
    assert quantisation(Quantised(quant_method="gptq", bits=4)) == "gptq"
    assert quantisation(Quantised(load_in_4bit=True)) == "bitsandbytes"
    assert quantisation(LlamaConfig()) is None


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "pip install .*gptqmodel"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "pip install .*gptqmodel"),
        ({"quant_method": "hqq"}, "pip install .*hqq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "pip install .*bitsandbytes"),
    ],
)
def test_a_quantised_folder_says_what_to_install(folders, tmp_path, monkeypatch, config, wanted):
    monkeypatch.setattr("cuetune.backbones.stored_weights.find_spec", lambda module: None)
    folder = tmp_path / "quantised"
    shutil.copytree(folders["llama"], folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "quantization_config": config}))
    with pytest.raises(CuetuneError, match=rf"its weights are quantised by {config['quant_method']}.*{wanted}"):
        load_backbone(str(folder))


def test_methods_that_need_no_package_are_left_to_transformers():
    check_loader("model", "fp8")


def slope(frozen, step: float = 0.0) -> float:
    """How a logit behind a prompt changes along one direction: by its gradient, or by finite differences of a step."""
    prompt = frozen.embed(torch.tensor([5, 9]))
    towards = torch.randn(prompt.shape, generator=torch.Generator().manual_seed(0))
    ends = TokenBatch.of([[30, 31]])

    def logit(states):
        hidden = frozen.hidden(replace(ends, read=torch.tensor([1])), Injection({0: states}))
        return frozen.logits(hidden)[0, :20].sum()

    if step:
        with torch.no_grad():
            return float(logit(prompt + step * towards) - logit(prompt - step * towards)) / (2 * step)
    prompt = prompt.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logit(prompt), prompt)
    return float((gradient * towards).sum())


def test_four_bits_are_loaded_and_tuned_where_bitsandbytes_is_installed(folders, tmp_path, cuetune):
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    options = {"quantization_config": how, "device_map": {"": "cpu"}, "dtype": torch.float32}
    model = AutoModelForCausalLM.from_pretrained(folders["llama"], **options)
    packed, asked = tmp_path / "packed", tmp_path / "asked"
    model.save_pretrained(packed)
    tokenizer().save_pretrained(packed)
    ids = torch.tensor([[5, 9, 30, 31]])
    frozen = load_backbone(str(packed), dtype="float32")
    wanted = model(input_ids=ids).logits.float()  # its products are rounded in another way before they are packed
    assert (frozen.model(input_ids=ids).logits - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert frozen.identity.weights_hash == weights_hash(file_tensors(str(packed)))
    assert slope(frozen) == pytest.approx(slope(frozen, step=1e-3), rel=0.02)
    shutil.copytree(folders["llama"], asked)  # whole weights, and a configuration that asks for four bits
    shutil.copy(packed / "config.json", asked)
    assert torch.equal(
        load_backbone(str(asked), dtype="float32").model(input_ids=ids).logits, frozen.model(input_ids=ids).logits
    )
    data, to = write_csv(tmp_path / "rows.csv", rows(12)), tmp_path / "p"
    steps = ("--train-rows", 4, "--steps", 2, "--length", 2, "--no-baselines")
    code, said, _ = cuetune("tune", data, "--to", to, "--model", packed, *steps)
    assert code == 0, said
    assert cuetune("predict", to, "--input", "good", "--model", packed)[0] == 0
