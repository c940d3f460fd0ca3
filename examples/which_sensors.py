"""Which sensors can go: a network shows what it can do without.

    python examples/which_sensors.py

Thirty measurements of cell nuclei, from which to tell whether a tumour is malignant, come with
scikit-learn. Many say the same. The network is pruned, and what it no longer uses need not be
measured.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim


def weights(mlp):
    return sum(map(np.count_nonzero, mlp.coefs_))


def main():
    cancer = load_breast_cancer()
    X, X_test, y, y_test = train_test_split(
        cancer.data, cancer.target, stratify=cancer.target, random_state=0
    )
    model = make_pipeline(StandardScaler(), MLPClassifier((50,), max_iter=1000, random_state=0))
    model.fit(X, y)

    trim = NetTrim(model, epsilon=0.4, scheme="cascade", inactive="budget", random_state=0).fit(X)
    trim.fine_tune(X, y)
    used, importances = trim.get_support(), trim.feature_importances_
    small = trim.compact(drop_inputs=True)

    print("importance  measurement")
    for feature in np.argsort(-importances):
        if used[feature]:
            print(f"{importances[feature]:10.1%}  {cancer.feature_names[feature]}")
    print(f"{'can go':>10}  {', '.join(cancer.feature_names[~used])}")

    print(f"\n{'':<28} {'as trained':>12} {'pruned':>12}")
    rows = [
        ("measurements", f"{X.shape[1]}", f"{used.sum()}"),
        ("weights that are not zero", f"{weights(model[-1]):,}", f"{weights(small[-1]):,}"),
        ("accuracy on held-out rows", f"{model.score(X_test, y_test):.3f}",
         f"{small.score(X_test, y_test):.3f}"),
    ]  # fmt: skip
    for what, before, after in rows:
        print(f"{what:<28} {before:>12} {after:>12}")

    without = X_test.copy()
    without[:, ~used] = np.random.default_rng(0).normal(size=(len(X_test), (~used).sum()))
    same = np.mean(small.predict(without) == small.predict(X_test))
    print(f"\nWith noise in place of what can go, {same:.0%} of the answers are the same.")


if __name__ == "__main__":
    main()
