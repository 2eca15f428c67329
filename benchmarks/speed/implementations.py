"""Implementations of a step of gradient descent and of a fit, which alternatives.py times.

All solve least squares with an intercept in float64. The descents start at 0 and record their losses, as the driver
does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdbackends import LinearRegression, fit, get_backend
from gdbackends.descent import ProblemOptions, descend, learning_rates, prepare

Array = np.ndarray
DRIVER = "gdbackends driver"
RATE = 0.01
TOLERANCES = tuple(10.0**-k for k in range(1, 13))
STEP_COUNTS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)


@dataclass(frozen=True)
class Implementation:
    """An implementation of a step or of a fit.

    Attributes:
        label: its name in the table, with {} for the setting.
        run: run(k) makes k units of steps; run(setting) fits. It waits, and returns theta (d + 1,) as a NumPy array.
        settings: the settings of a fit, loosest first; the first whose loss is low enough is timed.
        unit: the number of steps in one unit.
    """

    label: str
    run: Callable[[Any], Array]
    settings: tuple[Any, ...] = (None,)
    unit: int = 1


Implementations = tuple[list[Implementation], list[Implementation]]
"""The implementations of a step, and those of a fit."""


def least_squares(X: Array, y: Array) -> Array:
    return np.linalg.lstsq(with_ones(X), y)[0]


def with_ones(X: Array) -> Array:
    return np.column_stack((X, np.ones(len(X))))


def best_rate(X: Array, y: Array) -> float:
    """Return the rate that `gdbackends.fit` chooses; only the time of `gdbackends.fit` includes the search for it."""
    problem = prepare(X, y, get_backend("numpy"), options=ProblemOptions(standardize=False))
    return float(learning_rates(problem, "auto", 1000)[0])


def gdbackends_implementations(name: str, X: Array, y: Array) -> Implementations:
    problem = prepare(X, y, get_backend(name), options=ProblemOptions(standardize=False))

    def whole_fit(tolerance: float) -> Array:
        return fit(X, y, backend=name, tolerance=tolerance).theta

    step = Implementation(DRIVER, lambda k: descend(problem, np.broadcast_to(RATE, (k,))).theta)
    return [step], [Implementation(f'fit(X, y, backend="{name}", tolerance={{:g}})', whole_fit, TOLERANCES)]


def numpy_implementations(X: Array, y: Array) -> Implementations:
    """Return a textbook loop, an optimised loop, and two direct solutions."""
    n, d = X.shape

    def textbook_loop(steps: int) -> Array:
        w, b, losses = np.zeros(d), 0.0, []
        for _ in range(steps):
            error = X @ w + b - y
            losses.append(np.mean(error**2))
            w = w - RATE * (2 / n) * (X.T @ error)
            b = b - RATE * (2 / n) * np.sum(error)
        return np.append(w, b)

    def optimised_loop(steps: int) -> Array:
        w, b, losses = np.zeros(d), 0.0, np.empty(steps)
        for k in range(steps):
            error = X @ w + b - y
            losses[k] = error @ error / n
            w -= RATE * (2 / n) * (error @ X)
            b -= RATE * (2 / n) * error.sum()
        return np.append(w, b)

    def normal_equations(_: None) -> Array:
        A = with_ones(X)
        return np.linalg.solve(A.T @ A, A.T @ y)

    steps, fits = gdbackends_implementations("numpy", X, y)
    steps += [Implementation("textbook loop", textbook_loop), Implementation("optimised loop", optimised_loop)]
    fits += [
        Implementation("np.linalg.lstsq", lambda _: least_squares(X, y)),
        Implementation("np.linalg.solve(A.T @ A, A.T @ y)", normal_equations),
    ]
    return steps, fits


def jax_implementations(X: Array, y: Array) -> Implementations:
    """Return Python loops over a jitted step and over a jitted update of optax.sgd, and a jitted lax.scan.

    A call of the scan makes max(10, 100,000 // (n d)) steps.
    """
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    (n, d), rate = X.shape, best_rate(X, y)
    unit, data = max(10, 100_000 // (n * d)), (jnp.asarray(X), jnp.asarray(y))
    plain_step, jitted_step = jax_steps()
    fixed, tuned = optax.sgd(RATE), optax.sgd(rate)
    jitted, fixed_step, tuned_step = jax.jit(plain_step), jitted_step(fixed), jitted_step(tuned)
    scan = jax.jit(lambda p, X, y: jax.lax.scan(lambda p, _: plain_step(p, X, y), p, length=unit))

    def start() -> tuple[Any, Any]:
        return jnp.zeros(d), jnp.zeros(())

    def loop(update: Callable[..., Any], state: Any, X: Any, y: Any, steps: int) -> Any:
        losses = []  # kept on the device
        for _ in range(steps):
            state, loss = update(state, X, y)
            losses.append(loss)
        return jax.block_until_ready((state, losses))[0]

    def flat(parameters: tuple[Any, Any]) -> Array:
        return np.append(np.asarray(parameters[0]), parameters[1])

    def whole_fit(steps: int) -> Array:
        return flat(loop(tuned_step, (start(), tuned.init(start())), jnp.asarray(X), jnp.asarray(y), steps)[0])

    steps, fits = gdbackends_implementations("jax", X, y)
    steps += [
        Implementation("jax.jit of a step", lambda k: flat(loop(jitted, start(), *data, k))),
        Implementation(
            "optax.sgd, jax.jit", lambda k: flat(loop(fixed_step, (start(), fixed.init(start())), *data, k)[0])
        ),
        Implementation("jax.lax.scan", lambda k: flat(loop(scan, start(), *data, k)), unit=unit),
    ]
    return steps, [*fits, Implementation(f"optax.sgd({rate:.2g}), jax.jit, {{}} steps", whole_fit, STEP_COUNTS)]


def jax_steps() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return a plain step of (w, b), and a function that makes a jitted step from an optax optimiser.

    Both steps also return the loss.
    """
    import jax
    import jax.numpy as jnp
    import optax

    def cost(parameters: tuple[Any, Any], X: Any, y: Any) -> Any:
        return jnp.mean((X @ parameters[0] + parameters[1] - y) ** 2)

    def plain_step(parameters: Any, X: Any, y: Any) -> Any:
        loss, gradient = jax.value_and_grad(cost)(parameters, X, y)
        return jax.tree.map(lambda p, g: p - RATE * g, parameters, gradient), loss

    def jitted_step(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
        def update(state: Any, X: Any, y: Any) -> Any:
            loss, gradient = jax.value_and_grad(cost)(state[0], X, y)
            updates, inner = optimizer.update(gradient, state[1])
            return (optax.apply_updates(state[0], updates), inner), loss

        return jax.jit(update)

    return plain_step, jitted_step


def torch_implementations(X: Array, y: Array) -> Implementations:
    """Return torch.optim.SGD on nn.Linear and nn.MSELoss, and on two tensors; each loss is read with `item()`."""
    import torch

    d, rate = X.shape[1], best_rate(X, y)
    data = torch.tensor(X), torch.tensor(y)

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

    def whole_fit(steps: int) -> Array:
        return module(torch.tensor(X), torch.tensor(y), rate, steps)

    steps, fits = gdbackends_implementations("torch", X, y)
    steps += [
        Implementation("torch.optim.SGD, nn.Linear", lambda k: module(*data, RATE, k)),
        Implementation("torch.optim.SGD, two tensors", lambda k: tensors(*data, RATE, k)),
    ]
    return steps, [
        *fits,
        Implementation(f"torch.optim.SGD(lr={rate:.2g}), nn.Linear, {{}} steps", whole_fit, STEP_COUNTS),
    ]


def library_implementations(X: Array, y: Array) -> Implementations:
    """Return fits by scikit-learn and SciPy, which have no step to time."""
    from scipy.optimize import minimize
    from sklearn import linear_model
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def lbfgs(tolerance: float) -> Array:
        cost, start = LinearRegression().value_and_grad, np.zeros(X.shape[1] + 1)
        options = {"ftol": tolerance, "gtol": 0.0}
        return minimize(cost, start, (X, y), method="L-BFGS-B", jac=True, options=options).x

    def direct(_: None) -> Array:
        model = linear_model.LinearRegression().fit(X, y)
        return np.append(model.coef_, model.intercept_)

    def stochastic(tolerance: float, **settings: Any) -> Array:
        sgd = linear_model.SGDRegressor(penalty=None, tol=tolerance, max_iter=10_000, random_state=0, **settings)
        scaler, sgd = make_pipeline(StandardScaler(), sgd).fit(X, y).named_steps.values()
        coefficients = sgd.coef_ / scaler.scale_
        return np.append(coefficients, sgd.intercept_ - coefficients @ scaler.mean_)

    return [], [
        Implementation('minimize(hand gradient, jac=True, "L-BFGS-B", ftol={:g})', lbfgs, TOLERANCES),
        Implementation("LinearRegression()", direct),
        Implementation("SGDRegressor(penalty=None, tol={:g}), standardised", stochastic, TOLERANCES[2:]),
        Implementation(
            'SGDRegressor(penalty=None, tol={:g}, learning_rate="adaptive"), standardised',
            lambda tolerance: stochastic(tolerance, learning_rate="adaptive"),
            TOLERANCES[2:],
        ),
    ]


IMPLEMENTATIONS = {
    "numpy": numpy_implementations,
    "jax": jax_implementations,
    "torch": torch_implementations,
    "scikit-learn, scipy": library_implementations,
}
