"""Prune one trained network at one epsilon: what NetTrim and net_trim_path share."""

from dataclasses import dataclass
from functools import cached_property, partial

from . import _guarantee, _schemes
from ._importances import column_spread
from ._network import Network, network_inputs, rebuild
from ._tasks import solve_problems


@dataclass(frozen=True)
class Original:
    """A trained network with the data to calibrate on.

    Attributes
    ----------
    model : estimator
        Fitted; what the network was found in.
    network : Network
        The network.
    outputs : list of n_layers + 1 arrays
        The data as the network receives them, and what each layer passes on.
    """

    model: object
    network: Network
    outputs: list

    @classmethod
    def of(cls, model, X):
        """The network inside `model`, run on the rows of X."""
        network = Network.of(model)
        return cls(model, network, network.outputs(network_inputs(model, X)))

    @cached_property
    def input_spread(self):
        """Standard deviation of each input of the network."""
        return column_spread(self.outputs[0])

    def unpruned(self):
        """A copy of the model in the form that pruned ones have, see :func:`rebuild`."""
        return rebuild(self.model, self.network)


@dataclass(frozen=True)
class Pruned:
    """The network at one epsilon; the fields are the attributes of NetTrim, less underscores."""

    original: Network
    estimator: object
    layers: list
    density: float
    discrepancy: object
    discrepancy_bound: object
    summary: str
    input_spread: object


def prune(original, epsilon, *, scheme, gamma, kappa, program, **solving):
    """Prune a network by one of the schemes, and measure what became of it.

    Parameters
    ----------
    original : Original
        The network, which stays as it is.
    epsilon, gamma : sequence of n_layers floats
        One for each layer.
    scheme, kappa
        As in :class:`NetTrim`.
    program : dict
        What the programs of all layers have in common, see :func:`_schemes.parallel`.
    **solving : dict
        Passed on to :func:`solve_problems`: how to solve, and from where.

    Returns
    -------
    pruned : Pruned
    """
    network, outputs = original.network, original.outputs
    solve = partial(solve_problems, n_layers=network.n_layers, **solving)
    options = {"solve": solve, **program}
    if scheme == "parallel":
        problems, results = _schemes.parallel(network, outputs, epsilon=epsilon, **options)
    else:
        problems, results = _schemes.cascade(
            network, outputs, epsilon=epsilon[0], gamma=gamma, kappa=kappa, **options
        )
    return _measure(original, problems, results, cascade=scheme == "cascade")


def emptying_epsilon(original, *, scheme, program):
    """The smallest epsilon that leaves no weights; the parameters are those of :func:`prune`.

    In the cascade, the smallest that leaves none in the first layer.
    """
    layers = range(original.network.n_layers if scheme == "parallel" else 1)
    return _schemes.emptying_epsilon(original.network, original.outputs, layers, **program)


def _measure(original, problems, results, *, cascade):
    network, outputs = original.network, original.outputs
    pruned = Network(
        coefs=[result.coef for result in results],
        intercepts=[result.intercept for result in results],
        activation=network.activation,
    )
    pruned_outputs = pruned.outputs(outputs[0])
    measured = _guarantee.discrepancies(outputs, pruned_outputs)
    bounds = _guarantee.discrepancy_bounds(
        network, problems, results, outputs, pruned_outputs, cascade=cascade
    )
    return Pruned(
        original=network,
        estimator=rebuild(original.model, pruned),
        layers=results,
        density=pruned.density,
        discrepancy=measured,
        discrepancy_bound=bounds,
        summary=_guarantee.summarize(network, problems, results, outputs, measured, bounds),
        input_spread=original.input_spread,
    )
