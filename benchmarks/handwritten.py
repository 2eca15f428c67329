"""The driver against hand-written loops that keep the losses: `python benchmarks/handwritten.py`.

Each framework runs in a process of its own. In it the driver and the hand-written loops take turns, over k and 3k
steps; the time of a step is (t(3k) - t(k)) / 2k, which leaves out what is paid once, and the ratio is the median
over the rounds of the ratios within a round. Each loop must end at the same parameters as the driver.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np

CASES = [(100, 1), (10_000, 100)]
RATE = 0.01
Loop = Callable[[int], np.ndarray]


def numpy_loops(X: np.ndarray, y: np.ndarray) -> dict[str, Loop]:
    """As in a textbook, and as tight as one can write it."""
    n, d = X.shape

    def textbook(steps: int) -> np.ndarray:
        w, b, losses = np.zeros(d), 0.0, []
        for _ in range(steps):
            error = X @ w + b - y
            losses.append(np.mean(error**2))
            w = w - RATE * (2 / n) * (X.T @ error)
            b = b - RATE * (2 / n) * np.sum(error)
        return np.append(w, b)

    def tight(steps: int) -> np.ndarray:
        w, b, losses = np.zeros(d), 0.0, np.empty(steps)
        for k in range(steps):
            error = X @ w + b - y
            losses[k] = error @ error / n
            w -= RATE * (2 / n) * (error @ X)
            b -= RATE * (2 / n) * error.sum()
        return np.append(w, b)

    return {"textbook loop": textbook, "tight loop": tight}


def jax_loops(X: np.ndarray, y: np.ndarray) -> dict[str, Loop]:
    """lax.scan over value_and_grad, compiled for each number of steps."""
    import functools

    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X, y = jnp.array(X), jnp.array(y)

    @functools.partial(jax.jit, static_argnums=2)
    def run(X: jax.Array, y: jax.Array, steps: int) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        def step(parameters: tuple[jax.Array, jax.Array], _: None) -> tuple:
            loss, (dw, db) = jax.value_and_grad(lambda p: jnp.mean((X @ p[0] + p[1] - y) ** 2))(parameters)
            return (parameters[0] - RATE * dw, parameters[1] - RATE * db), loss

        return jax.lax.scan(step, (jnp.zeros(X.shape[1]), jnp.zeros(())), length=steps)

    def scan(steps: int) -> np.ndarray:
        (w, b), _losses = jax.block_until_ready(run(X, y, steps))
        return np.append(np.array(w), b)

    return {"lax.scan": scan}


def torch_loops(X: np.ndarray, y: np.ndarray) -> dict[str, Loop]:
    """torch.optim.SGD over a module and a criterion, and over two parameters."""
    import torch

    d = X.shape[1]
    X, y = torch.tensor(X), torch.tensor(y)

    def module(steps: int) -> np.ndarray:
        model = torch.nn.Linear(d, 1, dtype=torch.float64)
        torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
        optimizer, criterion, losses = torch.optim.SGD(model.parameters(), lr=RATE), torch.nn.MSELoss(), []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = criterion(model(X).squeeze(-1), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.append(model.weight.detach().numpy(), model.bias.detach().numpy())

    def parameters(steps: int) -> np.ndarray:
        w = torch.zeros(d, dtype=torch.float64, requires_grad=True)
        b = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer, losses = torch.optim.SGD([w, b], lr=RATE), []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((X @ w + b - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.append(w.detach().numpy(), b.detach().numpy())

    return {"SGD, nn.Linear": module, "SGD, two tensors": parameters}


def compare(name: str, rounds: int = 9) -> None:
    """Print a line for each case and each hand-written loop of the framework."""
    from gdbackends import get_backend
    from gdbackends.descent import descend, prepare

    loops = {"numpy": numpy_loops, "jax": jax_loops, "torch": torch_loops}[name]
    for n, d in CASES:
        generator = np.random.default_rng(0)
        X = generator.normal(size=(n, d))
        y = X @ generator.normal(size=d) + generator.normal(size=n)
        problem = prepare(X, y, get_backend(name), standardize=False)
        runs = {"driver": lambda k, p=problem: descend(p, np.broadcast_to(RATE, (k,))).theta, **loops(X, y)}
        expected = runs["driver"](50)
        for label, run in runs.items():
            if not np.abs(run(50) - expected).max() <= 1e-9:
                raise SystemExit(f"{name}, {label}: another result than the driver's")
        k = 50
        while seconds(runs["driver"], k) < 0.05:
            k *= 2
        times: dict[str, list[float]] = {label: [] for label in runs}
        for r in range(rounds + 1):
            for label in sorted(runs, reverse=r % 2 == 1):
                marginal = (seconds(runs[label], 3 * k) - seconds(runs[label], k)) / (2 * k)
                if r:  # the first round compiles and warms
                    times[label].append(marginal)
        ours = np.array(times["driver"])
        for label in list(runs)[1:]:
            ratios = ours / np.array(times[label])
            print(
                f"{name:6} {n:>7,} x {d:<4} driver {np.median(ours) * 1e6:8.2f} us  {label:17} "
                f"{np.median(times[label]) * 1e6:8.2f} us  ratio {np.median(ratios):.2f}  "
                f"({ratios.min():.2f} to {ratios.max():.2f} in {rounds} rounds)",
                flush=True,
            )


def seconds(run: Loop, steps: int) -> float:
    """Return the wall time of that many steps."""
    start = perf_counter()
    run(steps)
    return perf_counter() - start


if __name__ == "__main__":
    if len(sys.argv) > 1:
        compare(sys.argv[1])
    else:
        for framework in ("numpy", "jax", "torch"):
            subprocess.run([sys.executable, __file__, framework], check=True)
