"""The contract that every backend keeps, in both precisions."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gdbackends import LinearRegression, check_gradient, fit, get_backend
from gdbackends.backends import DTYPES, TUNINGS, Backend, capabilities, installed, names, tunings
from gdbackends.errors import InputError, InputTypeError, MissingBackendError
from gdbackends.rounding import evaluate
from gdbackends.rounding.exact import exact_value_and_grad


@dataclasses.dataclass(frozen=True)
class Quartic:
    """A user's own objective: the mean of the fourth power of the residual."""

    def loss(self, theta, X, y):
        return ((X @ theta[:-1] + theta[-1] - y) ** 4).mean()

    def gradient(self, theta, X, y):
        slope = 4 * (X @ theta[:-1] + theta[-1] - y) ** 3 / y.shape[0]
        return np.append(slope @ X, slope.sum())


def aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy whose buffer is 64-byte aligned, which JAX would share rather than copy."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def sample(dtype: str, n: int = 30, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.normal(size=s).astype(dtype) for s in (d + 1, (n, d), n))


def test_it_is_a_backend(backend: Backend) -> None:
    assert isinstance(backend, Backend)
    assert backend.name in names()
    assert backend.device == "cpu"
    assert backend == get_backend(backend.name, "cpu", backend.dtype)
    assert hash(backend) == hash(get_backend(backend.name, "cpu", backend.dtype))


@pytest.mark.parametrize("shape", [(7,), (5, 3), (1, 1), (4, 1), (1, 4), (), (2, 3, 4)])
def test_arrays_are_copied_in_and_out(backend: Backend, shape: tuple[int, ...]) -> None:
    original = aligned(np.random.default_rng(0).normal(size=shape).astype(backend.dtype))
    kept, native = original.copy(), backend.asarray(original)
    original[...] = -1
    out = backend.to_numpy(native)
    assert out.dtype == backend.dtype
    assert out.shape == shape
    assert (out == kept).all()
    out[...] = -2  # fresh and writable
    assert (backend.to_numpy(native) == kept).all()


def test_numbers_are_rounded_to_the_dtype_and_row_numbers_stay_whole(backend: Backend) -> None:
    assert backend.to_numpy(backend.asarray(np.array([1 / 3]))).dtype == backend.dtype
    assert backend.to_numpy(backend.asarray(np.array([[2, 1]]))).dtype.kind == "i"


@pytest.mark.parametrize("convention", ["mean", "half", "sum"])
@pytest.mark.parametrize("prepared", [False, True])
def test_value_and_grad_is_right_within_rounding(backend: Backend, convention: str, prepared: bool) -> None:
    for seed in range(20):
        theta, X, y = sample(backend.dtype, seed=seed)
        objective = LinearRegression(convention, l2=0.25)
        if prepared:
            objective, X = objective.prepare(X)
        value, gradient = backend.value_and_grad(objective)(*map(backend.asarray, (theta, X, y)))
        backend.synchronize(gradient)
        value, gradient = backend.to_numpy(value), backend.to_numpy(gradient)
        assert value.dtype == gradient.dtype == backend.dtype
        assert value.shape == ()
        assert gradient.shape == theta.shape
        exact_value, exact = exact_value_and_grad(objective, theta, X, y)
        at = evaluate(objective, theta, X, y, backend.dtype)
        assert abs(float(value) - float(exact_value)) <= at.loss_bound
        assert (np.abs(gradient.astype(float) - np.array(exact, float)) <= at.gradient_bound).all()


def test_an_objective_of_the_users_own(backend: Backend) -> None:
    theta, X, y = sample(backend.dtype)
    value, gradient = backend.value_and_grad(Quartic())(*map(backend.asarray, (theta, X, y)))
    rtol = 1e-12 if backend.dtype == "float64" else 1e-4
    np.testing.assert_allclose(backend.to_numpy(value), Quartic().loss(theta, X, y), rtol=rtol)
    np.testing.assert_allclose(backend.to_numpy(gradient), Quartic().gradient(theta, X, y), rtol=rtol, atol=rtol)


