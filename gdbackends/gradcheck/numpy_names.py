"""The functions of JAX and PyTorch for those of NumPy, SciPy and the standard library's math."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
# The libraries' own annotations are partial.

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

METHODS = {
    ("add", "reduce"): "sum",
    ("multiply", "reduce"): "prod",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("add", "accumulate"): "cumsum",
    ("multiply", "accumulate"): "cumprod",
}
"""The function for a method of a ufunc."""

_SAME = {
    **{"absolute": "abs", "conjugate": "conj", "true_divide": "divide", "concat": "concatenate", "pow": "power"},
    **{"acos": "arccos", "asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "amax": "max", "amin": "min"},
    **{"acosh": "arccosh", "asinh": "arcsinh", "atanh": "arctanh", "permute_dims": "transpose", "psi": "digamma"},
}
"""Names of NumPy that have another name in a framework."""


class Names:
    """The functions of a framework by those of NumPy and SciPy.

    Attributes:
        framework: "jax" or "torch".
        namespace: its functions with NumPy's names.
    """

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self.namespace: Any = import_module("jax.numpy" if framework == "jax" else "torch._numpy")
        self._special = _jax_special() if framework == "jax" else _torch_special(self.namespace)
        self._linalg = _jax_linalg() if framework == "jax" else _torch_linalg(self.namespace)

    def find(self, func: Any) -> Callable[..., Any] | None:
        """Return the function for a function of NumPy that its protocols dispatch; None if the framework has none."""
        name: str = func.__name__
        module = str(getattr(func, "__module__", None) or "")
        if isinstance(func, np.ufunc) and getattr(np, name, None) is not func:
            return self._special(name)
        space = self.namespace
        for part in ("linalg", "fft"):
            space = getattr(self.namespace, part) if module.startswith(f"numpy.{part}") else space
        for candidate in (name, _SAME.get(name, name)):
            if hasattr(space, candidate):
                return getattr(space, candidate)
        return None if self.framework == "jax" else _torch_missing(self.namespace).get(name)

    def python_functions(self) -> Iterator[tuple[Any, Callable[..., Any]]]:
        """Yield functions of math and SciPy that no protocol dispatches, each with that of the framework."""
        for name in (
            "exp",
            "log",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "tanh",
            "sinh",
            "cosh",
            "log1p",
            "expm1",
            "fabs",
            "atan",
        ):
            yield getattr(math, name), getattr(self.namespace, {"fabs": "abs", "atan": "arctan"}.get(name, name))
        yield math.pow, self.namespace.power
        for name in ("lgamma", "erf", "erfc"):
            yield getattr(math, name), self._special("gammaln" if name == "lgamma" else name)
        special = sys.modules.get("scipy.special")
        for name in ("logsumexp", "softmax", "log_softmax", "multigammaln", "polygamma"):
            if special is not None and (found := self._special(name)) is not None:
                yield getattr(special, name), found
        distance = sys.modules.get("scipy.spatial.distance")
        for name, function in _distances(self.namespace).items() if distance is not None else ():
            yield getattr(distance, name), function
        linalg = sys.modules.get("scipy.linalg")
        for name in _LINALG:
            if linalg is not None and (found := self._linalg(name)) is not None:
                yield getattr(linalg, name), found


_LINALG = ("cholesky", "cho_factor", "cho_solve", "solve", "solve_triangular", "inv", "det", "expm", "eigh", "norm")
_IGNORED = {"check_finite", "overwrite_a", "overwrite_b", "assume_a"}
"""Arguments of scipy.linalg that do not change the result."""


def _jax_special() -> Callable[[str], Any]:
    special = import_module("jax.scipy.special")
    return lambda name: getattr(special, name, getattr(special, _SAME.get(name, ""), None))


def _jax_linalg() -> Callable[[str], Any]:
    linalg, names = import_module("jax.scipy.linalg"), import_module("jax.numpy")

    def find(name: str) -> Any:
        function = names.linalg.norm if name == "norm" else getattr(linalg, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{key: v for key, v in kwargs.items() if key not in _IGNORED})

        return call

    return find


def _on_tensors(namespace: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of PyTorch's own tensors as one of its NumPy arrays; numbers become tensors of float64."""
    torch = import_module("torch")

    def tensor(value: Any) -> Any:
        if isinstance(value, (float, np.ndarray)):
            return torch.as_tensor(value, dtype=torch.float64)
        return getattr(value, "tensor", value)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*map(tensor, args), **{key: tensor(v) for key, v in kwargs.items()})
        return tuple(map(namespace.asarray, result)) if isinstance(result, tuple) else namespace.asarray(result)

    return call


