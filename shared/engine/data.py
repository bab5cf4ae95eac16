"""From a config to data: what the tasks want of a sample, the training stream, the validation set."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.build import build
from shared.data.blend import Blend
from shared.data.cache import Cache
from shared.data.indexed import Indexed
from shared.data.stream import Stream
from shared.data.view import Size
from shared.data.wanted import Wanted
from shared.task import Framing, Task

CHANGES = ("half_body", "jitter", "backdrops", "photometric", "occlusion")  # of training pictures, in the order they come


def wanted(tasks: Sequence[Task], *, derive: Sequence[str] | None = None) -> Wanted:
    """The fields that supervise these tasks, in their vocabularies; `derive` as the config has it."""
    heeded = {name for task in tasks for name in task.heeds}
    also = {name: None for task in tasks for name in (*task.also, *task.heeds)}
    fields = also | {task.field: task.vocabulary for task in tasks}
    return Wanted(fields, derive=derive or (), optional=heeded - {name for task in tasks for name in (task.field, *task.also)})


def framing(tasks: Sequence[Task], given: str | None = None) -> str:
    """As given; else boxes where every task wants boxes, else the whole picture."""
    return given or ("boxes" if tasks and all(task.framing is Framing.BOXES for task in tasks) else "whole")


def training(config: Mapping[str, Any], tasks: Sequence[Task], size: Size, *, processes: int = 1) -> Stream | Blend:
    """The stream of `train`, changed as `half_body`, `jitter`, `backdrops`, `photometric` and `occlusion` say; a blend where its
    shards are data sets with weights. Shards behind addresses are kept where `cache` says. With
    `buckets`, the pictures that the processes see together in a step have one of those sizes.
    """
    shards = config["train"]["shards"]
    mixed = isinstance(shards, list | tuple) and any(isinstance(entry, Mapping) for entry in shards)
    return (Blend if mixed else Stream)(
        shards,
        size=size,
        wanted=wanted(tasks, derive=config.get("derive")),
        framing=framing(tasks, config.get("framing")),
        **{change: build(config[change]) for change in CHANGES},
        seed=config["seed"],
        cache=_cache(config),
        buckets=config.get("buckets"),
        group=config["batch"] * processes,
    )


def _cache(config: Mapping[str, Any]) -> Cache | None:
    """Where shards behind addresses are kept."""
    cache = build(config.get("cache"))
    if cache is not None and not isinstance(cache, Cache):
        raise ValueError(f"cache={cache!r} keeps nothing; write {{'type': 'shared.data.cache.Cache', 'folder': '/scratch/shards'}}")
    return cache


def plain_training(config: Mapping[str, Any], tasks: Sequence[Task], size: Size) -> Stream | Blend:
    """The same samples as they are, for trivial answers."""
    return training({**config, **dict.fromkeys((*CHANGES, "buckets"))}, tasks, size)


def validation(config: Mapping[str, Any], tasks: Sequence[Task], size: Size, *, lenient: bool = False) -> Indexed | None:
    """The set of `val`, if the config names one; `lenient`: without the samples that are damaged."""
    if not tasks or config.get("val") is None:
        return None
    how = framing(tasks, config.get("framing"))
    fields = wanted(tasks, derive=config.get("derive"))
    limit, cache = config["val"].get("limit"), _cache(config)
    return Indexed(config["val"]["shards"], size=size, wanted=fields, framing=how, limit=limit, lenient=lenient, cache=cache)
