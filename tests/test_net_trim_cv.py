"""The choice of epsilon by cross-validation: every score by a second route, every rule by hand."""

import inspect
import math
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, make_scorer, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim, NetTrimCV, net_trim_path
from sknettrim._network import innermost
from sknettrim.exceptions import InfeasibleError

EPSILONS = [0.4, 0.2, 0.1]
FAST = {"epsilons": EPSILONS, "cv": 2, "inactive": "budget", "max_drop": 0.5}


# What it computes ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"scheme": "cascade", "inactive": "budget"}], ids=str)
def test_scores_are_those_of_cross_validating_each_epsilon(settings, mlp, blobs, no_training):
    X, y = blobs
    before = joblib.hash(mlp)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    options = {"tol": 1e-6, **settings}
    chosen = {"epsilons": EPSILONS, "selection": "best", "cv": cv, "scoring": "neg_log_loss"}
    trim = NetTrimCV(mlp, **chosen, **options).fit(X, y)
    for scores, epsilon in zip(trim.scores_, EPSILONS, strict=True):
        expected = cross_val_score(
            NetTrim(mlp, epsilon=epsilon, **options), X, y, cv=cv, scoring="neg_log_loss"
        )
        np.testing.assert_allclose(scores, expected, rtol=1e-3)
    unpruned = cross_val_score(FrozenEstimator(mlp), X, y, cv=cv, scoring="neg_log_loss")
    np.testing.assert_allclose(trim.unpruned_scores_, unpruned)
    assert joblib.hash(mlp) == before


def test_densities_and_discrepancies_are_those_of_the_path_of_each_fold(mlp, blobs):
    X, y = blobs
    trim = NetTrimCV(mlp, **FAST).fit(X, y)
    np.testing.assert_array_equal(trim.epsilons_, EPSILONS)
    for fold, (train, _) in enumerate(StratifiedKFold(2).split(X, y)):
        path = net_trim_path(mlp, X[train], epsilons=EPSILONS, inactive="budget")
        np.testing.assert_array_equal(trim.densities_[:, fold], path.densities)
        relative = path.discrepancies[:, -1] / path.output_norms[-1]
        np.testing.assert_allclose(trim.discrepancies_[:, fold], relative)


def test_it_has_all_parameters_of_nettrim_but_those_that_it_finds():
    found = {"epsilon", "target_density"}
    own = inspect.signature(NetTrimCV).parameters
    for name, parameter in inspect.signature(NetTrim).parameters.items():
        assert name in found or own[name].default == parameter.default, name


