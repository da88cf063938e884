"""Folders that were cut, altered or made to harm: one line that names the file, or a sound prompt, and nothing else."""

import json
import os
import pickle
import struct

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from cuetune.backbones.identity import BackboneIdentity
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library import loading
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, SoftPrompt

WEIGHTS, CONFIG, RECORD = "adapter_model.safetensors", "adapter_config.json", "cuetune.json"
IDENTITY = BackboneIdentity("tiny-llama", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)
EMBEDDINGS = torch.arange(30.0).reshape(5, 6)


def saved(folder, prompt=None):
    made = TunedPrompt(prompt or SoftPrompt(EMBEDDINGS), Task(labels=("neg", "pos")), IDENTITY, {"seed": 0})
    return made.save(folder)


def refused(folder, said):
    with pytest.raises(CuetuneError) as raised:
        TunedPrompt.load(folder)
    line = str(raised.value)
    assert "\n" not in line
    assert line.isprintable()
    assert line.startswith(str(folder))
    assert said in line, line
    return line


def edit(path, *keys, to):
    """Set one value of a JSON file."""
    values = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(values))


def as_peft(folder, tensors=None, **changes):
    """The folder without cuetune.json: no hash protects the tensors, so every other check is on its own."""
    saved(folder)
    (folder / RECORD).unlink()
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))
    if tensors is not None:
        (folder / WEIGHTS).write_bytes(save(tensors))
    return folder


quiet = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.mark.parametrize("with_record", [True, False])
def test_every_truncation_of_the_tensors_is_one_line(tmp_path, with_record):
    folder = saved(tmp_path / "p") if with_record else as_peft(tmp_path / "p")
    whole = (folder / WEIGHTS).read_bytes()
    for length in range(len(whole)):
        (folder / WEIGHTS).write_bytes(whole[:length])
        refused(folder, WEIGHTS)
    (folder / WEIGHTS).write_bytes(whole)
    assert torch.equal(TunedPrompt.load(folder).prompt.embeddings, EMBEDDINGS)


@settings(max_examples=150, **quiet)
@given(st.data())
def test_no_altered_header_gets_through(tmp_path, data):
    """Without a hash: bytes of the header changed at random give one line, or numbers of the right shape."""
    folder = tmp_path / "p"
    if not folder.exists():
        as_peft(folder)
        (tmp_path / "whole").write_bytes((folder / WEIGHTS).read_bytes())
    whole = bytearray((tmp_path / "whole").read_bytes())
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    (folder / WEIGHTS).write_bytes(whole)
    sound_or_refused(folder)


def sound_or_refused(folder):
    try:
        read = TunedPrompt.load(folder)
    except CuetuneError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(error).startswith(str(folder))  # noqa: PT017
        return
    values = read.prompt.injection().tokens[0]
    assert values.shape == EMBEDDINGS.shape
    assert values.isfinite().all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(values, at=()):
    """Every place in nested JSON values, as a tuple of keys."""
    for key in values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ():
        yield (*at, key)
        yield from places(values[key], (*at, key))


@settings(max_examples=300, **quiet)
@given(st.data())
def test_no_value_of_any_type_anywhere_escapes_the_checks(tmp_path, data):
    kind = data.draw(st.sampled_from(["soft", "hard"]))
    folder, name = tmp_path / kind, data.draw(st.sampled_from([CONFIG, RECORD]))
    if not folder.exists():
        saved(folder, HardPrompt([4, 0, 9, 2, 7], EMBEDDINGS) if kind == "hard" else None)
    whole = (folder / name).read_text()
    place = data.draw(st.sampled_from(list(places(json.loads(whole)))))
    try:
        edit(folder / name, *place, to=data.draw(json_values))
        sound_or_refused(folder)
    finally:
        (folder / name).write_text(whole)


