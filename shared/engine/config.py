"""Config files and `key=value` overrides: existing keys only, typed, and a misspelt one is refused with the nearest name."""

import ast
import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mmengine.config import Config

from shared.build import named

Tree = dict[str, Any]
ROOT = Path(__file__).parents[2]


def load(path: Path | str, overrides: Sequence[str] = ()) -> Tree:
    """A config file with overrides, as plain data; classes stand as dotted names.

    A path that does not lead anywhere from here is looked up from the project's folder, so that commands run in any folder.

    Raises:
        ValueError: the file is not there or cannot be read, or an override names nothing.
    """
    path = Path(path)
    if not path.exists() and (ROOT / path).is_file():
        path = ROOT / path
    if not path.is_file():
        known = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("configs/[!_]*/*.py"))
        near = difflib.get_close_matches(str(path), known, 3, 0.3)
        raise ValueError(f"there is no config file {path}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    try:
        tree = Config.fromfile(path).to_dict()
    except Exception as error:  # mmengine raises bare errors of many kinds
        raise ValueError(f"the config {path} cannot be read: {type(error).__name__}: {error}") from error
    for override in overrides:
        _apply(tree, override)
    if tree.get("work_dir") is None:
        tree["work_dir"] = str(Path("runs") / path.parent.name / path.stem)
    return tree


def describe(config: Tree) -> dict[str, Any]:
    """What the model is, as one tree that `build` makes and a checkpoint carries."""
    parts = {key: config[key] for key in ("backbone", "tasks", "decoder", "weights") if key in config}
    return {**config["model"], **parts}


def _apply(tree: Tree, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override!r} is no override; write key=value, for example lr=3e-4")
    node, *path = [tree, *key.split(".")]
    for depth, name in enumerate(path):
        known = _keys(node)
        if name not in known:
            here = ".".join([*path[:depth], ""])
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {here}{near[0]}?" if near else f"there are {', '.join(here + k for k in known) or 'none'}"
            if node == {}:
                hint = f"{here[:-1]} is empty; fill it as a whole: {here[:-1]}={{'{name}': ...}}"
            raise ValueError(f"there is no setting {key!r}; {hint}")
        if depth < len(path) - 1:
            node = node[int(name)] if isinstance(node, list | tuple) else node.setdefault(name, {})
    name = path[-1]
    if isinstance(node, tuple):
        raise ValueError(f"{key}: one number of {node} cannot be set alone; give all of them, as in {'.'.join(path[:-1])}={node}")
    index: Any = int(name) if isinstance(node, list) else name
    old = node[index] if isinstance(node, list) else node.get(name)
    node[index] = _typed(key, text, old, _annotation(node, name))


def _keys(node: Any) -> list[str]:
    """What may stand after the dot: keys, arguments of the class that is built here, or indices."""
    if isinstance(node, list | tuple):
        return [str(i) for i in range(len(node))]
    if not isinstance(node, dict):
        return []
    arguments = list(inspect.signature(named(node["type"])).parameters) if "type" in node else []
    return [*node, *(a for a in arguments if a not in node)]


def _annotation(node: Any, name: str) -> Any:
    """What the class that is built from a group of settings says of this argument, or nothing."""
    if not isinstance(node, dict) or "type" not in node:
        return inspect.Parameter.empty
    return inspect.signature(named(node["type"])).parameters[name].annotation


def _one_of(annotation: Any, value: Any) -> bool:
    """Whether an argument that may be of several kinds names the value's."""
    if get_origin(annotation) in (Union, UnionType):
        return any(
            kind is type(value) or (get_origin(kind) is Literal and value in get_args(kind)) for kind in get_args(annotation)
        )
    return False


def _is_data(item: Any) -> bool:
    """A place of shards, or a data set with its share."""
    return isinstance(item, str) or (isinstance(item, dict) and "shards" in item)


def _typed(key: str, text: str, old: Any, annotation: Any) -> Any:
    """The value that the text stands for, if it is of the kind of the old one, or of another that its class takes."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if _one_of(annotation, value):
        return value
    if value is None and not isinstance(old, bool | int | float):
        return None  # nothing, where there was a file or a group of settings
    if isinstance(old, str) and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value  # several files where there was one
    if isinstance(value, str) and isinstance(old, list) and old and all(map(_is_data, old)):
        return value  # or one where there were several, or data sets in proportions
    if isinstance(old, str) and not isinstance(value, str):
        value = text
    if old is None:
        return value
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    alike = isinstance(value, list | tuple) if isinstance(old, list | tuple) else type(value) is type(old)
    if isinstance(old, dict) and not isinstance(value, dict):
        raise ValueError(f"{key} is a group of settings; set one of {', '.join(f'{key}.{k}' for k in old) or 'its keys'}")
    if not alike:
        raise ValueError(f"{key}={text!r} is {type(value).__name__}, but {key} is {type(old).__name__}, now {old!r}")
    return value


def differences(old: Tree, new: Tree, prefix: str = "") -> list[str]:
    """What differs, a line each: `lr: 0.001 -> 0.0005`."""
    lines = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return lines
