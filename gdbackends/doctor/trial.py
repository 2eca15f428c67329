"""Try one backend on every device it finds; run in its own process."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from gdbackends.backends import DTYPES, capabilities, get_backend
from gdbackends.datasets import women
from gdbackends.descent import fit
from gdbackends.doctor.diagnostics import Device, Trial
from gdbackends.errors import BackendError, InputError, in_one_line
from gdbackends.objectives import Array, LinearModel
from gdbackends.rounding import Limit, evaluate


def examine(name: str) -> Trial:
    """Return what the backend does on every device it finds."""
    info = capabilities(get_backend(name)).system_info()
    devices = tuple(_on_device(name, Device(*device)) for device in info.devices)
    return Trial(name, devices, info.threads, info.library)


def _on_device(name: str, device: Device) -> Device:
    try:
        right = {dtype: _gradient_is_right(name, device.name, dtype) for dtype in _dtypes(name, device.name)}
        data = women()
        theta = fit(data.X, data.y, backend=get_backend(name, device.name), steps=10).theta
    except Exception as error:  # any error of a framework; the other devices are still tried
        return replace(device, problem=in_one_line(error))
    expected, problems = _closed_form(data.X[:, 0], data.y), []
    if not np.allclose(theta, expected, rtol=1e-9, atol=0):  # float32 would be 1e-7 off
        problems = [f"wrong coefficients: {_text(theta)}, expected {_text(expected)}"]
    problems += [f"a wrong gradient in {dtype}" for dtype in right if not right[dtype]]
    coefficients = tuple(float(t) if np.isfinite(t) else None for t in theta)
    return replace(device, **right, coefficients=coefficients, problem="; ".join(problems) or None)


def _dtypes(name: str, device: str) -> list[str]:
    """Return the dtypes that the backend has; one of another package may lack some."""
    found: list[str] = []
    for dtype in DTYPES:
        try:
            get_backend(name, device, dtype)
        except BackendError:
            raise
        except InputError:
            continue
        found.append(dtype)
    return found


def _gradient_is_right(name: str, device: str, dtype: str) -> bool:
    """Return whether a gradient has the requested dtype and is right within its rounding."""
    backend, objective, data = get_backend(name, device, dtype), LinearModel(), women()
    theta = np.array([1 / 3, -0.1]).astype(dtype)
    _, gradient = backend.value_and_grad(objective)(*map(backend.asarray, (theta, data.X, data.y)))
    computed, true = backend.to_numpy(gradient), evaluate(objective, theta, data.X, data.y, dtype)
    return computed.dtype == dtype and Limit(2 * true.gradient_bound).ratio(computed, true.gradient) <= 1


def _closed_form(x: Array, y: Array) -> Array:
    """Return slope and intercept of least squares of whole numbers, in exact arithmetic."""
    xs, ys = ([Fraction(int(v)) for v in column] for column in (x, y))
    n, sum_x, sum_y = len(xs), sum(xs), sum(ys)
    slope = (n * sum(a * b for a, b in zip(xs, ys, strict=True)) - sum_x * sum_y) / (
        n * sum(a * a for a in xs) - sum_x**2
    )
    return np.array([float(slope), float((sum_y - slope * sum_x) / n)])


def _text(theta: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in theta)
