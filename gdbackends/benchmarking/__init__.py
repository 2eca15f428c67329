"""Benchmark the backends: which is fastest for which problem, and by how much. Wrong backends get no time."""
