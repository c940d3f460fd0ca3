"""Pictures: what is drawn is what was computed, and says so in words."""

import io
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import LayerWeightsDisplay, NetTrim, NetTrimCV, TrimPathDisplay, net_trim_path

OPTIONS = {"inactive": "budget", "scheme": "cascade"}


@pytest.fixture(autouse=True)
def drawn():
    """Every figure that a test leaves can be drawn, without a warning."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).savefig(io.BytesIO())
    plt.close("all")


@pytest.fixture(scope="module")
def path(mlp, blobs):
    return net_trim_path(mlp, blobs[0], epsilons=5, **OPTIONS)


@pytest.fixture(scope="module")
def search(mlp, blobs):
    return NetTrimCV(mlp, epsilons=5, cv=3, max_drop=0.1, **OPTIONS).fit(*blobs)


# A path --------------------------------------------------------------------------------------


def test_a_path_is_scored_and_drawn(path, mlp, blobs):
    X, y = blobs
    display = TrimPathDisplay.from_path(path, X, y, chosen_epsilon=path.epsilons[2])
    scores = [estimator.score(X, y) for estimator in path.estimators]
    np.testing.assert_array_equal(display.scores, scores)
    # The first network is empty.
    assert path.densities[0] == 0
    np.testing.assert_array_equal(display.line_.get_xdata(), path.densities[1:])
    np.testing.assert_array_equal(display.line_.get_ydata(), scores[1:])
    relative = path.discrepancies[:, -1] / path.output_norms[-1]
    np.testing.assert_array_equal(display.discrepancy_line_.get_ydata(), relative[1:])
    assert display.unpruned_line_.get_ydata()[0] == mlp.score(X, y)
    assert display.chosen_point_.get_xdata()[0] == path.densities[2]
    assert display.chosen_point_.get_ydata()[0] == scores[2]
    assert display.band_ is None
    assert display.figure_ is display.ax_.figure is display.discrepancy_ax_.figure


def test_the_axes_are_labelled_in_words(path, regressor, blobs):
    X, y = blobs
    display = TrimPathDisplay.from_path(path, X, y)
    assert display.ax_.get_xlabel() == "density: share of the weights that are kept"
    assert display.ax_.get_ylabel() == "accuracy"
    assert display.discrepancy_ax_.get_ylabel() == "relative change of the outputs (dashed)"
    display.figure_.canvas.draw()
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert {"30%", "50%"} <= set(labels)
    targets = np.column_stack([X[:, 0], X[:, 1]])
    other = net_trim_path(regressor, X, epsilons=2)
    label = TrimPathDisplay.from_path(other, X, targets).ax_.get_ylabel()
    assert label == "coefficient of determination R²"


@pytest.mark.parametrize(
    ("scoring", "label"),
    [
        ("neg_log_loss", "negative log loss"),
        (lambda estimator, X, y: -log_loss(y, estimator.predict_proba(X)), "score"),
    ],
    ids=["name", "callable"],
)
def test_other_scores(scoring, label, path, mlp, blobs):
    X, y = blobs
    display = TrimPathDisplay.from_path(path, X, y, scoring=scoring)
    assert display.ax_.get_ylabel() == label
    assert display.unpruned_score == pytest.approx(-log_loss(y, mlp.predict_proba(X)))


def test_several_curves_share_one_axes(path, blobs):
    first = TrimPathDisplay.from_path(path, *blobs, name="one", plot_discrepancy=False)
    second = TrimPathDisplay.from_path(
        path,
        *blobs,
        ax=first.ax_,
        name="two",
        plot_discrepancy=False,
        plot_unpruned=False,
        color="red",
        linestyle="--",
    )
    assert second.ax_ is first.ax_ and len(plt.get_fignums()) == 1
    assert second.discrepancy_ax_ is second.discrepancy_line_ is second.unpruned_line_ is None
    assert second.line_.get_color() == "red" and second.line_.get_linestyle() == "--"
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert labels[0] == "one" and labels[-1] == "two" and labels[1].startswith("unpruned: 0.")


def test_plot_draws_again_elsewhere(path, blobs):
    display = TrimPathDisplay.from_path(path, *blobs)
    _, ax = plt.subplots()
    assert display.plot(ax) is display and display.ax_ is ax


def test_an_epsilon_that_is_not_there(path, blobs):
    with pytest.raises(ValueError, match=r"chosen_epsilon=0.123 is none of the epsilons"):
        TrimPathDisplay.from_path(path, *blobs, chosen_epsilon=0.123)


def test_nothing_is_left_anywhere(path, blobs):
    display = TrimPathDisplay(
        epsilons=np.array([0.9, 0.8]),
        densities=np.zeros(2),
        scores=np.zeros(2),
        discrepancies=np.ones(2),
    ).plot()
    assert len(display.line_.get_xdata()) == 0


# Cross-validation ----------------------------------------------------------------------------


def test_a_search_is_drawn_as_it_is(search, no_training, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was pruned")

    monkeypatch.setattr(NetTrim, "_prune", refuse)
    display = TrimPathDisplay.from_estimator(search, name="here", color="green")
    shown = (search.densities_ > 0).all(axis=1)
    means = search.scores_.mean(axis=1)
    np.testing.assert_allclose(display.line_.get_xdata(), search.densities_.mean(axis=1)[shown])
    np.testing.assert_allclose(display.line_.get_ydata(), means[shown])
    np.testing.assert_allclose(
        display.discrepancy_line_.get_ydata(), search.discrepancies_.mean(axis=1)[shown]
    )
    error = np.sqrt(np.sum((search.scores_ - means[:, None]) ** 2, axis=1) / 2 / 3)
    top = display.band_.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx((means + error)[shown].max())
    chosen = means[search.epsilons_ == search.epsilon_][0]
    assert display.chosen_point_.get_ydata()[0] == pytest.approx(chosen)
    assert f"epsilon {search.epsilon_:.3g}" in display.chosen_point_.get_label()
    assert display.unpruned_line_.get_ydata()[0] == pytest.approx(search.unpruned_scores_.mean())
    assert display.ax_.get_ylabel() == "accuracy, cross-validated"


def test_what_is_no_search_is_cross_validated_first(search, mlp, blobs):
    X, y = blobs
    fresh = clone(search)
    display = TrimPathDisplay.from_estimator(fresh, X, y)
    np.testing.assert_array_equal(display.scores, search.scores_)
    assert not hasattr(fresh, "scores_")


def test_a_search_is_made_of_networks_and_their_nettrims(mlp, blobs, monkeypatch):
    seen = []
    fit = NetTrimCV.fit

    def fit_few(self, X, y):
        seen.append(self.get_params(deep=False))
        return fit(self.set_params(epsilons=[0.1], cv=2, max_drop=1), X, y)

    monkeypatch.setattr(NetTrimCV, "fit", fit_few)
    options = {"inactive": "budget", "tol": 0.01}
    for estimator in (mlp, NetTrim(mlp, epsilon=0.3, **options)):
        TrimPathDisplay.from_estimator(estimator, *blobs)
    bare, trim = seen
    assert bare == NetTrimCV(mlp).get_params(deep=False)
    assert trim == NetTrimCV(mlp, **options).get_params(deep=False)


def test_data_missing_or_too_many(search, mlp, blobs):
    X, y = blobs
    for estimator in (mlp, NetTrim(mlp).fit(X), clone(search)):
        with pytest.raises(ValueError, match="from_estimator needs X and y"):
            TrimPathDisplay.from_estimator(estimator)
        with pytest.raises(ValueError, match="from_estimator needs X and y"):
            TrimPathDisplay.from_estimator(estimator, X)
    with pytest.raises(ValueError, match="leave X and y out"):
        TrimPathDisplay.from_estimator(search, X, y)


# Weights -------------------------------------------------------------------------------------


def test_zeros_are_left_out_and_nothing_else(mlp, blobs):
    trim = NetTrim(mlp, epsilon=0.2, **OPTIONS).fit(blobs[0])
    display = LayerWeightsDisplay.from_estimator(trim)
    assert display.axes_.shape == display.images_.shape == (3, 2)
    for images, before, after in zip(
        display.images_, mlp.coefs_, trim.estimator_.coefs_, strict=True
    ):
        for image, W in zip(images, (before, after), strict=True):
            drawn = image.get_array()
            np.testing.assert_array_equal(np.ma.getmaskarray(drawn), W.T == 0)
            scale = np.quantile(np.abs(before), 0.99)
            np.testing.assert_allclose(drawn.filled(0), W.T / scale)
            # What is kept, however small, has a colour; what is zero is white.
            rgba = image.to_rgba(drawn)
            np.testing.assert_array_equal((rgba[..., :3] == 1).all(axis=-1), W.T == 0)
    kept = np.count_nonzero(trim.estimator_.coefs_[0]) / mlp.coefs_[0].size
    assert display.axes_[0, 1].get_title() == f"after: {kept:.1%} kept"
    assert display.axes_[1, 0].get_xlabel() == "8 inputs"
    assert display.axes_[1, 0].get_ylabel() == "6 neurons"


@pytest.mark.parametrize("n_neurons", [1, 8, 13])
def test_neurons_as_images(n_neurons):
    W = np.random.default_rng(0).standard_normal((6, n_neurons))
    display = LayerWeightsDisplay(before=[W], after=[np.where(W > 0, W, 0)])
    display.plot(image_shape=(2, 3))
    sheet = display.images_[0, 0].get_array().filled(0) * np.quantile(np.abs(W), 0.99)
    n_columns = (sheet.shape[1] + 1) // 4
    for neuron in range(n_neurons):
        top, left = neuron // n_columns * 3, neuron % n_columns * 4
        np.testing.assert_allclose(sheet[top : top + 2, left : left + 3].ravel(), W[:, neuron])
    assert np.count_nonzero(sheet) == W.size


def test_weights_of_every_pruned_estimator(search, blobs, train):
    X, y = blobs
    LayerWeightsDisplay.from_estimator(search, image_shape=(2, 2))
    model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(5,), max_iter=5))
    trim = train(NetTrim(model, epsilon=0.1), X, y)
    display = LayerWeightsDisplay.from_estimator(trim.sparsify())
    assert [W.shape for W in display.before] == [(4, 5), (5, 3)]


def test_axes_and_options_for_the_weights(search):
    figure, axes = plt.subplots(3, 2)
    display = LayerWeightsDisplay.from_estimator(search, ax=axes, cmap="gray", vmax=3)
    assert display.figure_ is figure and display.images_[0, 0].get_cmap().name == "gray"
    assert display.images_[2, 1].get_clim() == (-1, 3)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), .* got \(2, 2\)"):
        LayerWeightsDisplay.from_estimator(search, ax=axes[:2])


def test_no_images(search, mlp):
    with pytest.raises(ValueError, match=r"image_shape=\(3, 2\) does not hold the 4 inputs"):
        LayerWeightsDisplay.from_estimator(search, image_shape=(3, 2))
    with pytest.raises(ValueError, match="not fitted"):
        LayerWeightsDisplay.from_estimator(NetTrim(mlp))


# matplotlib ----------------------------------------------------------------------------------


def test_without_matplotlib(search, path, blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"TrimPathDisplay.from_estimator requires matplotlib"):
        TrimPathDisplay.from_estimator(search)
    with pytest.raises(ImportError, match=r"TrimPathDisplay.from_path requires matplotlib"):
        TrimPathDisplay.from_path(path, *blobs)
    with pytest.raises(ImportError, match=r"LayerWeightsDisplay.from_estimator requires"):
        LayerWeightsDisplay.from_estimator(search)
    with pytest.raises(ImportError, match=r"LayerWeightsDisplay.plot requires"):
        LayerWeightsDisplay(before=[], after=[]).plot()