def test_an_objective_changed_in_place_is_not_remembered_as_it_was(backend: Backend) -> None:
    class Mutable:
        def __init__(self) -> None:
            self.factor = 1.0

        def loss(self, theta, X, y):
            return self.factor * LinearRegression().loss(theta, X, y)

        def gradient(self, theta, X, y):
            return self.factor * LinearRegression().gradient(theta, X, y)

    theta, X, y = map(backend.asarray, sample(backend.dtype))
    objective = Mutable()
    first, _ = backend.value_and_grad(objective)(theta, X, y)
    objective.factor = 2.0
    second, _ = backend.value_and_grad(objective)(theta, X, y)
    assert float(second) == 2 * float(first)


class Weighted:
    """A row loss that may be changed in place."""

    lipschitz = 2.0

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def value(self, z, y):
        return self.factor * (z - y) ** 2

    def derivative(self, z, y):
        return 2 * self.factor * (z - y)


def test_a_frozen_objective_that_holds_a_changing_one_is_not_remembered_either(backend: Backend) -> None:
    theta, X, y = map(backend.asarray, sample(backend.dtype))
    loss = Weighted(1.0)
    objective = LinearRegression(row_loss=loss)
    first, _ = backend.value_and_grad(objective)(theta, X, y)
    loss.factor = 2.0
    second, _ = backend.value_and_grad(objective)(theta, X, y)
    assert float(second) == pytest.approx(2 * float(first), rel=1e-6)


@dataclasses.dataclass(frozen=True)
class Shifted:
    """Equal to every other of its kind, whatever its shift."""

    shift: float = dataclasses.field(default=0.0, compare=False)

    def loss(self, theta, X, y):
        return ((X @ theta[:-1] + theta[-1] - y - self.shift) ** 2).mean()

    def gradient(self, theta, X, y):
        return LinearRegression().gradient(theta, X, y + self.shift)


def test_objectives_equal_by_some_fields_alone_are_not_confused(backend: Backend) -> None:
    theta, X, y = map(backend.asarray, sample(backend.dtype))
    values = {float(backend.value_and_grad(Shifted(s))(theta, X, y)[0]) for s in (0.0, 5.0)}
    assert len(values) == 2


def step(carry, x, data):
    value, rows = x
    return carry + value * data[rows].sum(), (carry.sum(), carry)


@pytest.mark.parametrize("length", [1, 2, 33])
def test_repeat_is_a_scan(backend: Backend, length: int) -> None:
    values = np.linspace(0, 1, length).astype(backend.dtype)
    rows = np.random.default_rng(0).integers(0, 6, size=(length, 2))
    data, carry = np.arange(6.0).astype(backend.dtype), np.zeros(3, backend.dtype)
    end, (sums, path) = backend.repeat(step, backend.asarray(carry), (values, rows), (backend.asarray(data),))
    expected = [carry]
    for value, chosen in zip(values, rows, strict=True):
        expected.append(expected[-1] + value * data[chosen].sum())
    rtol = 1e-12 if backend.dtype == "float64" else 1e-5
    np.testing.assert_allclose(backend.to_numpy(end), expected[-1], rtol=rtol)
    np.testing.assert_allclose(path, expected[:-1], rtol=rtol)
    np.testing.assert_allclose(sums, np.sum(expected[:-1], axis=1), rtol=rtol)
    assert isinstance(path, np.ndarray)
    assert path.dtype == backend.dtype
    path[...] = 0  # writable


def test_more_steps_than_one_compiled_block(backend: Backend) -> None:
    ones = np.ones(20_000, backend.dtype)
    end, (before,) = backend.repeat(lambda c, x: (c + x[0], (c,)), backend.asarray(np.zeros(1)), (ones,), ())
    assert float(backend.to_numpy(end)[0]) == 20_000
    assert (before[:, 0] == np.arange(20_000)).all()