@settings(max_examples=200, **quiet)
@given(name=st.sampled_from([CONFIG, RECORD]), noise=st.binary(max_size=8), at=st.integers(0, 2000), cut=st.booleans())
@example(name=RECORD, noise=b"\xff\xfe", at=0, cut=True)
@example(name=RECORD, noise=b"", at=0, cut=True)
def test_no_altered_bytes_of_json_escape_the_checks(tmp_path, name, noise, at, cut):
    folder = tmp_path / "p"
    if not folder.exists():
        saved(folder)
    whole = (folder / name).read_bytes()
    at = min(at, len(whole))
    try:
        (folder / name).write_bytes(whole[:at] + noise + (b"" if cut else whole[at + len(noise) :]))
        sound_or_refused(folder)
    finally:
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("format",), 3, "newer"),
        (("format",), "1", "format"),
        (("kind",), "../../evil", "not known"),
        (("kind",), "\x1b[31mred", "not known"),
        (("kind",), "hard", "ids"),
        (("spec",), {"ids": "abcde"}, "spec.ids"),
        (("spec",), {"ids": [1] * 10**5}, "100000 token ids for 5"),
        (("spec",), {"ids": [1, 2, 3, 4, -5]}, "spec.ids"),
        (("spec",), {"ids": [1, 2, 3, 4, True]}, "spec.ids"),
        (("weights_sha256",), "0" * 64, "SHA-256"),
        (("state_sha256",), "0" * 64, "prompt.safetensors"),
        (("backbone", "hidden_size"), 7, "width 6"),
        (("backbone", "hidden_size"), -1, "backbone.hidden_size"),
        (("task", "template"), "no field", "names no column"),
        (("task", "label_words"), [" a"], "label words"),
        (("task", "max_tokens"), -1, "task.max_tokens"),
        (("task", "columns"), {"text": 5}, "task.columns.text"),
        (("record", "seed"), None, "seed is null"),
        (("record", "scores"), 5, "record.scores"),
        (("record", "cost"), {"seconds": "\x1b]0;title\x07"}, "record.cost.seconds"),
        (("record", "\x1b[2J"), float("nan"), "not JSON"),
        (("weights",), "../../../etc/passwd", "weights"),
    ],
)
def test_values_that_mean_nothing_are_named(tmp_path, keys, value, said):
    folder = saved(tmp_path / "p")
    edit(folder / RECORD, *keys, to=value)
    refused(folder, said)


def test_a_newer_format_is_said_before_its_new_keys_are(tmp_path):
    folder = saved(tmp_path / "p")
    edit(folder / RECORD, "format", to=3)
    edit(folder / RECORD, "adapters", to=[])
    refused(folder, "format 3 is newer than this cuetune reads (2); upgrade cuetune")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 1,\n"kind": "soft",\n}', "line 3"),
        ('{"format": ' + "9" * 5000 + "}", "not JSON"),
        ('{"format": 1e999}', "not JSON"),
        ('{"format": Infinity}', "not JSON"),
        ('{"format": "\\ud800"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the whole file"),
        ("", "line 1"),
        ("{}", "format"),
    ],
)
def test_json_that_is_none_says_where(tmp_path, text, said):
    folder = saved(tmp_path / "p")
    (folder / RECORD).write_text(text)
    refused(folder, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_virtual_tokens": 10**12}, "shape (5, 6)"),
        ({"num_virtual_tokens": -5, "token_dim": -6}, "shape"),
        ({"num_virtual_tokens": "5"}, "num_virtual_tokens"),
        ({"token_dim": 30, "num_virtual_tokens": 1}, "shape"),
        ({"num_transformer_submodules": 2}, "encoder and decoder"),
        ({"peft_type": "LORA"}, "LORA"),
        ({"peft_type": "PREFIX_TUNING", "num_layers": None}, "0 layers"),
        ({"peft_type": "PREFIX_TUNING", "num_layers": 2, "num_attention_heads": 3}, "shape (5, 6)"),
        ({"peft_type": None}, "peft_type"),
        ({"base_model_name_or_path": ["a"]}, "base_model_name_or_path"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(tmp_path, changes, said):
    refused(as_peft(tmp_path / "p", **changes), said)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"prompt_embeddings": EMBEDDINGS * float("nan")}, "not finite"),
        ({"prompt_embeddings": EMBEDDINGS.double() * 1e300}, "not finite"),  # finite only before it is converted
        ({"prompt_embeddings": torch.full((5, 6), float("inf"), dtype=torch.float16)}, "not finite"),
        ({"prompt_embeddings": EMBEDDINGS.long()}, "floating point"),
        ({"prompt_embeddings": EMBEDDINGS.T.contiguous()}, "shape (6, 5)"),
        ({"prompt_embeddings": EMBEDDINGS[None]}, "shape (1, 5, 6)"),
        ({"base_model.lora_A.weight": EMBEDDINGS}, "lora_A"),
        ({"prompt_embeddings": EMBEDDINGS, "more": EMBEDDINGS / 0}, "more"),
        ({}, "prompt_embeddings"),
    ],
)
def test_tensors_that_cannot_be_used_are_named(tmp_path, tensors, said):
    refused(as_peft(tmp_path / "p", tensors), said)


def test_an_empty_prompt_is_refused(tmp_path):
    refused(as_peft(tmp_path / "p", {"prompt_embeddings": EMBEDDINGS[:0]}, num_virtual_tokens=0), "shape (0, 6)")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_float32(tmp_path, dtype):
    read = TunedPrompt.load(as_peft(tmp_path / "p", {"prompt_embeddings": EMBEDDINGS.to(dtype)}))
    assert read.prompt.embeddings.dtype == torch.float32
    assert torch.equal(read.prompt.embeddings, EMBEDDINGS)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, RECORD])
