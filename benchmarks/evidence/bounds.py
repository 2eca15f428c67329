"""Compare the errors of correct gradients with their rounding bounds: `python benchmarks/evidence/bounds.py [CASES]`.

The cases are random data (standard normal, badly scaled, nearly collinear), losses, conventions and penalties, at
random, zero and optimal parameters, in both precisions and on every installed backend. The reference is exact rational
arithmetic for squared errors and NumPy's extended precision for the other losses. The shapes are few, since JAX
compiles each of them. The exit status is 1 if an error exceeds its bound.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np

from gdbackends import LinearRegression, get_backend
from gdbackends.backends import installed
from gdbackends.objectives import format_loss, parse_loss
from gdbackends.rounding import evaluate
from gdbackends.rounding.exact import exact_value_and_grad

SHAPES = [(1, 1), (5, 2), (15, 1), (40, 7), (100, 3), (12, 20)]
SQUARED = [LinearRegression(c, l2=l2).prepare for c in ("mean", "half", "sum") for l2 in (0.0, 0.3)]
LOSSES = ("absolute", "huber:0.5", "quantile:0.9", "logcosh", "logistic", "poisson")
OTHERS = [LinearRegression(l2=l2, row_loss=parse_loss(loss)).prepare for loss in LOSSES for l2 in (0.0, 0.3)]
OBJECTIVES = [*SQUARED, *OTHERS]


def data(generator: np.random.Generator, n: int, d: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    X, y = generator.normal(size=(n, d)), generator.normal(size=n) * 10.0 ** generator.integers(-3, 4)
    kind = generator.integers(3)
    if kind == 1:
        X = X * 10.0 ** generator.integers(-5, 6, size=d) + 10.0 ** generator.integers(-3, 4)
    elif kind == 2:
        X = X[:, :1] + 1e-5 * X
    return X.astype(dtype), y.astype(dtype)


def reference(objective: LinearRegression, theta: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple:
    if format_loss(objective.row_loss) == "squared":
        return exact_value_and_grad(objective, theta, X, y)
    loss, gradient = objective.value_and_grad(*(a.astype(np.longdouble) for a in (theta, X, y)))
    return Fraction(*loss.as_integer_ratio()), [Fraction(*g.as_integer_ratio()) for g in gradient]


def main(cases: int) -> int:
    worst: dict[tuple[str, str], float] = {}
    compiled = {}
    for dtype in ("float64", "float32"):
        generator = np.random.default_rng(20)
        for k in range(cases):
            n, d = SHAPES[k % len(SHAPES)]
            X, y = data(generator, n, d, dtype)
            objective, X = OBJECTIVES[k // len(SHAPES) % len(OBJECTIVES)](X)
            y = y if objective.row_loss.target == "real" else (y > 0).astype(dtype)
            theta = [np.zeros(d + 1), generator.normal(size=d + 1), np.linalg.lstsq(X, y)[0]][k % 3].astype(dtype)
            if objective.row_loss.target == "count":  # keep e^z in range
                theta = (theta / max(1.0, np.abs(X @ theta).max() / 20)).astype(dtype)
            loss, exact = reference(objective, theta, X, y)
            at = evaluate(objective, theta, X, y, dtype)
            for name in installed():
                backend = get_backend(name, dtype=dtype)
                key = (name, dtype, objective)
                run = compiled.setdefault(key, backend.value_and_grad(objective))
                value, gradient = map(backend.to_numpy, run(*map(backend.asarray, (theta, X, y))))
                errors = [abs(Fraction(float(g)) - e) for g, e in zip(gradient, exact, strict=True)]
                ratio = max(float(e / b) if b else float(e > 0) for e, b in zip(errors, at.gradient_bound, strict=True))
                ratio = max(ratio, float(abs(Fraction(float(value)) - loss)) / at.loss_bound)
                worst[name, dtype] = max(worst.get((name, dtype), 0.0), float(ratio))
        for name in installed():
            print(f"{name:6} {dtype}: {cases:,} cases, at most {worst[name, dtype]:.3f} of the bound", flush=True)
    return int(not all(ratio <= 1 for ratio in worst.values()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
