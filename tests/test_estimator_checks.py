"""scikit-learn's own checks of an estimator."""

import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknettrim import NetTrim, NetTrimCV

# Regularised, and not to the end: training on noise takes longer than all that is checked.
TRAINING = {
    "hidden_layer_sizes": (5,),
    "solver": "lbfgs",
    "alpha": 10.0,
    "tol": 1e-2,
    "max_iter": 2000,
    "random_state": 0,
}


# Most of the data in there are noise.
@pytest.mark.filterwarnings("ignore:no epsilon keeps the score:UserWarning")
@parametrize_with_checks(
    [
        NetTrim(MLPClassifier(**TRAINING)),
        NetTrim(MLPRegressor(**TRAINING)),
        NetTrim(MLPClassifier(**TRAINING), scheme="cascade", inactive="budget", refit=True),
        NetTrim(MLPRegressor(**TRAINING), n_reweights=1, refit=True),
        NetTrimCV(MLPClassifier(**TRAINING), epsilons=[0.1], cv=2, inactive="budget"),
        NetTrimCV(MLPRegressor(**TRAINING), epsilons=[0.1], cv=2, inactive="budget", refit=True),
    ],
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
