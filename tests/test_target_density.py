"""A wanted share of weights instead of an epsilon."""

import inspect

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from sknettrim import NetTrim, net_trim_path
from sknettrim.exceptions import InfeasibleError

SETTINGS = [
    {"scheme": scheme, "inactive": inactive}
    for scheme in ("parallel", "cascade")
    for inactive in ("strict", "budget")
]


@pytest.fixture(scope="module")
def wide(blobs, train):
    """A network of enough weights for densities to be close to any number."""
    return train(MLPClassifier(hidden_layer_sizes=(40, 30), max_iter=60, random_state=0), *blobs)


def assert_densest_within(trim, target, X):
    """Densities grow when epsilon falls: with the next epsilon down, the target is exceeded."""
    assert trim.density_ <= target
    if trim.density_ < 0.97 * target:
        epsilons = trim.epsilon_ * np.array([1.0, 0.96])
        options = {k: v for k, v in trim.get_params().items() if k in ("scheme", "inactive")}
        path = net_trim_path(trim.estimator, X, epsilons=epsilons, **options)
        assert path.densities[1] > target


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("target", [0.1, 0.4])
def test_the_density_is_met(settings, target, wide, blobs, no_training):
    X, _ = blobs
    before = joblib.hash(wide)
    trim = NetTrim(wide, target_density=target, **settings).fit(X)
    assert_densest_within(trim, target, X)
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)
    assert all(layer.converged for layer in trim.layers_)
    assert joblib.hash(wide) == before
    # It is the network of the epsilon that it reports, to the tolerance of the solver.
    plain = NetTrim(wide, epsilon=trim.epsilon_, **settings).fit(X)
    np.testing.assert_allclose(
        trim.layers_[0].objective, plain.layers_[0].objective, rtol=2 * trim.tol
    )


def test_it_takes_few_solves(wide, blobs, monkeypatch):
    epsilons = []
    prune = NetTrim._prune

    def counted(self, original, epsilon, **solving):
        epsilons.append(epsilon)
        return prune(self, original, epsilon, **solving)

    monkeypatch.setattr(NetTrim, "_prune", counted)
    for target in (0.05, 0.2, 0.5):
        NetTrim(wide, target_density=target, inactive="budget").fit(blobs[0])
    assert len(epsilons) <= 3 * 8


@pytest.mark.parametrize("target", [0.1, 0.3, 0.7])
def test_where_densities_jump_it_is_the_densest_below(target, mlp, blobs):
    """The network has 98 weights, so that few densities exist."""
    trim = NetTrim(mlp, target_density=target).fit(blobs[0])
    assert trim.density_ > 0
    assert_densest_within(trim, target, blobs[0])


def test_too_little_to_leave_any_weight(mlp, blobs):
    with pytest.warns(UserWarning, match="leaves no weights: nothing between") as warned:
        trim = NetTrim(mlp, target_density=0.005).fit(blobs[0])
    assert warned[0].filename == __file__
    assert trim.density_ == 0


def test_more_than_the_network_needs_is_as_much_as_it_needs(mlp, blobs):
    with pytest.warns(UserWarning, match=r"target_density=1 is more than what epsilon=.* leaves"):
        trim = NetTrim(mlp, target_density=1).fit(blobs[0])
    assert NetTrim(mlp, epsilon=0.01).fit(blobs[0]).density_ <= trim.density_ < 1
    assert trim.epsilon_ < 0.01


def test_a_network_of_constants_needs_no_weights(mlp):
    with pytest.warns(UserWarning, match="does not need more"):
        trim = NetTrim(mlp, target_density=0.3).fit(np.zeros((10, 4)))
    assert trim.density_ == 0


def test_a_density_out_of_reach(mlp, blobs, monkeypatch):
    """Penalised intercepts can leave weights, on constant inputs, wherever a walk may begin."""
    monkeypatch.setattr(NetTrim, "_emptying_epsilon", lambda self, original: 0.1)
    left = NetTrim(mlp, epsilon=0.1).fit(blobs[0]).density_
    trim = NetTrim(mlp, target_density=0.01)
    with pytest.raises(ValueError, match=f"=0.01 is out of reach: {left:.2%} of the weights are"):
        trim.fit(blobs[0])


def test_an_infeasible_kappa_names_the_epsilon(mlp, blobs):
    trim = NetTrim(mlp, target_density=0.3, scheme="cascade", kappa=1e-3)
    with pytest.raises(InfeasibleError, match=r"^epsilon .*, layer 3 of 3: no solution"):
        trim.fit(blobs[0])


# epsilon_ ------------------------------------------------------------------------------------


def test_the_epsilon_used_is_there_after_every_fit(mlp, blobs):
    X, _ = blobs
    assert NetTrim(mlp).fit(X).epsilon_ == 0.05
    assert NetTrim(mlp, epsilon=0).fit(X).epsilon_ == 0
    several = NetTrim(mlp, epsilon=[0.1, 0.2, 0.3]).fit(X).epsilon_
    np.testing.assert_array_equal(several, [0.1, 0.2, 0.3])
    found = NetTrim(mlp, target_density=0.4).fit(X).epsilon_
    assert type(found) is float and 0 < found < 1


# One of the two ------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.1, 0, [0.1, 0.1, 0.1], np.full(3, 0.1)], ids=str)
def test_only_one_of_the_two_may_be_given(epsilon, mlp, blobs, no_training):
    trim = NetTrim(mlp, epsilon=epsilon, target_density=0.4)
    with pytest.raises(ValueError, match=r"exactly one of epsilon and target_density .* None"):
        trim.fit(blobs[0])
    with pytest.raises(NotFittedError):
        trim.predict(blobs[0])
    with pytest.raises(ValueError, match="exactly one"):
        NetTrim(MLPClassifier(), epsilon=epsilon, target_density=0.4).fit(*blobs)


@pytest.mark.parametrize("target", [0, 1.5, -0.1, "0.1", np.nan])
def test_targets_that_are_no_share(target, mlp, blobs):
    with pytest.raises(ValueError, match=r"'target_density' parameter of NetTrim.*\(0.0, 1.0\]"):
        NetTrim(mlp, target_density=target).fit(blobs[0])


def test_epsilon_stays_the_default_and_steps_back(mlp, blobs):
    assert inspect.signature(NetTrim).parameters["epsilon"].default == 0.05
    assert NetTrim(mlp, target_density=0.4).get_params()["epsilon"] == 0.05
    explicit = NetTrim(mlp, epsilon=None, target_density=0.4).fit(blobs[0])
    assert explicit.epsilon_ == NetTrim(mlp, target_density=0.4).fit(blobs[0]).epsilon_


def test_clones_and_searches(mlp, blobs, no_training):
    assert clone(NetTrim(mlp, target_density=0.4)).target_density == 0.4
    search = GridSearchCV(NetTrim(mlp), {"target_density": [0.2, 0.5]}, cv=2).fit(*blobs)
    assert search.best_estimator_.density_ <= search.best_params_["target_density"]
    both = [{"epsilon": [0.1]}, {"epsilon": [None], "target_density": [0.5]}]
    GridSearchCV(NetTrim(mlp), both, cv=2).fit(*blobs)


def test_a_path_has_no_target(mlp, blobs):
    with pytest.raises(TypeError, match=r"takes epsilons.*not target_density"):
        net_trim_path(mlp, blobs[0], target_density=0.4)
