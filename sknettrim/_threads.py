"""Blocks of rows on threads of our own, each with one BLAS thread.

Between two products over the data there is elementwise work, which BLAS leaves to one core and
to memory. Cut into blocks of rows it stays in the cache of the core that made it. And threads
that wait do not spin, so a busy machine slows them only by its share. The threads of BLAS do spin,
for tens of milliseconds after each product, be it as small as a norm, and take the cores from
ours: the two do not mix. So BLAS has one thread for as long as a layer is solved.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, lru_cache
from threading import Lock, get_ident

import numpy as np
from sklearn.utils import gen_batches, gen_even_slices
from threadpoolctl import ThreadpoolController

# Elements of a block of responses: a few of them fit in a core's cache.
BLOCK = 1 << 16
# Multiplications in a product of inputs and weights from which two threads are faster than one,
# and for which each of more is worth its price: they share one interpreter.
TWO_THREADS = 3e7
EACH_THREAD = 1e8
MOST_THREADS = 8


class Workers:
    """As many threads as BLAS would use, or as :func:`own_threads` says."""

    def __init__(self):
        self.n_threads = _granted.get() or _single.n_threads_outside()
        self._pool = None

    @contextmanager
    def at_work(self):
        """Threads run inside this context only; BLAS has one thread there."""
        if self.n_threads == 1:
            yield
            return
        # The caller's is one of them.
        with _single, ThreadPoolExecutor(self.n_threads - 1) as self._pool:
            try:
                yield
            finally:
                self._pool = None

    def map(self, function, *arguments):
        """``list(map(function, *arguments))``, by all threads: each takes the next call there is.

        The caller works, too, in place of being woken when others have done so.
        """
        if self._pool is None:
            return list(map(function, *arguments))
        calls = list(zip(*arguments, strict=True))
        results, left = [None] * len(calls), iter(range(len(calls)))

        def work():
            try:
                for i in left:
                    results[i] = function(*calls[i])
            except BaseException:
                # Nobody begins another call.
                deque(left, maxlen=0)
                raise

        others = [self._pool.submit(work) for _ in range(min(self.n_threads, len(calls)) - 1)]
        work()
        for other in others:
            other.result()
        return results

    def total(self, function, shares):
        """The sum, over all blocks of rows, of the tuple of arrays that `function` returns."""

        def over(blocks):
            first, *others = blocks
            # Not by `reduce`, which keeps the last summand while the next is computed.
            totals = function(first)
            for rows in others:
                _add(totals, function(rows))
            return totals

        with self.at_work():
            totals, *others = self.map(over, shares)
        for parts in others:
            _add(totals, parts)
        return totals

    def each(self, function, shares):
        """Call a function of rows for all blocks of them."""

        def over(blocks):
            for rows in blocks:
                function(rows)

        with self.at_work():
            self.map(over, shares)

    def products(self, A, right):
        """``A @ right``, by rows of A."""
        shape = A.shape[0], right.shape[1]
        result = np.empty(shape, dtype=np.result_type(A.dtype, right.dtype))

        def fill(rows):
            result[rows] = A[rows] @ right

        self.each(fill, self.shares(*shape))
        return result

    def sums(self, A, right):
        """``A.T @ right``, by rows of both."""
        undivided = self.shares(A.shape[0], 1, size=A.shape[0])
        return self.total(lambda rows: [A[rows].T @ right[rows]], undivided)[0]

    def shares(self, n_rows, n_columns, size=BLOCK):
        """For each thread, its rows in blocks of that many elements, for its cache."""
        return _shares(n_rows, min(self.n_threads, n_rows), max(1, size // n_columns))


# The generators check their arguments, which takes longer than products of small layers.
@lru_cache
def _shares(n_rows, n_threads, block):
    """Even parts of so many rows, each in blocks of at most `block`."""
    return [
        [
            slice(part.start + rows.start, part.start + rows.stop)
            for rows in gen_batches(part.stop - part.start, block)
        ]
        for part in gen_even_slices(n_rows, n_threads)
    ]


def _add(totals, parts):
    """In place: arrays may be as large as the weights."""
    for total, part in zip(totals, parts, strict=True):
        total += part


def most_threads(n_multiplications):
    """One for small layers, and some for large ones: more would cost more than they give."""
    if n_multiplications < TWO_THREADS:
        return 1
    return min(max(int(n_multiplications / EACH_THREAD), 2), MOST_THREADS)


def blas_threads(n_threads):
    """A context in which BLAS has so many threads, and those that it has found after it."""
    return _blas().limit(limits=n_threads)


@contextmanager
def own_threads(most=None):
    """A context in which BLAS has one thread, and :class:`Workers` as many as BLAS had.

    But no more than `most`.
    """
    available = Workers().n_threads
    token = _granted.set(available if most is None else min(most, available))
    try:
        with _single:
            yield
    finally:
        _granted.reset(token)


def blas_unlimited():
    """A context in which BLAS has its threads again, if it is the caller who has limited them."""
    return _single.lifted()


class _SingleBlasThread:
    """A context in which BLAS has one thread.

    Their number is one for the whole process. Of threads of Python that are here at the same time,
    the first sets it, and puts it back when it leaves: two that did would undo each other's.
    """

    def __init__(self):
        self._lock = Lock()
        self._owner, self._depth, self._before = None, 0, 1

    def __enter__(self):
        with self._lock:
            if self._owner is None:
                self._owner, self._before = get_ident(), _most_blas_threads()
                self._limit = blas_threads(1).__enter__()
            self._depth += self._owner == get_ident()

    def __exit__(self, *error):
        with self._lock:
            self._depth -= self._owner == get_ident()
            if self._depth == 0 and self._owner == get_ident():
                self._owner = None
                self._limit.__exit__(*error)

    def lifted(self):
        """A context in which BLAS has its threads, if it was the caller who came first."""
        return blas_threads(self._before) if self._owner == get_ident() else nullcontext()

    def n_threads_outside(self):
        """How many threads BLAS has while nobody is here."""
        with self._lock:
            return _most_blas_threads() if self._owner is None else self._before


_single = _SingleBlasThread()
_granted = ContextVar("threads of ours", default=None)


def _most_blas_threads():
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@cache
def _blas():
    # Looking for the libraries takes longer than solving a small layer.
    return ThreadpoolController().select(user_api="blas")
