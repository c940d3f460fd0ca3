"""What the project claims about speed and sparsity, measured: see docs/benchmarks.md."""
