"""Backends that are light, or that lie, for the tests of the benchmark: imported by its processes as fakes:Name."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from gdbackends import LinearRegression, get_backend
from gdbackends.backends.numpy_backend import NumpyBackend
from gdbackends.benchmarking import slices
from gdbackends.benchmarking.workloads import work
from gdbackends.descent import ProblemOptions, prepare
from gdbackends.measurement.timing import seconds

THREAD = ThreadPoolExecutor(1)


class Light(NumpyBackend):
    """NumPy under another name."""


class Wrong(NumpyBackend):
    """Its gradient is wrong by a part in a million."""

    def value_and_grad(self, objective):
        right = super().value_and_grad(objective)

        def value_and_grad(*arguments):
            value, gradient = right(*arguments)
            return value, gradient * (1 + 1e-6)

        return value_and_grad


class Cheap(NumpyBackend):
    """Its loss alone is that of half of the rows."""

    def value(self, objective):
        return lambda theta, X, y: objective.loss(theta, X[::2], y[::2])


class Short(NumpyBackend):
    """It makes a tenth of the steps of a long descent."""

    def repeat(self, step, carry, xs, data):
        few = [x[: max(2, len(x) // 10)] for x in xs]
        end, outputs = super().repeat(step, carry, few, data)
        return end, tuple(np.resize(column, (len(xs[0]), *column.shape[1:])) for column in outputs)


class Halving(NumpyBackend):
    """Its gradients are right; it goes half of the way when no path is kept, as when it is timed."""

    def repeat(self, step, carry, xs, data):
        end, outputs = super().repeat(step, carry, xs, data)
        return (end, outputs) if step.record_path else ((carry + end) / 2, outputs)


class Unsynchronised(NumpyBackend):
    """It returns while another thread computes, and its `synchronize` does not wait."""

    def value_and_grad(self, objective):
        right = super().value_and_grad(objective)

        def value_and_grad(*arguments):
            both = THREAD.submit(right, *arguments)
            return (both, 0), (both, 1)

        return value_and_grad

    def to_numpy(self, array):
        return super().to_numpy(array[0].result()[array[1]] if isinstance(array, tuple) else array)

    def repeat(self, step, carry, xs, data):
        def waiting(*arguments):
            return tuple(both.result()[k] for both, k in step.value_and_grad(*arguments))

        return super().repeat(type(step)(waiting, step.record_path), carry, xs, data)


class Lazy(Unsynchronised):
    """It computes only when it is read."""

    def value_and_grad(self, objective):
        right = NumpyBackend.value_and_grad(self, objective)

        def value_and_grad(*arguments):
            both = Deferred(lambda: right(*arguments))
            return (both, 0), (both, 1)

        return value_and_grad


class Deferred:
    """The result of a call that has not been made."""

    def __init__(self, compute):
        self.result = cache(compute)


class Remembering(NumpyBackend):
    """It keeps every gradient by its theta, and does not compute it again."""

    def gradient(self, objective):
        kept = {}

        def gradient(theta, *data):
            key = theta.tobytes()
            if key not in kept:
                kept[key] = objective.gradient(theta, *data)
            return kept[key]

        return gradient


class Gram(NumpyBackend):
    """It reads X once, and then keeps X^T X and X^T y."""

    def gradient(self, objective):
        kept = {}

        def gradient(theta, X, y):
            if id(X) not in kept:
                A = objective.design(X)
                kept[id(X)] = 2 * A.T @ A / y.size, 2 * A.T @ y / y.size
            A, b = kept[id(X)]
            return A @ theta - b

        return gradient


class HalfLazy(NumpyBackend):
    """It computes half of the rows at once, and the others when the result is read."""

    def gradient(self, objective):
        def gradient(theta, X, y):
            half = y.size // 2
            first = half * objective.gradient(theta, X[:half], y[:half])
            rest = Deferred(lambda: (y.size - half) * objective.gradient(theta, X[half:], y[half:]))
            return Deferred(lambda: (first + rest.result()) / y.size)

        return gradient

    def to_numpy(self, array):
        return super().to_numpy(array.result() if isinstance(array, Deferred) else array)


def half_of_the_rows(objective):
    """Return the gradient of every second row."""
    return lambda theta, X, y: objective.gradient(theta, X[::2], y[::2])


class Tired(NumpyBackend):
    """After 2,000 gradients it uses half of the rows."""

    def gradient(self, objective):
        calls, cheap = [0], half_of_the_rows(objective)

        def gradient(*arguments):
            calls[0] += 1
            return (objective.gradient if calls[0] <= 2000 else cheap)(*arguments)

        return gradient


class Skipping(NumpyBackend):
    """It makes half of the steps of a loop of more than 200."""

    def repeat(self, step, carry, xs, data):
        if len(xs[0]) <= 200:
            return super().repeat(step, carry, xs, data)
        end, outputs = super().repeat(step, carry, [x[::2] for x in xs], data)
        return end, tuple(np.resize(column, (len(xs[0]), *column.shape[1:])) for column in outputs)


class JudgedOnce(NumpyBackend):
    """It is right in its first process, and uses half of the rows in others of the same parent."""

    def gradient(self, objective):
        mark = Path(os.environ["FAKE_MARK"])
        if mark.exists() and mark.read_text(encoding="utf8") != str(os.getpid()):
            return half_of_the_rows(objective)
        mark.write_text(str(os.getpid()), encoding="utf8")
        return objective.gradient


class Half(NumpyBackend):
    """In float32 its data are rounded to float16."""

    def asarray(self, array):
        if array.ndim == 2 and self.dtype == "float32":
            array = array.astype(np.float16)
        return super().asarray(array)


class HalfOfMany(NumpyBackend):
    """In float32 it uses half of the rows where there are many."""

    def gradient(self, objective):
        cheap = half_of_the_rows(objective)

        def gradient(theta, X, y):
            return (cheap if y.size > 50_000 and self.dtype == "float32" else objective.gradient)(theta, X, y)

        return gradient


class SlowClock(NumpyBackend):
    """It replaces the clock by one that goes at a tenth of the speed."""

    def gradient(self, objective):
        true, begun = slices.clock, slices.clock()
        slices.clock = lambda: begun + (true() - begun) / 10
        return objective.gradient


class Hanging(NumpyBackend):
    """It never comes back."""

    def value_and_grad(self, objective):
        time.sleep(3600)


class Dying(NumpyBackend):
    """Its process aborts."""

    def value_and_grad(self, objective):
        os.abort()


class Hungry(NumpyBackend):
    """It asks for more memory than there is."""

    def value_and_grad(self, objective):
        return np.ones(1 << 45)


class Raising(NumpyBackend):
    """It raises."""

    def value_and_grad(self, objective):
        raise RuntimeError("no\nkernel")


@dataclass(frozen=True)
class Minimal:
    """It has what the protocol asks for, and no capability besides."""

    dtype: str = "float64"
    name: str = "minimal"
    device: str = "cpu"
    to_numpy = NumpyBackend.to_numpy
    repeat = NumpyBackend.repeat
    synchronize = NumpyBackend.synchronize

    def asarray(self, array):
        return np.array(array, array.dtype if array.dtype.kind in "ib" else self.dtype)

    def value_and_grad(self, objective):
        return objective.value_and_grad


def four_times_the_rows(name: str) -> list[float]:
    """Return by how much longer a gradient takes for four times the rows, past the last cache; sizes take turns."""
    works = []
    for rows in (500_000, 2_000_000):
        generator = np.random.default_rng(0)
        X, y = generator.normal(size=(rows, 40)), generator.normal(size=rows)
        problem = prepare(X, y, get_backend(name), LinearRegression(), ProblemOptions(standardize=False))
        works.append(work("gradient", problem).run)
        works[-1]()
    pairs = [[seconds(run) for run in works] for _ in range(21)]
    return [large / small for small, large in pairs]


class Speechless(NumpyBackend):
    """It computes, but raises when it is asked what it finds on the machine."""

    def system_info(self):
        raise OSError("no /proc")
