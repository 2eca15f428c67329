"""The linear model z = X w + b, and the chain rule through it: a row loss becomes an objective over theta."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from typing import Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from array_api_compat import array_namespace

from gdbackends.errors import InputError, InputTypeError
from gdbackends.objectives.row_losses import Array, RowLoss, SquaredError

Convention: TypeAlias = Literal["mean", "half", "sum"]


@runtime_checkable
class Objective(Protocol):
    """What can be minimised: a scalar loss, and its gradient derived by hand.

    The loss must be a mean over rows (plus, perhaps, a function of theta alone), written with operators and
    the functions of theta's own array namespace, so that JAX and PyTorch can differentiate it.
    """

    def loss(self, theta: Array, X: Array, y: Array) -> Array:
        """Return the scalar cost at theta."""
        ...

    def gradient(self, theta: Array, X: Array, y: Array) -> Array:
        """Return the derivative of the cost with respect to theta, of theta's shape."""
        ...


@dataclass(frozen=True)
class LinearModel:
    """The mean of a row loss over the predictions z = X w + b, plus `l2 * w.w`.

    Chain rule, once: dz_i/dw = x_i and dz_i/db = 1, so the gradient of mean(phi(z_i, y_i)) is
    (X^T phi' / n, sum(phi') / n): with a column of ones in X for the intercept, X^T phi' / n.

    Attributes:
        convention: "mean" (1/n), "half" (1/2n, so that the factor 2 of the power rule goes away) or "sum"
            (n times the mean). The penalty is the same in all three.
        l2: the weight of the penalty w.w, which never touches the intercept.
        row_loss: the loss of one row.
        total: "sum" only: the rows (the weight) of the whole, where X is a part of it; None means X is the
            whole. A part's value is `total` times its mean, so that the row-weighted mean of the parts
            is the value of the whole in every convention.
        ones: X already holds the column of ones as its last, (n, d + 1); then z = X theta, one product.
        rows_first: spell the product X w, as data whose rows lie together want it; not w X^T, as JAX wants it where
            features lie together. It changes the speed alone.

    >>> import numpy as np
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    >>> objective, theta = LinearModel(), np.array([1.0, 0.0])  # w = 1, b = 0: residuals -1, -2, -3
    >>> float(objective.loss(theta, X, y))  # (1 + 4 + 9) / 3
    4.666666666666666
    >>> objective.gradient(theta, X, y)  # 2 (-1 - 4 - 9) / 3 and 2 (-1 - 2 - 3) / 3
    array([-9.33333333, -4.        ])
    """

    convention: Convention = "mean"
    l2: float = 0.0
    row_loss: RowLoss = field(default_factory=SquaredError)
    total: float | None = None
    ones: bool = False
    rows_first: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown convention, a penalty that is no number >= 0, a row loss that is none."""
        if self.convention not in ("mean", "half", "sum"):
            raise InputError(f"convention must be 'mean', 'half' or 'sum', got {self.convention!r}")
        if not isinstance(self.l2, Real) or not (isfinite(self.l2) and self.l2 >= 0):
            raise InputError(f"l2 must be a finite number of at least 0, got {self.l2!r}")
        if self.total is not None and not self.total > 0:
            raise InputError(f"total must be a positive number of rows, got {self.total!r}")
        if not (hasattr(self.row_loss, "value") and hasattr(self.row_loss, "derivative")):
            raise InputTypeError(f"row_loss must have a value and a derivative, got {self.row_loss!r}")
        if isinstance(self.l2, np.generic):  # a NumPy float64 would make float32 into float64
            object.__setattr__(self, "l2", self.l2.item())

    def predict(self, theta: Array, X: Array) -> Array:
        """Return z = X w + b, of shape (n,)."""
        return self._product(theta, X) if self.ones else self._product(theta[:-1], X) + theta[-1]

    def loss(self, theta: Array, X: Array, y: Array, weights: Array | None = None) -> Array:
        """Return the scalar cost; `weights` (n,), >= 0, make it the row-weighted mean."""
        z = self._predict_rows(theta, X, y)
        return self._penalised(self._row_scale(y, weights) * self._total(z, y, weights), theta)

    def gradient(self, theta: Array, X: Array, y: Array, weights: Array | None = None) -> Array:
        """Return the gradient of the cost, of shape (d + 1,), derived by hand."""
        z = self._predict_rows(theta, X, y)
        return self._gradient(self._slope(z, y, weights), theta, X, self._row_scale(y, weights))

    def value_and_grad(self, theta: Array, X: Array, y: Array, weights: Array | None = None) -> tuple[Array, Array]:
        """Return the cost and its gradient, with the prediction computed once."""
        z, scale = self._predict_rows(theta, X, y), self._row_scale(y, weights)
        both: Any = getattr(self.row_loss, "total_and_derivative", None) if weights is None else None
        if both is None:
            value, slope = self._total(z, y, weights), self._slope(z, y, weights)
        else:
            value, slope = both(z, y)
        return self._penalised(scale * value, theta), self._gradient(slope, theta, X, scale)

    def prepare(self, X: Array, *, ones: bool = True, rows_first: bool = False) -> tuple[LinearModel, Array]:
        """Return the same objective, able to be run on parts of X (NumPy), and X, with its column of ones or without.

        One product with a column of ones takes 0.7 of the time of a product and an intercept (100 x 1, NumPy
        and PyTorch), and memory for one more feature.
        """
        total = float(X.shape[0]) if self.total is None else self.total
        objective = replace(self, total=total, ones=ones, rows_first=rows_first)
        return objective, self.design(X) if ones else X

    def design(self, X: Array) -> Array:
        """Return X (NumPy) with its column of ones."""
        return X if self.ones else np.concatenate((X, np.ones((X.shape[0], 1), X.dtype)), axis=1)

    def curvature(self, V: Array, X: Array) -> Array:
        """Return H V for V of shape (d + 1, m): H bounds the Hessian, and is it where phi' is linear.

        H = K (X 1)^T (X 1) / divisor + 2 l2 on the weights, K the Lipschitz constant of phi'. NumPy.
        """
        design = self.design(X)
        narrow = V.shape[1] < V.shape[0]  # else A^T A comes first: a quarter of the work, as BLAS knows it symmetric
        squares = design.T @ (design @ V) if narrow else (design.T @ design) @ V
        product = self.row_loss.lipschitz * squares / self.divisor(X.shape[0])
        product[:-1] += 2 * self.l2 * V[:-1]
        return product

    def row_curvature(self, X: Array) -> Array:
        """Return the bound K |(x_i 1)|^2 / divisor + 2 l2 on l_max of each row's Hessian, (n,). NumPy."""
        design = self.design(X)
        return self.row_loss.lipschitz * np.vecdot(design, design) / self.divisor(1) + 2 * self.l2

    @property
    def splits(self) -> bool:
        """Whether the row-weighted mean of the values over parts of the rows is the value over all."""
        return self.convention != "sum" or self.total is not None

    @property
    def smooth(self) -> bool:
        """Whether `curvature` bounds the Hessian everywhere: phi' has a Lipschitz constant."""
        return isfinite(self.row_loss.lipschitz)

    def minimum(self, X: Array, y: Array, start: Array) -> Array:
        """Return theta (d + 1,) of least cost for squared errors, the nearest to start where there are several. NumPy.

        Linear least squares by orthogonal factorisation, the penalty as further rows: it does not descend.
        """
        if not isinstance(self.row_loss, SquaredError):
            raise InputError(f"only squared errors have a closed minimum, got {self.row_loss!r}; use fit")
        design = self.design(np.asarray(X, np.float64))
        penalty = np.sqrt(self.l2 * self.divisor(X.shape[0])) * np.eye(design.shape[1])[:-1]
        rows = np.concatenate((design, penalty)) if self.l2 else design
        residual = np.concatenate((y - design @ start, -penalty @ start)) if self.l2 else y - design @ start
        size = np.linalg.norm(rows, axis=0)
        size[size == 0] = 1.0
        by_size = cast("tuple[Any, ...]", np.linalg.lstsq(rows / size, residual))
        if by_size[2] == start.size:  # full rank, one answer: columns of equal length find it most exactly
            return start + by_size[0] / size
        return start + cast(Array, np.linalg.lstsq(rows, residual)[0])

    def divisor(self, weight: Any) -> Any:
        """Return what divides a sum over rows (over that weight) to make the cost."""
        if self.convention == "sum":
            return weight / (weight if self.total is None else self.total)
        return weight if self.convention == "mean" else 2 * weight

    def _predict_rows(self, theta: Array, X: Array, y: Array) -> Array:
        z = self.predict(theta, X)
        if y.shape != z.shape:  # a y of shape (n, 1) would broadcast to (n, n), wrongly and alike everywhere
            raise InputError(f"y must have shape {tuple(z.shape)}, a number a row, got {tuple(y.shape)}; try y.ravel()")
        return z

    def _total(self, z: Array, y: Array, weights: Array | None) -> Array:
        """Return the (weighted) sum of phi over rows."""
        total: Any = getattr(self.row_loss, "total", None) if weights is None else None
        if total is not None:
            return total(z, y)
        phi = self.row_loss.value(z, y)
        return _sum(phi if weights is None else weights * phi)

    def _slope(self, z: Array, y: Array, weights: Array | None) -> Array:
        slope = self.row_loss.derivative(z, y)
        return slope if weights is None else weights * slope

    def _penalised(self, value: Array, theta: Array) -> Array:
        return value + self.l2 * (theta[:-1] @ theta[:-1]) if self.l2 else value

    def _gradient(self, slope: Array, theta: Array, X: Array, scale: Any) -> Array:
        gradient = scale * self._pull_back(slope, X)
        if self.l2:
            xp = array_namespace(theta)
            gradient = gradient + xp.concat((2 * self.l2 * theta[:-1], xp.zeros_like(theta[-1:])))
        return gradient

    def _product(self, w: Array, X: Array) -> Array:
        """Return X w. PyTorch's own method takes 77 us of a step's 97 (100 x 1); XLA reads feature-major data so."""
        if hasattr(X, "mv"):
            return X.mv(w)
        return X @ w if self.rows_first else w @ X.T

    def _pull_back(self, slope: Array, X: Array) -> Array:
        """Return X^T slope, the chain rule through `predict`."""
        if self.ones:
            return slope @ X
        xp = array_namespace(slope)
        return xp.concat((slope @ X, xp.sum(slope, keepdims=True)))

    def _row_scale(self, y: Array, weights: Array | None) -> Any:
        """Return what multiplies a sum over rows: dividing took PyTorch 104 us a step, not 93."""
        return 1 / self.divisor(y.shape[0] if weights is None else _sum(weights))


LinearRegression = LinearModel
"""The linear model of squared errors, which is what the defaults of `LinearModel` are."""


def _sum(array: Array) -> Array:
    """Return the sum by the array's method where it has one: NumPy's takes 1.0 us of a step's 9, its function 2.2."""
    return array.sum() if hasattr(array, "sum") else array_namespace(array).sum(array)
