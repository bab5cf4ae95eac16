"""From a command line to a trained model: the same path for pretraining, for each task and for all of them together."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_start_method
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import torch
from mmengine.config import Config
from torch import nn

from shared import checkpoint
from shared.build import build, named
from shared.data.turns import Pictures, Turns
from shared.dense.balance import balancer
from shared.dense.compiled import compile_parts
from shared.engine import data, mfu, optim, parallel, record, shares
from shared.engine.config import Tree, describe, load
from shared.engine.course import Course, export
from shared.engine.hooks import Balancing, Preview, Progress
from shared.engine.loop import Loader, Run, TrainLoop
from shared.engine.preview import draw
from shared.engine.probe import Probe
from shared.engine.score import score
from shared.engine.session import Session, precision_of, session
from shared.engine.states import Checkpoints
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals, Survive
from shared.engine.teaching import teaching
from shared.engine.watch import Stopwatch
from shared.task import Task

log = logging.getLogger(__name__)
LEAST = dict.fromkeys(("iters", "batch", "accumulate", "log_every", "save_every", "keep", "skips"), 1)
LEAST |= dict.fromkeys(("workers", "warmup", "val_every", "preview", "clip", "spike", "timeout"), 0)


def finetune(only: type[Task] | None = None) -> None:
    """The command of `tasks/<task>/finetune.py`: read config and overrides, train; errors are a sentence and exit code 2."""
    what = only.name if only else "any set of tasks"
    _command(f"Fine-tune {what} on a pretrained backbone.", "tasks/{0}/finetune.py configs/{0}/synthetic_nano.py", only)


def pretrain() -> None:
    """The command of `pretrain/mae.py`."""
    _command(
        "Pretrain a backbone by masked autoencoding, without labels.",
        "pretrain/mae.py configs/pretrain/synthetic_nano.py",
        None,
    )


def _command(summary: str, example: str, only: type[Task] | None) -> None:
    example = example.format(only.name if only else "joint")
    parser = argparse.ArgumentParser(
        description=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"""examples:
  python {example} lr=3e-4
  torchrun --nproc_per_node 8 {example} batch=4 train.shards='data/x-{{000..511}}.tar'

