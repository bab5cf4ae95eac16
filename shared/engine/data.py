"""From a config to data: what the tasks want of a sample, the training stream, the validation set."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.build import build
from shared.data.blend import Blend
from shared.data.cache import Cache
from shared.data.indexed import Indexed
from shared.data.stream import Stream
from shared.data.turns import Group, Pictures, Turns
from shared.data.view import Size
from shared.data.wanted import Wanted
from shared.task import Framing, Task

OWN = ("shards", "weight", "batch", "image_hw", "framing", "tasks")  # settings of a group of data, beside CHANGES
FAR = 1_000_000_007  # between the seeds of two groups
CHANGES = ("half_body", "jitter", "backdrops", "photometric", "occlusion")  # of training pictures, in the order they come


def wanted(tasks: Sequence[Task], *, derive: Sequence[str] | None = None, taught: Collection[str] = ()) -> Wanted:
    """The fields that supervise these tasks, in their vocabularies; `derive` as the config has it.

    Data may lack the fields of tasks that are `taught`, by name.
    """
    needed = {name for task in tasks if task.name not in taught for name in (task.field, *task.also)}
    also = {name: None for task in tasks for name in (*task.also, *task.heeds)}
    fields = also | {task.field: task.vocabulary for task in tasks}
    return Wanted(fields, derive=derive or (), optional=fields.keys() - needed)


def framing(tasks: Sequence[Task], given: str | None = None) -> str:
    """As given; else boxes where every task wants boxes, else the whole picture."""
    return given or ("boxes" if tasks and all(task.framing is Framing.BOXES for task in tasks) else "whole")


def training(
    config: Mapping[str, Any], tasks: Sequence[Task], size: Size, *, taught: Collection[str] = (), processes: int = 1
) -> Pictures:
    """What `train` describes, changed as `half_body`, `jitter`, `backdrops`, `photometric`, `occlusion` and `crops` say.

    It is the stream of its shards, a blend where they are data sets with weights, or `groups` that take turns, each with shards
    and settings of its own. With `buckets`, the pictures that the processes see together in a step have one of those sizes.
    Shards behind addresses are kept where `cache` says. Labels of tasks that are `taught` may be absent from all of it.

    Raises:
        ValueError: shards and groups, or neither; or a group that is none.
    """
    groups = config["train"].get("groups")
    if (groups is None) == (config["train"].get("shards") is None):
        raise ValueError("train needs either shards or groups of them; set the other to None")
    if groups is None:
        return _stream(config, config["train"]["shards"], tasks, size, taught, processes)
    seeds = [config["seed"] + FAR * k for k in range(len(groups))]
    made = [_group({**config, "seed": seed}, group, tasks, size, taught, processes) for seed, group in zip(seeds, groups)]
    trained = {name for group in groups for name in group.get("tasks") or [task.name for task in tasks]}
    if left := [task.name for task in tasks if task.name not in trained.union(taught)]:
        raise ValueError(f"no group of data trains {', '.join(left)}; name it in the tasks of one, or leave the task out")
    return Turns(made, wanted=wanted(tasks, derive=config.get("derive"), taught=taught))


def _stream(
    config: Mapping[str, Any], shards: Any, tasks: Sequence[Task], size: Size, taught: Collection[str], processes: int
) -> Stream | Blend:
    mixed = isinstance(shards, list | tuple) and any(isinstance(entry, Mapping) for entry in shards)
    return (Blend if mixed else Stream)(
        shards,
        size=size,
        wanted=wanted(tasks, derive=config.get("derive"), taught=taught),
        framing=framing(tasks, config.get("framing")),
        **{change: build(config[change]) for change in CHANGES},
        crops=build(config.get("crops")),
        seed=config["seed"],
        cache=_cache(config),
        buckets=config.get("buckets"),
        group=config["batch"] * processes,
    )


def _group(
    config: Mapping[str, Any], group: Mapping[str, Any], tasks: Sequence[Task], size: Size, taught: Collection[str], processes: int
) -> Group:
    """A group of data: `shards`, and what is otherwise for it than for the run."""
    known = [task.name for task in tasks]
    names = group.get("tasks") or known
    if "shards" not in group or set(group) - {*OWN, *CHANGES}:
        raise ValueError(f"{dict(group)} is no group of data; it has shards, and may have {', '.join((*OWN[1:], *CHANGES))}")
    if stray := set(names) - set(known):
        raise ValueError(f"a group of data is for {', '.join(sorted(stray))}, but the tasks are {', '.join(known)}")
    height, width = group.get("image_hw", size)
    settings = {**config, **{key: group[key] for key in ("batch", "framing", *CHANGES) if key in group}}
    members = [task for task in tasks if task.name in names]
    stream = _stream(settings, group["shards"], members, (height, width), taught, processes)
    return Group(stream, settings["batch"], group.get("weight", 1.0))


def _cache(config: Mapping[str, Any]) -> Cache | None:
    """Where shards behind addresses are kept."""
    cache = build(config.get("cache"))
    if cache is not None and not isinstance(cache, Cache):
        raise ValueError(f"cache={cache!r} keeps nothing; write {{'type': 'shared.data.cache.Cache', 'folder': '/scratch/shards'}}")
    return cache


def plain_training(config: Mapping[str, Any], tasks: Sequence[Task], size: Size) -> Pictures:
    """The same samples as they are, all of one size, for trivial answers."""
    taught = [task.name for task in tasks] if config.get("teacher") else ()
    train = dict(config["train"])
    if train.get("groups"):
        train["groups"] = [{k: v for k, v in group.items() if k in ("shards", "weight", "tasks")} for group in train["groups"]]
    return training({**config, "train": train, **dict.fromkeys((*CHANGES, "crops", "buckets"))}, tasks, size, taught=taught)


def validation(config: Mapping[str, Any], tasks: Sequence[Task], size: Size, *, lenient: bool = False) -> Indexed | None:
    """The set of `val`, if the config names one; `lenient`: without the samples that are damaged."""
    if not tasks or config.get("val") is None:
        return None
    how = framing(tasks, config.get("framing"))
    fields = wanted(tasks, derive=config.get("derive"))
    limit, cache = config["val"].get("limit"), _cache(config)
    return Indexed(config["val"]["shards"], size=size, wanted=fields, framing=how, limit=limit, lenient=lenient, cache=cache)
