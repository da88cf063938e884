"""`--config FILE.toml`: the options of a command in a file. What is also said on the command line wins."""

import difflib
import inspect
import tomllib
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import DAMAGED, reason_of

LARGEST = 2**20  # bytes


def from_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of this command. Raises CuetuneError naming file and key."""
    if path is not None:
        values = read_config(path)
        kinds = get_type_hints(inspect.unwrap(context.command.callback))  # type: ignore[arg-type]
        kinds = {name: kind for name, kind in kinds.items() if name not in ("config", "return")}
        values = {key: _as_text(value, kinds.get(key)) for key, value in values.items()}
        for key, value in values.items():
            _check(path, key, value, kinds)
        context.default_map = {**(context.default_map or {}), **values}
    return path


Config = Annotated[
    Path | None,
    typer.Option("--config", is_eager=True, callback=from_file, help="TOML file whose keys are names of options."),
]


def read_config(path: Path) -> dict[str, Any]:
    """Keys as the command's parameters are called (learning-rate reads as learning_rate), tables as name=value lists.

    Relative paths in it are as on the command line: from where the command is run. Raises CuetuneError.
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise CuetuneError(f"--config {path}: is too large for options (at most {LARGEST >> 20} MiB).")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CuetuneError(f"--config {path}: no such file.") from None
    except OSError as error:
        raise CuetuneError(f"--config {path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CuetuneError(f"{path}: not UTF-8 text ({error.reason}); TOML is always UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise CuetuneError(f"{path}: not TOML: {error}; write a line like steps = 100, and texts in quotes.") from error
    except DAMAGED as error:  # nested too deeply, or a number of thousands of digits
        raise CuetuneError(f"{path}: not TOML ({reason_of(error)}); write a line like steps = 100.") from error
    return {key.replace("-", "_"): _listed(value) for key, value in values.items()}


def _listed(value: Any) -> Any:
    """A table, as in columns = {text = "body"}, in the form that an option of name=value pairs takes."""
    return [f"{name}={each}" for name, each in value.items()] if isinstance(value, dict) else value


def _as_text(value: Any, kind: Any) -> Any:
    """A list of numbers, as in sizes = [64, 1000], in the form "64,1000" that its option takes."""
    numbers = isinstance(value, list) and kind == str | None and all(type(each) is int for each in value)
    return ",".join(map(str, value)) if numbers else value


def _check(path: Path, key: str, value: Any, kinds: dict[str, Any]) -> None:
    """One line for a key that is no option, or a value that is none for it."""
    from pydantic import TypeAdapter, ValidationError

    if key not in kinds:
        close = difflib.get_close_matches(key, kinds, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(kinds)}."
        raise CuetuneError(f"{path}: unknown key {key!r}; {hint}")
    try:
        TypeAdapter(kinds[key]).validate_python(value)
    except ValidationError as error:
        raise CuetuneError(f"{path}, key {key!r}: {value!r}: {error.errors()[0]['msg'].lower()}.") from error
