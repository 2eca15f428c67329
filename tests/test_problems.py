"""The ready problems: published values, independent formulas, and gradients that pass in both frameworks."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import numpy as np
import pytest
from scipy.cluster.vq import vq
from scipy.special import logsumexp, multigammaln

from gdbackends import check_gradient, get_backend
from gdbackends.errors import InputError
from gdbackends.problems import PROBLEMS, gmm, kmeans, llsq, load_problem, lse, parse_problem

# data/gmm/test.txt of ADBench, https://github.com/microsoft/ADBench: d = 2, K = 3, n = 1, gamma = 1, m = 0
SMALL = gmm.Mixture(
    np.array([-0.649014, 1.181166, -0.758453]),
    np.array([[0.092339, 0.186260], [0.345561, 0.396767], [0.538817, 0.419195]]),
    np.array([[0.586443, -0.851887, 0.800321], [-1.509405, 0.875874, -0.242790], [0.166813, -1.965419, -1.270071]]),
)
SMALL_X = np.array([[1.175171, 2.029160]])
# test/cpp/modules/common/GmmTests.cpp of ADBench, which allows an error of 1e-8
OBJECTIVE = 8.07380408004975791
ALPHAS = [1.08662855508652456e-01, -7.41270039523898472e-01, 6.32607184015246071e-01]
MEANS = [1.11692576532787013, 1.63333013551455269e-01, -2.19989824071193142e-02, 2.27778292254236098e-01]
MEANS += [1.20963025612832187, -6.06375920733956339e-02]
ICF = [2.58529994051162237, 1.12632694524213789e-01, 3.85744309849611777e-01, 7.35180573182305508e-02]
ICF += [5.41836362715595232, -3.21494409677446469e-01, 1.71892309775004937, 8.60091090790866875e-01]
ICF += [-9.94640930466322848e-01]

SIZES = {"small": (12, 3), "medium": (200, 4)}


@pytest.fixture
def frameworks(require) -> None:
    for name in ("jax", "torch"):
        require(name)


def problem(name: str, rows: int, features: int, seed: int = 0):
    module = load_problem(name)
    return module, module.theta(rows, features, seed), module.data(rows, features, seed)


def leaves(theta) -> list[np.ndarray]:
    return list(theta) if isinstance(theta, tuple) else [theta]


def test_the_mixture_has_the_published_value_and_gradient() -> None:
    assert abs(gmm.loss(SMALL, SMALL_X) - OBJECTIVE) < 1e-11  # ADBench's pi has 12 digits
    gradient = gmm.gradient(SMALL, SMALL_X)
    assert gradient._fields == SMALL._fields
    for ours, published in zip(gradient, (ALPHAS, MEANS, ICF), strict=True):
        np.testing.assert_allclose(ours.ravel(), published, rtol=0, atol=1e-13)


def test_the_mixture_is_the_density_by_50_digits() -> None:
    theta, (x,) = gmm.theta(3, 2, 4, clusters=2), gmm.data(3, 2, 4)
    with mpmath.workdps(50):
        weights = [mpmath.e ** mpmath.mpf(a) for a in theta.alphas]
        factors = [mpmath.matrix([[mpmath.e ** mpmath.mpf(q), 0], [low, mpmath.e ** mpmath.mpf(p)]])
                   for q, p, low in theta.icf]  # fmt: skip
        total = mpmath.mpf(0)
        for row in x:
            density = mpmath.mpf(0)
            for weight, mean, factor in zip(weights, theta.means, factors, strict=True):
                y = factor * (mpmath.matrix(row) - mpmath.matrix(mean))
                density += (
                    weight / sum(weights) * mpmath.det(factor) / (2 * mpmath.pi) * mpmath.e ** (-(y.T * y)[0] / 2)
                )
            total += mpmath.log(density)
        for factor in factors:
            total -= log_wishart(factor.T * factor, 1.5, 2)
        assert gmm.loss(theta, x, gamma=1.5, m=2) == pytest.approx(float(total), rel=1e-14)


def log_wishart(precision, gamma: float, m: int):
    """Return the logarithm of the Wishart density with V = I / gamma^2 and d + m + 1 degrees of freedom, for d = 2."""
    v, gamma = 2 + m + 1, mpmath.mpf(gamma)
    log_gamma = mpmath.log(mpmath.pi) / 2 + mpmath.loggamma(mpmath.mpf(v) / 2) + mpmath.loggamma(mpmath.mpf(v - 1) / 2)
    trace = gamma**2 * (precision[0, 0] + precision[1, 1])
    return m * mpmath.log(mpmath.det(precision)) / 2 - trace / 2 - v * mpmath.log(2 / gamma**2) - log_gamma


def test_the_mixtures_input_is_that_of_gradbench_for_the_same_seed() -> None:
    """Draw as gradbench does, number by number: the points, then the parameters in the order of its input."""
    rng, (n, d, k) = np.random.default_rng(31337), (6, 3, 4)
    x = [[rng.normal() for _ in range(d)] for _ in range(n)]
    alphas = [rng.normal() for _ in range(k)]
    means = [[rng.uniform() for _ in range(d)] for _ in range(k)]
    diagonal = [[rng.normal() for _ in range(d)] for _ in range(k)]
    below = [[rng.normal() for _ in range(d * (d - 1) // 2)] for _ in range(k)]
    theta, (points,) = gmm.theta(n, d, 31337, clusters=k), gmm.data(n, d, 31337, clusters=k)
    np.testing.assert_array_equal(points, x)
    for ours, drawn in zip(theta, (alphas, means, np.hstack([diagonal, below])), strict=True):
        np.testing.assert_array_equal(ours, drawn)


def test_the_constant_of_the_prior() -> None:
    v = 7 + 3 + 1
    expected = v * 7 * np.log(0.8 / np.sqrt(2)) - multigammaln(v / 2, 7)
    assert gmm.wishart_constant(7, 0.8, 3) == pytest.approx(expected, rel=1e-13)


def test_the_other_parameters_of_the_prior_have_their_gradient(frameworks) -> None:
    theta, (x,) = gmm.theta(4, 2, 1, clusters=2), gmm.data(4, 2, 1)
    report = check_gradient(gmm.loss, gmm.gradient, theta, x, params={"gamma": 1.5, "m": 2}, backends=("torch",))
    assert report.verdict == "pass", report.sentence


def test_lse_is_scipys_and_does_not_overflow() -> None:
    for theta in (lse.theta(50, 1, 0), np.array([-1000.0, 1000.0, 999.0])):
        assert lse.loss(theta) == pytest.approx(logsumexp(theta), rel=1e-15)
        np.testing.assert_allclose(lse.gradient(theta), np.exp(theta - logsumexp(theta)), rtol=1e-12)


@pytest.mark.parametrize("features", [1, 2, 5, 8, 13])
def test_llsq_is_a_polynomial_and_its_gradient_is_0_at_the_minimum(features: int) -> None:
    theta, (t, s) = llsq.theta(33, features, 0), llsq.data(33, features, 0)
    assert (t[0], t[16], t[-1], s[16]) == (-1, 0, 1, 0)
    r = np.polynomial.polynomial.polyval(t, theta) - s
    assert llsq.loss(theta, t, s) == pytest.approx(0.5 * (r @ r), rel=1e-13)
    best, (twice, *_), *_ = np.linalg.lstsq(np.vander(t, features, increasing=True), s)
    assert llsq.loss(best, t, s) == pytest.approx(twice / 2, rel=1e-12)
    np.testing.assert_allclose(llsq.gradient(best, t, s), 0, atol=1e-11)


def test_kmeans_is_scipys_and_its_clusters_are_not_empty() -> None:
    theta, (points,) = kmeans.theta(200, 4, 3, clusters=9), kmeans.data(200, 4, 3, clusters=9)
    labels, distances = vq(points, theta)
    assert kmeans.loss(theta, points) == pytest.approx((distances**2).sum(), rel=1e-13)
    expected = [2 * (centroid - points[labels == j]).sum(0) for j, centroid in enumerate(theta)]
    np.testing.assert_allclose(kmeans.gradient(theta, points), expected, atol=1e-13)
    assert set(labels) == set(range(9))
    with pytest.raises(InputError, match=r"^kmeans starts from 5 of the points, and there are 4; use more rows$"):
        kmeans.theta(4, 2, 0)


def test_an_offset_of_the_points_costs_kmeans_no_digits() -> None:
    points = np.random.default_rng(1).integers(0, 2**20, (300, 3)) / 2.0**20
    far = points + 2.0**30  # exact
    assert kmeans.loss(far[:7], far) == pytest.approx(kmeans.loss(points[:7], points), rel=1e-12)
    np.testing.assert_allclose(kmeans.gradient(far[:7], far), kmeans.gradient(points[:7], points), rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_pass(name: str, size: str, frameworks) -> None:
    """Check float32, which checks float64 too."""
    module, theta, data = problem(name, *SIZES[size])
    report = check_gradient(module.loss, module.gradient, theta, *data, dtype="float32")
    assert report.verdict == "pass", report.sentence
    assert not [note for note in report.notes if "cannot" in note]


@pytest.mark.parametrize("name", PROBLEMS)
def test_frameworks_agree(name: str, frameworks) -> None:
    module, theta, data = problem(name, 40, 5)
    expected = module.loss(theta, *data)
    import jax
    import jax.numpy as jnp
    import torch

    for framework, asarray in (("jax", jnp.asarray), ("torch", torch.asarray)):
        with get_backend(framework).default_dtype():
            arrays = [asarray(leaf) for leaf in leaves(theta)]
            given = type(theta)(*arrays) if isinstance(theta, tuple) else arrays[0]
            compiled = jax.jit(module.loss) if framework == "jax" else module.loss
            value = compiled(given, *map(asarray, data))
            assert float(value) == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_input_depends_on_the_seed_alone(name: str) -> None:
    (_, theta, data), (_, again, data_again) = problem(name, 20, 3), problem(name, 20, 3)
    for one, other in zip([*leaves(theta), *data], [*leaves(again), *data_again], strict=True):
        assert one.dtype == np.float64
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(leaves(theta)[0], leaves(problem(name, 20, 3, seed=1)[1])[0])
    gradient = load_problem(name).gradient(theta, *data)
    assert [leaf.shape for leaf in leaves(gradient)] == [leaf.shape for leaf in leaves(theta)]


def test_names_are_parsed() -> None:
    assert parse_problem("gmm") == ("gmm", {})
    assert parse_problem("kmeans:25") == ("kmeans", {"clusters": 25})
    assert parse_problem("squared") is parse_problem("file.py:loss") is parse_problem("") is None


@pytest.mark.parametrize("text", ["gmm:0", "gmm:x", "gmm:", "gmm:-1", "gmm:1.5", "gmm:²", "lse:3", "gmm:" + "9" * 5000])
def test_a_wrong_parameter_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^the (problem|parameter clusters of) [^\n]*; use [^\n]*$"):
        parse_problem(text)


def test_an_unknown_name_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^no ready problem is called 'x'; the names are gmm, kmeans, llsq, lse$"):
        load_problem("x")


def test_naming_the_problems_imports_none() -> None:
    code = """if True:
        import sys
        from gdbackends.problems import PROBLEMS, parse_problem
        parse_problem("gmm:2")
        assert not {"numpy", *(f"gdbackends.problems.{name}" for name in PROBLEMS)} & {*sys.modules}"""
    subprocess.run([sys.executable, "-c", code], check=True)
