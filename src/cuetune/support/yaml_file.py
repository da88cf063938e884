"""YAML files that users write, with the line of every value, so that each fault can be named where it stands.

A file is read as texts, lists and mappings, and nothing else: `labels: [yes, no]` are the words yes and no, and what is
a number follows from what the key asks for. No tag is obeyed, so no object is ever built from a file.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import DAMAGED, read_limited, reason_of

Place = tuple[str | int, ...]  # where a value stands: ("tasks", 2, "labels", 0)
Model = TypeVar("Model", bound="Keys")
LARGEST = 2**20  # bytes; thousands of tasks are less
DEEPEST = 16
TAG = "tag:yaml.org,2002:"
SCALARS = {TAG + kind for kind in ("str", "int", "float", "bool", "timestamp", "merge", "value")}
EXPECTED = {
    "string_type": "a text (in quotes, if it begins with a bracket or brace)",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "tuple_type": "a list, as in [first, second]",
    "dict_type": "names and values, as in {{text: body}}",
    "model_type": "keys and values, as in `name: value`",
    "greater_than_equal": "at least {ge}",
    "too_short": "at least {min_length}",
}
# Words of the parser, and what they mean for the one who wrote the file.
MEANINGS = {
    r"'\\t'": "a tab where only spaces may stand; indent with spaces",
    r"mapping values are not allowed": "a colon where none may stand; put a text that contains one in quotes",
    r"unexpected end of stream": "a quotation mark is not closed",
    r"expected <block end>": "this line does not fit the ones above; check its indentation and the quotes before it",
    r"could not find expected ':'": "a line that is neither `key: value` nor `- item`",
    r"cannot start any token": "put a text that begins with this character in quotes",
    r"found another document": "a second document begins here; one file holds one",
}
AT_START = ("unexpected end of stream", "could not find expected ':'")  # told by where the faulty part begins


class Keys(BaseModel):
    """What may stand in one mapping of a file; an unknown key is told before anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                close = difflib.get_close_matches(key, cls.model_fields, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(cls.model_fields)}."
                raise PydanticCustomError("unknown_key", "unknown key {name}; {hint}", _unknown(key, hint))
        return values


def _unknown(key: str, hint: str) -> dict[str, Any]:
    return {"name": repr(key), "hint": hint, "key": key}


@dataclass(frozen=True)
class Lined:
    """A file's content (texts, lists, mappings, None where nothing stands) and the line of every value."""

    path: Path
    content: Any
    lines: Mapping[Place, int] = field(repr=False)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest thing around it that is there."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def where(self, place: Place) -> str:
        """As errors begin: "TASKS.yaml, line 12: task 'spam'"."""
        item = self._item(place)
        return f"{self.path}, line {self.line(place)}" + (f": {item}" if item else "")

    def error(self, place: Place, message: str) -> CuetuneError:
        return CuetuneError(f"{self.where(place)}: {message}")

    def as_a(self, model: type[Model]) -> Model:
        """The content under a model. Raises CuetuneError for its first fault, by line."""
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            places = [(self._place(each), each) for each in error.errors(include_url=False)]
            # A list counts as short when its items are faulty: then those, which come first, are the fault.
            faults = [found for found in places if found[1]["type"] != "too_short"] or places[:1]
            place, first = min(faults, key=lambda found: self.line(found[0]))
            raise self.error(place, _said(place, first)) from None

    def distinct(self, key: str, names: Sequence[str]) -> None:
        """Raise CuetuneError when two items of the list `key` have one name; names become folders, so case is alike."""
        first: dict[str, int] = {}
        for number, name in enumerate(names):
            before = first.setdefault(name.casefold(), number)
            if before != number:
                line = self.line((key, before, "name"))
                raise self.error((key, number, "name"), f"the name stands on line {line} already; choose another.")

    @staticmethod
    def _place(error: ErrorDetails) -> Place:
        key = error.get("ctx", {}).get("key")
        return error["loc"] if key is None else (*error["loc"], key)

    def _item(self, place: Place) -> str:
        """The list item that a place is in, by its name, or by its number where it has none."""
        if len(place) < 2 or not isinstance(place[1], int):
            return ""
        item = self.content[place[0]][place[1]]
        name = item.get("name") if isinstance(item, dict) else None
        kind = str(place[0]).removesuffix("s")
        return f"{kind} {name!r}" if isinstance(name, str) else f"{kind} {place[1] + 1}"