def test_it_ends_as_nettrim_at_the_epsilon_chosen(mlp, blobs):
    X, y = blobs
    trim = NetTrimCV(mlp, **FAST).fit(X, y)
    plain = NetTrim(mlp, epsilon=trim.epsilon_, inactive="budget").fit(X)
    for ours, theirs in zip(trim.estimator_.coefs_, plain.estimator_.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # All that is there after fit of a NetTrim is there, and the same.
    assert set(vars(plain)) - set(vars(trim)) == {"epsilon", "target_density"}
    assert trim.density_ == plain.density_ and trim.epsilon_ == plain.epsilon_
    np.testing.assert_array_equal(trim.discrepancy_bound_, plain.discrepancy_bound_)
    np.testing.assert_array_equal(trim.predict_proba(X), plain.predict_proba(X))
    assert len(trim.summary().splitlines()) == len(plain.summary().splitlines())


def test_what_a_nettrim_does_afterwards_it_does_too(mlp, blobs):
    X, y = blobs
    trim = NetTrimCV(mlp, random_state=0, **FAST).fit(X, y)
    plain = NetTrim(mlp, epsilon=trim.epsilon_, inactive="budget", random_state=0).fit(X)
    np.testing.assert_array_equal(trim.feature_importances_, plain.feature_importances_)
    np.testing.assert_array_equal(trim.get_support(), plain.get_support())
    np.testing.assert_allclose(trim.compact().predict_proba(X), trim.predict_proba(X))
    np.testing.assert_array_equal(trim.sparsify().densify().predict(X), plain.predict(X))
    tuned = trim.fine_tune(X, y, max_iter=5), plain.fine_tune(X, y, max_iter=5)
    np.testing.assert_array_equal(*(t.predict_proba(X) for t in tuned))


@pytest.mark.parametrize("settings", [{}, {"scheme": "cascade"}], ids=str)
def test_the_grid_is_laid_by_all_of_the_data(settings, mlp, blobs):
    X, y = blobs
    trim = NetTrimCV(mlp, epsilons=4, epsilon_ratio=0.1, cv=2, max_drop=1, **settings).fit(X, y)
    path = net_trim_path(mlp, X, epsilons=4, epsilon_ratio=0.1, **settings)
    np.testing.assert_array_equal(trim.epsilons_, path.epsilons)
    assert trim.scores_.shape == trim.densities_.shape == trim.discrepancies_.shape == (4, 2)
    assert trim.unpruned_scores_.shape == (2,)


def test_what_is_not_fitted_is_trained_in_every_fold_and_once_more(blobs, monkeypatch):
    X, y = blobs
    unfitted = MLPClassifier(hidden_layer_sizes=(5,), max_iter=200, tol=1, random_state=0)
    rows = []
    fit = MLPClassifier.fit
    monkeypatch.setattr(
        MLPClassifier, "fit", lambda self, X, y: rows.append(len(X)) or fit(self, X, y)
    )
    trim = NetTrimCV(unfitted, **FAST).fit(X, y)
    assert sorted(rows) == [45, 45, 90]
    assert not hasattr(unfitted, "coefs_")
    expected = cross_val_score(clone(unfitted), X, y, cv=2)
    np.testing.assert_array_equal(trim.unpruned_scores_, expected)


# Which epsilon -------------------------------------------------------------------------------

# Along decreasing epsilons, with two folds; the means are .5, .80, .87, .89, .88.
SCORES = np.array([[0.4, 0.6], [0.78, 0.82], [0.8, 0.94], [0.81, 0.97], [0.8, 0.96]])
DENSITIES = np.array([[0.0, 0.0], [0.1, 0.2], [0.2, 0.2], [0.3, 0.4], [0.6, 0.5]])
UNPRUNED = np.array([0.82, 0.98])


def choose(densities=DENSITIES, scores=SCORES, **params):
    trim = NetTrimCV(MLPClassifier(), **params)
    epsilons = np.geomspace(1, 0.01, len(scores))
    return trim._choose(epsilons, scores=scores, unpruned_scores=UNPRUNED, densities=densities)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"max_drop": 0.0101}, 3),
        ({"max_drop": 0.01}, 3),  # .89 is within .01 of .90, in floating point as well
        ({"max_drop": 0.03}, 2),
        ({"max_drop": 0.1}, 1),
        ({"max_drop": 0.5}, 0),
        ({"selection": "best"}, 3),
        # The standard error of the best is .16 / sqrt(2) / sqrt(2) = .08.
        ({"selection": "1se"}, 2),
    ],
    ids=str,
)
def test_the_rules(params, expected):
    assert choose(**params) == expected


def test_the_sparsest_is_chosen_by_its_density_not_by_its_epsilon():
    densities = DENSITIES.copy()
    densities[4] = 0.05
    assert choose(densities, max_drop=0.03) == 4


def test_among_equally_good_ones_the_sparsest_is_best():
    assert choose(scores=np.tile(SCORES[3], (5, 1)), selection="best") == 0


def test_none_good_enough_is_the_smallest_with_a_warning(mlp, blobs):
    with pytest.warns(
        UserWarning, match=r"no epsilon keeps the score within max_drop=0 "
    ) as warned:
        trim = NetTrimCV(mlp, epsilons=[1.0, 0.9], max_drop=0, cv=2).fit(*blobs)
    assert trim.epsilon_ == 0.9
    assert warned[0].filename == __file__


