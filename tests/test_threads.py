"""Threads of ours beside those of BLAS."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident

import numpy as np
import pytest

import sknettrim._trim as trim_module
from sknettrim import trim_layer
from sknettrim._threads import Workers, _most_blas_threads, blas_threads, own_threads
from sknettrim.solvers import _shifted_inverse
from sknettrim.solvers._shifted_inverse import ShiftedInverse


@pytest.fixture(params=[1, 3])
def n_threads(request):
    with blas_threads(request.param):
        yield request.param


def test_blas_has_one_thread_while_ours_are_granted_and_all_of_them_after(n_threads):
    with own_threads():
        assert _most_blas_threads() == 1
        assert Workers().n_threads == n_threads
        with own_threads(2):
            assert _most_blas_threads() == 1
            assert Workers().n_threads == min(2, n_threads)
        assert Workers().n_threads == n_threads
    assert _most_blas_threads() == Workers().n_threads == n_threads


def test_also_after_an_error(n_threads):
    with pytest.raises(ZeroDivisionError), own_threads(2):
        1 / 0  # noqa: B018
    assert _most_blas_threads() == Workers().n_threads == n_threads


def test_all_threads_share_the_calls_of_map_and_results_keep_their_order(n_threads):
    workers, everyone = Workers(), Barrier(n_threads, timeout=60)

    def triple(i):
        # Nobody goes on before all are here: none of the threads does the calls of another.
        everyone.wait()
        return 3 * i, get_ident()

    with workers.at_work():
        results = workers.map(triple, range(2 * n_threads))
    assert [value for value, _ in results] == list(range(0, 6 * n_threads, 3))
    threads = {thread for _, thread in results}
    assert len(threads) == n_threads
    assert get_ident() in threads


@pytest.mark.parametrize("bad", range(4))
def test_an_error_in_any_thread_reaches_the_caller(n_threads, bad):
    workers = Workers()
    with pytest.raises(ZeroDivisionError), workers.at_work():
        workers.map(lambda i: 1 / (i - bad), range(4))
    with workers.at_work():
        assert workers.map(abs, [-1, -2]) == [1, 2]


def test_after_an_error_no_thread_begins_another_call(n_threads):
    workers, begun = Workers(), []

    def fail_first(i):
        begun.append(i)
        if i == 0:
            raise ZeroDivisionError
        time.sleep(0.01)

    with pytest.raises(ZeroDivisionError), workers.at_work():
        workers.map(fail_first, range(200))
    assert len(begun) < 100


def alone(script):
    """Run a script in a process of its own, where nobody else has limited BLAS."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_fits_in_several_threads_do_not_undo_what_the_others_set():
    """Whoever leaves first or last: what BLAS had before is put back."""
    alone("""
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from sknettrim._threads import Workers, _most_blas_threads, own_threads

def stay(here, there):
    with own_threads():
        here.set()
        assert there.wait(60)
        with Workers().at_work():
            return Workers().n_threads

before = _most_blas_threads()
for first_leaves_first in (True, False):
    entered = [Event(), Event()]
    with ThreadPoolExecutor(2) as pool:
        first, second = Event(), Event()
        one = pool.submit(stay, entered[0], first)
        assert entered[0].wait(60)
        other = pool.submit(stay, entered[1], second)
        assert entered[1].wait(60)
        order = [(first, one), (second, other)]
        for leave, fit in order if first_leaves_first else order[::-1]:
            leave.set()
            assert fit.result() == before
        assert _most_blas_threads() == before, first_leaves_first
""")


def test_a_fit_that_begins_within_another_one_and_outlasts_it():
    """The number of threads that it finds is not one to go back to."""
    alone("""
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier
from sknettrim import NetTrim, _tasks
from sknettrim._threads import _most_blas_threads, own_threads

def outlast(*arguments, **options):
    begun.set()
    assert left.wait(60)
    return solve_task(*arguments, **options)

X, y = load_iris(return_X_y=True)
mlp = MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0).fit(X, y)
solve_task, begun, left = _tasks._solve_task, Event(), Event()
_tasks._solve_task = outlast
before = _most_blas_threads()
with ThreadPoolExecutor(1) as pool:
    with own_threads():
        fit = pool.submit(NetTrim(mlp).fit, X)
        assert begun.wait(60)
    left.set()
    fit.result()
    assert _most_blas_threads() == before, _most_blas_threads()
""")


def test_a_large_inverse_has_the_threads_of_blas(monkeypatch):
    monkeypatch.setattr(_shifted_inverse, "LARGE_INVERSE", 10)
    seen, factor = [], _shifted_inverse.dpotrf

    def note(*arguments, **options):
        seen.append(_most_blas_threads())
        return factor(*arguments, **options)

    monkeypatch.setattr(_shifted_inverse, "dpotrf", note)
    A = np.random.default_rng(0).standard_normal((50, 20))
    with blas_threads(3):
        with own_threads():
            ShiftedInverse(A, Workers()).shift(1.0)
        assert seen == [3]
        # Not by a thread that has not limited them: another one may be at work.
        with own_threads(), ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: ShiftedInverse(A, Workers()).shift(1.0)).result()
        assert seen == [3, 1]


@pytest.mark.parametrize("n_threads", [1, 3, 12])
def test_a_layer_has_as_many_threads_as_it_is_worth(n_threads, monkeypatch):
    seen, solve = [], trim_module.solve_layer

    def note(*arguments, **options):
        seen.append((Workers().n_threads, _most_blas_threads()))
        return solve(*arguments, **options)

    monkeypatch.setattr(trim_module, "solve_layer", note)
    monkeypatch.setattr("sknettrim._threads.TWO_THREADS", 1e6)
    monkeypatch.setattr("sknettrim._threads.EACH_THREAD", 1e6)
    rng = np.random.default_rng(0)
    for n in (50, 1000, 4000, 20000):
        A, W = rng.standard_normal((n, 50)), rng.standard_normal((50, 20))
        with blas_threads(n_threads):
            trim_layer(A, A @ W, epsilon=0.5, activation="identity")
    assert seen == [(min(most, n_threads), 1) for most in (1, 2, 4, 8)]
