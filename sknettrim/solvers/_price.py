"""Whether the end of a layer is worth its price, in time and in memory."""

import numpy as np
from scipy import sparse

# What is taken beyond the inputs with a weight, and beyond the rows with a multiplier: a factor,
# and a number.
MORE_INPUTS = 1.05, 30
MORE_ROWS = 1.3, 16
# The same where too many rows leak, relative to these.
ROWS_IN_DOUBT = 0.25, 16
# Rows of a neuron are not many more than its inputs, or its matrix is no larger than this: many
# rows can be alike on the inputs that matter, and share a multiplier.
SMALL_MATRIX = 4_000
# Steps of a neuron in all rounds together, and rounds it takes part in, on average.
TYPICAL_STEPS, TYPICAL_ROUNDS = 15, 1.3
# What follows is in operations of products of inputs and weights that take as long.
# Of ADMM: what it does with a response besides the products, and an iteration of next to nothing.
ELEMENTWISE, ITERATION = 1e3, 2e7
# Of a step: the square of the inputs of a neuron, for each of its rows and inputs; besides it an
# input or a row, a neuron, and all neurons for which there is room at the same time.
ROWS, INPUTS, VECTORS, NEURON, GROUP = 4.0, 0.2, 1.3e4, 5e5, 2.5e8
# Of a Gram matrix, for each row: an input that is gathered, and the square of the inputs.
GATHER, GRAM = 100.0, 1.2
# Of all else, mostly products over all data, in iterations of ADMM.
REST = 12
# Bytes relative to inputs and responses in double precision, with what ADMM holds, so that in all
# they stay below three; or of the end alone, no more than nobody misses.
MOST_MEMORY = 2.7
LITTLE_MEMORY = 8e6
# Bytes of the matrices of a batch of neurons, and the most of those at work on all threads.
BATCH = 1 << 19
AT_WORK = 4 * BATCH


def worthwhile(iterate, n_iter):
    """Whether the end is cheaper than so many iterations of ADMM, and small enough to hold.

    Counted in floating-point operations of single precision: those of double precision take twice
    the time.
    """
    if sparse.issparse(iterate.A):
        return False
    inputs, rows = numbers(iterate)
    room = bytes_left(iterate, inputs, rows)
    if room <= 0:
        return False
    n_groups = np.sum(bytes_of_neurons(inputs, rows, iterate.A.itemsize)) / room
    steps = TYPICAL_STEPS * (price(inputs, rows) + GROUP * n_groups)
    matrices = TYPICAL_ROUNDS * _price_of_matrices(iterate, inputs)
    return steps + matrices < (n_iter - REST) * _price_of_iteration(iterate)


def _price_of_matrices(iterate, inputs):
    """Of gathering inputs and of their Gram matrices, over the smaller part of the rows."""
    n_charged = np.count_nonzero(charged_rows(iterate), axis=0)
    n_rows = np.minimum(n_charged, len(iterate.S) - n_charged)
    return np.sum(n_rows * (GATHER * (inputs + len(iterate.Z)) + GRAM * inputs**2))


def _price_of_iteration(iterate):
    (n, m), p = iterate.S.shape, iterate.A.shape[1]
    products = 4.0 * n * p + 2.0 * len(iterate.inverse.gram) ** 2
    return m * (products + ELEMENTWISE * n) + ITERATION


def price(inputs, rows):
    """Of a step of neurons with so many inputs and rows, in operations."""
    matrices = inputs**2 * (ROWS * rows + INPUTS * inputs)
    return np.sum(matrices + VECTORS * (inputs + rows) + NEURON)


def bytes_left(iterate, inputs, rows):
    """Bytes that are left for matrices of neurons with so many inputs and rows."""
    n, m = iterate.S.shape
    held = iterate.A.nbytes + iterate.S.nbytes + 5 * iterate.Z.nbytes
    held += 0 if iterate.problem.holds(iterate.target) else iterate.target.nbytes
    held += 2 * iterate.inverse.gram.nbytes
    held += n * m if charges_leaks(iterate.problem) else 0
    left = max(MOST_MEMORY * 8 * n * (m + iterate.A.shape[1]) - held, LITTLE_MEMORY)
    # Vectors of all neurons, with room for the largest, and what is chosen of them.
    left -= m * (75 * np.max(inputs) + 35 * np.max(rows)) + 40 * np.sum(inputs + rows)
    elements = np.sum(inputs * np.maximum(inputs, rows))
    n_threads, itemsize = iterate.workers.n_threads, iterate.A.itemsize
    at_work = min(n_threads * batch_size(n_threads, itemsize), elements) * itemsize
    # Responses take their turn with matrices.
    return left - 4 * at_work if left > iterate.S.nbytes else 0.0


def bytes_of_neurons(inputs, rows, itemsize):
    """What neurons with so many inputs and rows take: matrices, and the vectors of a step."""
    return itemsize * inputs * (inputs + rows) + bytes_of_vectors(inputs, rows)


def bytes_of_vectors(inputs, rows):
    """What they take besides their matrices."""
    return 230 * inputs + 110 * rows


def batch_size(n_threads, itemsize):
    """Elements of the matrices of a batch: with more threads there are more, smaller batches."""
    return min(BATCH, AT_WORK // n_threads) // itemsize


def numbers(iterate):
    """How many inputs and rows of each neuron to take."""
    weights = np.count_nonzero(iterate.Z, axis=0)
    binding = np.count_nonzero((iterate.a > 0) & ~iterate.problem.active, axis=0)
    factor, more = MORE_INPUTS
    inputs = np.minimum(factor * weights + more, len(iterate.Z))
    factor, more = MORE_ROWS
    most = np.maximum(factor * inputs + more, SMALL_MATRIX / inputs)
    rows = factor * binding + more
    if not iterate.problem.strict:
        factor, more = ROWS_IN_DOUBT
        rows = np.where(rows > most, factor * binding + more, rows)
    return inputs, np.minimum(rows, most)


def charged_rows(iterate):
    """Rows that the ball charges, or will if those leak that do now."""
    active = iterate.problem.active
    return active | (iterate.a > 0) if charges_leaks(iterate.problem) else active


def charges_leaks(problem):
    """Whether rows that leak may be charged as if they always did.

    Of neurons with balls of their own that are far from these it is not known which rows will leak.
    """
    return not (problem.strict or problem.per_neuron)
