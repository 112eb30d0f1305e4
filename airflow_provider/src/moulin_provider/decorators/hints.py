"""What a decorated function says of itself, held against what it is used for."""

from __future__ import annotations

import inspect
import types
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_FRAME = "polars.LazyFrame"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Of an annotation that is still a text only these are known without importing what it names.
_POLARS = ("pl", "polars")
_NEVER_A_FRAME = {
    *("None", "str", "bytes", "int", "float", "bool", "list", "tuple", "dict", "set"),
    *("DataFrame", "Series", "Expr", "Table", "RecordBatch", "RecordBatchReader", "ndarray"),
}
_NEVER_A_QUERY = {"None", "bytes", "int", "float", "bool", "list", "tuple", "dict", "set", "LazyFrame", "DataFrame"}


def frames_of(function: Callable[..., Any], *, files: bool, tables: Collection[str]) -> dict[str, str]:
    """Which parameters of a function are frames: their names, and the input that each stands for.

    A table's frame is the parameter that has the table's name. That of the files is the first other one; its name is
    free, and it may be one of `*frames`, whose name is then `*frames`.

    Raises:
        TypeError: there is no such parameter.

    """
    name, parameters = function.__name__, inspect.signature(function).parameters
    for table in tables:
        if table not in parameters or parameters[table].kind not in _BY_NAME:
            raise TypeError(f"{name} has no argument {table!r}, expected one for each of tables: its {_FRAME}")
    found = {table: table for table in tables}
    if files:
        others = [one for one in parameters.values() if one.name not in found]
        if not others or others[0].kind not in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(f"{name} takes no argument, expected the {_FRAME} of the source as its first one")
        star = "*" if others[0].kind is inspect.Parameter.VAR_POSITIONAL else ""
        found = {star + others[0].name: "input", **found}
    return found


def check_frame_function(function: Callable[..., Any], frames: Iterable[str]) -> None:
    """Refuses a function that cannot be `(LazyFrame, ...) -> LazyFrame`, as far as it says so itself.

    For when a DAG file is parsed: no annotation is evaluated and nothing is imported.

    Raises:
        TypeError: it is annotated with something else, or is a coroutine function.

    """
    name = function.__name__
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is an async function, expected a plain one that returns a {_FRAME}")
    said = dict(function.__annotations__)
    for frame in (one.removeprefix("*") for one in frames):
        if _cannot_be(said.get(frame), _NEVER_A_FRAME, "LazyFrame"):
            found = _shown(said[frame])
            raise TypeError(f"argument {frame!r} of {name} is annotated as {found}, expected {_FRAME}")
    if _cannot_be(said.get("return"), _NEVER_A_FRAME, "LazyFrame") or ("return" in said and said["return"] is None):
        raise TypeError(f"{name} is annotated to return {_shown(said['return'])}, expected {_FRAME}")


def placed(
    function: Callable[..., Any], frames: Mapping[str, Any], args: Collection[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with frames in their places, whatever was given in order between them."""
    in_order: list[Any] = []
    left, named = list(args), {**kwargs, **{name: one for name, one in frames.items() if not name.startswith("*")}}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            in_order += [frames[f"*{parameter.name}"]] if f"*{parameter.name}" in frames else []
        if parameter.kind not in _POSITIONAL:
            break
        if parameter.name in frames:
            in_order.append(named.pop(parameter.name))
        elif left:
            in_order.append(left.pop(0))
        else:
            break  # what comes now has a name or a default
    return (*in_order, *left), named


def with_frames(
    function: Callable[..., Any], frames: Mapping[str, Any], args: Iterable[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that `placed` gave, with these frames in the places that it held."""
    in_order = list(args)
    names = [_STARS.get(one.kind, "") + one.name for one in inspect.signature(function).parameters.values()]
    for at, name in enumerate(names[: len(in_order)]):
        in_order[at] = frames.get(name, in_order[at])
        if name.startswith("*"):
            break
    return tuple(in_order), {name: frames.get(name, value) for name, value in kwargs.items()}


def check_query_function(function: Callable[..., Any]) -> None:
    """Refuses a function that says that it does not return a text.

    Raises:
        TypeError: it is annotated with something else, or is a coroutine function.

    """
    name = function.__name__
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is an async function, expected a plain one that returns a SELECT")
    said = dict(function.__annotations__)
    if "return" in said and (said["return"] is None or _cannot_be(said["return"], _NEVER_A_QUERY, "str")):
        raise TypeError(f"{name} is annotated to return {_shown(said['return'])}, expected str, the text of a SELECT")


def _cannot_be(annotation: object, never: set[str], right: str) -> bool:
    if annotation is None:
        return False
    text = annotation.strip("\"' ") if isinstance(annotation, str) else ""
    if isinstance(annotation, type):
        return annotation.__name__ in never
    outer, _, _ = text.partition("[")
    module, _, last = outer.rpartition(".")
    return last in never or (module in _POLARS and last != right)


def _shown(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__qualname__", str(annotation))


def wrong_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Arguments that are not what the function says they are, each in words.

    A template always gives a text: `{{ params.min }}` for an argument that says `int` is found here, and not
    somewhere in the function. Only plain classes and their unions are looked at; what else a hint may say is let
    through. Names that are imported only for type checking are let through too.
    """
    wrong = []
    for name, value in given.items():
        hint = _resolved(function, function.__annotations__.get(name))
        if hint is not None and not _is_one(value, hint):
            wrong.append(
                f"argument {name!r} of {function.__name__} is {value!r} of type {type(value).__name__}, "
                f"expected {_shown(function.__annotations__[name])}"
            )
    return wrong


def _resolved(function: Callable[..., Any], annotation: object) -> Any:
    """The annotation as a value; None: it cannot be known here."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, function.__globals__)  # the DAG file's own text, which has run already
    except Exception:
        return None


def _is_one(value: object, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_one(value, one) for one in typing.get_args(hint))
    if hint is None:
        return value is None
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
