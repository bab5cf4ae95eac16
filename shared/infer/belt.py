"""Work that threads do while the network looks: put on in order, taken off in order, and never more than so much at a time.

Nobody on the belt waits for anybody else on it, so several belts may share one pool of threads. All but the work itself happens
in the thread that owns the belt: what comes off can be written into lists and files without locks.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, Self


class Here(Executor):
    """No thread at all: the work is done where it is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """The future of work that is done already; KeyboardInterrupt and its like are not kept for later."""
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Belt:
    """A queue of work with a limit. A context: left by an exception, it lets what has begun finish and calls off the rest.

    Args:
        pool: who does the work; `Here`: the owner, one thing after another.
        most: weight of all that is on the belt; one thing alone may have more.
    """

    def __init__(self, pool: Executor, *, most: int) -> None:
        self._pool, self._most, self._held = pool, 0 if isinstance(pool, Here) else most, 0
        self._line: deque[tuple[Any, Future, int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.call_off()

    def put(self, what: Any, weight: int, work: Callable[..., Any], *given: Any) -> None:
        """Add some work, after `room` for it has been made; `what` comes back with its future."""
        self._line.append((what, self._pool.submit(work, *given), weight))
        self._held += weight

    def room(self, weight: int) -> Iterator[tuple[Any, Future]]:
        """Take off the oldest until so much more fits. Their work may still be going on: `result()` waits for it."""
        while self._line and self._held + weight > self._most:
            yield self._off()

    def done(self) -> Iterator[tuple[Any, Future]]:
        """Take off the oldest as far as their work is done."""
        while self._line and self._line[0][1].done():
            yield self._off()

    def rest(self) -> Iterator[tuple[Any, Future]]:
        """Take off everything."""
        while self._line:
            yield self._off()

    def over(
        self, things: Iterable[Any], *, weigh: Callable[[Any], int], work: Callable[[Any], Any]
    ) -> Iterator[tuple[Any, Future]]:
        """All things in order, each with the future of its work, begun as early as the limit allows."""
        for thing in things:
            weight = weigh(thing)
            yield from self.room(weight)
            self.put(thing, weight, work, thing)
        yield from self.rest()

    def call_off(self) -> None:
        """Drop what has not begun, and wait for what has; that stays on the belt."""
        self._line = deque(one for one in self._line if not one[1].cancel())
        for _, future, _ in self._line:
            future.exception()

    def _off(self) -> tuple[Any, Future]:
        what, future, weight = self._line.popleft()
        self._held -= weight
        return what, future
