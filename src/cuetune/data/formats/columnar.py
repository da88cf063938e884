"""Parquet and Arrow files, a batch of rows at a time, with the class names that `datasets` kept beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cuetune.data.formats.column_names import column_names
from cuetune.data.labels.class_names import Named, named_columns, with_names
from cuetune.data.row import Row
from cuetune.errors import CuetuneError

BATCH = 1024


def read_parquet(path: Path, encoding: str) -> Iterator[Row]:
    """Rows of a Parquet file."""
    import pyarrow.parquet as parquet

    def batches() -> Iterator[Any]:
        with parquet.ParquetFile(path) as file:
            named = _named(file.schema_arrow)
            for batch in file.iter_batches(batch_size=BATCH):
                yield named, batch

    return _rows(path, batches(), "Parquet")


def read_arrow(path: Path, encoding: str) -> Iterator[Row]:
    """Rows of an Arrow file (Feather's second version is one) or stream."""
    import pyarrow

    def batches() -> Iterator[Any]:
        with pyarrow.memory_map(str(path)) as source:
            whole = source.read(6) == b"ARROW1"
            source.seek(0)
            reader = pyarrow.ipc.open_file(source) if whole else pyarrow.ipc.open_stream(source)
            named = _named(reader.schema)
            for batch in (reader.get_batch(n) for n in range(reader.num_record_batches)) if whole else reader:
                for start in range(0, len(batch), BATCH):
                    yield named, batch.slice(start, BATCH)

    return _rows(path, batches(), "Arrow")


def _rows(path: Path, batches: Iterator[Any], what: str) -> Iterator[Row]:
    import pyarrow

    number = 0
    try:
        for named, batch in batches:
            batch = batch.rename_columns(column_names(batch.schema.names))
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path.name}, row {number}", with_names(values, named))
    except (PermissionError, FileNotFoundError):
        raise
    except (pyarrow.ArrowException, OSError) as error:
        raise CuetuneError(f"{path}: not a whole {what} file ({str(error).splitlines()[0][:120]}).") from error


def _named(schema: Any) -> Named:
    """What `datasets` wrote into the file about its columns."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    import datasets

    try:
        return named_columns(datasets.Features.from_arrow_schema(schema))
    except (ValueError, TypeError, KeyError, AttributeError):  # of a later version, or somebody else's
        return {}
