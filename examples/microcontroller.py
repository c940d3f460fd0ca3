"""A reader of handwritten digits for a microcontroller: as a C header of a few kilobytes.

    python examples/microcontroller.py [--output digits.h]

Trains a network on the 8 x 8 images that scikit-learn ships, prunes it, trains the weights that
are left for a few epochs, takes out the neurons that do nothing any more, and writes C. If a
compiler is found, the header is compiled and reads all held-out images.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sknettrim import NetTrim, export_c

PROGRAM = """
#include <stdio.h>
#include "digits.h"

int main(void)
{
    float x[digits_INPUTS];
    int n = 0;
    while (scanf("%f", &x[n]) == 1) {
        if (++n == digits_INPUTS) {
            printf("%d ", digits_predict(x));
            n = 0;
        }
    }
    return 0;
}
"""


def read_in_c(header, X):
    """The digits that the compiled header reads; None where there is no compiler."""
    if not shutil.which("cc"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "digits.h").write_text(header)
        Path(folder, "main.c").write_text(PROGRAM)
        build = ["cc", "-std=c99", "-Os", "main.c", "-o", "main", "-lm"]
        subprocess.run(build, cwd=folder, check=True)
        given = " ".join(map(str, X.ravel()))
        run = subprocess.run([Path(folder, "main")], input=given, capture_output=True, text=True)
    return np.array(run.stdout.split(), dtype=int)


def weights(mlp):
    return sum(map(np.count_nonzero, mlp.coefs_))


def dense_bytes(mlp):
    """What the weights and intercepts take as plain arrays of float."""
    return 4 * sum(array.size for array in [*mlp.coefs_, *mlp.intercepts_])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("output") / "digits.h")
    path = parser.parse_args().output

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
    mlp = MLPClassifier((64, 32), alpha=0.1, batch_size=32, learning_rate_init=0.003,
                        max_iter=1000, random_state=0).fit(X, y)  # fmt: skip

    trim = NetTrim(mlp, epsilon=0.25, scheme="cascade", inactive="budget", random_state=0).fit(X)
    pruned = trim.score(X_test, y_test)
    small = trim.fine_tune(X, y).compact()
    header = export_c(small, name="digits")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header)

    constants = re.search(r"([\d,]+) bytes of constants", header)[1]
    rows = [
        ("hidden neurons", str(mlp.hidden_layer_sizes), str(small.hidden_layer_sizes)),
        ("weights that are not zero", f"{weights(mlp):,}", f"{weights(small):,}"),
        ("bytes of constants", f"{dense_bytes(mlp):,}", constants),
        ("accuracy on held-out images", f"{mlp.score(X_test, y_test):.3f}",
         f"{small.score(X_test, y_test):.3f}"),
    ]  # fmt: skip
    print(f"{'':<28} {'as trained':>12} {'in C':>12}")
    for what, before, after in rows:
        print(f"{what:<28} {before:>12} {after:>12}")
    print(f"\nPruned, before the last epochs of training, the accuracy was {pruned:.3f}.")
    read = read_in_c(header, X_test)
    if read is None:
        print("No compiler cc was found to try the header.")
    else:
        same = np.mean(read == small.predict(X_test))
        print(f"Compiled, it reads {same:.1%} of the held-out images as scikit-learn does.")
    print(f"Header: {path}")


if __name__ == "__main__":
    main()
