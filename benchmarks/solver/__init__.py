"""The default solver against the authors' and a conic one: ``python -m benchmarks.solver``."""
