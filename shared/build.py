"""dict(type=Class, ...) <-> object: the whole of our registry. Configs and checkpoints are built through here."""

import difflib
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

OURS = ("shared", "tasks", "pretrain")  # a file may name classes of these packages and nothing else


def build(node: Any, **defaults: Any) -> Any:
    """Make what a node describes; lists and dicts without `type` are descended into.

    Args:
        node: dict(type=Class or its dotted name, **arguments), or anything that holds such.
        defaults: arguments of the outermost class that the node does not give.

    Raises:
        ValueError: the class is not there, or not one of ours, or takes no such argument.
    """
    if isinstance(node, Mapping):
        arguments = {key: build(value) for key, value in node.items() if key != "type"}
        if "type" not in node:
            return arguments
        made = named(node["type"]) if isinstance(node["type"], str) else node["type"]
        accepted = inspect.signature(made).parameters
        for key in arguments:
            if key not in accepted:
                near = difflib.get_close_matches(key, accepted, 1)
                hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(accepted)}"
                raise ValueError(f"{made.__name__} takes no {key!r}; {hint}")
        arguments = {**defaults, **arguments}
        missing = [k for k, p in accepted.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD and k not in arguments]
        if missing:
            raise ValueError(f"{made.__name__} needs {', '.join(missing)}; it was given {', '.join(arguments) or 'nothing'}")
        return made(**arguments)
    if isinstance(node, list | tuple):
        return [build(item) for item in node]
    return node


def named(path: str) -> type:
    """`package.module.Class` -> the class, from our own packages only.

    Raises:
        ValueError: it is not ours, or not there.
    """
    module, _, name = path.rpartition(".")
    if module.split(".")[0] not in OURS:
        raise ValueError(f"{path!r} is not a class of {', '.join(OURS)}; a file may not name code from elsewhere")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {path!r} in this version; the file was written by another one") from error
    if not isinstance(found, type) or found.__module__.split(".")[0] not in OURS:  # a function, or what a module of ours imports
        raise ValueError(f"{path!r} is not a class of {', '.join(OURS)}; a file may not name code from elsewhere")
    return found
