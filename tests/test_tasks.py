"""Tasks of joblib: merged in order, the same wherever they run, and never against each other."""

import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import cpu_count, parallel_config
from joblib.parallel import ThreadingBackend, get_active_backend
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from sknettrim import NetTrim, _tasks
from sknettrim._problem import LayerProblem
from sknettrim._solve import solve_layer
from sknettrim._tasks import solve_problems
from sknettrim._threads import EACH_THREAD

SOLVE_TASK = _tasks._solve_task


@pytest.fixture(scope="module")
def wide_problem():
    """More neurons than one task takes, each with its own ball."""
    rng = np.random.default_rng(0)
    A, W = rng.standard_normal((30, 4)), rng.standard_normal((4, 150))
    Y = np.maximum(A @ W, 0)
    return LayerProblem(A, Y, 0.1 * np.linalg.norm(Y, axis=0))


def test_blocks_of_neurons_are_merged_in_order(wide_problem):
    (result,) = solve_problems([wide_problem], n_layers=1, tol=1e-4)
    assert result.coef.shape == (4, 150)
    alone = solve_layer(wide_problem.columns(slice(140, 141)), tol=1e-4)
    np.testing.assert_allclose(result.coef[:, 140], alone.coef[:, 0], atol=0.02)


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_array])
def test_n_jobs_does_not_change_the_results(wide_problem, storage):
    problems = [
        LayerProblem(storage(wide_problem.A), wide_problem.Y, wide_problem.epsilon),
        LayerProblem(storage(wide_problem.A), wide_problem.Y[:, :3], 1.0),
    ]
    one = solve_problems(problems, n_layers=2, n_jobs=1)
    two = solve_problems(problems, n_layers=2, n_jobs=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.coef, b.coef, atol=1e-8)
        np.testing.assert_allclose(a.intercept, b.intercept, atol=1e-8)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_convergence_warning_per_layer_wherever_it_was_solved(wide_problem, n_jobs):
    with pytest.warns(ConvergenceWarning) as warned:
        solve_problems([wide_problem], n_layers=1, n_jobs=n_jobs, max_iter=1, tol=1e-12)
    assert len(warned) == 1


def test_verbose_prints_a_line_per_layer_with_its_number(wide_problem, capsys):
    small = wide_problem.columns(slice(3))
    solve_problems([small, small], first=1, n_layers=3, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:24] for line in lines] == ["[NetTrim] layer 2 of 3: ", "[NetTrim] layer 3 of 3: "]
    assert "4 x 3, kept" in lines[0]
    solve_problems([small], n_layers=3, verbose=0)
    assert not capsys.readouterr().out


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_tasks_in_threads_have_one_blas_thread_each_and_leave_the_others_as_they_were(
    wide_problem, monkeypatch
):
    within = []

    def solve_task(*args, **options):
        within.append(blas_threads())
        return SOLVE_TASK(*args, **options)

    monkeypatch.setattr(_tasks, "_solve_task", solve_task)
    with threadpool_limits(2, user_api="blas"), parallel_config("threading"):
        before = blas_threads()
        assert 2 in before  # a library loaded by another test may be without threads
        one_after_the_other = solve_problems([wide_problem], n_layers=1, n_jobs=1)
        at_the_same_time = solve_problems([wide_problem], n_layers=1, n_jobs=2)
        assert within == [before, before, {1}, {1}]
        # Each task on its own would put back what another had set meanwhile.
        assert blas_threads() == before
    np.testing.assert_array_equal(one_after_the_other[0].coef, at_the_same_time[0].coef)


def test_backends_that_give_all_answers_at_once(wide_problem, monkeypatch):
    """Such as "multiprocessing" and ray."""
    (expected,) = solve_problems([wide_problem], n_layers=1)
    monkeypatch.setattr(ThreadingBackend, "supports_return_generator", False)
    with parallel_config("threading"):
        (result,) = solve_problems([wide_problem], n_layers=1, n_jobs=2)
    np.testing.assert_array_equal(result.coef, expected.coef)


@pytest.fixture
def here(monkeypatch):
    """A process for each task that is solved in this one."""
    processes = []

    def solve_task(*args, **options):
        processes.append(os.getpid())
        return SOLVE_TASK(*args, **options)

    monkeypatch.setattr(_tasks, "_solve_task", solve_task)
    return processes


