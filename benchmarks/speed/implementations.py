"""What users write in place of `gdbackends.fit`: a step of gradient descent, and a whole fit; for alternatives.py.

All solve least squares with an intercept in float64, keep their losses as our driver does, and start at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdbackends import LinearRegression, fit, get_backend
from gdbackends.descent import ProblemOptions, descend, learning_rates, prepare

Array = np.ndarray
RATE = 0.01
TOLERANCES = tuple(10.0**-k for k in range(1, 13))
COUNTS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)


@dataclass(frozen=True)
class Way:
    """A spelling.

    Attributes:
        name: what is written, with {} where the setting stands.
        run: run(k) makes k steps (k units), run(setting) fits; waits, and returns theta (d + 1,) in NumPy.
        settings: of a fit, from the loosest; the first that reaches the loss is timed.
        unit: steps that one unit makes.
    """

    name: str
    run: Callable[[Any], Array]
    settings: tuple[Any, ...] = (None,)
    unit: int = 1


def least_squares(X: Array, y: Array) -> Array:
    return np.linalg.lstsq(with_ones(X), y)[0]


def with_ones(X: Array) -> Array:
    return np.column_stack((X, np.ones(len(X))))


def best_rate(X: Array, y: Array) -> float:
    """Return the rate that our fit finds; the time to find it is in ours alone."""
    return float(
        learning_rates(prepare(X, y, get_backend("numpy"), options=ProblemOptions(standardize=False)), "auto", 1000)[0]
    )


def ours(name: str, X: Array, y: Array) -> tuple[list[Way], list[Way]]:
    problem, label = (
        prepare(X, y, get_backend(name), options=ProblemOptions(standardize=False)),
        f'fit(X, y, backend="{name}", tolerance={{:g}})',
    )
    step = Way("our driver", lambda k: descend(problem, np.broadcast_to(RATE, (k,))).theta)
    return [step], [Way(label, lambda tolerance: fit(X, y, backend=name, tolerance=tolerance).theta, TOLERANCES)]


def numpy_ways(X: Array, y: Array) -> tuple[list[Way], list[Way]]:
    """A loop as in a textbook, and as tight as one can write it; two direct solutions."""
    n, d = X.shape

    def textbook(steps: int) -> Array:
        w, b, losses = np.zeros(d), 0.0, []
        for _ in range(steps):
            error = X @ w + b - y
            losses.append(np.mean(error**2))
            w = w - RATE * (2 / n) * (X.T @ error)
            b = b - RATE * (2 / n) * np.sum(error)
        return np.append(w, b)

    def tight(steps: int) -> Array:
        w, b, losses = np.zeros(d), 0.0, np.empty(steps)
        for k in range(steps):
            error = X @ w + b - y
            losses[k] = error @ error / n
            w -= RATE * (2 / n) * (error @ X)
            b -= RATE * (2 / n) * error.sum()
        return np.append(w, b)

    def normal(_: None) -> Array:
        A = with_ones(X)
        return np.linalg.solve(A.T @ A, A.T @ y)

    steps, fits = ours("numpy", X, y)
    steps += [Way("textbook loop", textbook), Way("tight loop", tight)]
    fits += [Way("np.linalg.lstsq", lambda _: least_squares(X, y)), Way("np.linalg.solve(A.T @ A, A.T @ y)", normal)]
    return steps, fits


def jax_ways(X: Array, y: Array) -> tuple[list[Way], list[Way]]:
    """jax.jit of one step in a Python loop; optax.sgd so, its update jitted; lax.scan over as many steps as pay."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    (n, d), rate = X.shape, best_rate(X, y)
    unit, placed = max(10, 100_000 // (n * d)), (jnp.asarray(X), jnp.asarray(y))
    plain, sgd = jax_updates()
    slow, fast = optax.sgd(RATE), optax.sgd(rate)
    jitted, slow_update, fast_update = jax.jit(plain), sgd(slow), sgd(fast)
    scan = jax.jit(lambda p, X, y: jax.lax.scan(lambda p, _: plain(p, X, y), p, length=unit))

    def start() -> tuple[Any, Any]:
        return jnp.zeros(d), jnp.zeros(())

    def loop(update: Callable[..., Any], state: Any, X: Any, y: Any, steps: int) -> Any:
        losses = []  # which stay on the device
        for _ in range(steps):
            state, loss = update(state, X, y)
            losses.append(loss)
        return jax.block_until_ready((state, losses))[0]

    def flat(parameters: tuple[Any, Any]) -> Array:
        return np.append(np.asarray(parameters[0]), parameters[1])

    def fitted(steps: int) -> Array:
        return flat(loop(fast_update, (start(), fast.init(start())), jnp.asarray(X), jnp.asarray(y), steps)[0])

    steps, fits = ours("jax", X, y)
    steps += [
        Way("jax.jit of a step", lambda k: flat(loop(jitted, start(), *placed, k))),
        Way("optax.sgd, jax.jit", lambda k: flat(loop(slow_update, (start(), slow.init(start())), *placed, k)[0])),
        Way("jax.lax.scan", lambda k: flat(loop(scan, start(), *placed, k)), unit=unit),
    ]
    return steps, [*fits, Way(f"optax.sgd({rate:.2g}), jax.jit, {{}} steps", fitted, COUNTS)]


def jax_updates() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a step of parameters (w, b), and what makes a jitted one of an optax optimiser: both give the loss too."""
    import jax
    import jax.numpy as jnp
    import optax

    def cost(parameters: tuple[Any, Any], X: Any, y: Any) -> Any:
        return jnp.mean((X @ parameters[0] + parameters[1] - y) ** 2)

    def plain(parameters: Any, X: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(cost)(parameters, X, y)
        return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradient), loss

    def sgd(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
        def update(state: Any, X: Any, y: Any) -> Any:
            loss, gradient = jax.value_and_grad(cost)(state[0], X, y)
            updates, inner = optimizer.update(gradient, state[1])
            return (optax.apply_updates(state[0], updates), inner), loss

        return jax.jit(update)

    return plain, sgd


def torch_ways(X: Array, y: Array) -> tuple[list[Way], list[Way]]:
    """torch.optim.SGD over a module and a criterion, and over two tensors; each loss is read, as users do."""
    import torch

    d, rate = X.shape[1], best_rate(X, y)
    placed = torch.tensor(X), torch.tensor(y)

    def loop(parameters: Any, cost: Callable[[], Any], rate: float, steps: int) -> Array:
        optimizer, losses = torch.optim.SGD(parameters, lr=rate), []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = cost()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.concatenate([p.detach().numpy().ravel() for p in parameters])

    def module(X: Any, y: Any, rate: float, steps: int) -> Array:
        model, criterion = torch.nn.Linear(d, 1, dtype=torch.float64), torch.nn.MSELoss()
        torch.nn.init.zeros_(model.weight), torch.nn.init.zeros_(model.bias)
        return loop(list(model.parameters()), lambda: criterion(model(X).squeeze(-1), y), rate, steps)

    def tensors(X: Any, y: Any, rate: float, steps: int) -> Array:
        w = torch.zeros(d, dtype=torch.float64, requires_grad=True)
        b = torch.zeros((), dtype=torch.float64, requires_grad=True)
        return loop([w, b], lambda: ((X @ w + b - y) ** 2).mean(), rate, steps)

    def fitted(steps: int) -> Array:
        return module(torch.tensor(X), torch.tensor(y), rate, steps)

    steps, fits = ours("torch", X, y)
    steps += [
        Way("torch.optim.SGD, nn.Linear", lambda k: module(*placed, RATE, k)),
        Way("torch.optim.SGD, two tensors", lambda k: tensors(*placed, RATE, k)),
    ]
    return steps, [*fits, Way(f"torch.optim.SGD(lr={rate:.2g}), nn.Linear, {{}} steps", fitted, COUNTS)]


def library_ways(X: Array, y: Array) -> tuple[list[Way], list[Way]]:
    """scikit-learn and SciPy, which have no step to time."""
    from scipy.optimize import minimize
    from sklearn.linear_model import LinearRegression as Direct
    from sklearn.linear_model import SGDRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def lbfgs(tolerance: float) -> Array:
        cost, start = LinearRegression().value_and_grad, np.zeros(X.shape[1] + 1)
        options = {"ftol": tolerance, "gtol": 0.0}
        return minimize(cost, start, (X, y), method="L-BFGS-B", jac=True, options=options).x

    def direct(_: None) -> Array:
        model = Direct().fit(X, y)
        return np.append(model.coef_, model.intercept_)

    def stochastic(tolerance: float, **settings: Any) -> Array:
        sgd = SGDRegressor(penalty=None, tol=tolerance, max_iter=10_000, random_state=0, **settings)
        scaler, sgd = make_pipeline(StandardScaler(), sgd).fit(X, y).named_steps.values()
        coefficients = sgd.coef_ / scaler.scale_
        return np.append(coefficients, sgd.intercept_ - coefficients @ scaler.mean_)

    return [], [
        Way('minimize(hand gradient, jac=True, "L-BFGS-B", ftol={:g})', lbfgs, TOLERANCES),
        Way("LinearRegression()", direct),
        Way("SGDRegressor(penalty=None, tol={:g}), standardised", stochastic, TOLERANCES[2:]),
        Way(
            'SGDRegressor(penalty=None, tol={:g}, learning_rate="adaptive"), standardised',
            lambda tolerance: stochastic(tolerance, learning_rate="adaptive"),
            TOLERANCES[2:],
        ),
    ]


WAYS = {"numpy": numpy_ways, "jax": jax_ways, "torch": torch_ways, "scikit-learn, scipy": library_ways}
