"""Pruning on a dask cluster of separate processes: same weights, sent once, whoever dies."""

import os
import signal
import threading
import time
from functools import partial

import dask
import numpy as np
import pytest
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

from sknettrim import NetTrim, _tasks, net_trim_path
from sknettrim._problem import LayerProblem

SOLVE_TASK = _tasks._solve_task
PATIENCE = 60


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process with one thread."""
    with (
        # A worker that was killed is started again, which may take long on a busy machine.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        yield client


@pytest.fixture
def small_blocks(monkeypatch):
    """Several tasks for a layer of few neurons."""
    monkeypatch.setattr(_tasks, "_NEURONS_PER_TASK", 2)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)


# In the workers ------------------------------------------------------------------------------


def solve_when(ready, folder, problem, neurons, **options):
    """Leave a note of who solves what, then solve, but not before `ready`."""
    (folder / f"{os.getpid()} {problem.shape} {neurons.start} {id(problem)}").touch()
    wait_until(partial(ready, folder))
    return SOLVE_TASK(problem, neurons, **options)


def at_work(folder):
    """The processes that have taken up a task."""
    return {int(note.name.split()[0]) for note in folder.glob("*)*")}


def two_at_work(folder):
    return len(at_work(folder)) == 2


def allowed(folder):
    return (folder / "go").exists()


def count_arrivals():
    """From now on: how often a problem is unpickled in this process."""

    def arrive(self, state):
        LayerProblem.n_arrivals += 1
        vars(self).update(state)

    LayerProblem.n_arrivals = 0
    LayerProblem.__setstate__ = arrive


def n_arrivals():
    return LayerProblem.n_arrivals


# Here ----------------------------------------------------------------------------------------


def assert_same_weights(local, remote):
    for here, there in zip(local.coefs_, remote.coefs_, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-8)
    for here, there in zip(local.intercepts_, remote.intercepts_, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-8)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
def test_neurons_spread_over_the_workers_and_problems_reach_each_of_them_once(
    scheme, client, small_blocks, mlp, blobs, tmp_path, monkeypatch
):
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme, epsilon_per="neuron")
    local = trim.fit(blobs[0]).estimator_
    client.run(count_arrivals)
    monkeypatch.setattr(_tasks, "_solve_task", partial(solve_when, two_at_work, tmp_path))
    with parallel_config(backend="dask"):
        remote = trim.fit(blobs[0]).estimator_
    assert_same_weights(local, remote)
    n_tasks = 4 + 3 + 2
    assert len(list(tmp_path.iterdir())) == n_tasks
    arrivals = client.run(n_arrivals)
    assert len(arrivals) == 2 and max(arrivals.values()) <= len(mlp.coefs_)


def kill_one_at_work(folder):
    """End one of the workers that have taken up a task, and let the others go on."""
    wait_until(partial(at_work, folder))
    victim = at_work(folder).pop()
    assert victim != os.getpid()
    os.kill(victim, signal.SIGKILL)
    (folder / "go").touch()


@pytest.fixture
def killer(tmp_path, monkeypatch):
    """As soon as tasks are at work, the worker of one of them is killed."""
    monkeypatch.setattr(_tasks, "_solve_task", partial(solve_when, allowed, tmp_path))
    thread = threading.Thread(target=kill_one_at_work, args=[tmp_path])
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
def test_a_worker_killed_in_mid_fit_does_not_change_the_result(
    epsilon_per, client, small_blocks, mlp, blobs, request
):
    trim = NetTrim(mlp, epsilon=0.1, epsilon_per=epsilon_per)
    local = trim.fit(blobs[0]).estimator_
    request.getfixturevalue("killer")
    with parallel_config(backend="dask"):
        remote = trim.fit(blobs[0]).estimator_
    assert_same_weights(local, remote)


def random_problem(n_samples, n_inputs, epsilon):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n_samples, n_inputs))
    Y = np.maximum(A @ rng.standard_normal((n_inputs, 3)), 0)
    return LayerProblem(A, Y, epsilon * np.linalg.norm(Y))


def test_a_layer_outlives_the_only_worker_that_had_it(client, request):
    problem = random_problem(50, 4, epsilon=0.1)
    (local,) = _tasks.solve_problems([problem], n_layers=1)
    request.getfixturevalue("killer")
    with parallel_config(backend="dask"):
        (remote,) = _tasks.solve_problems([problem], n_layers=1)
    np.testing.assert_allclose(local.coef, remote.coef, atol=1e-8)


def test_a_large_layer_leaves_neither_warnings_nor_data_behind(cluster, client):
    problem = random_problem(1000, 1500, epsilon=2)  # 12 MB, solved by zero
    with parallel_config(backend="dask"):
        (result,) = _tasks.solve_problems([problem], n_layers=1)
    assert not result.coef.any()
    wait_until(lambda: not cluster.scheduler.tasks)


def test_a_path_on_the_cluster(client, small_blocks, mlp, blobs):
    """With solutions to start from, going to and fro."""

    def path():
        return net_trim_path(mlp, blobs[0], epsilons=[0.2, 0.1], epsilon_per="neuron")

    local = path()
    with parallel_config(backend="dask"):
        remote = path()
    for here, there in zip(local.estimators, remote.estimators, strict=True):
        assert_same_weights(here, there)


def test_a_grid_search_on_the_cluster(client, small_blocks, mlp, blobs):
    """Fits inside of tasks, that give out tasks in turn."""
    search = GridSearchCV(NetTrim(mlp, epsilon_per="neuron"), {"epsilon": [0.05, 0.2]}, cv=2)
    local = search.fit(*blobs).cv_results_["mean_test_score"]
    with parallel_config(backend="dask"):
        remote = search.fit(*blobs).cv_results_["mean_test_score"]
    np.testing.assert_allclose(local, remote)
