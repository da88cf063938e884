"""Images, audio and videos: rows that lie in files, take no options of texts, and are read by a head."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from cuetune.backbones.audio_loading import load_hearing
from cuetune.backbones.clips import evenly
from cuetune.backbones.image_loading import load_preprocessing
from cuetune.backbones.video_loading import load_clip_preprocessing
from cuetune.data.media import audio_batches, image_batches
from cuetune.data.media.audio_files import SOUNDS, infer_transcripts
from cuetune.data.media.image_files import PICTURES
from cuetune.data.media.image_reading import count_deep, read_picture
from cuetune.data.media.rows import Media
from cuetune.data.media.video_files import VIDEOS
from cuetune.data.media.video_reading import read_clip
from cuetune.data.readers.base import Reader
from cuetune.data.row import Example, Row
from cuetune.data.sources import source_of
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.modality import AUDIO, IMAGE, VIDEO
from cuetune.support.spill_table import SpillTable

OF_TEXTS = ("text", "template", "label_words", "columns", "max_tokens")  # options


class MediaReader(Reader):
    """Reads folders of classes, tables of paths, and data sets that hold files.

    media: how rows of this kind are found.
    """

    media: ClassVar[Media]

    def in_folder(self, folder: Path) -> bool:
        return self.media.in_folder(folder)

    def holds(self, rows: Sequence[Row]) -> bool:
        return self.media.holds(rows)

    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Row]:
        return self.media.read(source, encoding=encoding, labelled=labelled)

    def parts(self, source: Any, *, encoding: str = "utf-8") -> dict[str, Iterator[Row]]:
        if not (isinstance(source, str | Path) and Path(source).is_dir()):
            return super().parts(source, encoding=encoding)
        parts = self.media.parts(source, encoding=encoding)
        return {} if "" in parts else parts

    def placed(self, rows: Sequence[Row], source: Any) -> Sequence[Row]:
        folder = Path(source).parent if isinstance(source, str | Path) and Path(source).is_file() else None
        return [self.media.placed(row, folder, source_of(source)) for row in rows]

    def infer(self, rows: Sequence[Row], **options: Any) -> Task:
        self._refuse(options, (*OF_TEXTS, "instruction", "generate"))
        if options.get("kind") == "generation":
            raise CuetuneError(f"--task generation is for texts and audio, and these rows hold {self.modality.plural}.")
        return self.media.infer(rows, column=options.pop(self.modality.name, None), **options)

    def _refuse(self, options: dict[str, Any], of_texts: Sequence[str]) -> None:
        """Take these options out. Raises CuetuneError for one that was given."""
        for name in of_texts:
            if options.pop(name, None):
                option = name.replace("_", "-")
                raise CuetuneError(f"--{option} is for texts, and these rows hold {self.modality.plural}; leave it.")

    @abstractmethod
    def seen(self, model: str, task: Task, example: Example) -> list[str]: ...


class ImageReader(MediaReader):
    """Reads images."""

    modality = IMAGE
    media = PICTURES

    def faults(self, examples: Sequence[Example], task: Task) -> Sequence[CuetuneError | None]:
        return image_batches.faults(examples, task)

    def checked(
        self, examples: Sequence[Example], task: Task, preparation: Any, table: SpillTable
    ) -> Sequence[Example | CuetuneError]:
        if preparation is None:
            return super().checked(examples, task, preparation, table)
        return image_batches.checked(examples, task, preparation, table)

    def notes(self, examples: Sequence[Example], task: Task) -> list[str]:
        deep = count_deep(example.fields[task.fields[0]] for example in examples)
        return [f"more than 8 bits a channel, scaled by the range that the file states: {deep:,}"] if deep else []

    def seen(self, model: str, task: Task, example: Example) -> list[str]:
        width, height = read_picture(example.fields[task.fields[0]], example.where).size
        prepared = load_preprocessing(model)
        return [f"{example.where}: {width} x {height} pixels; {model} sees {prepared.size[1]} x {prepared.size[0]}"]


class VideoReader(ImageReader):
    """Reads videos. What is done to images is done to frames."""

    modality = VIDEO
    media = VIDEOS

    def notes(self, examples: Sequence[Example], task: Task) -> list[str]:
        return []

    def seen(self, model: str, task: Task, example: Example) -> list[str]:
        prepared = load_clip_preprocessing(model)
        frames, length = read_clip(example.fields[task.fields[0]], example.where, prepared.frames)
        width, height = [frame.size for frame in frames][0]
        taken = ", ".join(str(number + 1) for number in evenly(length, prepared.frames))
        return [
            f"{example.where}: {length:,} frames of {width} x {height} pixels; {model} sees frames {taken} in "
            f"{prepared.size[1]} x {prepared.size[0]}"
        ]

    def cut(self, count: int, task: Task, limit: int = 0) -> str:
        return f"{count:,} videos have fewer frames than the model sees: some of theirs were taken again."


class AudioReader(MediaReader):
    """Reads audio."""

    modality = AUDIO
    media = SOUNDS

    def infer(self, rows: Sequence[Row], **options: Any) -> Task:
        self._refuse(options, OF_TEXTS)
        column, language = options.pop("audio", None), options.pop("instruction", None)
        writes = options.pop("generate", None) or options.get("kind") == "generation"
        if writes and options.pop("kind", "generation") == "generation":
            return infer_transcripts(rows, column=column, language=language or "", **options)
        if language:
            raise CuetuneError("--instruction names the language of a transcript; labels need none, leave it.")
        return self.media.infer(rows, column=column, **options)

    def faults(self, examples: Sequence[Example], task: Task) -> Sequence[CuetuneError | None]:
        return audio_batches.faults(examples, task)

    def checked(
        self, examples: Sequence[Example], task: Task, preparation: Any, table: SpillTable
    ) -> Sequence[Example | CuetuneError]:
        if preparation is None:
            return super().checked(examples, task, preparation, table)
        return audio_batches.checked(examples, task, preparation, table)

    def notes(self, examples: Sequence[Example], task: Task) -> list[str]:
        return audio_batches.conversions(examples, task).lines(audio_batches.RATE)

    def seen(self, model: str, task: Task, example: Example) -> list[str]:
        hearing = load_hearing(model)
        ((_, (wave,)),) = audio_batches.listen([example], task, hearing)
        done = audio_batches.conversions([example], task, hearing.rate, hearing.longest / hearing.rate)
        changes = "; ".join(done.lines(hearing.rate)) or "as it is"
        return [f"{example.where}: {model} hears {len(wave) / hearing.rate:.2f} s ({changes})"]
