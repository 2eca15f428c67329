"""NumPy code run on JAX and PyTorch as it stands, so that autodiff votes on a loss that no framework was meant for.

Theta becomes an array that answers NumPy's own protocols, `__array_ufunc__` (NEP 13) and `__array_function__` (NEP 18),
with the framework's functions, and that item assignment and in-place operators may change. What these protocols do not
see, such as `np.zeros(n)` that is filled in a loop, `math.exp` or `scipy.linalg.solve`, is reached by running the
function, and every Python function that it reaches, over globals of its own. Nothing in the user's modules changes.

Such a run is only a vote: it counts where its values are those of the plain NumPy run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false
# Arrays of several libraries, and functions of anyone.

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from abc import ABC
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Generic, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gdbackends.gradcheck.adapted import Mapped
from gdbackends.gradcheck.numpy_names import METHODS, Names
from gdbackends.objectives import Array


class NotRunError(TypeError):
    """Code that leaves the framework: its derivative would be lost."""


class FrameworkArray(NDArrayOperatorsMixin):
    """A floating-point array of a framework that NumPy code takes for one of its own.

    Attributes:
        inner: the array in the framework's own namespace with NumPy's names.
        library: the framework.
    """

    __array_priority__ = 1e6

    def __init__(self, inner: Any, library: Library, whole: tuple[FrameworkArray, Any] | None = None) -> None:
        self.inner, self.library, self._whole = inner, library, whole

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method == "at":
            return self.library.accumulate(ufunc, *inputs)
        function = self.library.function(ufunc) if method == "__call__" else self.library.method(ufunc, method)
        return self._into(out, self.library.call(function, inputs, kwargs, ufunc.__name__))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        kwargs = dict(kwargs)
        out = kwargs.pop("out", None)
        if func in _IN_PLACE and isinstance(args[0], FrameworkArray):
            return _IN_PLACE[func](args[0], *args[1:])
        return self._into(out, self.library.call(self.library.function(func), args, kwargs, func.__name__))

    def _into(self, out: Any, result: Any) -> Any:
        """Return the result, or the array `out` changed to it."""
        target = out[0] if isinstance(out, tuple) else out
        if target is None:
            return result
        if not isinstance(target, FrameworkArray):
            raise NotRunError("a result is written into an array of NumPy (out=)")
        target.assign(result)
        return target

    def assign(self, value: Any) -> None:
        """Change all elements in place."""
        inner = self.library.unwrapped(value)
        self.inner = self.library.namespace.broadcast_to(self.library.namespace.asarray(inner), self.shape)
        self._write_back()

    def _write_back(self) -> None:
        if self._whole is not None:  # this is a view of another array
            array, index = self._whole
            array[index] = self

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inner = self.library.replaced(self.inner, self.library.unwrapped(index), self.library.unwrapped(value))
        self._write_back()

    def __getitem__(self, index: Any) -> Any:
        found = self.library.wrapped(self.inner[self.library.unwrapped(index)])
        if isinstance(found, FrameworkArray) and found.ndim:
            found._whole = (self, index)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.library.attribute(self, name)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.inner)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise NotRunError("an array is converted to NumPy's own, as compiled code does")

    def __float__(self) -> float:
        raise NotRunError("float() of an array, as compiled code does")

    __index__ = __int__ = __complex__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "array"

    def __repr__(self) -> str:
        return f"FrameworkArray{tuple(self.shape)}"

    def __copy__(self) -> FrameworkArray:
        return FrameworkArray(self.inner, self.library)

    def __deepcopy__(self, memo: Any) -> FrameworkArray:
        return FrameworkArray(self.inner, self.library)


def _place(array: FrameworkArray, mask: Any, values: Any) -> None:
    mask = np.asarray(mask, bool)
    count = int(mask.sum())
    if count:
        size = getattr(values, "size", np.size(values))
        array[mask] = values if size == 1 else values.reshape(-1)[np.arange(count) % size]


def _fill_diagonal(array: FrameworkArray, value: Any, wrap: bool = False) -> None:
    array[np.diag_indices(len(array))] = value


def _copyto(array: FrameworkArray, value: Any) -> None:
    array[...] = value


_IN_PLACE: dict[Any, Callable[..., None]] = {
    np.fill_diagonal: _fill_diagonal,
    np.copyto: _copyto,
    np.place: _place,
    np.putmask: _place,
}
"""Functions of NumPy that change their first argument."""
_NO_VALUE = type(inspect.signature(np.sum).parameters["initial"].default)
"""The type of NumPy's mark of an argument that is not given."""
_LIKE = {np.zeros_like: np.zeros, np.ones_like: np.ones, np.empty_like: np.empty, np.full_like: np.full}
_JOIN = {"concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "concat"}


class Library:
    """A framework with functions of NumPy's names.

    Attributes:
        name: "jax" or "torch".
        names: its functions by those of NumPy and SciPy.
        namespace: its functions with NumPy's names.
    """

    def __init__(self, name: str) -> None:
        self.name, self.names = name, Names(name)
        self.namespace: Any = self.names.namespace

    def wrap_theta(self, theta: Any) -> FrameworkArray:
        """Return theta, an array of the framework, as code written for NumPy takes it."""
        return FrameworkArray(theta if self.name == "jax" else self.namespace.asarray(theta), self)

    def unwrap_loss(self, value: Any) -> Any:
        """Return a loss as an array of the framework."""
        if not isinstance(value, FrameworkArray):
            raise NotRunError("the loss does not depend on theta through functions of NumPy")
        return value.inner if self.name == "jax" else value.inner.tensor

    def unwrapped(self, value: Any) -> Any:
        """Return arguments for the framework's functions: its own arrays in place of ours."""
        if isinstance(value, FrameworkArray):
            return value.inner
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(self.unwrapped(v) for v in value)
        if isinstance(value, list):
            return [self.unwrapped(v) for v in value]
        if isinstance(value, np.flatiter):
            return self.unwrapped(np.asarray(value))
        if isinstance(value, np.ndarray) and self.name == "torch":
            if not value.ndim and value.dtype.kind in "fiub":
                return value.item()
            return self.namespace.asarray(np.array(value))
        if isinstance(value, np.generic):
            return value.item()
        if value is Float:
            return float
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return np.dtype(value).name
        return value

    def wrapped(self, value: Any) -> Any:
        """Return results as NumPy code takes them; whole numbers and truth values, without derivatives, are NumPy's."""
        if isinstance(value, (tuple, list)):
            values = [self.wrapped(v) for v in value]
            return type(value)(*values) if hasattr(value, "_fields") else type(value)(values)
        if hasattr(value, "torch_dtype"):  # a dtype of its own
            return np.dtype(value.name)
        if not self._is_array(value):
            return value
        kind = np.dtype(value.dtype.name).kind
        if kind in "fc":
            return FrameworkArray(value, self)
        try:
            plain = np.asarray(value if self.name == "jax" else value.tensor.detach())
        except TypeError:  # JAX does not know the values while it compiles
            return FrameworkArray(value, self)
        return plain if plain.ndim else plain[()]

    def _is_array(self, value: Any) -> bool:
        return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, (np.ndarray, np.generic))

    def call(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], name: str) -> Any:
        """Call one of the framework's functions."""
        kwargs = {key: self.unwrapped(v) for key, v in kwargs.items() if v is not None and type(v) is not _NO_VALUE}
        if kwargs.get("order") in ("C", "K", "A"):
            del kwargs["order"]
        if name in _JOIN:  # lists among the parts
            args = ([self.array(part) for part in args[0]], *args[1:])
        arguments = [self.unwrapped(a) for a in args]
        if name == "power" and self.name == "torch" and isinstance(arguments[1], (int, float)):
            # as a tensor the exponent would err along with all results of operations
            return self.wrapped(self.namespace.asarray(arguments[0].tensor ** arguments[1]))
        return self.wrapped(function(*arguments, **kwargs))

    def function(self, func: Any) -> Callable[..., Any]:
        """Return the framework's function for a function of NumPy or SciPy."""
        found = self.names.find(func)
        if found is None:
            raise NotRunError(f"{self.name} has no {func.__name__}")
        return found

    def method(self, ufunc: Any, method: str) -> Callable[..., Any]:
        """Return the framework's function for a method of a ufunc, such as np.add.reduce."""
        name = METHODS.get((ufunc.__name__, method))
        if name is not None:
            return getattr(self.namespace, name)
        if method == "outer":
            whole = self.function(ufunc)

            def outer(a: Any, b: Any) -> Any:
                asarray = self.namespace.asarray
                a, b = asarray(a), asarray(b)
                return whole(a.reshape(a.shape + (1,) * b.ndim), b)

            return outer
        raise NotRunError(f"{self.name} has no {ufunc.__name__}.{method}")

    def accumulate(self, ufunc: Any, array: Any, index: Any, value: Any) -> None:
        """Do what `np.add.at` does, in place."""
        if ufunc not in (np.add, np.subtract) or not isinstance(array, FrameworkArray):
            raise NotRunError(f"{self.name} has no {ufunc.__name__}.at")
        index, value = self.unwrapped(index), self.unwrapped(-value if ufunc is np.subtract else value)
        if self.name == "jax":
            array.inner = array.inner.at[index].add(value)
            return
        places = np.zeros(array.shape)
        places.ravel()[:] = np.arange(places.size)
        where = places[np.asarray(getattr(index, "tensor", index))].astype(int)
        tensor = array.inner.tensor
        values = self.namespace.broadcast_to(self.namespace.asarray(value), where.shape).tensor.reshape(-1)
        flat = tensor.reshape(-1).index_add(0, tensor.new_tensor(where.ravel(), dtype=int).long(), values)
        array.inner = self.namespace.asarray(flat.reshape(tensor.shape))

    def replaced(self, inner: Any, index: Any, value: Any) -> Any:
        """Return a copy of an array with other elements at an index."""
        if self.name == "jax":
            return inner.at[index].set(value)
        copy = self.namespace.asarray(inner.tensor.clone())
        copy[index] = value
        return copy

    def attribute(self, array: FrameworkArray, name: str) -> Any:
        """Return an attribute or a method of an array."""
        if name == "dtype":
            return np.dtype(array.inner.dtype.name)
        if name in ("shape", "ndim", "size"):
            return getattr(array.inner, name)
        if name == "flags":
            return np.empty(0).flags
        if name == "device":
            return "cpu"
        if name == "fill":
            return array.assign
        if name in ("item", "view"):
            return lambda *_: array.reshape(()) if name == "item" else array
        if name == "copy":
            return lambda *_, **__: FrameworkArray(array.inner, self)
        if name == "astype":
            return lambda dtype, *_, **__: self._astype(array, dtype)
        if name == "tolist":
            return lambda: [a.tolist() if a.ndim else a for a in array]
        if name == "flat":
            return array.ravel()
        if name == "sort":

            def sort(axis: int = -1, **_: Any) -> None:
                array.assign(self.wrapped(self.namespace.sort(array.inner, axis=axis)))

            return sort
        value = getattr(array.inner, name)
        if not callable(value):
            return self.wrapped(value)
        return lambda *args, **kwargs: self.call(value, args, kwargs, name)

    def _astype(self, array: FrameworkArray, dtype: Any) -> Any:
        kind = np.dtype(self.unwrapped(dtype))
        if kind.kind == "f":
            return FrameworkArray(array.inner.astype(kind.name) if kind.itemsize < 8 else array.inner, self)
        return self.wrapped(array.inner.astype(kind.name))

    def array(self, values: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Do what `np.array` does; a nested list that holds arrays of the framework becomes one."""
        if isinstance(values, FrameworkArray):
            made = FrameworkArray(values.inner, self)
        elif isinstance(values, (list, tuple)) and _holds_ours(values):
            asarray = self.namespace.asarray
            parts = [asarray(self.unwrapped(self.array(v))) * 1.0 for v in values]
            made = FrameworkArray(self.namespace.stack(parts), self)
        else:
            return np.array(values, dtype, **kwargs)
        for _ in range(kwargs.get("ndmin", 0) - made.ndim):
            made = made[None]
        return made if dtype is None else made.astype(dtype)

    def asarray(self, values: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """Do what `np.asarray` does."""
        if isinstance(values, FrameworkArray):
            return values if dtype is None or np.dtype(dtype) == values.dtype else values.astype(dtype)
        ours = isinstance(values, (list, tuple)) and _holds_ours(values)
        return self.array(values, dtype) if ours else np.asarray(values, dtype, **kwargs)

    def new(self, create: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return a new array of floats, as np.zeros does, which may later be filled with results of the framework."""
        kwargs = {key: v for key, v in kwargs.items() if key != "like"}
        if create is np.full and len(args) > 1 and isinstance(args[1], FrameworkArray):
            return FrameworkArray(self.namespace.asarray(np.ones(args[0])), self) * args[1]
        if _holds_ours(args):
            raise NotRunError(f"{create.__name__} of an array of the framework")
        made = create(*args, **kwargs)
        if made.dtype.kind != "f":
            return made
        return FrameworkArray(self.namespace.asarray(made), self)

    def new_like(self, create: Callable[..., Any], like: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a new array of floats, as np.zeros_like does."""
        if isinstance(like, FrameworkArray):
            dtype = kwargs.pop("dtype", None) or float
            return self.new(_LIKE[create], kwargs.pop("shape", None) or like.shape, *args, dtype=dtype)
        if _holds_ours(args):
            raise NotRunError(f"{create.__name__} of an array of the framework")
        made = create(like, *args, **kwargs)
        if not isinstance(made, np.ndarray) or made.dtype.kind != "f":
            return made
        return FrameworkArray(self.namespace.asarray(made), self)


def _holds_ours(values: Any) -> bool:
    return any(isinstance(v, FrameworkArray) or (isinstance(v, (list, tuple)) and _holds_ours(v)) for v in values)


class _FloatType(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, float)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, float)


class Float(float, metaclass=_FloatType):
    """What `float` is in rewritten code: it leaves an array of a framework as it is.

    Attributes:
        dtype: for NumPy, which takes it as a dtype.
    """

    dtype = np.dtype(np.float64)

    def __new__(cls, value: Any = 0.0) -> Any:
        """Return the number, or the array."""
        return value.reshape(()) if isinstance(value, FrameworkArray) else float(value)


class _ArrayType(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, (np.ndarray, FrameworkArray))

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, np.ndarray)


def _array_class(library: Library) -> type:
    """Return what `np.ndarray` is in rewritten code."""

    class NumPyArray(metaclass=_ArrayType):
        def __new__(cls, shape: Any, dtype: Any = float, **_: Any) -> Any:
            return library.new(np.zeros, shape, dtype=dtype)

    return NumPyArray


def _isinstance(value: Any, kinds: Any) -> bool:
    if isinstance(value, FrameworkArray):
        listed = kinds if isinstance(kinds, tuple) else (kinds,)
        return any(kind is np.ndarray or isinstance(kind, _ArrayType) for kind in listed)
    return isinstance(value, kinds)


def _super() -> Any:
    """Return what super() without arguments is in the function that calls this."""
    frame: Any = cast(Any, inspect.currentframe()).f_back
    first = frame.f_locals[frame.f_code.co_varnames[0]]
    return _Super(frame.f_locals["__class__"], first, frame.f_globals["__rewriter__"])


class _Super:
    """The parent class's methods, rewritten."""

    def __init__(self, kind: type, instance: Any, rewriter: Rewriter) -> None:
        self._of, self._rewriter = super(kind, instance), rewriter

    def __getattr__(self, name: str) -> Any:
        return self._rewriter.of(getattr(self._of, name))


_LEFT = {"numpy", "jax", "jaxlib", "torch", "pandas", "joblib", "narwhals", "polars", "gdbackends", "mpmath", "sympy"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.ndarray, np.generic, FrameworkArray, np.dtype)


class Rewriter:
    """Functions run over other globals, so that NumPy's names mean a framework's.

    Attributes:
        library: the framework.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self._known: dict[int, tuple[Any, Any]] = {}
        replaced = {"__import__": self._import, "float": Float, "isinstance": _isinstance, "super": _super}
        self._builtins = {**vars(builtins), **replaced}
        lib = library
        for original, other in (
            *((f, functools.partial(lib.new, f)) for f in (np.zeros, np.ones, np.empty, np.full, np.eye, np.identity)),
            *((f, functools.partial(lib.new_like, f)) for f in _LIKE),
            (np.array, lib.array),
            *((f, lib.asarray) for f in (np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)),
            (np.float64, Float),
            (np.ndarray, _array_class(lib)),
            (float, Float),
            (isinstance, _isinstance),
            (super, _super),
        ):
            self._known[id(original)] = (original, other)
        for function, other in lib.names.python_functions():
            self._known[id(function)] = (function, self._dispatching(function, other))

    def _import(self, *args: Any, **kwargs: Any) -> Any:
        """Do what an import inside a function does."""
        return self.of(builtins.__import__(*args, **kwargs))

    def _dispatching(self, plain: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls the framework's for arrays of the framework, and otherwise the plain one."""

        def either(*args: Any, **kwargs: Any) -> Any:
            if _holds_ours(args) or _holds_ours(tuple(kwargs.values())):
                return self.library.call(ours, args, kwargs, "")
            return plain(*args, **kwargs)

        return either

    def of(self, value: Any) -> Any:
        """Return the value as rewritten code sees it: functions, modules and objects are rewritten."""
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self._known:
            return self._known[id(value)][1]
        made = self._made(value)
        if id(value) not in self._known and made is not value:
            self._known[id(value)] = (value, made)  # keeps the value alive, so that its id stays its own
        return made

    def _made(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, ModuleType):
            return _Module(value, self)
        if isinstance(value, functools.partial):
            words = {key: self.of(v) for key, v in value.keywords.items()}
            return functools.partial(self.of(value.func), *map(self.of, value.args), **words)
        if isinstance(value, type):
            return value
        if type(value).__name__ == "_ArrayFunctionDispatcher":
            return value if value.__name__ in _JOIN else _OfLists(value, self.library)
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, FunctionType) and callable(value) and not _is_left(wrapped):
            return self._function(wrapped)
        if type(value) in (list, tuple, dict, set, frozenset):
            return self._container(value)
        if hasattr(value, "toarray") and hasattr(value, "shape"):
            return cast(Any, value).toarray()  # a sparse matrix; its products are compiled code
        if _is_of_python(type(value)):
            return self._object(value)
        return value

    def _container(self, value: Any) -> Any:
        """Return a copy of a container, with rewritten functions in it, so that nothing is stored in the user's."""
        if isinstance(value, (set, frozenset)):
            return type(value)(value)
        if isinstance(value, tuple):
            changed = tuple(map(self.of, value))
            return value if all(a is b for a, b in zip(value, changed, strict=True)) else changed
        made: Any = {} if isinstance(value, dict) else []
        self._known[id(value)] = (value, made)  # a container may contain itself
        if isinstance(value, dict):
            made.update({key: self.of(v) for key, v in value.items()})
        else:
            made.extend(map(self.of, value))
        return made

    def _function(self, function: FunctionType) -> Any:
        if _is_left(function):
            return function
        names: dict[str, Any] = {
            "__builtins__": self._builtins,
            "__rewriter__": self,
            "__name__": function.__module__,
        }
        cells = tuple(CellType() for _ in function.__closure__ or ())
        made = FunctionType(_without_dot(function.__code__), names, function.__name__, None, cells or None)
        self._known[id(function)] = (function, made)
        made.__dict__.update({key: v for key, v in vars(function).items() if key != "__wrapped__"})
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        made.__defaults__ = function.__defaults__ and tuple(map(self.of, function.__defaults__))
        made.__kwdefaults__ = function.__kwdefaults__ and {k: self.of(v) for k, v in function.__kwdefaults__.items()}
        signature = getattr(function, "__wrapped__", None)
        if signature is not None:
            made.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        for name in _names_of(function.__code__):
            if name in function.__globals__:
                names[_MATMUL if name == "dot" else name] = self.of(function.__globals__[name])
        for cell, original, name in zip(cells, function.__closure__ or (), function.__code__.co_freevars, strict=True):
            try:
                content = original.cell_contents
            except ValueError:  # not filled yet
                continue
            cell.cell_contents = content if name == "__class__" else self.of(content)
        return made

    def _object(self, value: Any) -> Any:
        """Return an object whose methods are rewritten, with the attributes of the original; itself if that fails."""
        try:
            kind = self._class(type(value))
            shadow = object.__new__(kind)
            shadow.__dict__.update(value.__dict__)
        except (TypeError, AttributeError):  # a class with slots, or one written in C
            return value
        return shadow

    def _class(self, kind: type) -> type:
        if id(kind) in self._known:
            return self._known[id(kind)][1]
        rewriter = self
        members: dict[str, Any] = {"__module__": kind.__module__, "__rewritten__": True}
        for parent in reversed(kind.__mro__[:-1]):
            for name, member in vars(parent).items():
                special = name.startswith("__") and name.endswith("__")
                if special and isinstance(member, FunctionType) and name not in _KEPT:
                    members[name] = _later(rewriter, member)

        def get(self: Any, name: str) -> Any:
            if name.startswith("__"):
                return object.__getattribute__(self, name)
            member = inspect.getattr_static(kind, name, None)
            if isinstance(member, property) and member.fget is not None:
                return rewriter.of(rewriter.of(member.fget)(self))
            return rewriter.of(object.__getattribute__(self, name))

        def put(self: Any, name: str, value: Any) -> None:
            member = inspect.getattr_static(kind, name, None)
            if isinstance(member, property) and member.fset is not None:
                rewriter.of(member.fset)(self, value)
            else:
                object.__setattr__(self, name, value)

        members |= {"__getattribute__": get, "__setattr__": put}
        if hasattr(kind, "__del__"):
            members["__del__"] = lambda self: None  # what it would close belongs to the original
        made = type(kind.__name__, (kind,), members)
        self._known[id(kind)] = (kind, made)
        return made


_KEPT = {
    *("__init__", "__new__", "__getattribute__", "__setattr__", "__getattr__", "__del__", "__init_subclass__"),
    *("__class_getitem__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__repr__", "__str__"),
    *("__subclasshook__", "__dir__", "__sizeof__", "__hash__", "__eq__"),
}


def _later(rewriter: Rewriter, method: FunctionType) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return rewriter.of(method)(*args, **kwargs)

    return call


class _OfLists:
    """A function of NumPy that also takes lists of arrays of the framework, which its protocol does not see."""

    def __init__(self, function: Any, library: Library) -> None:
        self._function, self._library = function, library

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arrays = (self._library.array(a) if isinstance(a, (list, tuple)) and _holds_ours(a) else a for a in args)
        return self._function(*arrays, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


class _Module(ModuleType):
    """A module whose functions are rewritten."""

    def __init__(self, module: ModuleType, rewriter: Rewriter) -> None:
        super().__init__(module.__name__)
        self.__dict__.update({"_original": module, "_rewriter": rewriter})

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__dict__["_original"], "dot" if name == _MATMUL else name)
        return self.__dict__["_rewriter"].of(value)


_MATMUL = "__matmul__"


def _without_dot(code: CodeType) -> CodeType:
    """Return code in which `a.dot(b)` is `a.__matmul__(b)`, which NumPy's arrays leave to b if b is ours."""
    constants = tuple(_without_dot(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    names = tuple(_MATMUL if name == "dot" else name for name in code.co_names)
    return code.replace(co_names=names, co_consts=constants)


def _names_of(code: CodeType) -> set[str]:
    """Return the names that a function and those inside it look up in its globals."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_of(constant)
    return names


def _is_left(function: Any) -> bool:
    """Return whether a function belongs to a library whose code is not rewritten."""
    module = str(getattr(function, "__module__", "")).partition(".")[0]
    return module in _LEFT or module in sys.stdlib_module_names


def _is_of_python(kind: type) -> bool:
    """Return whether a class is written in Python, all of it, by someone whose code is rewritten.

    A subclass of a compiled class may end the interpreter.
    """
    if getattr(kind, "__rewritten__", False):
        return False
    for parent in kind.__mro__[:-1]:
        name = parent.__module__
        file = getattr(sys.modules.get(name), "__file__", None)
        top = name.partition(".")[0]
        if name == "__main__" or parent is ABC or parent is Generic:
            continue
        if top in _LEFT or top in sys.stdlib_module_names or not str(file).endswith(".py"):
            return False
    return True


def rewritten(function: Callable[..., Any], framework: str) -> Callable[..., Any]:
    """Return a function that runs NumPy code on a framework: of theta, its array, and NumPy data.

    Raises:
        ImportError: the framework has no functions of NumPy's names.
    """
    library = Library(framework)
    of = Rewriter(library).of
    made = function.mapped(of) if isinstance(function, Mapped) else of(function)

    def run(theta: Any, *data: Any, **params: Any) -> Any:
        arrays = (a if isinstance(a, np.ndarray) else library.wrapped(a) for a in data)
        return library.unwrap_loss(made(library.wrap_theta(theta), *arrays, **params))

    return run
