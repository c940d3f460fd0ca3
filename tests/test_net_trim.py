"""NetTrim on every kind of model and data that users bring."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sknettrim import NetTrim, trim_layer
from sknettrim._network import innermost

SCHEMES = ["parallel", "cascade"]


def assert_same_weights(pruned, expected):
    """Both estimators hold the same network, up to rounding."""
    pruned, expected = innermost(pruned), innermost(expected)
    for ours, theirs in zip(
        pruned.coefs_ + pruned.intercepts_, expected.coefs_ + expected.intercepts_, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# A fitted MLP --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_a_fitted_mlp_is_pruned_and_left_as_it_was(task, scheme, inactive, no_training):
    mlp, X, y = task
    before = joblib.hash(mlp)
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme, inactive=inactive).fit(X)
    assert joblib.hash(mlp) == before
    assert type(trim.estimator_) is type(mlp)
    assert trim.density_ < 1
    total = sum(coef.size for coef in mlp.coefs_)
    kept = sum(np.count_nonzero(coef) for coef in trim.estimator_.coefs_)
    assert trim.density_ == pytest.approx(kept / total)
    np.testing.assert_array_equal(trim.predict(X), trim.estimator_.predict(X))
    metric = r2_score if is_regressor(mlp) else accuracy_score
    assert trim.score(X, y) == pytest.approx(metric(y, trim.predict(X)))


@pytest.mark.parametrize("task", ["multiclass", "many outputs"], indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
def test_epsilon_zero_keeps_the_outputs(task, scheme, epsilon_per):
    mlp, X, _ = task
    trim = NetTrim(mlp, epsilon=0, scheme=scheme, epsilon_per=epsilon_per).fit(X)
    method = "predict_proba" if is_classifier(mlp) else "predict"
    np.testing.assert_allclose(getattr(trim, method)(X), getattr(mlp, method)(X), atol=1e-4)


def test_epsilon_zero_drops_what_is_redundant(train):
    X = np.random.default_rng(0).standard_normal((60, 3))
    X = np.column_stack([X, X[:, 0], np.zeros(60)])
    mlp = train(MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0), X, X[:, 1])
    coef = NetTrim(mlp, epsilon=0).fit(X).estimator_.coefs_[0]
    assert not coef[4].any()
    assert np.abs(coef[[0, 3]]).sum() < 0.9 * np.abs(mlp.coefs_[0][[0, 3]]).sum()


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_other_activations(activation, scheme, blobs, train):
    X, y = blobs
    mlp = MLPClassifier(
        hidden_layer_sizes=(8, 6), activation=activation, max_iter=60, random_state=0
    )
    trim = NetTrim(train(mlp, X, y), epsilon=0.02, scheme=scheme).fit(X)
    assert trim.density_ < 1
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)
    assert np.abs(trim.predict_proba(X) - mlp.predict_proba(X)).max() < 0.2


def test_no_hidden_layer(blobs, train):
    X, y = blobs
    mlp = train(MLPClassifier(hidden_layer_sizes=(), max_iter=20, random_state=0), X, y)
    for scheme in SCHEMES:
        trim = NetTrim(mlp, epsilon=0.1, scheme=scheme, kappa=0.5).fit(X)
        responses = X @ mlp.coefs_[0] + mlp.intercepts_[0]
        assert trim.discrepancy_[0] <= 0.1 * 1.01 * np.linalg.norm(responses)


def test_epsilon_of_each_layer(mlp, blobs):
    X, _ = blobs
    trim = NetTrim(mlp, epsilon=[0.1, 0.0, 0.3]).fit(X)
    equal = NetTrim(mlp, epsilon=0.1).fit(X)
    np.testing.assert_array_equal(trim.estimator_.coefs_[0], equal.estimator_.coefs_[0])
    assert np.count_nonzero(trim.layers_[2].coef) <= np.count_nonzero(equal.layers_[2].coef)


def test_the_cascade_says_that_later_epsilons_do_not_count(mlp, blobs):
    with pytest.warns(UserWarning, match="only the first value of epsilon counts") as warned:
        NetTrim(mlp, epsilon=[0.1, 0.2, 0.2], scheme="cascade").fit(blobs[0])
    assert warned[0].filename == __file__
    NetTrim(mlp, epsilon=[0.1, 0.1, 0.1], scheme="cascade").fit(blobs[0])


def test_gamma_of_each_layer(mlp, blobs):
    def fit(gamma):
        return NetTrim(mlp, epsilon=0.1, scheme="cascade", gamma=gamma).fit(blobs[0])

    plain, loose = fit(1.1), fit([1.1, 1.1, 4.4])
    ratio = loose.layers_[2].epsilon / plain.layers_[2].epsilon
    assert ratio == pytest.approx(2)


def test_penalised_intercepts_shrink(mlp, blobs):
    def size(penalize_intercept):
        trim = NetTrim(mlp, epsilon=0.3, penalize_intercept=penalize_intercept).fit(blobs[0])
        return sum(np.abs(layer.intercept).sum() for layer in trim.layers_)

    assert size(True) < size(False)


def test_the_conic_solver_gives_the_same_optimum(mlp, blobs):
    X, _ = blobs
    admm, conic = (NetTrim(mlp, epsilon=0.1, solver=name).fit(X) for name in ("admm", "cvxpy"))
    for ours, theirs in zip(admm.layers_, conic.layers_, strict=True):
        assert ours.objective == pytest.approx(theirs.objective, rel=2e-3)


@pytest.mark.parametrize("options", [{}, {"epsilon_per": "neuron", "scheme": "cascade"}])
def test_n_jobs_changes_nothing(options, mlp, blobs):
    X, _ = blobs
    one, two = (NetTrim(mlp, n_jobs=n_jobs, **options).fit(X) for n_jobs in (1, 2))
    assert_same_weights(one.estimator_, two.estimator_)


# Wrappers ------------------------------------------------------------------------------------


def test_a_pipeline_equals_its_mlp_on_transformed_data(blobs, train, no_training_in):
    X, y = blobs
    model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(5,), max_iter=40))
    train(model, X, y)
    with no_training_in():
        pipeline = NetTrim(model, epsilon=0.1).fit(X)
        bare = NetTrim(model[-1], epsilon=0.1).fit(model[0].transform(X))
    assert_same_weights(pipeline.estimator_, bare.estimator_)
    np.testing.assert_array_equal(
        pipeline.predict_proba(X), bare.predict_proba(model[0].transform(X))
    )
    assert list(pipeline.classes_) == [0, 1, 2]
    assert pipeline.n_features_in_ == 4


def test_a_target_transformer_stays_around_the_pruned_mlp(blobs, train):
    X, _ = blobs
    y = 1000 + 50 * X[:, 0]
    regressor = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(5,), max_iter=300, random_state=0)
    )
    model = train(TransformedTargetRegressor(regressor, transformer=StandardScaler()), X, y)
    trim = NetTrim(model, epsilon=0.05).fit(X)
    bare = NetTrim(model.regressor_[-1], epsilon=0.05).fit(model.regressor_[0].transform(X))
    assert_same_weights(trim.estimator_, bare.estimator_)
    assert isinstance(trim.estimator_, TransformedTargetRegressor)
    assert trim.predict(X).mean() == pytest.approx(y.mean(), rel=0.05)


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_fitted_search_is_pruned_to_its_best_estimator(search, blobs, train, no_training_in):
    X, y = blobs
    mlp = MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0)
    options = {"n_iter": 2, "random_state": 0} if search is RandomizedSearchCV else {}
    fitted = train(search(mlp, {"alpha": [1e-4, 1.0]}, cv=2, **options), X, y)
    with no_training_in():
        trim = NetTrim(fitted, epsilon=0.1).fit(X)
        expected = NetTrim(fitted.best_estimator_, epsilon=0.1).fit(X)
    assert type(trim.estimator_) is MLPClassifier
    assert_same_weights(trim.estimator_, expected.estimator_)


@pytest.mark.parametrize(
    "freeze",
    [
        FrozenEstimator,
        lambda mlp: FrozenEstimator(FrozenEstimator(mlp)),
        lambda mlp: make_pipeline("passthrough", FrozenEstimator(mlp)),
        lambda mlp: FrozenEstimator(make_pipeline("passthrough", mlp)),
    ],
)
def test_frozen_models_lose_their_wrapper(freeze, mlp, blobs, no_training):
    X, _ = blobs
    trim = NetTrim(freeze(mlp), epsilon=0.1).fit(X)
    assert_same_weights(trim.estimator_, NetTrim(mlp, epsilon=0.1).fit(X).estimator_)
    assert "FrozenEstimator" not in repr(trim.estimator_)


# Not fitted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [False, True])
def test_what_is_not_fitted_is_trained_first(blobs, train, target):
    X, y = blobs
    if target:
        mlp = MLPRegressor(hidden_layer_sizes=(5,), max_iter=30, random_state=0)
        model = TransformedTargetRegressor(make_pipeline(StandardScaler(), mlp), func=None)
    else:
        mlp = MLPClassifier(hidden_layer_sizes=(5,), max_iter=30, random_state=0)
        model = GridSearchCV(
            make_pipeline(StandardScaler(), mlp), {"mlpclassifier__alpha": [1]}, cv=2
        )
    trim = train(NetTrim(model, epsilon=0.1), X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    fitted = NetTrim(train(model, X, y), epsilon=0.1).fit(X)
    assert_same_weights(trim.estimator_, fitted.estimator_)


def test_all_rows_train_but_only_some_calibrate(blobs, train):
    X, y = blobs
    mlp = MLPClassifier(hidden_layer_sizes=(5,), max_iter=30, random_state=0)
    trim = train(NetTrim(mlp, epsilon=0.1, max_samples=30, random_state=0), X, y)
    fitted = NetTrim(train(mlp, X, y), epsilon=0.1, max_samples=30, random_state=0).fit(X)
    assert_same_weights(trim.estimator_, fitted.estimator_)


# Data ----------------------------------------------------------------------------------------


def disordered(X):
    """The same as a CSR matrix with indices in no order, and one element in two parts."""
    columns = np.arange(X.shape[1])[::-1]
    csr = sparse.csr_array(X[:, columns])[:, columns]
    parts = [np.append(0.5 * csr.data[0], csr.data), np.append(csr.indices[0], csr.indices)]
    parts[0][1] *= 0.5
    csr = sparse.csr_array((*parts, np.append(0, csr.indptr[1:] + 1)), shape=X.shape)
    for part in (csr.data, csr.indices, csr.indptr):
        part.flags.writeable = False
    return csr


def test_a_csr_matrix_in_no_order_is_left_as_it_is(blobs, mlp):
    """As scipy would put it in order in place, where a worker may not write."""
    ordered = sparse.csr_array(blobs[0])
    csr = disordered(blobs[0])
    assert csr.nnz == ordered.nnz + 1
    assert_same_weights(*(NetTrim(mlp).fit(X).estimator_ for X in (csr, ordered)))
    Y = np.maximum(blobs[0] @ mlp.coefs_[0] + mlp.intercepts_[0], 0)
    found, expected = (trim_layer(A, Y, epsilon=0.1) for A in (csr, ordered))
    np.testing.assert_allclose(found.coef, expected.coef)
    assert csr.nnz == ordered.nnz + 1


@pytest.mark.parametrize("storage", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_data(storage, mlp, blobs):
    X = np.where(np.abs(blobs[0]) > 1, blobs[0], 0)
    dense, stored = NetTrim(mlp).fit(X), NetTrim(mlp).fit(storage(X))
    for ours, theirs in zip(dense.layers_, stored.layers_, strict=True):
        assert ours.objective == pytest.approx(theirs.objective, rel=2e-3)
    assert stored.predict(storage(X)).shape == (len(X),)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sparse_data_are_never_densified(scheme, train, monkeypatch):
    rng = np.random.default_rng(0)
    X = sparse.csr_array(np.where(rng.random((60, 37)) < 0.1, 1.0, 0.0))
    mlp = train(MLPRegressor(hidden_layer_sizes=(5,), max_iter=20), X, rng.random(60))
    to_array = sparse.csr_array.toarray

    def refuse(self, *args, **kwargs):
        assert self.shape not in {X.shape, X.T.shape, (60, 38), (38, 60)}
        return to_array(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", refuse)
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme).fit(X)
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


def test_data_frames_keep_their_names(blobs, train):
    X = pd.DataFrame(blobs[0], columns=list("abcd"))
    mlp = train(MLPClassifier(hidden_layer_sizes=(5,), max_iter=20), X, blobs[1])
    trim = NetTrim(mlp, max_samples=0.5, random_state=0).fit(X)
    assert list(trim.feature_names_in_) == list("abcd")
    assert list(trim.estimator_.feature_names_in_) == list("abcd")
    trim.predict(X)


def test_columns_chosen_by_name(blobs, train):
    X = pd.DataFrame(blobs[0], columns=list("abcd"))
    chosen = ColumnTransformer([("scale", StandardScaler(), ["d", "a"])])
    model = train(make_pipeline(chosen, MLPClassifier(max_iter=20)), X, blobs[1])
    trim = NetTrim(model, epsilon=0.2, max_samples=40).fit(X[list("dcba")])
    assert list(trim.feature_names_in_) == list("abcd")


def test_texts(train):
    texts = ["a good film", "a bad film", "good", "bad", "very bad", "very good indeed"] * 3
    model = make_pipeline(TfidfVectorizer(), MLPClassifier(hidden_layer_sizes=(4,), max_iter=50))
    train(model, texts, [1, 0, 1, 0, 0, 1] * 3)
    trim = NetTrim(model, epsilon=0.1, max_samples=12, random_state=0).fit(texts)
    assert trim.predict(["good film"]).shape == (1,)


def test_float32_networks_stay_float32(blobs, train):
    X, y = blobs
    mlp = train(MLPClassifier(hidden_layer_sizes=(5,), max_iter=20), X.astype(np.float32), y)
    for data in (X, X.astype(np.float32)):
        trim = NetTrim(mlp, epsilon=0.1).fit(data)
        assert {coef.dtype for coef in trim.estimator_.coefs_} == {np.dtype(np.float32)}
        assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


def test_max_samples_draws_rows_without_replacement(mlp, blobs):
    X, _ = blobs

    def draw(size, seed):
        return NetTrim(mlp, max_samples=size, random_state=seed).fit(X)

    assert_same_weights(draw(len(X), 1).estimator_, draw(None, None).estimator_)
    assert_same_weights(draw(1.0, 1).estimator_, draw(None, None).estimator_)
    assert_same_weights(draw(0.5, 1).estimator_, draw(45, 1).estimator_)
    assert not np.array_equal(draw(20, 1).discrepancy_, draw(20, 2).discrepancy_)


# The estimator itself ------------------------------------------------------------------------


def test_methods_are_those_of_the_estimator_inside(mlp, regressor, blobs):
    X, _ = blobs
    classifier, numbers = NetTrim(mlp), NetTrim(regressor)
    for trim in (classifier, classifier.fit(X)):
        assert hasattr(trim, "predict_log_proba")
        assert not hasattr(trim, "partial_fit")
        assert not hasattr(trim, "transform")
    for trim in (numbers, numbers.fit(X)):
        assert not hasattr(trim, "predict_proba")
        assert not hasattr(trim, "classes_")
    np.testing.assert_allclose(classifier.predict_log_proba(X), np.log(classifier.predict_proba(X)))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_a_fitted_mlp_is_not_a_fitted_nettrim(method, mlp, blobs):
    with pytest.raises(NotFittedError, match="NetTrim"):
        getattr(NetTrim(mlp), method)(blobs[0])


def test_score_and_summary_want_fit_first(mlp, blobs):
    for call in (lambda trim: trim.score(*blobs), lambda trim: trim.summary()):
        with pytest.raises(NotFittedError, match="NetTrim"):
            call(NetTrim(mlp))


def test_score_takes_weights(mlp, blobs):
    X, y = blobs
    trim = NetTrim(mlp).fit(X)
    weights = np.random.default_rng(0).random(len(y))
    expected = trim.estimator_.score(X, y, sample_weight=weights)
    assert trim.score(X, y, sample_weight=weights) == expected


def test_tags_are_those_of_the_estimator_inside(mlp, regressor):
    for model in (mlp, regressor, MLPClassifier(), make_pipeline(StandardScaler(), mlp)):
        trim = NetTrim(model)
        assert is_classifier(trim) == is_classifier(model)
        assert is_regressor(trim) == is_regressor(model)
        ours, theirs = get_tags(trim), get_tags(model)
        assert ours.classifier_tags == theirs.classifier_tags
        assert ours.input_tags == theirs.input_tags
        assert ours.target_tags.multi_output == theirs.target_tags.multi_output
    assert get_tags(NetTrim(MLPClassifier())).target_tags.required
    assert not get_tags(NetTrim(mlp)).target_tags.required


@pytest.mark.parametrize("estimator", ["mlp", None, MLPClassifier])
def test_tags_and_repr_bear_what_is_not_an_estimator(estimator):
    assert get_tags(NetTrim(estimator)).estimator_type is None
    assert "NetTrim" in repr(NetTrim(estimator))


def test_repr_in_text_and_html(mlp, blobs):
    for trim in (NetTrim(mlp), NetTrim(mlp, epsilon=0.1).fit(blobs[0])):
        assert repr(trim).startswith("NetTrim(")
        assert "MLPClassifier" in trim._repr_html_()


def test_summary_has_a_line_per_layer(mlp, blobs):
    trim = NetTrim(mlp, epsilon=0.1).fit(blobs[0])
    lines = str(trim.summary()).splitlines()
    assert len(lines) == 2 + 3 + 2
    assert "4 x 8" in lines[2]
    assert f"{trim.density_:.1%}" in lines[-1]


def test_verbose_numbers_the_layers(mlp, blobs, capsys):
    NetTrim(mlp, verbose=1).fit(blobs[0])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"[NetTrim] layer {number} of 3" for number in (1, 2, 3)
    ]


def test_pickling_keeps_what_was_learned(mlp, blobs):
    X, _ = blobs
    trim = NetTrim(mlp, epsilon=0.1).fit(X)
    again = pickle.loads(pickle.dumps(trim))
    np.testing.assert_array_equal(again.predict(X), trim.predict(X))
    assert again.summary() == trim.summary()


def test_fitting_twice_gives_the_same(mlp, blobs, no_training):
    X, _ = blobs
    trim = NetTrim(mlp, epsilon=0.1).fit(X)
    first = trim.estimator_
    assert_same_weights(trim.fit(X).estimator_, first)
    assert trim.estimator_ is not first


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_fit_leaves_nothing_behind(stop, mlp, blobs, monkeypatch):
    X, _ = blobs
    trim = NetTrim(mlp).fit(X)

    def interrupt(*args, **kwargs):
        raise stop

    monkeypatch.setattr("sknettrim._tasks.trim", interrupt)
    before = joblib.hash(mlp)
    with pytest.raises(stop):
        trim.fit(X)
    with pytest.raises(NotFittedError):
        trim.predict(X)
    assert not [name for name in vars(trim) if name.endswith("_")]
    assert joblib.hash(mlp) == before


def test_an_interrupted_training_is_not_pruned(blobs, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupt)
    trim = NetTrim(MLPClassifier())
    with pytest.raises(KeyboardInterrupt):
        trim.fit(*blobs)
    with pytest.raises(NotFittedError):
        trim.predict(blobs[0])
