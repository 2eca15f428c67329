"""The linear model z = X w + b, and the chain rule through it: a row loss becomes an objective over theta."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from array_api_compat import array_namespace

from gdbackends.errors import InputError
from gdbackends.objectives.row_losses import Array, RowLoss, SquaredError, as_row_loss, sum_of

Convention: TypeAlias = Literal["mean", "half", "sum"]


@runtime_checkable
class Objective(Protocol):
    """What can be minimised: a scalar loss, and its gradient derived by hand.

    The loss must be a mean over rows (plus, perhaps, a function of theta alone), written with operators and
    the functions of theta's own array namespace, so that JAX and PyTorch can differentiate it.
    """

    def loss(self, theta: Array, X: Array, y: Array, /) -> Array:
        """Return the scalar cost at theta."""
        ...

    def gradient(self, theta: Array, X: Array, y: Array, /) -> Array:
        """Return the derivative of the cost with respect to theta, of theta's shape."""
        ...


@dataclass(frozen=True)
class Layout:
    """How a prepared linear model sees its data; it changes the speed, not the mathematics.

    Attributes:
        total: the rows (the weight) of the whole, of which X may be a part; None if X is the whole. In the convention
            "sum" the value of a part is `total` times its mean, so that the row-weighted mean of the parts is the value
            of the whole in every convention.
        ones: whether X holds the column of ones as its last, (n, d + 1); then z = X theta, one product.
        rows_first: whether to write the product as X w, for data that are contiguous by rows, or as w X^T, for data
            that are contiguous by features.
    """

    total: float | None = None
    ones: bool = False
    rows_first: bool = False