def _said(place: Place, error: ErrorDetails) -> str:
    """One fault in words: what was found and what was expected."""
    kind, context = error["type"], error.get("ctx", {})
    inside = place[2:] if len(place) > 1 and isinstance(place[1], int) else place
    at = ", ".join(f"item {part + 1}" if isinstance(part, int) else part for part in inside if part != "[key]")
    if kind == "missing":
        return f"no key {inside[-1]!r}; add one."
    if kind in EXPECTED:
        said = f"found {_found(error['input'])}, expected {EXPECTED[kind].format(**context)}."
    else:
        said = error["msg"].removeprefix("Value error, ")
    return f"{at}: {said}" if at and kind != "unknown_key" else said


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) < 60 else value[:60] + "…")
    if isinstance(value, dict):
        return "a mapping"
    return f"a list of {len(value)}" if value else "an empty list"


def read_lined(path: str | Path) -> Lined:
    """Read a YAML file. Raises CuetuneError naming the line for anything that is not plain YAML of one document."""
    path = Path(path)
    text = _text(path)
    try:
        node = _Loader(text).get_single_node()
        lines: dict[Place, int] = {(): 1}
        return Lined(path, _plain(node, (), lines), lines)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise CuetuneError(f"{path}, line {line}: a control character; remove it.") from None
    except yaml.MarkedYAMLError as error:
        raise _explained(path, error) from None
    except DAMAGED as error:
        raise CuetuneError(f"{path}: no plain YAML ({reason_of(error)}); write keys and values.") from error


def _text(path: Path) -> str:
    try:
        content = read_limited(path, LARGEST, "write a plain file of keys and values")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1].hex()
        raise CuetuneError(f"{path}, line {line}: byte 0x{byte} is not UTF-8; save the file as UTF-8.") from error


class _Loader(yaml.SafeLoader):
    """Composes nodes, without references: a file that refers to itself could grow without end."""

    deep = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.deep += 1
        if self.deep > DEEPEST:
            problem = f"nested more than {DEEPEST} deep; such a file needs three levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)
        try:
            return self._composed(parent, index)
        finally:
            self.deep -= 1

    def _composed(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            problem = f"'*{event.anchor}' refers to another place; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


def _plain(node: Any, place: Place, lines: dict[Place, int]) -> Any:
    """A node as texts, lists and dictionaries; `lines` gets the line of each part, of the key where there is one."""
    if node is None:
        return None
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode) and node.tag == TAG + "null":
        return None
    if isinstance(node, yaml.ScalarNode) and node.tag in SCALARS:
        return node.value
    if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
        return [_plain(item, (*place, number), lines) for number, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
        return {_key(key, place, lines): _plain(value, (*place, key.value), lines) for key, value in node.value}
    tag = node.tag.replace(TAG, "!!")
    raise yaml.MarkedYAMLError(problem=f"the tag {tag}; write a plain value", problem_mark=node.start_mark)


def _key(key: Any, place: Place, lines: dict[Place, int]) -> str:
    line = key.start_mark.line + 1
    problem = ""
    if not isinstance(key, yaml.ScalarNode):
        problem = "a list or mapping as a key; put the text in quotes"
    elif key.tag not in SCALARS:
        problem = "a key that is no plain word"
    elif (*place, key.value) in lines:
        problem = f"the key {key.value!r} stands on line {lines[*place, key.value]} already; remove one"
    if problem:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
    lines[*place, key.value] = line
    return key.value


def _explained(path: Path, error: yaml.MarkedYAMLError) -> CuetuneError:
    problem = error.problem or error.context or "not YAML"
    mark = error.problem_mark or error.context_mark
    if error.context_mark and any(words in problem for words in AT_START):
        mark = error.context_mark
    said = next((meaning for words, meaning in MEANINGS.items() if re.search(words, problem)), problem)
    return CuetuneError(f"{path}, line {mark.line + 1}: {said}." if mark else f"{path}: {said}.")