def test_a_task_alone_stays_in_this_process_whatever_n_jobs(wide_problem, here):
    """There it has all cores, in BLAS; a worker process would have its share only."""
    solve_problems([wide_problem.columns(slice(3))], n_layers=1, n_jobs=2)
    assert here == [os.getpid()]


LARGE = 16 * EACH_THREAD


@pytest.mark.parametrize(
    ("sizes", "n_jobs", "n_threads", "expected"),
    [
        # Layers alike are spread, and blocks of one; no more tasks at a time than there are.
        ([LARGE, LARGE], 2, 2, 2),
        ([LARGE] * 3, 8, 16, 3),
        ([LARGE / 3] * 3 + [1.0], 2, 2, 2),
        # One with most of the work has all cores, and others wait,
        ([LARGE, LARGE / 8, 1.0], 2, 2, 1),
        ([LARGE, LARGE / 8, 1.0], 3, 4, 1),
        # unless its share of them is all that it is worth,
        ([LARGE, LARGE / 8, 1.0], 2, 16, 2),
        ([1.0, 0.1], 2, 16, 2),
        # or there is but one core for each as it is.
        ([LARGE, LARGE / 8, 1.0], 2, 1, 2),
    ],
)
def test_several_tasks_at_a_time_only_where_that_is_faster(sizes, n_jobs, n_threads, expected):
    with threadpool_limits(n_threads, user_api="blas"), parallel_config("threading"):
        backend, _ = get_active_backend()
        assert _tasks._tasks_at_a_time(sizes, n_jobs, backend) == expected


def test_a_layer_with_most_of_the_work_stays_in_this_process(wide_problem, here, monkeypatch):
    monkeypatch.setattr("sknettrim._threads.TWO_THREADS", 1)
    large = wide_problem.columns(slice(40))
    with threadpool_limits(2, user_api="blas"):
        solve_problems([large, large.columns(slice(4))], n_layers=2, n_jobs=2)
    assert here == 2 * [os.getpid()]


def test_machines_of_a_cluster_have_cores_of_their_own():
    """Those of this process say nothing of them."""
    backend = SimpleNamespace(client=None)
    with threadpool_limits(2, user_api="blas"), parallel_config("threading"):
        assert _tasks._tasks_at_a_time([LARGE, 1.0], 2, backend) == 2


def source(array):
    """The file that an array is mapped from, None if it is in memory."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return getattr(array, "filename", None)


def solve_and_note(folder, problem, neurons, **options):
    """In a worker process: where the arrays of the problem come from."""
    notes = [source(problem.A), source(problem.Y), source(problem.active), max(blas_threads())]
    (folder / f"{problem.shape} {neurons}").write_text("\n".join(map(str, notes)))
    return SOLVE_TASK(problem, neurons, **options)


def test_worker_processes_map_the_same_arrays_and_the_given_file(mlp, blobs, tmp_path, monkeypatch):
    X, notes = tmp_path / "X.npy", tmp_path / "notes"
    np.save(X, blobs[0])
    notes.mkdir()
    trim = NetTrim(mlp, epsilon=0.1, epsilon_per="neuron", n_jobs=2)
    in_memory = trim.fit(blobs[0]).estimator_
    monkeypatch.setattr(_tasks, "_NEURONS_PER_TASK", 2)
    monkeypatch.setattr(_tasks, "_solve_task", partial(solve_and_note, notes))
    with parallel_config("loky", max_nbytes=100):  # 1 MB by default
        mapped = trim.fit(np.load(X, mmap_mode="r")).estimator_
    for one, other in zip(in_memory.coefs_, mapped.coefs_, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)
    for shape, n_blocks in [((4, 8), 4), ((8, 6), 3), ((6, 3), 2)]:
        of_layer = [note.read_text().split("\n") for note in notes.glob(f"{shape} *")]
        assert len(of_layer) == n_blocks
        A, Y, active, threads = of_layer[0]
        assert all(note == of_layer[0] for note in of_layer)
        assert (A == str(X)) == (shape == (4, 8))
        assert "None" not in {A, Y, active}
        assert 2 * int(threads) <= max(cpu_count(), 2)
