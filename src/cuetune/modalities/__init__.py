"""The modalities, registered in one place, and which of them a model, a backbone, a task or some data is of.

To add one: a subclass of `Modality` in a file here, and its name in `MODALITIES`. Nothing else asks what rows are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.data.installed_data import installed
from cuetune.errors import CuetuneError
from cuetune.modalities.audio import AudioModality
from cuetune.modalities.base import Modality
from cuetune.modalities.families import REFUSED, check_family, medium
from cuetune.modalities.image import ImageModality
from cuetune.modalities.text import TextModality
from cuetune.modalities.video import VideoModality
from cuetune.support import plugins
from cuetune.support.named_paths import possible
from cuetune.support.strict_json import DAMAGED

if TYPE_CHECKING:
    from cuetune.backbones.base import Backbone
    from cuetune.data.task import Task

TEXT = TextModality()
# Texts come last: whatever no other modality recognises is taken for one.
MODALITIES: dict[str, Modality] = {
    each.name: each for each in (ImageModality(), AudioModality(), VideoModality(), TEXT)
}

__all__ = ["MODALITIES", "TEXT", "Modality", "modality_of", "of_data", "of_kind", "of_model", "of_task"]


def of_kind(kind: str) -> Modality:
    """The modality of a kind of backbone. Raises CuetuneError for one that this version does not know."""
    for modality in MODALITIES.values():
        if kind in modality.kinds:
            return modality
    raise CuetuneError(f"a backbone of kind {kind!r} is not known here; it may need a newer cuetune.")


def modality_of(backbone: "Backbone") -> Modality:
    """The modality that a backbone reads."""
    return of_kind(backbone.kind)


def of_task(task: "Task") -> Modality:
    """The modality that a task is about. Raises CuetuneError for one that this version does not know."""
    if task.modality not in MODALITIES:
        raise CuetuneError(f"a task about {task.modality!r} is not known here; it may need a newer cuetune.")
    return MODALITIES[task.modality]


def of_model(name: str, reads: str | None = None, **options: Any) -> Modality:
    """The modality of a model by name, of which only the configuration is read.

    reads: the modality of the rows: "text" chooses the language part of a model that also sees or hears. options: see
    `load_backbone`.
    """
    from transformers import AutoConfig

    if meant := [modality for modality in MODALITIES.values() if modality.named(possible(name))]:
        return meant[0]
    name = name if Path(name).is_dir() else name.partition("@")[0]  # "dinov2-small@98" names a size too
    if (offered := plugins.model(name)) is not None:
        return of_kind(offered.kind)
    known = {key: options[key] for key in ("revision", "trust_remote_code") if key in options}
    try:
        config = AutoConfig.from_pretrained(name, **known)
    except ImportError as error:  # timm's checkpoints
        raise CuetuneError(f"{name}: {REFUSED['timm_wrapper']}.") from error
    except (OSError, *DAMAGED):
        return TEXT  # loading it will say what is wrong
    if reads == TEXT.name and TEXT.loads(config):
        return TEXT
    kind = medium(config)
    if kind is None:
        return TEXT
    check_family(config.model_type, kind, name)
    return MODALITIES[kind]


def of_data(source: Any, options: Mapping[str, Any], encoding: str = "utf-8") -> Modality:
    """The modality of rows. options: a column ("text", "image") or a template named there decides; else the first row.

    Raises CuetuneError for what cannot be read.
    """
    from cuetune.data.reading import first_rows

    named = [modality for name, modality in MODALITIES.items() if options.get(name)]
    if len(named) > 1:
        raise CuetuneError(f"--{named[0].name} and --{named[1].name} name columns of different kinds; give one.")
    if named or options.get("template"):
        return named[0] if named else TEXT
    source = installed(source)
    if isinstance(source, str | Path) and Path(possible(source)).is_dir():
        found = [modality for modality in MODALITIES.values() if modality.in_folder(Path(source))]
        if found:
            return found[0]
    first = first_rows(source, encoding)
    return next(modality for modality in MODALITIES.values() if modality.holds(modality.placed(first, source)))