def test_links_out_of_the_folder_are_refused(tmp_path, name):
    folder = saved(tmp_path / "p")
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, "outside the folder")
    (tmp_path / "outside").unlink()  # a link to nowhere is no missing file either
    refused(folder, name)


def test_links_that_only_look_like_a_hub_cache_are_refused(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "cache" / "snapshots").mkdir(parents=True)
    folder = saved(tmp_path / "cache" / "snapshots" / "p")
    secret = (folder / WEIGHTS).rename(tmp_path / "blobs" / "secret")
    (folder / WEIGHTS).symlink_to(secret)
    refused(folder, "outside the folder")
    (tmp_path / "cache" / "blobs").mkdir()  # the cache's own blobs are what its snapshots consist of
    secret.rename(tmp_path / "cache" / "blobs" / "secret")
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("../../blobs/secret")
    assert torch.equal(TunedPrompt.load(folder).prompt.embeddings, EMBEDDINGS)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, RECORD])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path, name):
    folder = saved(tmp_path / "p")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "not a plain file")
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "not a plain file")


def test_files_of_an_absurd_size_are_not_read(tmp_path):
    folder = saved(tmp_path / "p")
    for name, largest in ((WEIGHTS, loading.LARGEST), (RECORD, loading.LARGEST_JSON)):
        whole = (folder / name).read_bytes()
        with (folder / name).open("ab") as stream:
            stream.truncate(largest + 1)  # a hole: takes no place on the disk
        refused(folder, "too large")
        (folder / name).write_bytes(whole)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved(tmp_path / "p")
    (folder / WEIGHTS).write_bytes(pickle.dumps(Trap()))
    refused(folder, "not a whole safetensors file")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    refused(folder, "can run code")
    assert not (tmp_path / "sprung").exists()
    pickle.loads((folder / "adapter_model.bin").read_bytes())  # the trap works
    assert (tmp_path / "sprung").exists()


def test_what_is_no_folder_of_a_prompt_says_what_was_found(tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "cannot be read as a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "found: nothing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "re\nport.txt").write_text("x")
    refused(tmp_path / "other", "re port.txt")


@pytest.mark.parametrize("name", ["decoder.pt", "encoder.pt"])
def test_a_foreign_file_beside_a_record_of_ours_is_not_looked_at(tmp_path, name):
    """Neither a sound one nor a damaged one, and a damaged record is no reason to look at it."""
    folder = saved(tmp_path / "p")
    for content in (torch.randn(3, 6), {"a": 1, "b": 2}):
        torch.save(content, folder / name)
        assert torch.equal(TunedPrompt.load(folder).prompt.embeddings, EMBEDDINGS)
    torch.save(torch.randn(3, 6), folder / name)
    (folder / RECORD).write_text("{}")
    refused(folder, RECORD)


def test_a_configuration_of_another_tool_beside_numbers_of_ours_is_not_looked_at(tmp_path):
    from cuetune.prompts import LatePrompt

    made = LatePrompt(EMBEDDINGS[None], 1)
    folder = saved(tmp_path / "p", made)
    assert not (folder / CONFIG).exists()
    (folder / CONFIG).write_text('{"peft_type": "LORA"}')
    (folder / WEIGHTS).write_bytes(b"not a file")
    assert torch.equal(TunedPrompt.load(folder).prompt.states(), made.states())


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("backbone", "num_layers"), 10**12),
        (("backbone", "num_heads"), 10**12),
        (("backbone", "hidden_size"), 10**12),
        (("backbone", "num_layers"), 10**400),
        (("record", "settings"), {"rank": 10**400}),
        (("record", "seed"), 10**70),
        (("task", "max_tokens"), 10**12),
        (("task", "labels"), [[[[]]]]),
        (("spec",), json.loads('{"a":' * 900 + "1" + "}" * 900)),
    ],
)
def test_sizes_that_nothing_has_are_refused(tmp_path, keys, value):
    folder = saved(tmp_path / "p")
    edit(folder / RECORD, *keys, to=value)
    refused(folder, RECORD)


@pytest.mark.parametrize("name", ["num_layers", "num_attention_heads"])
@pytest.mark.parametrize("value", [10**12, -1, 10**400])
def test_a_configuration_of_sizes_that_nothing_has_is_refused(tmp_path, name, value):
    refused(as_peft(tmp_path / "p", **{name: value}), CONFIG)


def test_a_hundred_thousand_labels_are_read_in_seconds(tmp_path):
    import time

    folder = saved(tmp_path / "p")
    values = json.loads((folder / RECORD).read_text())
    values["task"] |= {name: [f" {n}" for n in range(100_000)] for name in ("labels", "label_words")}
    (folder / RECORD).write_text(json.dumps(values))
    began = time.monotonic()
    assert len(TunedPrompt.load(folder).task.labels) == 100_000
    assert time.monotonic() - began < 30
