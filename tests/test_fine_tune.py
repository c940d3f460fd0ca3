"""Masked fine-tuning: zeros stay, the rest is scikit-learn's training, no guarantee remains."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from sknettrim import NetTrim, _fine_tune
from sknettrim._network import Network, innermost, rebuild

takes_sample_weight = pytest.mark.skipif(
    not has_fit_parameter(MLPClassifier(), "sample_weight"),
    reason="the MLP of scikit-learn 1.6 takes no sample_weight",
)


SMALL = {
    "hidden_layer_sizes": (8, 6),
    "learning_rate_init": 0.01,
    "max_iter": 60,
    "random_state": 0,
}


def weights(trim):
    mlp = innermost(trim.estimator_)
    return [*mlp.coefs_, *mlp.intercepts_]


def tuned(estimator, X, y, *, epsilon=0.4, validation_fraction=0.3, **options):
    """A NetTrim after fit, and after fine_tune."""
    trim = NetTrim(estimator, epsilon=epsilon, random_state=0).fit(X)
    pruned = copy.deepcopy(trim)
    return pruned, trim.fine_tune(X, y, validation_fraction=validation_fraction, **options)


@pytest.fixture(scope="module")
def digits(train):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
    mlp = MLPClassifier(
        hidden_layer_sizes=(60, 30), learning_rate_init=0.005, max_iter=40, random_state=0
    )
    return train(mlp, X, y), X, X_test, y, y_test


def test_most_of_the_lost_accuracy_comes_back(digits):
    mlp, X, X_test, y, y_test = digits
    trim = NetTrim(mlp, epsilon=0.25, scheme="cascade", inactive="budget", random_state=0).fit(X)
    original, pruned, density = mlp.score(X_test, y_test), trim.score(X_test, y_test), trim.density_
    assert density < 0.12
    assert pruned < original - 0.1
    trim.fine_tune(X, y)
    assert trim.score(X_test, y_test) > (original + pruned) / 2
    assert trim.density_ == density


# The training --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam"},
        {"solver": "sgd", "momentum": 0.9, "learning_rate": "adaptive"},
        {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False},
        {"solver": "lbfgs"},
    ],
    ids=str,
)
def test_zeros_stay_and_other_weights_are_trained(task, solver):
    mlp, X, y = task
    mlp = copy.deepcopy(mlp).set_params(**solver, learning_rate_init=0.01)
    before = joblib.hash(mlp)
    pruned, trim = tuned(mlp, X, y, max_iter=15)
    assert trim.validation_scores_.argmax() > 0
    for old, new in zip(weights(pruned), weights(trim), strict=True):
        assert new.dtype == old.dtype
        if old.ndim == 2:
            np.testing.assert_array_equal(new != 0, old != 0)
            assert (new != old).any() or not old.any()
    assert joblib.hash(mlp) == before
    assert type(trim.estimator_) is type(mlp)
    assert trim.estimator_.get_params() == mlp.get_params()
    again = pickle.loads(pickle.dumps(trim.estimator_))
    np.testing.assert_array_equal(again.predict(X), trim.predict(X))


def small_and_large(kind, X, y, **params):
    """A trained MLP, and the same network with two hidden neurons that do nothing."""
    small = kind(hidden_layer_sizes=(4, 3), batch_size=len(X), max_iter=1, random_state=0, **params)
    for _ in range(20):
        small.partial_fit(X, y, **({"classes": np.unique(y)} if kind is MLPClassifier else {}))
    large = copy.deepcopy(small).set_params(hidden_layer_sizes=(6, 3))
    (W, V, U), (b, c, d) = small.coefs_, small.intercepts_
    large.coefs_ = [np.insert(W, [1, 3], 0, axis=1), np.insert(V, [1, 3], 0, axis=0), U.copy()]
    large.intercepts_ = [np.insert(b, [1, 3], 0.5), c.copy(), d.copy()]
    np.testing.assert_allclose(large.predict(X), small.predict(X))
    return small, large


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_training_with_zeros_is_training_without_those_weights(kind, solver, blobs):
    """scikit-learn trains the small network; we the large one, of which it is the part kept."""
    X, y = blobs
    small, large = small_and_large(
        kind, X, y, solver=solver, learning_rate_init=0.02, alpha=0.1, tol=0
    )
    rng = np.random.RandomState(7)
    held_out = {"stratify": y} if kind is MLPClassifier else {}
    X_fit, _, y_fit, _ = train_test_split(X, y, test_size=0.3, random_state=rng, **held_out)
    with pytest.MonkeyPatch.context() as patch:
        # The last epoch, whatever the scores, and no epoch before the end.
        scores = iter(range(100))
        patch.setattr(kind, "score", lambda *args, **kwargs: next(scores))
        network, _, _ = _fine_tune.fine_tune(
            large,
            X,
            y,
            None,
            max_iter=12,
            validation_fraction=0.3,
            n_iter_no_change=20,
            random_state=7,
            verbose=0,
        )
    del small._optimizer
    small.set_params(batch_size=len(X_fit))
    for _ in range(12):
        small.partial_fit(X_fit, y_fit)
    kept = [0, 2, 3, 5]
    got = [network.coefs[0][:, [0, 2, 3, 5]], network.coefs[1][kept], network.coefs[2]]
    for expected, W in zip(small.coefs_, got, strict=True):
        np.testing.assert_allclose(W, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(network.intercepts[0][kept], small.intercepts_[0], rtol=1e-6)
    np.testing.assert_array_equal(network.intercepts[0][[1, 4]], 0.5)
    np.testing.assert_array_equal(network.coefs[0][:, [1, 4]], 0)


def test_a_network_without_zeros_is_trained_as_by_scikit_learn(mlp, blobs):
    X, y = blobs
    assert all(W.all() for W in mlp.coefs_)
    trim = NetTrim(mlp, random_state=0).fit(X)
    trim.estimator_ = rebuild(mlp, Network.of(mlp))
    trim.fine_tune(X, y, max_iter=5, validation_fraction=0.2)
    rng = np.random.RandomState(0)
    X_fit, X_valid, y_fit, y_valid = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=rng
    )
    twin = copy.deepcopy(mlp).set_params(random_state=rng)
    del twin._optimizer
    twin._init_coef(4, 8, float)  # as much of the generator as an initialisation draws
    for shape in ((4, 8), (8, 6), (6, 3)):
        twin._random_state = rng
        if shape != (4, 8):
            twin._init_coef(*shape, float)
    scores = [mlp.score(X_valid, y_valid)]
    for _ in range(5):
        scores.append(twin.partial_fit(X_fit, y_fit).score(X_valid, y_valid))
    np.testing.assert_allclose(trim.validation_scores_, scores)


def test_pruned_weights_that_came_back_would_be_an_error(digits, monkeypatch):
    mlp, X, _, y, _ = digits
    trim = NetTrim(mlp, epsilon=0.4).fit(X)
    before = trim.estimator_
    monkeypatch.delattr(_fine_tune._Masked, "_backprop")
    with pytest.raises(RuntimeError, match="pruned weights back"):
        trim.fine_tune(X, y, max_iter=2)
    assert trim.estimator_ is before


# The best epoch ------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [accuracy_score, r2_score])
def test_the_best_epoch_is_kept(mlp, regressor, blobs, score):
    X, y = blobs
    stratify = y if score is accuracy_score else None
    if score is r2_score:
        mlp, y = regressor, regressor.predict(X) + np.random.RandomState(0).normal(size=(90, 2))
    _, trim = tuned(copy.deepcopy(mlp).set_params(learning_rate_init=0.05), X, y)
    _, X_valid, _, y_valid = train_test_split(
        X, y, test_size=0.3, stratify=stratify, random_state=np.random.RandomState(0)
    )
    scores = trim.validation_scores_
    assert 0 < scores.argmax() < len(scores) - 1
    assert score(y_valid, trim.predict(X_valid)) == pytest.approx(scores.max(), rel=1e-12)


def test_it_stops_when_nothing_improves(blobs, train):
    X, _ = blobs
    y = X[:, 0] * X[:, 1] + np.random.RandomState(0).normal(size=90)
    mlp = train(MLPRegressor(**SMALL), X, y)
    for patience in (1, 3):
        _, trim = tuned(mlp, X, y, n_iter_no_change=patience, max_iter=1000)
        scores = trim.validation_scores_
        assert len(scores) - 1 - scores.argmax() == patience


def test_where_no_epoch_is_better_nothing_changes(mlp, blobs):
    X, y = blobs
    mlp = copy.deepcopy(mlp).set_params(learning_rate_init=50.0)
    pruned, trim = tuned(mlp, X, y, epsilon=0.02, max_iter=3)
    assert len(trim.validation_scores_) == 4
    np.testing.assert_array_equal(trim.discrepancy_bound_, pruned.discrepancy_bound_)
    for old, new in zip(weights(pruned), weights(trim), strict=True):
        np.testing.assert_array_equal(old, new)
    assert trim.summary().endswith("none of 3 epochs better on held-out rows: nothing changed")


# What is said of it --------------------------------------------------------------------------


def test_the_guarantee_is_given_up(digits):
    mlp, X, _, y, _ = digits
    pruned, trim = tuned(mlp, X, y, max_iter=3)
    original, now = Network.of(mlp).outputs(X), Network.of(trim.estimator_).outputs(X)
    moved = [np.linalg.norm(a - b) for a, b in zip(original[1:], now[1:], strict=True)]
    np.testing.assert_allclose(trim.discrepancy_, moved)
    np.testing.assert_array_equal(trim.discrepancy_bound_, np.inf)
    assert trim.summary().startswith(pruned.summary())
    assert "do not hold for the trained weights" in trim.summary()
    assert not hasattr(trim.fit(X), "validation_scores_")
    assert np.isfinite(trim.discrepancy_bound_).all()
    assert trim.summary().count("fine-tuned") == 0


def test_a_second_call_goes_on(digits):
    mlp, X, _, y, _ = digits
    _, trim = tuned(mlp, X, y, max_iter=2)
    reached = trim.validation_scores_.max()
    trim.fine_tune(X, y, max_iter=2, validation_fraction=0.3)
    assert trim.validation_scores_[0] == pytest.approx(reached)
    assert trim.summary().count("fine-tuned") == 2


def test_what_the_user_took_before_is_not_changed(digits):
    mlp, X, _, y, _ = digits
    trim = NetTrim(mlp, epsilon=0.4).fit(X)
    taken, before = trim.estimator_, joblib.hash(trim.estimator_)
    assert trim.fine_tune(X, y, max_iter=2).estimator_ is not taken
    assert joblib.hash(taken) == before


def test_progress_is_printed_where_wanted(mlp, blobs, capsys):
    for verbose in (0, 1):
        trim = NetTrim(mlp, random_state=0).fit(blobs[0]).set_params(verbose=verbose)
        trim.fine_tune(*blobs, max_iter=2)
        assert capsys.readouterr().out.count("fine-tuning: epoch") == 2 * verbose


# What surrounds an MLP -----------------------------------------------------------------------


def test_pipelines_transform_first_and_stay_as_they_are(blobs, train):
    X, y = blobs
    frame = pd.DataFrame(100 * X + 5, columns=list("abcd"))
    labels = np.array(["no", "perhaps", "yes"])[y]
    mlp = MLPClassifier(**SMALL)
    pipeline = train(make_pipeline(StandardScaler(), mlp), frame, labels)
    pruned, trim = tuned(pipeline, frame, labels)
    np.testing.assert_array_equal(trim.estimator_[0].mean_, pipeline[0].mean_)
    assert trim.score(frame, labels) > pruned.score(frame, labels)

    scaled = StandardScaler().fit_transform(frame)
    _, alone = tuned(train(clone(mlp), scaled, labels), scaled, labels)
    np.testing.assert_array_equal(trim.validation_scores_, alone.validation_scores_)
    np.testing.assert_array_equal(trim.predict(frame), alone.predict(scaled))


def test_targets_are_transformed_and_wrappers_are_kept(blobs, train):
    X, _ = blobs
    y = 1000 + 300 * X[:, 0] ** 2
    mlp = MLPRegressor(
        hidden_layer_sizes=(8, 6), max_iter=200, learning_rate_init=0.01, random_state=0
    )
    inner = make_pipeline(StandardScaler(), mlp)
    model = train(TransformedTargetRegressor(inner, transformer=StandardScaler()), X, y)
    search = train(GridSearchCV(model, {"check_inverse": [True]}, cv=2), X, y)
    for estimator in (model, FrozenEstimator(model), search):
        pruned, trim = tuned(estimator, X, y)
        assert isinstance(trim.estimator_, TransformedTargetRegressor)
        assert trim.score(X, y) > pruned.score(X, y) > 0
        # R2 has no units: that of the targets as the network sees them is that of y.
        _, X_valid, _, y_valid = train_test_split(
            X, y, test_size=0.3, random_state=np.random.RandomState(0)
        )
        assert trim.score(X_valid, y_valid) == pytest.approx(trim.validation_scores_.max())


def test_an_estimator_that_fit_had_to_train(blobs):
    X, y = blobs
    mlp = MLPClassifier(**SMALL, early_stopping=True, warm_start=True, batch_size=70)
    trim = NetTrim(mlp, epsilon=0.4, random_state=0).fit(X, y)
    trim.fine_tune(X, y, validation_fraction=0.3)
    assert trim.validation_scores_.argmax() > 0
    assert trim.estimator_.get_params() == mlp.get_params()
    assert not hasattr(mlp, "coefs_")


def test_sparse_and_single_precision_inputs(blobs, train):
    X, y = blobs[0].astype(np.float32), blobs[1]
    mlp = train(MLPClassifier(hidden_layer_sizes=(8, 6), max_iter=40, random_state=0), X, y)
    pruned = NetTrim(mlp, epsilon=0.4, random_state=0).fit(X)
    dense, csr = (
        copy.deepcopy(pruned).fine_tune(form, y, max_iter=5) for form in (X, sparse.csr_array(X))
    )
    for a, b in zip(weights(dense), weights(csr), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_sparse_weights_stay_sparse(mlp, blobs):
    X, y = blobs
    dense = NetTrim(mlp, epsilon=0.4, random_state=0).fit(X)
    stored = copy.deepcopy(dense)
    stored.estimator_.coefs_ = [sparse.csr_array(W) for W in dense.estimator_.coefs_]
    for trim in (dense, stored):
        trim.fine_tune(X, y, max_iter=5, validation_fraction=0.3)
    for a, b in zip(dense.estimator_.coefs_, stored.estimator_.coefs_, strict=True):
        assert isinstance(b, sparse.csr_array)
        np.testing.assert_array_equal(a, b.toarray())


# Targets and parameters ----------------------------------------------------------------------


def test_labels_may_be_missing_but_not_new(mlp, blobs):
    X, y = blobs
    trim = NetTrim(mlp, random_state=0).fit(X)
    trim.fine_tune(X[y < 2], y[y < 2], max_iter=2)
    assert trim.predict_proba(X).shape == (90, 3)
    with pytest.raises(ValueError, match=r"not trained on: \[7\].*it knows \[0 1 2\]"):
        trim.fine_tune(X, np.where(y == 1, 7, y))


def test_wrong_targets_are_refused_and_change_nothing(task):
    mlp, X, y = task
    trim = NetTrim(mlp).fit(X)
    before = trim.estimator_
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        trim.fine_tune(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        trim.fine_tune(X, y[1:])
    with pytest.raises(ValueError, match="columns, but the network was trained on"):
        trim.fine_tune(X, np.column_stack([y, y]))
    with pytest.raises(
        ValueError, match=r"NaN|unknown label|Unknown label|labels that the network"
    ):
        trim.fine_tune(X, np.where(y == y.ravel()[0], np.nan, y))
    with pytest.raises(ValueError, match="features"):
        trim.fine_tune(X[:, :3], y)
    assert trim.estimator_ is before
    assert not hasattr(trim, "validation_scores_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iter": 0}, "'max_iter' parameter of fine_tune"),
        ({"n_iter_no_change": 0.5}, "'n_iter_no_change' parameter of fine_tune"),
        ({"validation_fraction": 0}, "'validation_fraction' parameter of fine_tune"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter of fine_tune"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(mlp, blobs, options, message):
    with pytest.raises(ValueError, match=message):
        NetTrim(mlp).fit(blobs[0]).fine_tune(*blobs, **options)


def test_too_few_rows_to_hold_out(regressor, blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match=r"holds out 1 of 10 rows.*at least 2"):
        NetTrim(regressor).fit(X).fine_tune(X[:10], regressor.predict(X[:10]))


def test_only_after_fit(mlp, blobs):
    with pytest.raises(NotFittedError):
        NetTrim(mlp).fine_tune(*blobs)


def test_an_interrupt_is_not_swallowed(mlp, blobs, monkeypatch):
    trim = NetTrim(mlp).fit(blobs[0])
    before = trim.estimator_

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fine_tune._Masked, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trim.fine_tune(*blobs)
    assert trim.estimator_ is before


# Weights of rows -----------------------------------------------------------------------------


@takes_sample_weight
def test_equal_sample_weights_change_nothing(mlp, blobs):
    X, y = blobs
    _, plain = tuned(mlp, X, y, max_iter=5)
    _, weighted = tuned(mlp, X, y, sample_weight=np.full(90, 2.0), max_iter=5)
    np.testing.assert_allclose(plain.validation_scores_, weighted.validation_scores_)


@takes_sample_weight
def test_rows_of_weight_zero_teach_nothing(blobs, train):
    X, y = blobs
    mlp = train(MLPClassifier(**SMALL), X, y)
    sample_weight = np.repeat([1.0, 0.0], 90)
    one, other = (
        NetTrim(mlp, epsilon=0.4, random_state=0)
        .fit(X)
        .fine_tune(np.r_[X, factor * X], np.r_[y, y], sample_weight, validation_fraction=0.3)
        for factor in (1, -7)
    )
    assert one.validation_scores_.argmax() > 0
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@takes_sample_weight
def test_wrong_sample_weights_are_refused(mlp, blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        NetTrim(mlp).fit(X).fine_tune(X, y, np.ones(3))


def test_sample_weights_need_an_mlp_that_takes_them(mlp, blobs, monkeypatch):
    monkeypatch.setattr(_fine_tune, "has_fit_parameter", lambda *args: False)
    with pytest.raises(ValueError, match=r"sample_weight.*1\.7"):
        NetTrim(mlp).fit(blobs[0]).fine_tune(*blobs, np.ones(90))
