"""Which neurons an interior-point method solves side by side.

Neurons of about the same size are a batch, whose matrices are stacked; batches for which there is
room at the same time are a group.
"""

import numpy as np

from ._newton_system import fast_order
from ._price import batch_size, bytes_left, bytes_of_neurons, bytes_of_vectors

# The most neurons of a batch; their numbers of inputs count in such units, so that those of rows
# can be alike, too.
MOST_NEURONS = 128
ALIKE = 16


class Batches:
    """How neurons of a layer are put side by side.

    Parameters
    ----------
    iterate : Iterate
        Of the layer.
    n_inputs, n_rows : ndarray of int of shape (m,)
        What is left of each neuron.
    """

    def __init__(self, iterate, n_inputs, n_rows):
        self.n_inputs, self.n_rows = np.maximum(n_inputs, 1), np.maximum(n_rows, 1)
        self.itemsize, self.n_threads = iterate.A.itemsize, iterate.workers.n_threads
        self.room = bytes_left(iterate, n_inputs, n_rows)

    def groups(self, neurons):
        """Lists of batches for which there is room; the first is of neurons of all sizes."""
        batches = self._batches(neurons)
        # No thread is to be without work.
        room = max(self.room, self._bytes(batches[: self.n_threads]))
        everyone = self._bytes(batches)
        if everyone <= room:
            return [batches]
        by_size, stride = self._by_size(neurons), int(np.ceil(everyone / room))
        while self._bytes(self._batches(by_size[stride // 2 :: stride])) > room:
            stride += 1
        sample = by_size[stride // 2 :: stride]
        groups, taken = [self._batches(sample)], room
        for batch in self._batches(np.setdiff1d(neurons, sample)):
            size = self._bytes([batch])
            if taken + size > room:
                groups.append([])
                taken = 0
            groups[-1].append(batch)
            taken += size
        return groups

    def room_beside(self, batches, others):
        """Whether other neurons may step with those of a group, as vectors alone."""
        vectors = bytes_of_vectors(self.n_inputs.max(), self.n_rows.max()) * len(others)
        return len(others) == 0 or self._bytes(batches) + vectors <= self.room

    def _batches(self, neurons):
        """Neurons of about the same size together, the largest first."""
        order, batches, first = self._by_size(neurons), [], 0
        most = batch_size(self.n_threads, self.itemsize)
        while first < len(order):
            batch = order[first : first + MOST_NEURONS]
            # All have room for as many as one of them has.
            inputs, rows = (
                np.maximum.accumulate(counts[batch]) for counts in (self.n_inputs, self.n_rows)
            )
            elements = np.arange(1, len(batch) + 1) * inputs * np.maximum(inputs, rows)
            batch = batch[: max(1, np.searchsorted(elements, most, side="right"))]
            batches.append(batch)
            first += len(batch)
        return batches

    def _by_size(self, neurons):
        keys = self.n_rows[neurons], self.n_inputs[neurons] // ALIKE
        return neurons[np.lexsort(keys)[::-1]]

    def _bytes(self, batches):
        """Of the matrices of neurons, and of the vectors of their steps."""
        size = 0
        for batch in batches:
            inputs, rows = (
                fast_order(counts[batch].max()) for counts in (self.n_inputs, self.n_rows)
            )
            size += bytes_of_neurons(inputs, rows, self.itemsize) * len(batch)
        return size
