"""The benchmark: which backend is fastest here, for which problem, and by how much; no time without agreement."""