@pytest.mark.parametrize("selection", ["within", "best", "1se"])
def test_the_rules_on_a_network(selection, mlp, blobs):
    trim = NetTrimCV(mlp, epsilons=6, selection=selection, max_drop=0.05, cv=3).fit(*blobs)
    means = trim.scores_.mean(axis=1)
    best = trim.scores_[means.argmax()]
    lowest = {
        "within": trim.unpruned_scores_.mean() - 0.05,
        "best": best.mean(),
        "1se": best.mean() - np.sqrt(np.sum((best - best.mean()) ** 2) / 2 / 3),
    }[selection]
    good = [i for i in range(6) if means[i] > lowest - 1e-9]
    chosen = int(np.flatnonzero(trim.epsilons_ == trim.epsilon_)[0])
    assert chosen in good
    assert trim.densities_[chosen].mean() == min(trim.densities_[i].mean() for i in good)


# Scores --------------------------------------------------------------------------------------


def test_a_regressor_is_scored_by_r2(regressor, blobs):
    X, _ = blobs
    y = np.column_stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])])
    trim = NetTrimCV(regressor, **FAST).fit(X, y)
    for fold, (_, test) in enumerate(KFold(2).split(X)):
        expected = r2_score(y[test], regressor.predict(X[test]))
        assert trim.unpruned_scores_[fold] == pytest.approx(expected)
    assert trim.score(X, y) == pytest.approx(r2_score(y, trim.predict(X)))


def as_scorer(estimator, X, y):
    return -np.abs(estimator.predict_proba(X) - np.eye(3)[y]).sum()


@pytest.mark.parametrize("scoring", ["balanced_accuracy", as_scorer, None])
def test_the_scoring_given_is_used_throughout(scoring, mlp, blobs):
    X, y = blobs
    trim = NetTrimCV(mlp, scoring=scoring, **FAST | {"max_drop": 100}).fit(X, y)
    expected = cross_val_score(FrozenEstimator(mlp), X, y, cv=2, scoring=scoring)
    np.testing.assert_allclose(trim.unpruned_scores_, expected)
    assert trim.score(X, y) == trim.scorer_(trim.estimator_, X, y)
    if scoring is not as_scorer:
        weights = np.random.default_rng(0).random(len(y))
        assert trim.score(X, y, sample_weight=weights) != trim.score(X, y)


def test_a_fitted_search_is_scored_like_what_it_is_pruned_to(blobs, train, no_training_in):
    """The score of a search is its own scoring, that of its pruned best estimator accuracy."""
    X, y = blobs
    mlp = MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0)
    search = train(GridSearchCV(mlp, {}, cv=2, scoring="neg_log_loss"), X, y)
    with no_training_in():
        trim = NetTrimCV(search, **FAST).fit(X, y)
    expected = cross_val_score(FrozenEstimator(search.best_estimator_), X, y, cv=2)
    np.testing.assert_array_equal(trim.unpruned_scores_, expected)


def test_a_score_that_is_not_finite(mlp, blobs):
    def broken(estimator, X, y):
        return np.nan

    with pytest.raises(ValueError, match="fold 1 of 2: the score is not finite"):
        NetTrimCV(mlp, scoring=broken, **FAST).fit(*blobs)


# Folds ---------------------------------------------------------------------------------------


def test_groups_stay_together(mlp, blobs):
    X, y = blobs
    groups = np.arange(90) % 5
    seen = []

    def record(estimator, X, y):
        seen.append(len(X))
        return accuracy_score(y, estimator.predict(X))

    options = FAST | {"cv": GroupKFold(5), "scoring": record}
    trim = NetTrimCV(mlp, **options).fit(X, y, groups=groups)
    assert set(seen) == {18} and trim.scores_.shape == (3, 5)
    with pytest.raises(ValueError, match="groups"):
        NetTrimCV(mlp, **options).fit(X, y)


