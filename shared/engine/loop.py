"""The training loop: iterations, not epochs, and a restart begins at the next sample instead of replaying the earlier ones."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader, Dataset

from shared.data.order import Positions
from shared.engine.session import Session


class Loader:
    """Makes the DataLoader for the iterations that are still to do.

    Args:
        dataset: position -> sample.
        batch: samples per process and micro-batch.
        accumulate: micro-batches per iteration.
        workers: processes that read ahead.
        session: rank and number of processes.
    """

    def __init__(self, dataset: Dataset, *, batch: int, accumulate: int, workers: int, session: Session) -> None:
        self.dataset, self.batch, self.accumulate, self.workers, self.session = dataset, batch, accumulate, workers, session

    def __len__(self) -> int:
        """Asked for by mmengine, which counts in epochs; an endless stream has none, so one iteration stands for it."""
        return 1

    def between(self, start: int, stop: int) -> DataLoader:
        """Micro-batches of the iterations start .. stop - 1."""
        positions = Positions(
            self.batch,
            start=start * self.accumulate,
            stop=stop * self.accumulate,
            rank=self.session.rank,
            processes=self.session.processes,
        )
        return DataLoader(
            self.dataset,
            batch_sampler=positions,
            num_workers=self.workers,
            pin_memory=self.session.device.type == "cuda",
            multiprocessing_context="forkserver" if self.workers else None,  # fork and threads do not mix
            worker_init_fn=_end_with_the_run if self.workers else None,
        )


def _end_with_the_run(worker: int) -> None:
    """Leave when the run is killed: a worker's own parent is the fork server, which lives as long as the worker does."""
    run = multiprocessing.parent_process()

    def watch() -> None:
        if run is not None:
            run.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class TrainLoop(BaseLoop):
    """Train for `iters` iterations, validating on the way.

    Args:
        runner: mmengine's.
        dataloader: a `Loader`.
        iters: iterations in all.
        seed: of dropout; each iteration and rank has its own draw, so a restart repeats it.
        rank: of this process.
        validate: called every `val_every` iterations and at the end; None: no scores. Sees the averaged weights if there are.
        val_every: iterations; 0: at the end only.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        *,
        iters: int,
        seed: int,
        rank: int,
        validate: Callable[[], dict[str, float]] | None,
        val_every: int,
    ) -> None:
        super().__init__(runner, dataloader)
        self.max_iters, self.seed, self.rank = iters, seed, rank
        self.validate, self.val_interval = validate, val_every
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
        batches = iter(loader.between(self._iter, self.max_iters))
        while self._iter < self.max_iters and not self.stop_training:
            self.runner.model.train()
            self._iterate(next(batches) for _ in range(many))
            if self._iter == self.max_iters or (self.val_interval and self._iter % self.val_interval == 0):
                self._validate()  # pictures are drawn even where nothing is scored
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

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
        scores = self.validate() if self.validate else {}
        self.runner.call_hook("after_val_epoch", metrics=scores)
