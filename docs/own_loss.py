"""A loss of one's own, for gdbackends bench --objective docs/own_loss.py:logcosh."""

import numpy as np
from array_api_compat import array_namespace


def logcosh(theta, X, y):
    xp, r = array_namespace(theta), X @ theta - y
    return xp.mean(xp.logaddexp(r, -r))


def logcosh_gradient(theta, X, y):  # for NumPy; JAX and PyTorch differentiate the loss
    return X.T @ np.tanh(X @ theta - y) / y.size


def data(rows, features, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, features))
    return X, X @ rng.normal(size=features) + rng.normal(size=rows)
