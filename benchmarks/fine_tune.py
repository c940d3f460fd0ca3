"""What masked fine-tuning wins back of the accuracy that heavy pruning costs.

    python -m benchmarks.fine_tune [--mnist PATH]

Prints, for some epsilons and seeds, the accuracy on rows that nothing was trained on.
"""

import argparse

import numpy as np
from sklearn.model_selection import train_test_split

from sknettrim import NetTrim

from ._data import mnist, trained
from ._measure import timed

HEAD = (
    f"{'seed':>4} {'epsilon':>8} {'density':>8} {'original':>9} {'pruned':>7} {'tuned':>7} "
    f"{'won back':>9} {'epochs':>7} {'seconds':>8}"
)


def run(data, epsilon, seed):
    """One line of the table."""
    X, X_test, y, y_test = train_test_split(data.X, data.y, test_size=0.2, random_state=seed)
    original = trained(X, y, (300, 100))
    trim = NetTrim(original, epsilon=epsilon, scheme="cascade", inactive="budget",
                   max_samples=min(3000, len(X)), random_state=seed).fit(X)  # fmt: skip
    zeros = [W == 0 for W in trim.estimator_.coefs_]
    scores = [original.score(X_test, y_test), trim.score(X_test, y_test)]
    seconds, _ = timed(lambda: trim.fine_tune(X, y))
    scores.append(trim.score(X_test, y_test))
    same = all((W[at] == 0).all() for W, at in zip(trim.estimator_.coefs_, zeros, strict=True))
    assert same, "a weight that was zero is not"
    won = (scores[2] - scores[1]) / (scores[0] - scores[1])
    print(
        f"{seed:4} {epsilon:8.2f} {trim.density_:8.1%} {scores[0]:9.4f} {scores[1]:7.4f} "
        f"{scores[2]:7.4f} {won:9.0%} {len(trim.validation_scores_) - 1:7} {seconds:8.1f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="PATH", help="npz file with X and y; else OpenML")
    parser.add_argument("--epsilons", type=float, nargs="+", default=[0.3, 0.4])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = mnist(options.mnist)
    print(f"{data.name} 784-300-100-10\n{HEAD}")
    for epsilon in options.epsilons:
        for seed in range(options.seeds):
            run(data._replace(X=data.X.astype(np.float32)), epsilon, seed)


if __name__ == "__main__":
    main()
