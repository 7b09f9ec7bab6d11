"""The YAML files that people write: reading them, with errors that name the line."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lockgate.errors import BadInput

MAX_LENGTH = 200_000

_Document = TypeVar("_Document", bound=BaseModel)
_MOST_NESTED = 30


class _Loader(yaml.SafeLoader):
    """YAML as people read it: `on`, `off`, `yes` and `no` are words, only `true` and `false` are not."""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 - as in PyYAML
        """Refuse brackets in brackets in brackets, which YAML takes long over."""
        if self.flow_level >= _MOST_NESTED:
            raise BadInput("The file is nested too deeply.")
        super().fetch_flow_collection_start(TokenClass)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false"), ["t", "f"])


def read_document(text: str, kind: type[_Document], called: str, parts: Sequence[type[BaseModel]]) -> _Document:
    """Read a file of ours from YAML.

    Args:
        text: The file's content.
        kind: What the file as a whole is.
        called: What to call it in a sentence.
        parts: All kinds of parts that it is made of, to suggest a setting in place of a misspelt one.

    Returns:
        The validated document.

    Raises:
        BadInput: naming each line that is wrong and what is allowed there.
    """
    if len(text) > MAX_LENGTH:
        raise BadInput(f"A file of this kind ({called}) may have {MAX_LENGTH} characters; this one has {len(text)}.")
    root, data = parse_yaml(text)
    if not isinstance(data, dict):
        raise BadInput(f"A file of this kind ({called}) is a mapping that starts with `version: 1`.")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        settings = sorted({field.alias or name for part in parts for name, field in part.model_fields.items()})
        problems = [_problem(root, problem, called, settings) for problem in error.errors()]
        raise BadInput(f"The {called} is not valid.\n" + "\n".join(problems), problems=problems) from None


def parse_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Read YAML whose lines are known.

    Raises:
        BadInput: with the line that is wrong.
    """
    try:
        for token in yaml.scan(text, Loader=_Loader):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                line = token.start_mark.line + 1
                raise BadInput(f"line {line}: anchors and aliases (& and *) are not allowed; quote a name with *.")
        root = yaml.compose(text, Loader=_Loader)
        _refuse_repeated_keys(root)
        return root, yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"line {line}: this is not YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise BadInput(f"This is not YAML: {error}") from None
    except RecursionError:
        raise BadInput("The file is nested too deeply.") from None
    except ValueError as error:
        raise BadInput(f"This is not YAML that can be read: {error}") from None


def _refuse_repeated_keys(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadInput(f"line {key.start_mark.line + 1}: a setting's name is a word.")
            if key.value in seen:
                raise BadInput(f"line {key.start_mark.line + 1}: `{key.value}` stands here twice; keep one.")
            seen.add(key.value)
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item)


def _problem(root: yaml.Node | None, error: ErrorDetails, called: str, settings: Sequence[str]) -> str:
    path = list(error["loc"])
    where = ".".join(str(part) for part in path)
    return f"line {line_of(root, path)}: {where or called}: {_sentence(error, settings)}"


def line_of(node: yaml.Node | None, path: list[Any]) -> int:
    """Return the line where something stands: the nearest that there is."""
    line = 1
    for part in path:
        if node is None:
            break
        child = _child(node, part)
        if child is None:
            break
        line, node = child
    return line


def _child(node: yaml.Node, part: Any) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: yaml.Node = node.value[part]
        return item.start_mark.line + 1, item
    return None


def _sentence(error: ErrorDetails, settings: Sequence[str]) -> str:
    match error["type"]:
        case "extra_forbidden":
            written = str(error["loc"][-1])
            near = get_close_matches(written, set(settings) - {written}, n=2)
            meant = " or ".join(f"`{one}`" for one in near)
            return "there is no such setting here" + (f"; did you mean {meant}?" if near else "")
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number, such as 1"
        case "missing":
            return "this is missing"
        case "literal_error":
            return f"must be {error['ctx']['expected']}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return error["msg"][0].lower() + error["msg"][1:]