def test_groups_are_routed(mlp, blobs):
    X, y = blobs
    with config_context(enable_metadata_routing=True):
        trim = NetTrimCV(mlp, **FAST | {"cv": GroupKFold(3)}).set_fit_request(groups=True)
        pipeline = make_pipeline(FrozenEstimator(StandardScaler().fit(X)), trim)
        pipeline.fit(X, y, groups=np.arange(90) % 3)
    assert pipeline[-1].scores_.shape == (3, 3)


@pytest.mark.parametrize(
    ("cv", "n_folds"),
    [
        (None, 5),
        (3, 3),
        (ShuffleSplit(1, random_state=0), 1),
        (PredefinedSplit(np.arange(90) % 2), 2),
        ([(np.arange(60), np.arange(60, 90))], 1),
    ],
    ids=["default", "int", "splitter", "predefined", "pairs"],
)
def test_folds_of_all_kinds(cv, n_folds, mlp, blobs):
    trim = NetTrimCV(mlp, **FAST | {"cv": cv}).fit(*blobs)
    assert trim.scores_.shape == (3, n_folds)


def test_folds_of_a_classifier_are_stratified(mlp, blobs):
    X, y = blobs
    order = np.argsort(y)
    trim = NetTrimCV(mlp, **FAST | {"cv": 3}).fit(X[order], y[order])
    assert trim.unpruned_scores_.min() > 0.3


def test_more_samples_than_a_fold_has(mlp, blobs):
    X, y = blobs
    few, all_ = (
        NetTrimCV(mlp, max_samples=n, random_state=0, **FAST).fit(X, y) for n in (80, None)
    )
    # The folds have 45 rows.
    np.testing.assert_array_equal(few.densities_, all_.densities_)
    plain = NetTrim(
        mlp, epsilon=few.epsilon_, max_samples=80, random_state=0, inactive="budget"
    ).fit(X)
    np.testing.assert_array_equal(few.discrepancy_, plain.discrepancy_)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_n_jobs_changes_nothing(n_jobs, mlp, blobs):
    one, more = (NetTrimCV(mlp, n_jobs=n, **FAST).fit(*blobs) for n in (1, n_jobs))
    np.testing.assert_allclose(more.scores_, one.scores_)
    np.testing.assert_allclose(more.densities_, one.densities_)
    assert more.epsilon_ == one.epsilon_


# Models and data -----------------------------------------------------------------------------


def test_a_pipeline_and_a_data_frame(blobs, train, no_training_in):
    X = pd.DataFrame(blobs[0], columns=list("abcd"))
    y = pd.Series(blobs[1], index=np.arange(90)[::-1]).map({0: "no", 1: "so", 2: "yes"})
    model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(5,), max_iter=40))
    train(model, X, y)
    with no_training_in():
        trim = NetTrimCV(model, **FAST).fit(X, y)
    bare = NetTrimCV(model[-1], **FAST).fit(model[0].transform(X), y)
    np.testing.assert_allclose(trim.scores_, bare.scores_)
    assert list(trim.feature_names_in_) == list("abcd")
    assert list(trim.classes_) == ["no", "so", "yes"]
    assert trim.estimator_.score(X, y) == trim.score(X, y)


def test_in_a_pipeline_behind_a_frozen_scaler(mlp, blobs, no_training):
    X, y = blobs
    pipeline = make_pipeline(FrozenEstimator(StandardScaler().fit(X)), NetTrimCV(mlp, **FAST))
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)
    assert pipeline.fit(X, y).predict(X).shape == (90,)


@pytest.mark.parametrize(
    "convert",
    [sparse.csr_array, sparse.csr_matrix, np.ndarray.tolist],
    ids=["array", "matrix", "list"],
)
def test_other_containers(convert, mlp, blobs):
    X, y = blobs
    ours = NetTrimCV(mlp, **FAST).fit(convert(X), y.tolist())
    np.testing.assert_allclose(ours.scores_, NetTrimCV(mlp, **FAST).fit(X, y).scores_, atol=0.03)