def test_steps_in_groups_are_the_same_steps(require, monkeypatch: pytest.MonkeyPatch) -> None:
    require("jax")
    from gdbackends.backends import jax_backend

    plain, groups = jax_backend._loop, []

    def grouped(step, group):
        groups.append(group)
        return plain(step, 4)

    backend, carry = get_backend("jax"), np.zeros(3)
    monkeypatch.setattr(jax_backend, "_loop", grouped)
    for length in (1, 3, 4, 5, 18):
        values = np.linspace(0, 1, length)
        _, (sums,) = backend.repeat(lambda c, x: (c + x[0], (c[0],)), backend.asarray(carry), (values,), ())
        np.testing.assert_allclose(sums, np.cumsum(values) - values, atol=1e-12)
    assert set(groups) == {1}  # on the CPU


def test_pytorch_modes_of_the_caller_are_overruled_and_restored(require) -> None:
    require("torch")
    import torch

    from gdbackends.backends.torch_backend import TorchBackend

    before = torch.get_float32_matmul_precision()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            backend = TorchBackend(dtype="float32")
            theta, X, y = map(backend.asarray, sample("float32"))
            _, gradient = backend.value_and_grad(LinearRegression())(theta, X, y)
            assert gradient.shape == (4,)
            assert not torch.is_grad_enabled()
    torch.set_float32_matmul_precision("medium")
    try:
        seen = []

        def spy(carry, x):
            seen.append(torch.get_float32_matmul_precision())
            return carry, (carry,)

        TorchBackend().repeat(spy, torch.zeros(1), (np.ones(1),), ())
        assert seen == ["highest"]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_precisions_set_by_torch_backends_are_overruled_and_restored(require) -> None:
    require("torch")
    program = """
import numpy as np, torch
from gdbackends import LinearRegression, get_backend, fit
def modes():
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
for library in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul, torch.backends):
    usual, library.fp32_precision = library.fp32_precision, "tf32"
    before = modes()
    assert "tf32" in before
    X = np.arange(6.0)[:, None]
    backend = get_backend("torch", dtype="float32")
    theta = fit(X, 2 * X[:, 0], backend=backend).theta
    theta, X, y = map(backend.asarray, (theta, X, 2 * X[:, 0]))
    print(round(float(theta[0]), 3), float(backend.value(LinearRegression())(theta, X, y)) < 1e-6)
    assert backend.value_and_grad(LinearRegression())(theta, X, y)[1].shape == (2,)
    assert modes() == before, modes()
    library.fp32_precision = usual
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == 3 * "2.0 True\n"


@pytest.mark.parametrize("switch", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_jax_x64_switch_is_neither_read_nor_changed(require, switch: bool, dtype: str) -> None:
    require("jax")
    import jax

    from gdbackends.backends.jax_backend import JaxBackend

    with jax.enable_x64(switch):
        backend = JaxBackend(dtype=dtype)
        value, gradient = backend.value_and_grad(LinearRegression())(*map(backend.asarray, sample(dtype)))
        assert value.dtype == gradient.dtype == dtype
        assert jax.config.jax_enable_x64 is switch
    assert jax.config.jax_enable_x64 is False


def test_names_devices_and_dtypes_that_are_not() -> None:
    with pytest.raises(InputError, match="backend must be one of numpy, jax, torch, or module:name, got 'nunpy'"):
        get_backend("nunpy")
    with pytest.raises(InputError, match="got ''"):
        get_backend("")
    with pytest.raises(InputTypeError, match="got 3"):
        get_backend(3)  # pyright: ignore[reportArgumentType]
    for name in installed():
        with pytest.raises(InputError, match=f"device 'tpu:7' is not available for {name}; it has cpu"):
            get_backend(name, device="tpu:7")
        for dtype in ("float16", np.dtype("float32"), np.float32):
            with pytest.raises(InputError, match="dtype must be one of float64, float32, got"):
                get_backend(name, dtype=dtype)


def test_a_missing_framework_is_one_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdbackends.backends.find_spec", lambda package: None)
    with pytest.raises(MissingBackendError) as caught:
        get_backend("jax")
    assert str(caught.value) == (
        "backend 'jax' needs the package jax, which is not installed; run: pip install 'gdbackends[jax]'"
    )
    assert isinstance(caught.value, ImportError)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("name", "device"), [(name, device) for name in ("jax", "torch") for device in ("gpu", "gpu:0", "cuda", "cuda:0")]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gpu_computes_the_same(name: str, device: str, dtype: str) -> None:
    backend = get_backend(name, device, dtype)
    theta, X, y = sample(dtype, n=500, d=20)
    value, gradient = backend.value_and_grad(LinearRegression())(*map(backend.asarray, (theta, X, y)))
    exact_value, exact = exact_value_and_grad(LinearRegression(), theta, X, y)
    at = evaluate(LinearRegression(), theta, X, y, dtype)
    assert abs(float(backend.to_numpy(value)) - float(exact_value)) <= at.loss_bound
    assert (np.abs(backend.to_numpy(gradient).astype(float) - np.array(exact, float)) <= at.gradient_bound).all()


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "device"), [("jax", "gpu"), ("torch", "cuda")])
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gpu_makes_the_same_steps(name: str, device: str, dtype: str, batch_size: int | None) -> None:
    _, X, y = sample(dtype, n=50)
    options = {"steps": 75, "learning_rate": 0.05, "batch_size": batch_size, "record_path": True, "tolerance": 0.0}
    path = fit(X, y, backend=get_backend(name, device, dtype), **options).path
    expected = fit(X, y, backend=get_backend("numpy", dtype=dtype), **options).path
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "device"), [("jax", "gpu"), ("torch", "cuda")])
def test_the_memory_of_a_gpu_is_told(name: str, device: str) -> None:
    backend = get_backend(name, device)
    held = backend.asarray(np.ones((1000, 1000)))
    backend.synchronize(held)
    assert backend.peak_bytes() >= 8_000_000


def test_the_loss_alone_is_the_loss(backend) -> None:
    theta, X, y = sample(backend.dtype, n=50, d=3)
    arrays = [backend.asarray(a) for a in (theta, X, y)]
    alone = backend.value(LinearRegression())(*arrays)
    value, _ = backend.value_and_grad(LinearRegression())(*arrays)
    at = evaluate(LinearRegression(), theta, X, y, backend.dtype)
    assert abs(float(backend.to_numpy(alone)) - float(backend.to_numpy(value))) <= 2 * at.loss_bound
    assert getattr(backend, "peak_bytes", lambda: None)() is None


def test_what_is_forgotten_is_compiled_again(require) -> None:
    require("jax")
    backend = get_backend("jax")
    first = backend.value_and_grad(LinearRegression())
    assert backend.value_and_grad(LinearRegression()) is first
    backend.clear_cache()
    assert backend.value_and_grad(LinearRegression()) is not first


def test_threads_leave_the_settings_of_torch_as_they_were(require) -> None:
    require("torch")
    import torch

    def loss(t, X, y):
        return ((X @ t - y) ** 2).mean()

    def check(_: int) -> str:
        report = check_gradient(loss, lambda t, X, y: 2 * X.T @ (X @ t - y) / len(y), np.ones(2), X, y)
        fit(X, y, backend=get_backend("torch", dtype="float32"), steps=20)
        return report.verdict

    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0)
    torch.set_float32_matmul_precision("high")
    try:
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(check, range(12))) == {"pass"}
        assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == (torch.float32, "high")
    finally:
        torch.set_float32_matmul_precision("highest")


BUNDLED = ("numpy", "jax", "torch")
VARIANTS = [f"{name}:{tuning}:{dtype}" for name in BUNDLED for tuning in tunings(name) for dtype in DTYPES]


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, require) -> Backend:
    """Every tuning of every bundled backend, in both precisions."""
    name, tuning, dtype = request.param.split(":")
    require(name)
    return get_backend(name, dtype=dtype, tuning=tuning)


def test_every_variant_is_right_within_rounding(variant: Backend) -> None:
    theta, X, y = sample(variant.dtype)
    offered, plain = capabilities(variant), LinearRegression(l2=0.25)
    objective, stored = plain.prepare(X, **offered.layout_options())
    placed = [variant.asarray(a) for a in (theta, stored, y)]
    value, gradient = variant.value_and_grad(objective)(*placed)
    at = evaluate(objective, theta, stored, y, variant.dtype)
    for loss in (value, offered.value(objective)(*placed)):
        assert abs(float(loss) - at.loss) <= at.loss_bound
    for found in (gradient, offered.gradient(objective)(*placed)):
        assert (np.abs(variant.to_numpy(found) - at.gradient) <= at.gradient_bound).all()
    if variant.name != "numpy":
        v = np.linspace(-1, 1, theta.size)
        _, product = offered.hvp(objective)(placed[0], variant.asarray(v), *placed[1:])
        expected = plain.curvature(v[:, None], X.astype(float))[:, 0]
        np.testing.assert_allclose(
            variant.to_numpy(product), expected, rtol=1e-12 if variant.dtype == "float64" else 1e-5, atol=1e-6
        )


@pytest.mark.usefixtures("few_steps")
def test_repeat_is_a_scan_in_every_variant(variant: Backend) -> None:
    test_repeat_is_a_scan(variant, 10)


@dataclasses.dataclass(frozen=True)
class Powers:
    """The sum of r^2 for residuals r = theta^2 + c, where c depends on data of any number and shape."""

    splits = False

    def residuals(self, theta, *data):
        return theta * theta + sum((_total(a) for a in data), 0.5)

    def loss(self, theta, *data):
        r = self.residuals(theta, *data)
        return (r * r).sum()

    def gradient(self, theta, *data):
        return 4 * theta * self.residuals(theta, *data)

    def jacobian(self, theta, *data):
        return np.diag(2 * theta)

    def product(self, theta, v, *data):
        return (4 * self.residuals(theta, *data) + 8 * theta * theta) * v


def _total(array):
    return (array * array).sum() / 8


def arrays(kind: str) -> list[np.ndarray]:
    """Return data that are not (X, y) with a row of X for each number of y."""
    draw = np.random.default_rng(3).normal
    return {
        "none": [],
        "vector": [draw(size=5)],
        "matrix": [draw(size=(4, 3))],
        "integers": [np.arange(6), np.arange(6).reshape(2, 3)],
        "turned": [draw(size=6), draw(size=(6, 2))],
        "matrices": [draw(size=(6, 2)), draw(size=(3, 5))],
        "ragged": [draw(size=(3, 2)), draw(size=7)],
        "three": [draw(size=(5, 2)), draw(size=5), draw(size=(2, 3, 2))],
    }[kind]


KINDS = ["none", "vector", "matrix", "integers", "turned", "matrices", "ragged", "three"]


def is_slow(backend: Backend) -> bool:
    """Return whether each function and shape takes seconds to compile."""
    return capabilities(backend).tuning == "compiled"


def close(backend: Backend, found, expected) -> None:
    tolerance = 1e-12 if backend.dtype == "float64" else 2e-5
    found = backend.to_numpy(found)
    assert found.dtype == backend.dtype or backend.name == "numpy"  # which promotes float32 and integers to float64
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_data_may_be_any_arrays(variant: Backend, kind: str) -> None:
    """Every function has the values of NumPy's formulas in float64, and theta stays as it was."""
    if is_slow(variant) and (kind not in ("none", "three") or variant.dtype == "float32"):
        pytest.skip("compiled for two kinds of data in float64, which takes seconds")
    objective, offered = Powers(), capabilities(variant)
    data = arrays(kind)
    placed = [variant.asarray(a) for a in data]
    even = (KINDS.index(kind) + (variant.dtype == "float32")) % 2 == 0  # every kind has either size in one dtype
    for size in (1,) if even and not is_slow(variant) else (4,):
        theta, v = np.random.default_rng(size).normal(size=(2, size)).astype(variant.dtype)
        at, along, wide = variant.asarray(theta), variant.asarray(v), theta.astype(float)
        value, gradient = variant.value_and_grad(objective)(at, *placed)
        close(variant, value, objective.loss(wide, *data))
        close(variant, gradient, objective.gradient(wide, *data))
        close(variant, offered.value(objective)(at, *placed), objective.loss(wide, *data))
        close(variant, offered.gradient(objective)(at, *placed), objective.gradient(wide, *data))
        if variant.name != "numpy":
            value, product = offered.hvp(objective)(at, along, *placed)
            close(variant, value, objective.loss(wide, *data))
            close(variant, product, objective.product(wide, v.astype(float), *data))
            for mode in ("forward", "reverse"):
                jacobian = offered.jacobian(objective.residuals, mode)(at, *placed)
                close(variant, jacobian, objective.jacobian(wide, *data))
        assert (variant.to_numpy(at) == theta).all()


