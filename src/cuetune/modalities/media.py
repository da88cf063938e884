"""What pictures, recordings and clips share: they lie in files, take no options of texts, and are read by a head."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuetune.errors import CuetuneError
from cuetune.modalities.base import Modality

if TYPE_CHECKING:
    from cuetune.data.media.rows import Media

OF_TEXTS = ("text", "template", "label_words", "columns", "max_tokens")  # options


class MediaModality(Modality):
    """A modality of rows in files: in folders of classes, in tables of paths, or in data sets."""

    @abstractmethod
    def media(self) -> "Media":
        """How rows of this kind are found."""

    @abstractmethod
    def features(self, backbone: Any, task: Any, layer: int | None = None, head: Any = None) -> Any:
        """As of `Modality`. head: what it reads is the only feature."""

    def in_folder(self, folder: Path) -> bool:
        return self.media().in_folder(folder)

    def holds(self, rows: Sequence[Any]) -> bool:
        return self.media().holds(rows)

    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Any]:
        return self.media().read(source, encoding=encoding, labelled=labelled)

    def parts(self, source: Any, *, encoding: str = "utf-8") -> dict[str, Iterator[Any]]:
        if not (isinstance(source, str | Path) and Path(source).is_dir()):
            return super().parts(source, encoding=encoding)
        parts = self.media().parts(source, encoding=encoding)
        return {} if "" in parts else parts

    def placed(self, rows: Sequence[Any], source: Any) -> Sequence[Any]:
        from cuetune.data.sources import source_of

        folder = Path(source).parent if isinstance(source, str | Path) and Path(source).is_file() else None
        return [self.media().placed(row, folder, source_of(source)) for row in rows]

    def infer(self, rows: Sequence[Any], **options: Any) -> Any:
        self._refuse(options, (*OF_TEXTS, "instruction", "generate"))
        if options.get("kind") == "generation":
            raise CuetuneError(f"--task generation is for texts and recordings, and these rows hold {self.plural}.")
        return self.media().infer(rows, column=options.pop(self.name, None), **options)

    def _refuse(self, options: dict[str, Any], of_texts: Sequence[str]) -> None:
        """Take these options out. Raises CuetuneError for one that was given."""
        for name in of_texts:
            if options.pop(name, None):
                said = name.replace("_", "-")
                raise CuetuneError(f"--{said} is for texts, and these rows hold {self.plural}; leave it.")

    def begin(
        self, backbone: Any, data: Any, method: str, shots: int, settings: Any, start: str | Path | None = None
    ) -> Any:
        if start is not None:
            raise CuetuneError(f"a prompt for {self.plural} starts from no other; leave --start out.")
        from cuetune.prompts.registry import STARTS, build

        how = settings.length, settings.seed, settings.head_layer
        begun = STARTS[self.name].of(backbone, data.task, data.splits.train, *how)
        return build(method, begun, settings.prompt_options)

    def baselines(
        self,
        backbone: Any,
        task: Any,
        shown: Sequence[Any],
        *,
        head: Any = None,
        shots: int = 8,
        seed: int = 0,
        writing: Any = None,
    ) -> dict[str, Any]:
        from cuetune.evaluation.baselines import probe_beside

        return dict(probe_beside(task, self.features(backbone, task, head=head), shown))
