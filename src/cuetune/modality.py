"""The modalities: what rows can be. Records only; each layer has one table that is keyed by their names."""

from dataclasses import dataclass

from cuetune.errors import CuetuneError


@dataclass(frozen=True)
class Modality:
    """One modality.

    name: also the option that names its column, and `Task.modality`. plural: what its rows are called. kinds: of its
    backbones (`Backbone.kind`) and of models in a catalog. model, prompt: taken where the user names none. compared:
    the usual methods of `compare`. starts_from_words: whether prompts begin as `Settings.init` says.
    """

    name: str
    plural: str
    kinds: tuple[str, ...]
    model: str
    prompt: str
    compared: tuple[str, ...]
    starts_from_words: bool = False


IMAGE = Modality(
    name="image",
    plural="images",
    kinds=("image",),
    model="dinov2-small",
    prompt="vpt",
    compared=("linear-probe", "vpt-shallow", "vpt", "prefix", "frame", "fine-tuning"),
)
AUDIO = Modality(
    name="audio",
    plural="audio files",
    kinds=("audio",),
    model="whisper-tiny-en",
    prompt="deep",
    compared=("linear-probe", "shallow", "deep", "prefix", "wave", "fine-tuning"),
)
VIDEO = Modality(
    name="video",
    plural="videos",
    kinds=("video",),
    model="dinov2-small@8x98",
    prompt="temporal",
    compared=("linear-probe", "temporal", "vpt", "vpt-shallow", "prefix", "fine-tuning"),
)
TEXT = Modality(
    name="text",
    plural="texts",
    kinds=("causal", "encoder", "encoder-decoder", "sentences"),
    model="smollm2-135m",
    prompt="soft",
    compared=("zero-shot", "few-shot", "linear-probe", "soft", "prefix", "late", "lora", "fine-tuning"),
    starts_from_words=True,
)
# Texts come last: whatever no other modality recognises is taken for one.
MODALITIES: dict[str, Modality] = {each.name: each for each in (IMAGE, AUDIO, VIDEO, TEXT)}


def modality_of_kind(kind: str) -> Modality:
    """The modality of a kind of backbone. Raises CuetuneError for one that this version does not know."""
    for modality in MODALITIES.values():
        if kind in modality.kinds:
            return modality
    raise CuetuneError(f"a backbone of kind {kind!r} is not known here; it may need a newer cuetune.")


def modality_named(name: str) -> Modality:
    """The modality of a task. Raises CuetuneError for one that this version does not know."""
    if name not in MODALITIES:
        raise CuetuneError(f"a task about {name!r} is not known here; it may need a newer cuetune.")
    return MODALITIES[name]