def test_numpy_has_no_second_derivatives() -> None:
    offered = capabilities(get_backend("numpy"))
    assert offered.hvp(Powers()) is None
    assert offered.jacobian(Powers().residuals, "forward") is None


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_an_unknown_mode_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="mode must be forward or reverse, got 'both'"):
        capabilities(get_backend(name)).jacobian(Powers().residuals, "both")


@pytest.mark.parametrize("kind", ["none", "matrices", "three"])
@pytest.mark.usefixtures("few_steps")
def test_steps_may_use_any_data_and_any_function(variant: Backend, kind: str) -> None:
    """The same steps in every variant: by the gradient alone, the loss alone, and the data themselves."""
    if is_slow(variant) and (kind != "three" or variant.dtype == "float32"):
        pytest.skip("compiled for one kind of data in float64, which takes seconds")
    objective, offered = Powers(), capabilities(variant)
    value, gradient = offered.value(objective), offered.gradient(objective)
    data, rates = arrays(kind), np.linspace(0.001, 0.002, 10).astype(variant.dtype)

    def own_step(theta, x, *data):
        total = sum((_total(a) for a in data), 0.5)
        return theta - x[0] * gradient(theta, *data), (value(theta, *data), total + 0 * theta.sum())

    theta = np.array([0.3, -0.2, 0.5]).astype(variant.dtype)
    end, (losses, totals) = variant.repeat(
        own_step, variant.asarray(theta), (rates,), [variant.asarray(a) for a in data]
    )
    at, expected = theta.astype(float), []
    for rate in rates.astype(float):
        expected.append(objective.loss(at, *data))
        at = at - rate * objective.gradient(at, *data)
    close(variant, end, at)
    tolerance = 1e-12 if variant.dtype == "float64" else 1e-4
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    np.testing.assert_allclose(totals, sum((_total(a) for a in data), 0.5), rtol=tolerance)
    assert losses.dtype == variant.dtype