def _torch_special(namespace: Any) -> Callable[[str], Any]:
    torch = import_module("torch")
    special = torch.special

    def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Any:
        if b is not None:
            a = a + torch.log(torch.as_tensor(b, dtype=a.dtype))
        return torch.logsumexp(a, tuple(range(a.ndim)) if axis is None else axis, keepdims)

    def of_all(function: Any) -> Any:
        return lambda x, axis=None: function(
            x if axis is not None else x.ravel(), -1 if axis is None else axis
        ).reshape(x.shape)

    own = {
        "logsumexp": logsumexp,
        "softmax": of_all(torch.softmax),
        "log_softmax": of_all(torch.log_softmax),
        "gamma": lambda x: torch.exp(special.gammaln(x)),
        "betaln": lambda a, b: special.gammaln(a) + special.gammaln(b) - special.gammaln(a + b),
        "beta": lambda a, b: torch.exp(special.gammaln(a) + special.gammaln(b) - special.gammaln(a + b)),
        "log_expit": torch.nn.functional.logsigmoid,
        "rel_entr": lambda x, y: special.xlogy(x, x / y),
        "kl_div": lambda x, y: special.xlogy(x, x / y) - x + y,
        "xlogy": lambda x, y: special.xlogy(torch.as_tensor(x, dtype=torch.float64), y),
        "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    }

    def find(name: str) -> Any:
        function = own.get(name) or getattr(special, name, getattr(special, _SAME.get(name, ""), None))
        return None if function is None else _on_tensors(namespace, function)

    return find


def _torch_linalg(namespace: Any) -> Callable[[str], Any]:
    torch = import_module("torch")
    linalg = torch.linalg

    def columns(solve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return a solver of matrices as one of vectors too."""
        return lambda a, b: solve(a, b[:, None])[:, 0] if b.ndim == 1 else solve(a, b)

    def cholesky(a: Any, lower: bool = False) -> Any:
        return linalg.cholesky(a) if lower else linalg.cholesky(a).mT

    def cho_solve(factor: Any, b: Any) -> Any:
        (a, lower), b = factor, torch.as_tensor(getattr(b, "tensor", b), dtype=torch.float64)
        a = getattr(a, "tensor", a)
        return columns(lambda a, b: torch.cholesky_solve(b, a, upper=not lower))(a, b)

    def triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
        turned = trans in (1, "T", 2, "C")
        a, upper = (a.mT, lower) if turned else (a, not lower)
        return columns(lambda a, b: linalg.solve_triangular(a, b, upper=upper, unitriangular=unit_diagonal))(a, b)

    own: dict[str, Callable[..., Any]] = {
        "cholesky": cholesky,
        "cho_factor": cholesky,
        "cho_solve": cho_solve,
        "solve": columns(linalg.solve),
        "solve_triangular": triangular,
        "inv": linalg.inv,
        "det": linalg.det,
        "expm": linalg.matrix_exp,
        "eigh": linalg.eigh,
        "norm": linalg.norm,
    }

    def find(name: str) -> Any:
        function = _on_tensors(namespace, own[name])

        def call(*args: Any, **kwargs: Any) -> Any:
            kwargs = {key: v for key, v in kwargs.items() if key not in _IGNORED}
            result = function(*args, **kwargs)
            return (result, kwargs.get("lower", False)) if name == "cho_factor" else result

        return call

    return find


def _distances(namespace: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions of scipy.spatial.distance for Euclidean distances."""

    def cdist(a: Any, b: Any, metric: str = "euclidean") -> Any:
        if metric not in ("euclidean", "sqeuclidean"):
            raise TypeError(f"no metric {metric} but Euclidean ones")
        a, b = namespace.asarray(a), namespace.asarray(b)
        apart = a[:, None, :] - b[None, :, :]
        squares = (apart * apart).sum(-1)
        if metric == "sqeuclidean":
            return squares
        positive = squares > 0  # the root has no derivative at 0
        return namespace.where(positive, namespace.sqrt(namespace.where(positive, squares, 1.0)), 0.0)

    def pdist(a: Any, metric: str = "euclidean") -> Any:
        return cdist(a, a, metric)[np.triu_indices(len(a), 1)]

    def squareform(a: Any, *_: Any, **__: Any) -> Any:
        if a.ndim == 2:
            return a[np.triu_indices(len(a), 1)]
        n = round((1 + (1 + 8 * len(a)) ** 0.5) / 2)
        places = np.zeros((n, n), int)
        places[np.triu_indices(n, 1)] = np.arange(len(a))
        return namespace.where(namespace.asarray(np.eye(n, dtype=bool)), 0.0, a[places + places.T])

    return {"cdist": cdist, "pdist": pdist, "squareform": squareform}


def _torch_missing(namespace: Any) -> dict[str, Callable[..., Any]]:
    """Return functions of NumPy that PyTorch's namespace lacks."""

    def without_nan(reduce: Any) -> Any:
        return lambda a, **kwargs: reduce(namespace.where(namespace.isnan(a), 0.0, a), **kwargs)

    def trapezoid(y: Any, x: Any = None, dx: Any = 1.0) -> Any:
        steps = dx if x is None else x[1:] - x[:-1]
        return ((y[..., 1:] + y[..., :-1]) / 2 * steps).sum(-1)

    return {
        "nansum": without_nan(namespace.sum),
        "trapezoid": trapezoid,
        "extract": lambda condition, a: a.reshape(-1)[np.asarray(condition, bool).ravel()],
        "vecdot": lambda a, b: (a * b).sum(-1),
        "matvec": lambda a, b: namespace.matmul(a, b[..., None])[..., 0],
        "matrix_transpose": lambda a: namespace.swapaxes(a, -1, -2),
        "polyval": lambda p, x: sum((c * x ** (len(p) - 1 - k) for k, c in enumerate(p)), start=0.0 * x),
        "polyder": lambda p: p[:-1] * namespace.asarray(np.arange(len(p) - 1, 0, -1.0)),
    }
