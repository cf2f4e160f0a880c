"""Reading, embedding and writing at the same time.

The calling thread reads; a runner embeds a few batches ahead; one thread writes them in their order.
Every queue is bounded, so memory holds a few batches however slow the engine is.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Queue, SimpleQueue
from typing import Generic, TypeVar

from roost.lifecycle.backfill.batches import Batch, Embedded, embed_each
from roost.lifecycle.models.embedders.base import Embedder

_Written = TypeVar("_Written")


class Runner(ABC):
    """Where batches are embedded."""

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many batches it embeds at once."""

    @abstractmethod
    def submit(self, batch: Batch) -> Future[Embedded]:
        """Begin to embed a batch's contents; positions are of `batch.contents`."""

    @abstractmethod
    def close(self) -> None:
        """Wait for what is being embedded and give everything back."""


class Threads(Runner):
    """Embeds in threads of this process. NumPy, scikit-learn and ONNX compute without the interpreter's lock."""

    def __init__(self, embedder: Embedder, n_workers: int) -> None:
        self._embedder = embedder
        self._n_workers = n_workers
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="roost-embed")

    @property
    def n_workers(self) -> int:
        return self._n_workers

    def submit(self, batch: Batch) -> Future[Embedded]:
        return self._pool.submit(lambda: embed_each(self._embedder, batch.contents))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class Pipeline(Generic[_Written]):
    """Takes batches through a runner to a writer, in their order.

    When reading ends, by an error or by Ctrl-C as well, the batches that were read are still written.
    """

    def __init__(self, runner: Runner, write: Callable[[Batch, Embedded], _Written]) -> None:
        """Prepare to run.

        Args:
            write: called in one thread, for one batch after the other.
        """
        self._runner = runner
        self._write = write
        self._waiting: Queue[tuple[Batch, Future[Embedded]] | None] = Queue(runner.n_workers + 1)
        self._written: SimpleQueue[_Written] = SimpleQueue()
        self._failure: BaseException | None = None

    def run(self, batches: Iterator[Batch], written: Callable[[_Written], None]) -> None:
        """Take every batch through.

        Args:
            written: called in this thread with what `write` returned, soon after.
        Raises: whatever reading, embedding, writing or `written` raised first; batches after it are not written.
        """
        writer = threading.Thread(target=self._write_all, name="roost-backfill-writer", daemon=True)
        writer.start()
        try:
            for batch in batches:
                self._waiting.put((batch, self._runner.submit(batch)))
                self._tell(written)
                if self._failure is not None:
                    break
        finally:
            try:
                self._waiting.put(None)
                writer.join()
            except BaseException as error:  # a second Ctrl-C: the batch that is being written is the last
                self._failure = error
                self._waiting.put(None)
                writer.join()
            if self._failure is None:
                self._tell(written)
        if self._failure is not None:
            raise self._failure

    def _tell(self, written: Callable[[_Written], None]) -> None:
        while True:
            try:
                done = self._written.get_nowait()
            except Empty:
                return
            written(done)

    def _write_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            batch, future = item
            if self._failure is not None:
                future.cancel()
                continue
            try:
                self._written.put(self._write(batch, future.result()))
            except BaseException as error:  # raised again by `run`
                self._failure = error