def test_tunings_are_listed_without_importing_a_framework() -> None:
    assert {name: tunings(name) for name in BUNDLED} == {
        "numpy": ("best", "idiomatic"),
        "jax": ("best", "idiomatic", "eager"),
        "torch": ("best", "idiomatic", "functional", "compiled"),
    }
    assert set().union(*map(tunings, BUNDLED)) == set(TUNINGS)
    assert tunings("another") == tunings("package:make") == ("best",)
    code = "import sys; from gdbackends.backends import tunings; tunings('jax'), tunings('torch'); "
    code += "assert not {'jax', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("tuning", [t for t in tunings("torch") if t != "compiled"])
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_every_function_of_pytorch_overrules_the_modes_of_the_caller(require, tuning: str, mode: str) -> None:
    """Also for theta that was made in inference mode, as by a caller's own step."""
    require("torch")
    import torch

    backend, objective = get_backend("torch", tuning=tuning), Powers()
    data = [backend.asarray(a) for a in arrays("three")]
    theta = np.array([0.3, -0.2])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with getattr(torch, mode)():
            at = backend.asarray(theta) * 1.0
            _, gradient = backend.value_and_grad(objective)(at, *data)
            close(backend, gradient, objective.gradient(theta, *arrays("three")))
            close(backend, backend.gradient(objective)(at, *data), objective.gradient(theta, *arrays("three")))
            close(backend, backend.value(objective)(at, *data), objective.loss(theta, *arrays("three")))
            close(backend, backend.hvp(objective)(at, at, *data)[1], objective.product(theta, theta, *arrays("three")))
            for way in ("forward", "reverse"):
                close(backend, backend.jacobian(objective.residuals, way)(at, *data), np.diag(2 * theta))
            assert not torch.is_grad_enabled()
            assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
