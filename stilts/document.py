"""YAML files with line numbers: every message about a grid or cluster file can say where the trouble stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from stilts.errors import UserError

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's scalars: `1e-5` is a number, `no` is a string (and a language)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own way)
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        """`010` is ten (YAML 1.1 reads eight, and 90 from `1:30`)."""
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# PyYAML tries resolvers in the order in which they were added: whole numbers must stay integers.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


@dataclass
class Document:
    """A parsed YAML file: its value and the line on which each part of it stands."""

    path: Path
    value: Any
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def where(self, location: Iterable[str | int]) -> str:
        """`file:line` of a location; of its nearest enclosing part where it has no line of its own."""
        place = tuple(location)
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"

    def say(self, location: Iterable[str | int], text: str) -> None:
        """Add a problem at a location, once."""
        problem = f"{self.where(location)}: {text}"
        if problem not in self.problems:
            self.problems.append(problem)

    def check(self) -> None:
        """Raise every problem found so far, in the order of their lines."""
        if self.problems:
            raise UserError(sorted(self.problems, key=_line_of))


def read_document(path: Path) -> Document:
    """Parse a YAML mapping; duplicate keys become problems, a syntax error is raised at once.

    Raises UserError where the file cannot be read, is not UTF-8 YAML, or is not a mapping at its top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    document = Document(path, None)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document.value = _build(loader, node, (), document) if node else {}
    except yaml.YAMLError as error:
        raise UserError(_syntax_problem(path, text, error)) from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply, or an alias contains itself") from None
    if not isinstance(document.value, dict):
        raise UserError(f"{path}:1: holds a {type(document.value).__name__}, not a mapping of keys to values")
    return document


def _build(loader: _Loader, node: yaml.Node, location: Location, document: Document) -> Any:
    document.lines[location] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node, own in _pairs(node):
            key = str(_construct(loader, key_node))
            place = (*location, key)
            line = key_node.start_mark.line + 1
            if key in result:
                if not own:
                    continue  # a mapping overrules what it merges
                first = document.lines[place]
                document.lines[place] = line
                document.say(place, f"duplicate key '{key}' (first on line {first}); keep one of them")
                continue
            result[key] = _build(loader, value_node, place, document)
            document.lines[place] = line
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*location, index), document) for index, item in enumerate(node.value)]
    return _construct(loader, node)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
    """Keys and values of a mapping, its own (True) before those that it merges with `<<`."""
    merges = [value for key, value in node.value if key.tag == _MERGE]
    yield from ((key, value, True) for key, value in node.value if key.tag != _MERGE)
    for value in merges:
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise _not_a_value("'<<' takes a mapping, or a list of mappings", source)
            yield from ((key, value, False) for key, value, _ in _pairs(source))


def _construct(loader: _Loader, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, KeyError, AttributeError):  # PyYAML's answers to `!!int x`, `!!bool x`, `!!timestamp x`
        raise _not_a_value(f"{_spell(node.value)} cannot be read as {node.tag.rsplit(':', 1)[-1]}", node) from None


def _not_a_value(what: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _syntax_problem(path: Path, text: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    what = getattr(error, "problem", None) or str(error)
    if isinstance(error, yaml.reader.ReaderError):
        line, what = text.count("\n", 0, error.position) + 1, f"character U+{ord(text[error.position]):04X}"
    return f"{path}:{line}: is not valid YAML ({what}); check indentation, brackets and quotes near this line"


def _line_of(problem: str) -> tuple[str, int]:
    match = re.match(r"(.*?):(\d+): ", problem)
    return (match[1], int(match[2])) if match else (problem, 0)


def validate(document: Document, model: type[Model], value: Any = None, at: Location = ()) -> Model | None:
    """Build `model` from (a part of) a document; every problem is added to the document. None if there are any.

    Strict: YAML has types of its own, so `true` is no number and `"1e-5"` is none either.
    """
    try:
        return model.model_validate(document.value if value is None else value, strict=True)
    except ValidationError as error:
        for problem in error.errors():
            location = tuple(part for part in problem["loc"] if part != "[key]")
            document.say((*at, *location), _explain(model, location, problem))
        return None


def _explain(model: type[BaseModel], location: Location, problem: Any) -> str:
    name, given = location[-1] if location else "", problem["input"]
    if problem["type"] == "extra_forbidden":
        return unknown(f"key '{name}'", str(name), _legal_keys(model, location[:-1]))
    if problem["type"] == "missing":
        return f"key '{name}' is missing; it is required here"
    if problem["type"] == "literal_error":
        return unknown(f"'{given}' for '{name}'", str(given), re.findall("'(.*?)'", problem["ctx"]["expected"]))
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{_path(location)}' is {_spell(given)}: {message[0].lower()}{message[1:]}"


def _path(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _spell(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown(what: str, given: str, legal: Iterable[str]) -> str:
    """The message for a name that does not exist: what was given, what is legal, the nearest legal name."""
    names = sorted({name for name in legal if name})
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown {what}; legal: {', '.join(names)}{hint}"


def _legal_keys(model: type[BaseModel], location: Location) -> list[str]:
    """Field names of the model that stands at `location` inside `model`."""
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _inner_model(fields[part].annotation)
    return [info.alias or name for name, info in current.model_fields.items()]


def _inner_model(annotation: Any) -> Any:
    """The BaseModel inside `list[M]`, `dict[str, M]`, `M | None`; the annotation itself otherwise."""
    if get_origin(annotation) is None or get_origin(annotation) is Literal:
        return annotation
    for argument in get_args(annotation):
        inner = _inner_model(argument)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return annotation