def test_all_kinds_of_targets(task, no_training):
    mlp, X, y = task
    before = joblib.hash(mlp)
    trim = NetTrimCV(mlp, **FAST | {"max_drop": 2}).fit(X, y)
    assert joblib.hash(mlp) == before
    assert innermost(trim.estimator_).coefs_[0].shape == (4, 8)
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


def test_clones_searches_and_pickling_keep_the_fitted_network(mlp, blobs, no_training):
    X, y = blobs
    trim = NetTrimCV(mlp, **FAST)
    twin = clone(clone(trim))
    assert twin.estimator.estimator is mlp and twin.epsilons == EPSILONS
    search = GridSearchCV(trim, {"max_drop": [0.1, 0.5], "scheme": ["cascade"]}, cv=2).fit(X, y)
    assert isinstance(search.best_estimator_, NetTrimCV)
    again = pickle.loads(pickle.dumps(trim.fit(X, y)))
    np.testing.assert_array_equal(again.predict(X), trim.predict(X))
    assert again.score(X, y) == trim.score(X, y)


def test_parameters_of_what_is_not_fitted_can_be_searched(blobs):
    mlp = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, random_state=0)
    trim = NetTrimCV(mlp, **FAST).set_params(estimator__alpha=10.0)
    assert trim.fit(*blobs).estimator_.alpha == 10.0


# Bad input -----------------------------------------------------------------------------------