@dataclass(frozen=True)
class LinearModel:
    """The mean of a row loss over the predictions z = X w + b, plus `l2 * w.w`.

    Chain rule, once: dz_i/dw = x_i and dz_i/db = 1, so the gradient of mean(phi(z_i, y_i)) is
    (X^T phi' / n, sum(phi') / n): with a column of ones in X for the intercept, X^T phi' / n.

    Attributes:
        convention: "mean" (1/n), "half" (1/2n, which cancels the factor 2 of the power rule) or "sum" (n times the
            mean). The penalty is the same in all three.
        l2: the weight of the penalty w.w, which does not include the intercept.
        row_loss: the loss of one row, a RowLoss or any object with `value` and `derivative`.

    Raises:
        InputError: an unknown convention, or an l2 that is not a finite number of at least 0.
        InputTypeError: a row loss without a value or a derivative.

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

    layout: ClassVar[Layout] = Layout()

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.convention not in ("mean", "half", "sum"):
            raise InputError(f"convention must be 'mean', 'half' or 'sum', got {self.convention!r}")
        if not isinstance(self.l2, Real) or not (isfinite(self.l2) and self.l2 >= 0):
            raise InputError(f"l2 must be a finite number of at least 0, got {self.l2!r}")
        object.__setattr__(self, "row_loss", as_row_loss(self.row_loss))
        if isinstance(self.l2, np.generic):  # a NumPy float64 would promote float32 to float64
            object.__setattr__(self, "l2", self.l2.item())

    def predict(self, theta: Array, X: Array) -> Array:
        """Return z = X w + b, of shape (n,)."""
        return self._product(theta, X) if self.layout.ones else self._product(theta[:-1], X) + theta[-1]

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
        if weights is None:
            value, slope = self.row_loss.total_and_derivative(z, y)
        else:
            value, slope = self._total(z, y, weights), self._slope(z, y, weights)
        return self._penalised(scale * value, theta), self._gradient(slope, theta, X, scale)

    def prepare(self, X: Array, *, ones: bool = True, rows_first: bool = False) -> tuple[LinearModel, Array]:
        """Return the model as it runs on X and on parts of X, and X (NumPy), with its column of ones if `ones`.

        One product with a column of ones takes 0.7 of the time of a product and an intercept (100 x 1, NumPy
        and PyTorch), and memory for one more feature.
        """
        return self.prepare_rows(X.shape[0], ones=ones, rows_first=rows_first), self.design(X) if ones else X

    def prepare_rows(self, rows: int, *, ones: bool = True, rows_first: bool = False) -> LinearModel:
        """Return the model as it runs on parts of so many rows."""
        return PreparedModel(self.convention, self.l2, self.row_loss, Layout(float(rows), ones, rows_first))

    def design(self, X: Array) -> Array:
        """Return X (NumPy) with its column of ones."""
        return X if self.layout.ones else np.concatenate((X, np.ones((X.shape[0], 1), X.dtype)), axis=1)

    def curvature(self, V: Array, X: Array) -> Array:
        """Return H V for V of shape (d + 1, m); H bounds the Hessian, and equals it if phi' is linear.

        H = K (X 1)^T (X 1) / divisor + 2 l2 on the weights, where K is the Lipschitz constant of phi'. NumPy.
        """
        design = self.design(X)
        narrow = V.shape[1] < V.shape[0]  # else A^T A first: a quarter of the work, since BLAS uses its symmetry
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
        return self.convention != "sum" or self.layout.total is not None

    @property
    def smooth(self) -> bool:
        """Whether `curvature` bounds the Hessian everywhere: phi' has a Lipschitz constant."""
        return isfinite(self.row_loss.lipschitz)

    def minimum(self, X: Array, y: Array, start: Array) -> Array:
        """Return theta (d + 1,) of least cost for squared errors, the nearest to start if there are several. NumPy.

        Linear least squares by orthogonal factorisation, with the penalty as additional rows; nothing descends.
        """
        if not self.row_loss.least_squares:
            raise InputError(f"only squared errors have a closed-form minimum, got {self.row_loss!r}; use fit")
        design = self.design(np.asarray(X, np.float64))
        penalty = np.sqrt(self.l2 * self.divisor(X.shape[0])) * np.eye(design.shape[1])[:-1]
        rows = np.concatenate((design, penalty)) if self.l2 else design
        residual = np.concatenate((y - design @ start, -penalty @ start)) if self.l2 else y - design @ start
        size = np.linalg.norm(rows, axis=0)
        size[size == 0] = 1.0
        by_size = cast("tuple[Any, ...]", np.linalg.lstsq(rows / size, residual))
        if by_size[2] == start.size:  # full rank: columns of equal length give the most accurate answer
            return start + by_size[0] / size
        return start + cast(Array, np.linalg.lstsq(rows, residual)[0])

    def divisor(self, weight: Any) -> Any:
        """Return the divisor that turns a sum over rows of that weight into the cost."""
        if self.convention == "sum":
            return weight / (weight if self.layout.total is None else self.layout.total)
        return weight if self.convention == "mean" else 2 * weight

    def _predict_rows(self, theta: Array, X: Array, y: Array) -> Array:
        z = self.predict(theta, X)
        if y.shape != z.shape:  # y of shape (n, 1) would broadcast to (n, n) in every framework
            raise InputError(
                f"y must have shape {tuple(z.shape)}, one number per row, got {tuple(y.shape)}; try y.ravel()"
            )
        return z

    def _total(self, z: Array, y: Array, weights: Array | None) -> Array:
        """Return the (weighted) sum of phi over rows."""
        return self.row_loss.total(z, y) if weights is None else sum_of(weights * self.row_loss.value(z, y))

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
        """Return X w, by PyTorch's method if there is one (77 us instead of 97 in a step of 100 x 1)."""
        if hasattr(X, "mv"):
            return X.mv(w)
        return X @ w if self.layout.rows_first else w @ X.T

    def _pull_back(self, slope: Array, X: Array) -> Array:
        """Return X^T slope, the chain rule through `predict`."""
        if self.layout.ones:
            return slope @ X
        xp = array_namespace(slope)
        return xp.concat((slope @ X, xp.sum(slope, keepdims=True)))

    def _row_scale(self, y: Array, weights: Array | None) -> Any:
        """Return the factor of a sum over rows; dividing instead made a step of PyTorch take 104 us, not 93."""
        return 1 / self.divisor(y.shape[0] if weights is None else sum_of(weights))


@dataclass(frozen=True)
class PreparedModel(LinearModel):
    """A linear model with the layout of its data, as `LinearModel.prepare` returns it."""

    def __post_init__(self) -> None:
        """Check nothing: the model was checked when it was made."""

    layout: Layout = LinearModel.layout  # pyright: ignore[reportIncompatibleVariableOverride]


LinearRegression = LinearModel
"""The linear model of squared errors, which is the default of `LinearModel`."""
