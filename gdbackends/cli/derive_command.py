"""`gdbackends derive`: the steps from a loss to its gradient, as text, LaTeX or JSON."""

from __future__ import annotations

import click

from gdbackends.cli.console import print_json
from gdbackends.derivation import derive
from gdbackends.objectives import loss_names


@click.command("derive")
@click.argument("loss", default="squared")
@click.option("--latex", is_flag=True, help="Print a LaTeX align environment for each loss.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with both the text and the LaTeX.")
def command(loss: str, latex: bool, as_json: bool) -> None:
    """Derive the gradient of the cost of the line z = m x + b step by step, by the power rule and the chain rule.

    LOSS is squared (the default), absolute, huber:DELTA, quantile:Q, logcosh, logistic, poisson, or all of them: all.
    """
    derivations = [derive(name) for name in (loss_names() if loss == "all" else (loss,))]
    if as_json:
        print_json({"schema": 1, "derivations": [derivation.to_dict() for derivation in derivations]})
        return
    texts = [f"% {each.loss}\n{each.latex}" if latex else f"{each.loss}\n\n{each}" for each in derivations]
    click.echo("\n\n".join(texts))
