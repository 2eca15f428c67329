"""Compare gradient checkers on a sample of the corpus: `python benchmarks/evidence/checkers.py [CASES]`.

Every checker judges the same gradients, half of them wrong, in float64 with its default tolerances: check_gradient,
torch.autograd.gradcheck (the gradient as the backward pass of a Function), jax.test_util.check_grads (as a custom_vjp,
with jax.enable_x64) and scipy.optimize.check_grad, which returns the norm of the error without a verdict; here an error
of more than 1e-6 of the gradient's norm is wrong. The sample excludes `kink` and the mistakes that appear only in a
second call (stale, nondeterministic, mutates-input).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import torch
from corpus import versions
from corpus_cases import Case, correct, faults
from corpus_judging import Runner, run
from corpus_problems import problems
from jax.test_util import check_grads
from scipy.optimize import check_grad
from torch.autograd.gradcheck import GradcheckError

EXCLUDED = {"stale", "nondeterministic", "mutates-input", "kink"}


def by_torch(case: Case) -> bool:
    p = case.problem

    class Hand(torch.autograd.Function):
        @staticmethod
        def forward(ctx, theta):
            ctx.save_for_backward(theta)
            return p.loss(theta, *map(torch.from_numpy, case.data), **p.params)

        @staticmethod
        def backward(ctx, cotangent):
            (theta,) = ctx.saved_tensors
            return cotangent * torch.as_tensor(case.hand(theta.detach().numpy().copy(), *case.data, **p.params))

    theta = torch.from_numpy(case.theta.copy()).requires_grad_()
    return torch.autograd.gradcheck(Hand.apply, (theta,))


def by_jax(case: Case) -> bool:
    p = case.problem
    with jax.enable_x64(True):
        data = [jnp.array(a) for a in case.data]

        @jax.custom_vjp
        def f(theta):
            return p.loss(theta, *data, **p.params)

        def backward(theta, cotangent):
            return (cotangent * jnp.asarray(case.hand(np.array(theta), *case.data, **p.params)),)

        f.defvjp(lambda theta: (f(theta), theta), backward)
        check_grads(f, (jnp.array(case.theta),), order=1, modes=["rev"])
    return True


def by_scipy(case: Case) -> bool:
    p = case.problem

    def loss(theta: np.ndarray) -> float:
        return float(p.loss(theta.reshape(p.shape), *case.data, **p.params))

    def gradient(theta: np.ndarray) -> np.ndarray:
        result = np.asarray(case.hand(theta.reshape(p.shape), *case.data, **p.params))
        return result.ravel() if result.shape == p.shape else result

    theta = case.theta.ravel()
    return bool(check_grad(loss, gradient, theta) <= 1e-6 * np.linalg.norm(gradient(theta)))


def passes(check: Callable[[Case], bool], case: Case) -> bool:
    try:
        with np.errstate(all="ignore"):
            return check(case)
    except (AssertionError, GradcheckError):
        return False
    except Exception:  # each checker raises another error for a wrong shape
        if case.passes:
            raise
        return False


def main(cases: int) -> int:
    chosen = problems()
    runner = Runner(chosen)
    drawn = faults(11, chosen)
    wrong = []
    while len(wrong) < cases // 2:
        case = next(drawn)
        if case.fault not in EXCLUDED and (outcome := runner.run(case)) is not None:
            wrong.append(outcome)
    right = run(correct(11, chosen, runner.autodiff), cases - len(wrong), runner)
    named = sum(o.named for o in wrong)
    failed = [sum(o.report.verdict == "fail" for o in group) for group in (wrong, right)]
    rows = [("check_gradient", *failed, named, float(np.median([o.seconds for o in (*wrong, *right)])))]
    others = {"torch.autograd.gradcheck": by_torch, "jax.test_util.check_grads": by_jax, "scipy check_grad": by_scipy}
    for name, check in others.items():
        times, rejected = [], [0, 0]
        for k, group in enumerate((wrong, right)):
            for outcome in group:
                before = perf_counter()
                rejected[k] += not passes(check, outcome.case)
                times.append(perf_counter() - before)
        rows.append((name, *rejected, 0, float(np.median(times))))
    print(f"{len(wrong)} wrong gradients and {len(right)} correct ones, float64; {versions()}\n")
    print("| checker | mistakes flagged | named | false alarms | median time |\n|---|--:|--:|--:|--:|")
    for name, flagged, alarms, names, seconds in rows:
        percentages = (
            f"{100 * flagged / len(wrong):.1f} % | {100 * names / len(wrong):.1f} % | {100 * alarms / len(right):.1f} %"
        )
        print(f"| {name} | {percentages} | {1e3 * seconds:.1f} ms |")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
