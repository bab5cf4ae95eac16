"""The training loop: iterations, not epochs, and a restart begins at the next sample instead of replaying the earlier ones."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader, Dataset

from shared.data.order import Positions
from shared.data.shards import DamagedSample
from shared.data.turns import Turns
from shared.engine import feed
from shared.engine.session import Session
from shared.engine.watch import Stopwatch


class Loader:
    """Makes the batches of the iterations that are still to do.

    Args:
        dataset: position -> sample.
        batch: samples per process and micro-batch; groups that take turns have their own.
        accumulate: micro-batches per iteration.
        workers: processes that read ahead.
        session: rank and number of processes.
        timeout: seconds after which a worker that gives nothing is named and the run ends; 0: never.
        reading: number of a worker -> what it reads, for that sentence.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch: int,
        accumulate: int,
        workers: int,
        session: Session,
        timeout: float = 0.0,
        reading: Callable[[int], str] = str,
    ) -> None:
        self.dataset, self.batch, self.accumulate, self.workers, self.session = dataset, batch, accumulate, workers, session
        self.timeout, self.reading = timeout, reading

    def __len__(self) -> int:
        """Asked for by mmengine, which counts in epochs; an endless stream has none, so one iteration stands for it."""
        return 1

    def between(self, start: int, stop: int) -> Iterator[Any]:
        """Micro-batches of the iterations start .. stop - 1."""
        first, last = start * self.accumulate, stop * self.accumulate
        return feed.batches(lambda number: self._from(number, last), first, last, timeout=self.timeout, reading=self.reading)

    def _from(self, start: int, stop: int) -> DataLoader:
        """Micro-batches start .. stop - 1."""
        here = self.session
        share = {"start": start, "stop": stop, "rank": here.rank, "processes": here.processes}
        turns = self.dataset if isinstance(self.dataset, Turns) else None
        return DataLoader(
            self.dataset,
            batch_sampler=Positions(self.batch, **share) if turns is None else turns.places(**share),
            num_workers=self.workers,
            generator=torch.Generator(),  # else it draws from the one that dropout uses, whenever workers are started
            pin_memory=here.device.type == "cuda",
            timeout=feed.CHECK if self.workers else 0,  # of one look; `feed` looks again
            multiprocessing_context="forkserver" if self.workers else None,  # fork and threads do not mix
            worker_init_fn=feed.end_with_the_run if self.workers else None,
        )


class Run(Runner):
    """mmengine's Runner, which trains a model where it lies: its own would take it to the GPU of a machine that has one, whatever
    device was asked for, and read states there.
    """

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """The model as it is; `parallel` has wrapped it."""
        return model

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Read the state in main memory, from where each tensor goes to its own place."""
        super().resume(filename, *args, **{**kwargs, "map_location": "cpu"})


class TrainLoop(BaseLoop):
    """Train for `iters` iterations, validating on the way.

    Args:
        runner: mmengine's.
        dataloader: a `Loader`.
        iters: iterations in all.
        seed: of dropout; each iteration and rank has its own draw, so a restart repeats it.
        rank: of this process.
        validate: iterations done -> scores; called every `val_every` iterations and at the end. Sees averaged weights if there are.
        val_every: iterations; 0: at the end only.
        watch: takes the time that is waited for data.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        *,
        iters: int,
        seed: int,
        rank: int,
        validate: Callable[[int], dict[str, float]],
        val_every: int,
        watch: Stopwatch,
    ) -> None:
        super().__init__(runner, dataloader)
        self.max_iters, self.seed, self.rank = iters, seed, rank
        self.validate, self.val_interval, self.watch = validate, val_every, watch
        self.stop_training = False
        self._iter = self._epoch = 0  # mmengine sets both on resume
        self.epoch, self.max_epochs, self.val_begin = 0, 1, 1

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._iter

    def run(self) -> torch.nn.Module:
        """All iterations that are left."""
        loader: Loader = self.dataloader  # type: ignore[assignment]
        many = loader.accumulate
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter * many, self.max_iters * many)
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        try:
            self._iterations(loader)
        except (DamagedSample, TimeoutError, ChildProcessError):  # the weights are whole, only the next pictures are not there
            if loader.session.processes == 1:  # others could not be waited for
                self.runner.call_hook("after_train")
            raise
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _iterations(self, loader: Loader) -> None:
        batches = loader.between(self._iter, self.max_iters)
        while self._iter < self.max_iters and not self.stop_training:
            self.runner.model.train()
            self._iterate(self._next(batches) for _ in range(loader.accumulate))
            if self._iter == self.max_iters or (self._due and not self.stop_training):
                self._validate()  # pictures are drawn even where nothing is scored

    @property
    def _due(self) -> bool:
        return bool(self.val_interval) and self._iter % self.val_interval == 0

    def _next(self, batches: Iterator[Any]) -> Any:
        with self.watch("data"):
            return next(batches)

    def _iterate(self, batches: Iterable[dict]) -> None:
        """One step of the optimiser, from one or more micro-batches."""
        torch.manual_seed((self.seed * 1_000_003 + self._iter) * 65_537 + self.rank)
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=None)
        outputs: dict[str, Any] = {}
        for batch in batches:
            outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=None, outputs=outputs)
        self._iter += 1

    def _validate(self) -> None:
        self.runner.call_hook("before_val_epoch")  # the averaged weights come in here, and leave after it
        scores = self.validate(self._iter)
        self.runner.call_hook("after_val_epoch", metrics=scores)