The same command again goes on where a stopped run was. Settings are listed in configs/_base_.""",
    )
    parser.add_argument("config", help="a file under configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="replace a setting; a dot goes into a group: backbone.size=1b"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = load(arguments.config, arguments.overrides)
        _refuse_others(config, pretrains=example.startswith("pretrain/"))
        train(config, only=only)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped at once; the same command goes on from the last state that was saved\n")


def _refuse_others(config: Tree, *, pretrains: bool) -> None:
    """Pretraining has no tasks, and fine-tuning has some: a config of the one given to the other is a slip."""
    tasks = [named(task["type"]).name for task in config.get("tasks", [])]
    if pretrains and tasks:
        raise ValueError(
            f"this config fine-tunes {', '.join(tasks)}, and this script pretrains; use tasks/joint/finetune.py for it"
        )
    if not pretrains and not tasks:
        raise ValueError("this config has no tasks: it pretrains, and this script fine-tunes; use pretrain/mae.py for it")


def train(config: Tree, *, only: type[Task] | None = None) -> Path:
    """Train as the config says; going on with a run that was stopped, and leaving alone one that is finished.

    SIGTERM, SIGUSR1 and Ctrl-C end it after the iteration, with its state saved, as if it had been asked for so few.

    Args:
        config: as `load` returns it.
        only: refuse configs with other tasks than this one.

    Returns:
        The weights, `<work_dir>/model.safetensors`.

    Raises:
        ValueError: the config does not fit the script, the data or the run that is there already; or step after step goes wrong.
        OSError: a state cannot be saved, or those who read ahead give nothing any more.
    """
    description = describe(config)
    _check(config)
    if only is not None and [named(t["type"]) for t in description.get("tasks", [])] != [only]:
        raise ValueError(f"this script trains {only.name} alone; for this config use tasks/joint/finetune.py")
    folder = Path(config["work_dir"])
    weights = folder / "model.safetensors"
    with Signals() as signals, session(config["device"]) as here:
        if here.processes == 1 and here.device.type == "cpu":
            cv2.setNumThreads(1)
        latest = record.latest(folder, config, here)
        if latest and latest.stem == f"iter_{config['iters']}" and weights.is_file():
            if here.first:
                log.info("%s holds a finished run of %d iterations: nothing to do; choose another work_dir= to train again",
                         folder, config["iters"])  # fmt: skip
            return weights
        torch.manual_seed(config["seed"])
        model = build(description)
        if config["init"] and latest is None:
            checkpoint.initialise(model.backbone, config["init"])
            if config.get("init_decoders"):
                checkpoint.initialise_decoders(model, config["init"])
        optim.hold(model.backbone, frozen=config["frozen"], lora=config["lora"])
        if latest and here.first:
            log.info("going on from %s", latest)
        guard = Guard(here, signals, spike=config["spike"], skips=config["skips"])
        _run(model, description, config, folder, latest, here, guard)
    return weights


def _check(config: Tree) -> None:
    """Refuse numbers that mean nothing, before anything is built."""
    for key, least in LEAST.items():
        if config[key] < least:
            raise ValueError(f"{key}={config[key]} is too small; it is at least {least}")
    if config.get("lr_for") is not None and not config["lr_for"] > 0:
        raise ValueError(f"lr_for={config['lr_for']} is no number of pictures; give one, for example 256, or None for lr as it is")
    if not 0 <= config["ema"] < 1:
        raise ValueError(f"ema={config['ema']} is no decay; it is at least 0 (none) and less than 1, for example 0.9999")


def _run(model: Any, description: Mapping, config: Tree, folder: Path, latest: Path | None, here: Session, guard: Guard) -> None:
    tasks: Sequence[Task] = model.tasks
    size = tuple(description["backbone"]["image_hw"])
    teachers = teaching(config.get("teacher"), model, here.device)
    stream = data.training(config, tasks, size, taught=teachers.tasks if teachers else (), processes=here.processes)
    valid = data.validation(config, tasks, size, lenient=True)
    dtype = precision_of(config["precision"], here.device)
    rule, compare, balance = config.get("balance"), config.get("compare", False), None
    if rule or compare:
        balance = balancer(rule, [task.name for task in tasks], seed=config["seed"], compare=compare)
        if balance.where and (config["lora"] or config["frozen"] is True):
            raise ValueError(
                "this balance, or compare=True, looks at what tasks want of the backbone, which stands still; leave it out"
            )
    look = {"size": size, "stride": model.backbone.stride, "framing": data.framing(tasks, config.get("framing"))}
    probe = Probe.of(config.get("probe"), val_every=config["val_every"], **look)
    way = parallel.way(config, here, balance)
    whole = not shares.asked(config, way)
    if here.first:
        record.begin(folder, config, here, model)  # now that everything the config names was found

    def validate(iteration: int) -> dict[str, float]:
        scores = {} if valid is None else score(model, valid, here, tasks=tasks, batch=config["batch"], dtype=dtype)[0]
        if probe is not None:
            scores |= probe.at(iteration, config["iters"], model=model, here=here, dtype=dtype, folder=folder)
        return scores

    hooks: list[Any] = [Balancing(balance, guard)] if balance is not None else []
    watch = Stopwatch(here.device, active=here.first)
    compile_parts(model, config.get("compile"), here.device)
    used = mfu.utilisation(config, here, dtype) if here.first else None
    static = balance is None and config["accumulate"] == 1  # a step without exchange, or a look at gradients, is another graph
    step = parallel.spread(Step(model, balance, teachers).to(here.device), way, here, dtype=dtype, static=static, whole=whole)
    rates = {key: config[key] for key in ("weight_decay", "layer_decay", "betas")}
    lr = optim.rate(config, processes=here.processes)
    optimizer = optim.optimizer(config["optimizer"], model, beside=teachers, lr=lr, **rates)
    if way == "fsdp2":
        parallel.spread_states(optimizer, whole=whole)
        hooks.append(parallel.Gather(step))
    if latest and latest.is_dir():
        hooks.append(shares.Shares(latest))
    runner = Run(
        model=step,
        work_dir=str(folder / ".mmengine"),  # where it keeps what it writes unasked
        experiment_name=uuid4().hex,
        launcher="pytorch" if way == "ddp" else "none",  # to mmengine, a model that is cut is any model
        train_dataloader=Loader(  # type: ignore[arg-type]
            stream,
            **{key: config[key] for key in ("batch", "accumulate", "workers", "timeout")},
            session=here,
            reading=stream.reading,
        ),
        train_cfg={
            "type": TrainLoop,
            "iters": config["iters"],
            "seed": config["seed"],
            "rank": here.rank,
            "validate": validate,
            "val_every": config["val_every"],
            "watch": watch,
        },
        optim_wrapper=Autocast(
            device_type=here.device.type,
            dtype=dtype,
            optimizer=optimizer,
            clip=config["clip"],
            guard=guard,
            watch=watch,
            accumulative_counts=config["accumulate"],
        ),
        param_scheduler=optim.schedule(config["schedule"], iters=config["iters"], warmup=config["warmup"]),
        default_hooks={"timer": None, "logger": None, "checkpoint": None, "sampler_seed": None},  # type: ignore[dict-item]
        custom_hooks=hooks + _hooks(model, stream, valid, description, config, folder, here, guard, watch, used),
        load_from=str(shares.entry(latest)) if latest else None,
        resume=latest is not None,
        default_scope=None,  # type: ignore[arg-type]
        log_level="ERROR",
        # what it would change for the whole process stays as it is
        env_cfg={"mp_cfg": {"mp_start_method": get_start_method(), "opencv_num_threads": cv2.getNumThreads()}},
        randomness={"seed": config["seed"]},
        cfg=Config(),
    )
    runner.train()
    if guard.lost:
        raise ValueError(f"the run ends at iteration {runner.iter} of {config['iters']}: {guard.lost}")
    if here.first and runner.iter < config["iters"]:
        log.info("stopped by a signal after iteration %d of %d; the same command goes on", runner.iter, config["iters"])
    elif here.first:
        log.info("done: %s", folder / "model.safetensors")


def _hooks(
    model: nn.Module,
    stream: Pictures,
    valid: Any,
    description: Mapping,
    config: Tree,
    folder: Path,
    here: Session,
    guard: Guard,
    watch: Stopwatch,
    used: float | None,
) -> list:
    hooks: list[Any] = [
        Survive(guard),
        Progress(
            every=config["log_every"],
            images=(stream.pictures if isinstance(stream, Turns) else config["batch"]) * config["accumulate"] * here.processes,
            folder=folder if here.first else None,
            title="/".join(folder.parts[-2:]),
            guard=guard,
            watch=watch,
            replaced=lambda: stream.replaced,
            mfu=used,
        ),
        Checkpoints(
            every=config["save_every"],
            keep=config["keep"],
            folder=folder,
            description=description,
            about={"config": config},
            here=here,
            export=lambda state, about: export(model, config["lora"], state, about),
            shared=config["states"] == "shares",
        ),
    ]
    if hasattr(model, "begin"):
        hooks.append(Course(model, guard))
    if config["ema"]:
        hooks.append({"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": 1 - config["ema"]})
    if here.first and config["preview"]:
        hooks.append(
            Preview(folder=folder, draw=lambda path: draw(path, model, stream, valid, here.device, count=config["preview"]))
        )
    return hooks
