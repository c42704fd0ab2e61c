"""YAML files that people write: a mapping of plain values, in which nothing stands twice and `off` is a word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mfpgan.types import InputError, quoted, reason_of

_BOOL, _TEXT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("bool", "str", "merge"))


class _Loader(yaml.SafeLoader):
    """As YAML 1.2: only true and false are booleans. In 1.1 an arm called off would be an arm called false."""

    yaml_implicit_resolvers = {  # noqa: RUF012, the base class's attribute
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOL, re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def read_mapping(path: Path, what: str, text: str | None = None) -> dict[str, Any]:
    """The plain values of a YAML file; keys are texts at every level, as they stand there.

    Args:
        what: the kind of file with its article, for the errors: "a config".
        text: what to read instead of the file's content, where the file holds it beside other things.

    Raises:
        InputError: not readable, no mapping, or a key is there twice in one mapping of whatever depth.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8") if text is None else text)
        root = loader.get_single_node()
        twice = None if root is None else _settle_keys(root)
        values = {} if root is None or twice else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        article, _, noun = what.partition(" ")
        raise InputError(
            f"{path}: not readable as {article} YAML {noun} ({where}{reason_of(ValueError(error.problem or error))}); write lines of "
            "`key: value`."
        ) from None
    except Exception as error:  # on odd values PyYAML stumbles in any way
        reason = reason_of(error, without=str(path))
        article, _, noun = what.partition(" ")
        raise InputError(
            f"{path}: not readable as {article} YAML {noun} ({reason}); write lines of `key: value`."
        ) from None
    if twice:
        raise InputError(f"{path}: the key {twice} is there twice; keep one of the two lines.")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{path}: {what} is a mapping, got {type(values).__name__}; write lines of `key: value`.")
    return values


def _settle_keys(root: yaml.Node) -> str | None:
    """Make all keys below a node texts, and say which is there twice, and in what; None if none is.

    Before values are made of the nodes: that takes the last of two, and puts what `<<` merges beside what stands there.
    """
    waiting, seen = [(root, "")], set()
    while waiting:
        node, name = waiting.pop()
        if id(node) in seen:  # an alias: what it names may hold itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, name) for item in reversed(node.value)]
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                    continue
                key.tag = _TEXT
                if key.value in keys:
                    return f"{quoted(key.value)} of {quoted(name)}" if name else quoted(key.value)
                keys.add(key.value)
            waiting += [(value, getattr(key, "value", name)) for key, value in reversed(node.value)]
    return None
