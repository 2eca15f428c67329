"""Test one backend on every device available to it. This module runs in its own process."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from gdbackends.backends import DTYPES, Surroundings, get_backend
from gdbackends.comparison.referee import gradient_ratio
from gdbackends.datasets import women
from gdbackends.descent import fit
from gdbackends.doctor.diagnostics import Device, Trial, in_one_line
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import evaluate


def examine(name: str) -> Trial:
    """Return the result of testing the named backend on every available device."""
    info: Surroundings = getattr(get_backend(name), "surroundings", Surroundings)()
    devices = tuple(_on_device(name, Device(*device)) for device in info.devices)
    return Trial(name, devices, info.threads, info.library)


def _on_device(name: str, device: Device) -> Device:
    try:
        right = {dtype: _gradient_is_right(name, device.name, dtype) for dtype in DTYPES}
        data = women()
        theta = fit(data.X, data.y, backend=get_backend(name, device.name), steps=10).theta
    except Exception as error:  # a framework may raise anything, and the other devices must still be tried
        return replace(device, problem=in_one_line(error))
    expected, problems = _closed_form(data.X[:, 0], data.y), []
    if not np.allclose(theta, expected, rtol=1e-9, atol=0):  # float32 would have an error of 1e-7
        problems = [f"wrong coefficients, {_text(theta)} where {_text(expected)} is right"]
    problems += [f"a wrong gradient in {dtype}" for dtype in DTYPES if not right[dtype]]
    coefficients = tuple(float(t) if np.isfinite(t) else None for t in theta)
    return replace(device, **right, coefficients=coefficients, problem="; ".join(problems) or None)


def _gradient_is_right(name: str, device: str, dtype: str) -> bool:
    """Check that a gradient has the requested dtype and is correct within rounding, at a theta that is rounded."""
    backend, objective, data = get_backend(name, device, dtype), LinearModel(), women()
    theta = np.array([1 / 3, -0.1]).astype(dtype)
    _, gradient = backend.value_and_grad(objective)(*map(backend.asarray, (theta, data.X, data.y)))
    computed, true = backend.to_numpy(gradient), evaluate(objective, theta, data.X, data.y, dtype)
    return computed.dtype == dtype and gradient_ratio(computed, true.gradient, true.gradient_bound) <= 1


def _closed_form(x: Array, y: Array) -> Array:
    """Return the slope and intercept of the least-squares line through integer data, in exact arithmetic."""
    xs, ys = ([Fraction(int(v)) for v in column] for column in (x, y))
    n, sum_x, sum_y = len(xs), sum(xs), sum(ys)
    slope = (n * sum(a * b for a, b in zip(xs, ys, strict=True)) - sum_x * sum_y) / (
        n * sum(a * a for a in xs) - sum_x**2
    )
    return np.array([float(slope), float((sum_y - slope * sum_x) / n)])


def _text(theta: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in theta)