BAD = [
    ({"epsilons": 1}, r"'epsilons' parameter of NetTrimCV .* Got 1"),
    ({"epsilons": None}, r"'epsilons' .* Got None"),
    ({"epsilons": []}, r"epsilons must be an int or a list of at least one value"),
    ({"epsilons": [0.1, -2]}, r"epsilons must be >= 0, got -2"),
    ({"epsilon_ratio": 1}, r"'epsilon_ratio'"),
    ({"selection": "worst"}, r"'selection' .* Got 'worst'"),
    ({"selection": "1se", "cv": ShuffleSplit(1)}, r"'1se' needs .* at least two folds"),
    ({"max_drop": -0.1}, r"'max_drop' .* Got -0.1"),
    ({"max_drop": np.nan}, r"'max_drop'"),
    ({"cv": 1}, r"'cv' parameter of NetTrimCV .* Got 1"),
    ({"cv": 91}, r"n_splits=91"),
    ({"cv": "five"}, r"'cv'"),
    ({"scoring": "accurate"}, r"'scoring'"),
    ({"scoring": ["accuracy", "r2"]}, r"'scoring'"),
    ({"tol": 0}, r"'tol' parameter of NetTrimCV"),
    ({"gamma": 0.5}, r"gamma must be >= 1"),
    ({"max_samples": 91}, r"max_samples=91 is more than the 90 rows of X"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_parameters(parameters, message, mlp, blobs):
    before = joblib.hash(mlp)
    trim = NetTrimCV(mlp, **parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        trim.fit(*blobs)
    with pytest.raises(NotFittedError):
        trim.predict(blobs[0])
    assert joblib.hash(mlp) == before


def test_bad_parameters_are_found_before_training(blobs, no_training):
    for parameters, message in BAD:
        with pytest.raises((ValueError, TypeError), match=message):
            NetTrimCV(MLPClassifier(), **parameters).fit(*blobs)


def test_it_takes_no_epsilon(mlp):
    for name in ("epsilon", "target_density"):
        with pytest.raises(TypeError, match=name):
            NetTrimCV(mlp, **{name: 0.1})


def test_bad_estimators_and_data(mlp, blobs):
    X, y = blobs
    with pytest.raises(TypeError, match="MLPClassifier or an MLPRegressor"):
        NetTrimCV(StandardScaler()).fit(X, y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        NetTrimCV(mlp).fit(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        NetTrimCV(mlp).fit(X, y[:-1])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        NetTrimCV(mlp).fit(X, np.where(y > 1, np.nan, y))
    with pytest.raises(ValueError, match="contains NaN"):
        NetTrimCV(mlp).fit(np.where(X > 1, np.nan, X), y)
    with pytest.raises(ValueError, match="features"):
        NetTrimCV(mlp).fit(X[:, :3], y)
    with pytest.raises(TypeError, match="array-like"):
        NetTrimCV(mlp).fit(None, y)


def test_an_infeasible_kappa_names_the_epsilon(mlp, blobs):
    trim = NetTrimCV(mlp, **FAST | {"scheme": "cascade", "kappa": 1e-3})
    with pytest.raises(InfeasibleError, match=r"^epsilon 0.4, layer 3 of 3"):
        trim.fit(*blobs)


def test_an_interrupted_fit_leaves_nothing_behind(mlp, blobs, monkeypatch):
    trim = NetTrimCV(mlp, **FAST).fit(*blobs)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sknettrim._tasks.trim", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trim.fit(*blobs)
    assert not [name for name in vars(trim) if name.endswith("_")]


# Reports -------------------------------------------------------------------------------------


def test_it_has_the_parameters_of_nettrim_with_their_defaults():
    ours = inspect.signature(NetTrimCV).parameters
    theirs = inspect.signature(NetTrim).parameters
    own = {"epsilons", "epsilon_ratio", "selection", "max_drop", "cv", "scoring"}
    assert set(ours) - set(theirs) == own
    assert set(theirs) - set(ours) == {"epsilon", "target_density"}
    for name in set(ours) & set(theirs):
        assert ours[name] == theirs[name]
        assert name in NetTrimCV.__doc__
    defaults = inspect.signature(net_trim_path).parameters
    for name in ("epsilons", "epsilon_ratio"):
        assert ours[name].default == defaults[name].default


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_layers_that_did_not_converge_are_counted(n_jobs, mlp, blobs):
    options = FAST | {"max_iter": 1, "tol": 1e-9, "max_drop": 10, "n_jobs": n_jobs}
    with pytest.warns(ConvergenceWarning) as warned:
        NetTrimCV(mlp, **options).fit(*blobs)
    messages = [str(warning.message) for warning in warned]
    assert messages[0].startswith("6 of the networks pruned in cross-validation hold layers")
    assert all(message.startswith("layer ") for message in messages[1:])


def test_folds_do_not_ignore_warnings_of_others(mlp, blobs):
    """The filters are one list for the process, which folds in threads would leave as it was."""
    ignored = []

    def score(estimator, X, y):
        ignored.extend(f for f in warnings.filters if {"ignore", ConvergenceWarning} <= {*f})
        return estimator.score(X, y)

    NetTrimCV(mlp, scoring=score, **FAST).fit(*blobs)
    assert not ignored


def test_verbose_has_a_line_per_fold(mlp, blobs, capsys):
    NetTrimCV(mlp, verbose=1, **FAST).fit(*blobs)
    lines = capsys.readouterr().out.splitlines()
    assert [line[: len("[NetTrimCV] fold 1 of 2:")] for line in lines] == [
        f"[NetTrimCV] fold {number} of 2:" for number in (1, 2)
    ]
    NetTrimCV(mlp, verbose=2, **FAST).fit(*blobs)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 2 * 3 * 3 + 3


def test_scorers_made_by_make_scorer_and_the_standard_error(mlp, blobs):
    scorer = make_scorer(accuracy_score)
    trim = NetTrimCV(mlp, selection="1se", scoring=scorer, **FAST).fit(*blobs)
    means = trim.scores_.mean(axis=1)
    error = trim.scores_[means.argmax()].std(ddof=1) / math.sqrt(2)
    chosen = means[trim.epsilons_ == trim.epsilon_][0]
    assert chosen >= means.max() - error - 1e-9


def test_repr(mlp, blobs):
    for trim in (NetTrimCV(mlp), NetTrimCV(mlp, **FAST).fit(*blobs)):
        assert repr(trim).startswith("NetTrimCV(")
        assert "MLPClassifier" in trim._repr_html_()
    assert NetTrimCV(MLPRegressor()).__sklearn_tags__().target_tags.required
