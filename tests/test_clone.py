"""A fitted estimator survives clones, searches and pickling: never retrained, never changed."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim
from sknettrim._network import is_fitted


@pytest.fixture
def fitted(mlp, blobs):
    """Fitted estimators of several structures."""
    scaler = FrozenEstimator(StandardScaler().fit(blobs[0]))
    pipeline = make_pipeline(scaler, FrozenEstimator(mlp))
    search = GridSearchCV(pipeline, {}, cv=2).fit(*blobs)
    return [mlp, FrozenEstimator(mlp), pipeline, search]


def test_clones_prune_the_same_fitted_estimator(fitted, blobs, no_training):
    X, _ = blobs
    for estimator in fitted:
        before = joblib.hash(estimator)
        trim = NetTrim(estimator, epsilon=0.1)
        twin = clone(clone(trim))
        assert isinstance(twin.estimator, FrozenEstimator)
        assert is_fitted(twin.estimator)
        np.testing.assert_array_equal(twin.fit(X).predict(X), trim.fit(X).predict(X))
        assert joblib.hash(estimator) == before


def test_a_clone_is_not_fitted_itself(mlp, blobs):
    with pytest.raises(NotFittedError):
        clone(NetTrim(mlp).fit(blobs[0])).predict(blobs[0])


def test_cloning_what_is_not_fitted_is_ordinary():
    estimator = make_pipeline(StandardScaler(), MLPClassifier(alpha=0.5))
    twin = clone(NetTrim(estimator, epsilon=[0.1, 0.2], gamma=2))
    assert type(twin.estimator) is Pipeline
    assert twin.estimator is not estimator
    assert twin.get_params()["estimator__mlpclassifier__alpha"] == 0.5
    assert twin.epsilon == [0.1, 0.2]
    assert twin.gamma == 2


def test_cloning_what_is_not_supported_leaves_the_error_to_fit(blobs):
    twin = clone(NetTrim("mlp"))
    with pytest.raises(TypeError, match="got 'mlp'"):
        twin.fit(*blobs)


def test_a_clone_keeps_its_class_and_metadata_requests(mlp):
    class Mine(NetTrim):
        pass

    trim = Mine(mlp)
    trim._metadata_request = {"score": ["sample_weight"]}
    assert type(clone(trim)) is Mine
    assert clone(trim)._metadata_request == trim._metadata_request


# Searches ------------------------------------------------------------------------------------


def test_grid_search_trains_nothing(mlp, blobs, no_training):
    before = joblib.hash(mlp)
    search = GridSearchCV(NetTrim(mlp), {"epsilon": [0.02, 0.1, 0.3]}, cv=3).fit(*blobs)
    assert joblib.hash(mlp) == before
    assert search.best_params_["epsilon"] in (0.02, 0.1, 0.3)
    search.predict_proba(blobs[0])


def test_grid_search_in_processes_changes_nothing(mlp, blobs):
    before = joblib.hash(mlp)
    grid = {"epsilon": [0.02, 0.3], "scheme": ["parallel", "cascade"]}
    one, two = (
        GridSearchCV(NetTrim(mlp), grid, cv=2, n_jobs=n_jobs).fit(*blobs) for n_jobs in (1, 2)
    )
    assert joblib.hash(mlp) == before
    np.testing.assert_allclose(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )


def test_grid_search_over_a_pipeline_with_a_frozen_scaler(mlp, blobs, no_training):
    X, y = blobs
    before = joblib.hash(mlp)
    scaler = FrozenEstimator(StandardScaler().fit(X))
    pipeline = Pipeline([("scale", scaler), ("trim", NetTrim(mlp))])
    search = GridSearchCV(pipeline, {"trim__epsilon": [0.05, 0.3]}, cv=2).fit(X, y)
    assert joblib.hash(mlp) == before
    assert search.best_estimator_["scale"] is scaler


def test_cross_validation_stratifies_and_trains_nothing(mlp, blobs, no_training):
    X, y = blobs
    order = np.argsort(y)  # without stratification, each fold would hold one class
    scores = cross_val_score(NetTrim(mlp, epsilon=0.02), X[order], y[order], cv=3)
    assert scores.min() > 0.3
    roc = cross_val_score(NetTrim(mlp), X[order], y[order], cv=3, scoring="roc_auc_ovr")
    assert np.isfinite(roc).all()


def test_a_pickled_nettrim_keeps_its_fitted_estimator(mlp, blobs, no_training):
    X, _ = blobs
    again = pickle.loads(pickle.dumps(clone(NetTrim(mlp))))
    np.testing.assert_array_equal(again.fit(X).predict(X), NetTrim(mlp).fit(X).predict(X))


# Parameters of the estimator inside ------------------------------------------------------------


def test_parameters_of_what_is_not_fitted_can_be_searched(blobs):
    mlp = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, random_state=0)
    grid = {"estimator__alpha": [1.0, 10.0], "epsilon": [0.05]}
    search = GridSearchCV(NetTrim(mlp), grid, cv=2).fit(*blobs)
    assert search.best_estimator_.estimator_.alpha == search.best_params_["estimator__alpha"]
    assert not is_fitted(mlp)


def test_parameters_of_what_is_fitted_are_refused(fitted):
    for estimator in fitted:
        before = joblib.hash(estimator)
        for trim in (NetTrim(estimator), clone(NetTrim(estimator))):
            for name in ("estimator__alpha", "estimator__estimator", "estimator__estimator__alpha"):
                with pytest.raises(ValueError, match=f"{name} cannot be set.*never trained again"):
                    trim.set_params(epsilon=0.5, **{name: 12.5})
            assert trim.epsilon == 0.05
        assert joblib.hash(estimator) == before


def test_searching_parameters_of_what_is_fitted_is_refused(mlp, blobs):
    search = GridSearchCV(NetTrim(mlp), {"estimator__alpha": [0.1, 1.0]}, cv=2)
    with pytest.raises(ValueError, match="estimator__alpha cannot be set"):
        search.fit(*blobs)


def test_setting_the_parameters_it_has_changes_nothing(fitted):
    for estimator in fitted:
        for trim in (NetTrim(estimator, epsilon=0.3), clone(NetTrim(estimator, epsilon=0.3))):
            assert trim.set_params(**trim.get_params()) is trim
            twin = NetTrim(MLPClassifier()).set_params(**trim.get_params())
            assert twin.estimator is trim.estimator
            assert twin.epsilon == 0.3


def test_a_new_estimator_decides_whether_its_parameters_can_be_set(mlp):
    trim = NetTrim(mlp).set_params(estimator=MLPClassifier(), estimator__alpha=0.5)
    assert trim.estimator.alpha == 0.5
    with pytest.raises(ValueError, match="cannot be set"):
        NetTrim(MLPClassifier()).set_params(estimator=mlp, estimator__alpha=0.5)


def test_unknown_parameters_are_named_as_scikit_learn_does(mlp):
    with pytest.raises(ValueError, match="Invalid parameter 'epsilo'"):
        NetTrim(mlp).set_params(epsilo=1)
