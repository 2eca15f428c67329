"""The options of a fit, shared by the commands that make one, and the settings that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from gdbackends.errors import InputError
from gdbackends.objectives import LinearModel, loss_names, parse_loss

_OPTIONS = [
    click.option(
        "--objective",
        default="squared",
        show_default=True,
        help=f"The loss: {', '.join(loss_names())}; huber and quantile take a number, as in huber:1.5.",
    ),
    click.option("--l2", type=float, default=0.0, show_default=True, help="The weight of the penalty on the slopes."),
    click.option("--device", help="cpu; gpu (JAX), cuda or cuda:0 (both). NumPy stays on the CPU.  [default: cpu]"),
    click.option("--dtype", default="float64", show_default=True, help="float64 or float32."),
    click.option(
        "--tuning",
        default="best",
        show_default=True,
        help="best, idiomatic (as people usually write it) or compiled (PyTorch).",
    ),
    click.option("--steps", type=int, default=1000, show_default=True, help="The most steps to make."),
    click.option("--learning-rate", default="auto", show_default=True, help="A number, or auto."),
    click.option("--batch-size", type=int, help="Rows a step; 1 is stochastic.  [default: all rows]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the order of rows."),
    click.option(
        "--tolerance",
        type=float,
        help="Stop when the gradient has fallen to this part of its first norm; 0 makes all steps.  [default: 1e-12, "
        "float32 1e-5]",
    ),
    click.option("--no-standardize", is_flag=True, help="Descend in the features' own units."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
]


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a fit."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def takes_labels(options: Mapping[str, Any]) -> bool:
    """Return whether the loss needs a target of two labels."""
    return parse_loss(options["objective"]).target == "label"


def fit_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a fit from the options."""
    names = ("device", "dtype", "tuning", "steps", "batch_size", "seed", "tolerance")
    rate = options["learning_rate"]
    try:
        rate = rate if rate == "auto" else float(rate)
    except ValueError:
        raise InputError(f"--learning-rate must be a number or auto, got {rate!r}") from None
    objective = LinearModel(row_loss=parse_loss(options["objective"]), l2=options["l2"])
    return {"objective": objective, "learning_rate": rate, "standardize": not options["no_standardize"]} | {
        name: options[name] for name in names
    }
