"""A model that scores many rows at a time: the same answers in a fraction of the time.

    python examples/batch_scorer.py [--rows 20000]

Trains a network of two wide layers on made data in 100 columns, of which 32 say something, prunes
it, trains the weights that are left for a few epochs, and takes out the neurons that do nothing
any more. What remains is an ordinary, smaller MLPClassifier.
"""

import argparse
import pickle
import time
import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sknettrim import NetTrim


def data(rows):
    X, y = make_classification(
        rows, 100, n_informative=12, n_redundant=20, n_classes=4, random_state=0
    )
    return train_test_split(X.astype(np.float32), y, test_size=0.5, random_state=0)


def seconds_to_predict(models, X, *, rounds=7):
    """The best time of each model; they take turns, so that all see the same machine."""
    times = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            begin = time.perf_counter()
            model.predict(X)
            times[name].append(time.perf_counter() - begin)
    return {name: min(taken) for name, taken in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="half to train, half to score")
    X, X_test, y, y_test = data(parser.parse_args().rows)
    mlp = MLPClassifier((512, 256), max_iter=10, random_state=0)
    with warnings.catch_warnings():
        # Ten epochs are enough here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(X, y)

    trim = NetTrim(mlp, epsilon=0.4, scheme="cascade", inactive="budget", max_samples=1500,
                   random_state=0).fit(X)  # fmt: skip
    models = {"as trained": mlp, "pruned": trim.estimator_}
    models["fine-tuned"] = trim.fine_tune(X, y, max_iter=10).estimator_
    models["and compact"] = trim.compact()

    seconds = seconds_to_predict(models, X_test)
    print(f"{len(X_test):,} rows at a time\n")
    print(f"{'':<12} {'hidden':>12} {'weights':>9} {'accuracy':>9} {'kB':>7} {'times faster':>13}")
    for name, model in models.items():
        kept = sum(map(np.count_nonzero, model.coefs_))
        faster = seconds["as trained"] / seconds[name]
        print(
            f"{name:<12} {model.hidden_layer_sizes!s:>12} {kept:9,} "
            f"{model.score(X_test, y_test):9.3f} {len(pickle.dumps(model)) / 1000:7,.0f} "
            f"{faster:13.1f}"
        )
    same = np.mean(models["and compact"].predict(X_test) == models["fine-tuned"].predict(X_test))
    print(f"\nThe compact network answers {same:.1%} of the rows like the one before it.")


if __name__ == "__main__":
    main()
