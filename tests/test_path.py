"""A path of epsilons: each point is what NetTrim finds there, in fewer iterations."""

import inspect
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim, TrimPath, net_trim_path
from sknettrim._network import Network, innermost, rebuild
from sknettrim._problem import LayerProblem
from sknettrim._trim import trim
from sknettrim.exceptions import InfeasibleError

SCHEMES = ["parallel", "cascade"]
EPSILONS = [0.4, 0.2, 0.1, 0.05]
TOL = 1e-3


def objectives(estimator):
    """The l1 norm of each layer."""
    return [np.abs(coef).sum() for coef in innermost(estimator).coefs_]


def assert_same_path(ours, theirs):
    np.testing.assert_array_equal(ours.epsilons, theirs.epsilons)
    for one, other in zip(ours.estimators, theirs.estimators, strict=True):
        for a, b in zip(innermost(one).coefs_, innermost(other).coefs_, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(ours.discrepancies, theirs.discrepancies, rtol=1e-5)


# Every point is a fit ------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["multiclass", "many outputs"], indirect=True)
@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_parallel_points_are_what_nettrim_finds(task, inactive, no_training):
    mlp, X, _ = task
    path = net_trim_path(mlp, X, epsilons=EPSILONS, inactive=inactive)
    assert path.converged.all()
    for epsilon, estimator in zip(path.epsilons, path.estimators, strict=True):
        trim = NetTrim(mlp, epsilon=epsilon, inactive=inactive).fit(X)
        # Both objectives are within the tolerance of the optimum.
        np.testing.assert_allclose(
            objectives(estimator), [layer.objective for layer in trim.layers_], rtol=2 * TOL
        )


@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_cascade_points_are_what_nettrim_finds(mlp, blobs, inactive):
    X, _ = blobs
    options = {"scheme": "cascade", "inactive": inactive, "tol": 1e-6}
    path = net_trim_path(mlp, X, epsilons=EPSILONS, **options)
    for i, epsilon in enumerate(path.epsilons):
        trim = NetTrim(mlp, epsilon=epsilon, **options).fit(X)
        # Later layers inherit what their predecessors differ by.
        np.testing.assert_allclose(
            objectives(path.estimators[i]), [layer.objective for layer in trim.layers_], rtol=1e-3
        )
        np.testing.assert_allclose(path.discrepancies[i], trim.discrepancy_, rtol=1e-2)
        np.testing.assert_allclose(path.discrepancy_bounds[i], trim.discrepancy_bound_, rtol=1e-2)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_first_point_is_a_fit(scheme, mlp, blobs):
    X, _ = blobs
    path = net_trim_path(mlp, X, epsilons=[0.1], scheme=scheme)
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme).fit(X)
    for ours, theirs in zip(path.estimators[0].coefs_, trim.estimator_.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert path.densities[0] == trim.density_
    np.testing.assert_array_equal(path.discrepancies[0], trim.discrepancy_)
    np.testing.assert_array_equal(path.discrepancy_bounds[0], trim.discrepancy_bound_)
    np.testing.assert_array_equal(path.gaps[0], [layer.gap for layer in trim.layers_])
    np.testing.assert_array_equal(path.n_iters[0], trim.n_iter_)


@pytest.mark.parametrize("task", ["multiclass", "many outputs"], indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("inactive", ["strict", "budget"])
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
def test_the_guarantee_holds_all_along(task, scheme, inactive, epsilon_per):
    mlp, X, _ = task
    path = net_trim_path(
        mlp, X, epsilons=3, scheme=scheme, inactive=inactive, epsilon_per=epsilon_per
    )
    assert np.all(path.discrepancies <= path.discrepancy_bounds)
    # The measured values are those of the estimators.
    original = Network.of(mlp).outputs(X)
    for estimator, measured in zip(path.estimators, path.discrepancies, strict=True):
        pruned = Network.of(estimator).outputs(X)
        again = [np.linalg.norm(a - b) for a, b in zip(original[1:], pruned[1:], strict=True)]
        np.testing.assert_allclose(measured, again, rtol=1e-10)
    np.testing.assert_allclose(path.output_norms, [np.linalg.norm(Y) for Y in original[1:]])


def test_what_a_path_holds(mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=5)
    for name in ("layer_densities", "discrepancies", "discrepancy_bounds", "gaps", "converged"):
        assert getattr(path, name).shape == (5, 3)
    assert path.n_iters.shape == path.seconds.shape == (5, 3)
    assert path.output_norms.shape == (3,)
    for i, estimator in enumerate(path.estimators):
        assert type(estimator) is MLPClassifier
        kept = np.array([np.count_nonzero(coef) for coef in estimator.coefs_])
        sizes = np.array([coef.size for coef in estimator.coefs_])
        np.testing.assert_allclose(path.layer_densities[i], kept / sizes)
        assert path.densities[i] == pytest.approx(kept.sum() / sizes.sum())


def test_the_unpruned_estimator_is_there_in_the_same_form(mlp, blobs):
    path = net_trim_path(FrozenEstimator(mlp), blobs[0], epsilons=2)
    assert type(path.unpruned) is MLPClassifier is type(path.estimators[0])
    for ours, theirs in zip(path.unpruned.coefs_, mlp.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.shares_memory(ours, theirs)


# The grid ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("inactive", ["strict", "budget"])
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_grid_starts_where_the_network_is_empty_and_just_so(
    scheme, inactive, epsilon_per, activation, blobs, train
):
    X, y = blobs
    mlp = MLPClassifier((6, 5), activation=activation, max_iter=30, random_state=0)
    options = {"scheme": scheme, "inactive": inactive, "epsilon_per": epsilon_per}
    path = net_trim_path(train(mlp, X, y), X, epsilons=2, epsilon_ratio=0.99, **options)
    assert path.epsilons[1] == pytest.approx(0.99 * path.epsilons[0])
    assert path.densities[0] == 0 < path.densities[1]
    assert path.converged[0].all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_grid_where_intercepts_cost_starts_where_nothing_is_left(scheme, mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=2, scheme=scheme, penalize_intercept=True)
    assert path.epsilons[0] == pytest.approx(1)
    assert path.densities[0] == 0


def test_a_grid_is_geometric(mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=5, epsilon_ratio=0.05)
    np.testing.assert_allclose(path.epsilons[1:] / path.epsilons[:-1], 0.05 ** (1 / 4))
    assert path.densities[-1] > 0.3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_float32_network_is_emptied_too(scheme, blobs, train):
    X = blobs[0].astype(np.float32)
    mlp = train(MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0), X, blobs[1])
    path = net_trim_path(mlp, X, epsilons=3, scheme=scheme)
    assert path.densities[0] == 0
    assert innermost(path.estimators[1]).coefs_[0].dtype == np.float32


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_network_of_constants_is_empty_all_along(scheme, mlp):
    path = net_trim_path(mlp, np.zeros((10, 4)), epsilons=3, scheme=scheme)
    assert np.all(path.epsilons > 0) and not path.densities.any()


@pytest.mark.parametrize("convert", [list, np.array, pd.Series])
def test_values_in_any_order_come_back_largest_first(convert, mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=convert([0.1, 0.4, 0.2]))
    np.testing.assert_array_equal(path.epsilons, [0.4, 0.2, 0.1])
    assert_same_path(path, net_trim_path(mlp, blobs[0], epsilons=[0.4, 0.2, 0.1]))


# Warm starts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
def test_a_repeated_epsilon_is_solved_before_it_begins(scheme, epsilon_per, mlp, blobs):
    """The weights alone would not do: it takes the dual point as well to prove them optimal."""
    path = net_trim_path(mlp, blobs[0], epsilons=[0.1, 0.1], scheme=scheme, epsilon_per=epsilon_per)
    assert path.n_iters[0].all()
    assert not path.n_iters[1].any()
    np.testing.assert_allclose(path.gaps[1], path.gaps[0], atol=1e-12)


def test_a_path_takes_fewer_iterations_than_its_points_alone(mlp, blobs):
    X, _ = blobs
    path = net_trim_path(mlp, X, epsilons=10, inactive="budget")
    # Not the last: alone it is finished by Newton steps, each as dear as dozens of iterations.
    epsilons = path.epsilons[:-1]
    cold = [NetTrim(mlp, epsilon=e, inactive="budget").fit(X).n_iter_ for e in epsilons]
    assert path.n_iters[:-1].sum() < 0.9 * np.sum(cold)


@pytest.mark.parametrize(
    ("inactive", "radius", "kept"),
    [("strict", 0.1, False), ("budget", 0.1, True), ("strict", np.full(4, 0.05), True)],
    ids=["strict", "budget", "strict, per neuron"],
)
def test_penalties_that_stray_from_one_epsilon_to_the_next_are_not_passed_on(
    inactive, radius, kept
):
    """With them each solve of a long strict path took more iterations than one on its own."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((80, 6))
    Y = np.maximum(A @ rng.standard_normal((6, 4)), 0)
    problem = LayerProblem(A, Y, radius * np.linalg.norm(Y), inactive=inactive)
    _, solution = trim(problem, return_solution=True)
    assert (solution.penalties is not None) == kept


@pytest.mark.parametrize(
    "options", [{}, {"scheme": "cascade"}, {"epsilon_per": "neuron", "inactive": "budget"}]
)
def test_n_jobs_changes_nothing(options, mlp, blobs):
    one, two = (net_trim_path(mlp, blobs[0], epsilons=4, n_jobs=n, **options) for n in (1, 2))
    assert_same_path(one, two)


def test_blocks_of_neurons_keep_their_own_solutions(blobs, train):
    X, y = blobs
    mlp = train(MLPClassifier(hidden_layer_sizes=(140,), max_iter=5, random_state=0), X, y)
    path = net_trim_path(mlp, X, epsilons=[0.3, 0.3], epsilon_per="neuron", n_jobs=2)
    assert path.converged.all()
    assert not path.n_iters[1].any()


def test_nothing_of_the_size_of_the_data_is_kept(mlp, blobs):
    few, many = (
        len(pickle.dumps((net_trim_path(mlp, X, epsilons=2), NetTrim(mlp).fit(X).layers_)))
        for X in (blobs[0], np.tile(blobs[0], (20, 1)))
    )
    assert many == pytest.approx(few, abs=100)


# Models and data -----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_estimator_stays_as_it_was(scheme, mlp, blobs, no_training):
    before = joblib.hash(mlp)
    path = net_trim_path(mlp, blobs[0], epsilons=3, scheme=scheme)
    assert joblib.hash(mlp) == before
    for coefs in zip(*(estimator.coefs_ for estimator in path.estimators), strict=True):
        assert not any(np.shares_memory(coefs[0], other) for other in coefs[1:])


def test_a_pipeline_is_pruned_as_a_whole(blobs, train, no_training_in):
    X = pd.DataFrame(blobs[0], columns=list("abcd"))
    model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(5,), max_iter=40))
    train(model, X, blobs[1])
    with no_training_in():
        path = net_trim_path(FrozenEstimator(model), X, epsilons=EPSILONS)
        bare = net_trim_path(model[-1], model[0].transform(X), epsilons=EPSILONS)
    assert_same_path(path, bare)
    for estimator in path.estimators:
        assert list(estimator.feature_names_in_) == list("abcd")
        assert estimator.score(X, blobs[1]) > 0


def test_what_is_not_fitted_is_trained_once(blobs, monkeypatch):
    X, y = blobs
    unfitted = MLPClassifier(hidden_layer_sizes=(5,), max_iter=200, tol=1, random_state=0)
    fits = []
    fit = MLPClassifier.fit
    monkeypatch.setattr(MLPClassifier, "fit", lambda *args: fits.append(1) or fit(*args))
    path = net_trim_path(unfitted, X, y, epsilons=3)
    assert len(fits) == 1 and not hasattr(unfitted, "coefs_")
    assert_same_path(path, net_trim_path(clone(unfitted).fit(X, y), X, epsilons=3))


@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)], ids=["int", "RandomState"])
def test_all_points_use_the_same_rows(seed, mlp, blobs):
    X, _ = blobs
    path = net_trim_path(mlp, X, epsilons=EPSILONS, max_samples=40, random_state=seed)
    for epsilon, estimator in zip(path.epsilons, path.estimators, strict=True):
        trim = NetTrim(mlp, epsilon=epsilon, max_samples=40, random_state=0).fit(X)
        np.testing.assert_allclose(
            objectives(estimator), [layer.objective for layer in trim.layers_], rtol=2 * TOL
        )


def test_sparse_data(mlp, blobs):
    X = np.where(np.abs(blobs[0]) > 1, blobs[0], 0)
    dense, stored = (net_trim_path(mlp, data, epsilons=3) for data in (X, sparse.csr_array(X)))
    np.testing.assert_allclose(stored.epsilons, dense.epsilons)
    for ours, theirs in zip(stored.estimators, dense.estimators, strict=True):
        np.testing.assert_allclose(objectives(ours), objectives(theirs), rtol=2 * TOL)


# Bad input -----------------------------------------------------------------------------------

BAD = [
    ({"epsilons": 1}, r"'epsilons' .* int in the range \[2, inf\) or an array-like. Got 1"),
    ({"epsilons": 0.1}, r"'epsilons' .* Got 0.1"),
    ({"epsilons": None}, r"'epsilons' .* Got None"),
    ({"epsilons": "0.1"}, r"'epsilons' .* Got '0.1'"),
    ({"epsilons": []}, r"epsilons must be an int or a list of at least one value .* got \[\]"),
    ({"epsilons": [[0.1, 0.2]]}, r"epsilons must be an int or a list"),
    ({"epsilons": [0.1, -2]}, r"epsilons must be >= 0, got -2"),
    ({"epsilons": [0.1, np.nan]}, r"epsilons must be finite, got nan"),
    ({"epsilons": [np.inf]}, r"epsilons must be finite, got inf"),
    ({"epsilons": ["a"]}, r"epsilons must be a number >= 0 each, got 'a'"),
    ({"epsilons": [True, False]}, r"epsilons must be a number >= 0 each, got True"),
    ({"epsilon_ratio": 0}, r"'epsilon_ratio'"),
    ({"epsilon_ratio": 1}, r"'epsilon_ratio'"),
    ({"epsilon": 0.1}, r"net_trim_path takes epsilons, such as epsilons=\[0.1\], not epsilon"),
    ({"epsilonper": "layer"}, r"unexpected keyword argument 'epsilonper'.*epsilon_per, gamma"),
    ({"tol": 0}, r"'tol'"),
    ({"gamma": [2, 2]}, r"gamma has 2 values but the network has 3 layers"),
    ({"max_samples": 91}, r"max_samples=91 is more than the 90 rows of X"),
    ({"solver_options": {"rho": 1}}, r"rho"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda value: str(value))
def test_bad_parameters(options, message, mlp, blobs):
    before = joblib.hash(mlp)
    with pytest.raises((ValueError, TypeError), match=message):
        net_trim_path(mlp, blobs[0], **options)
    assert joblib.hash(mlp) == before


def test_bad_epsilons_are_found_before_training(blobs, no_training):
    for epsilons in (1, [-1], []):
        with pytest.raises(ValueError, match="epsilons"):
            net_trim_path(MLPClassifier(), *blobs, epsilons=epsilons)


def test_bad_estimators_and_data(mlp, blobs):
    X, y = blobs
    with pytest.raises(TypeError, match="MLPClassifier or an MLPRegressor"):
        net_trim_path(RandomForestClassifier(), X, y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        net_trim_path(clone(mlp), X)
    with pytest.raises(ValueError, match="NaN"):
        net_trim_path(mlp, np.where(X > 1, np.nan, X))
    with pytest.raises(ValueError, match="features"):
        net_trim_path(mlp, X[:, :3])
    broken = rebuild(mlp, Network.of(mlp))
    broken.coefs_[1][0, 0] = np.inf
    with pytest.raises(ValueError, match="layer 2 of 3"):
        net_trim_path(broken, X)


def test_an_infeasible_kappa_names_the_epsilon(mlp, blobs):
    message = r"^epsilon 0.3, layer 3 of 3: no solution with kappa=0.001; the smallest .* \d"
    with pytest.raises(InfeasibleError, match=message):
        net_trim_path(mlp, blobs[0], epsilons=[0.3, 0.1], scheme="cascade", kappa=1e-3)


# Reports -------------------------------------------------------------------------------------


def test_the_signature_and_the_docstring_name_every_parameter():
    ours = inspect.signature(net_trim_path).parameters
    theirs = inspect.signature(NetTrim).parameters
    assert set(ours) - set(theirs) == {"X", "y", "epsilons", "epsilon_ratio"}
    assert set(theirs) - set(ours) == {"epsilon", "target_density"}
    for name in set(ours) & set(theirs):
        assert ours[name] == theirs[name] or name == "estimator"
        assert f"`{name}`" in net_trim_path.__doc__


def test_warnings_name_the_epsilon_and_the_layer(mlp, blobs):
    with pytest.warns(ConvergenceWarning) as warned:
        path = net_trim_path(mlp, blobs[0], epsilons=[0.2, 0.1], max_iter=1, tol=1e-9)
    names = [re.match(r"epsilon (\S+), layer (\d) of 3 ", str(w.message)).groups() for w in warned]
    assert names == [(epsilon, layer) for epsilon in ("0.2", "0.1") for layer in "123"]
    assert not path.converged.any()
    assert "NO" in path.summary().splitlines()[-1]


def test_verbose_names_the_epsilon(mlp, blobs, capsys):
    net_trim_path(mlp, blobs[0], epsilons=[0.2, 0.1], verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[3].startswith("[NetTrim] epsilon 0.1, layer 1 of 3: 4 x 8, kept ")


def test_summary_has_a_line_per_epsilon(mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=4)
    lines = path.summary().splitlines()
    assert len(lines) == 2 + 4 + 2
    assert len({len(line) for line in lines}) == 1
    assert lines[5].split()[:2] == [f"{path.epsilons[3]:.3g}", f"{path.densities[3]:.1%}"]
    assert repr(path.summary()) == path.summary()


def test_repr_is_short_and_pickling_keeps_all(mlp, blobs):
    path = net_trim_path(mlp, blobs[0], epsilons=4)
    assert isinstance(path, TrimPath)
    assert repr(path).startswith("TrimPath(4 epsilons from ") and len(repr(path)) < 300
    assert_same_path(pickle.loads(pickle.dumps(path)), path)
