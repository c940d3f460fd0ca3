"""Threads of ours beside those of BLAS."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import sknettrim._trim as trim_module
from sknettrim import trim_layer
from sknettrim._threads import Workers, _most_blas_threads, blas_threads, own_threads


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
            assert Workers().n_threads == 2
        assert Workers().n_threads == n_threads
    assert _most_blas_threads() == Workers().n_threads == n_threads


def test_also_after_an_error(n_threads):
    with pytest.raises(ZeroDivisionError), own_threads(2):
        1 / 0  # noqa: B018
    assert _most_blas_threads() == Workers().n_threads == n_threads


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_fits_in_several_threads_do_not_undo_what_the_others_set(limit):
    """Whoever leaves first or last: what BLAS had before is put back."""
    n_fits = 4
    gate = Barrier(n_fits)

    def fit(i):
        seen = []
        for turn in range(20):
            gate.wait()
            with own_threads():
                seen.append(Workers().n_threads)
                if (i + turn) % 2:
                    np.linalg.norm(np.ones((200, 50)))
                with Workers().at_work():
                    seen.append(Workers().n_threads)
        return seen

    with blas_threads(limit):
        before = _most_blas_threads()
        with ThreadPoolExecutor(n_fits) as pool:
            seen = set().union(*pool.map(fit, range(n_fits)))
        assert seen == {before}
        assert _most_blas_threads() == before


def test_a_small_layer_has_one_thread_and_a_large_one_all(n_threads, monkeypatch):
    seen, solve = [], trim_module.solve_layer

    def note(*arguments, **options):
        seen.append((Workers().n_threads, _most_blas_threads()))
        return solve(*arguments, **options)

    monkeypatch.setattr(trim_module, "solve_layer", note)
    rng = np.random.default_rng(0)
    for n in (50, 2000):
        A, W = rng.standard_normal((n, 50)), rng.standard_normal((50, 20))
        monkeypatch.setattr("sknettrim._solve.SMALL_LAYER", 1e6)
        trim_layer(A, A @ W, epsilon=0.5, activation="identity")
    assert seen == [(1, 1), (n_threads, 1)]
