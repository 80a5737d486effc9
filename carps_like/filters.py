"""Filters over what tasks declare: ``n_continuous <= 5 and kind == 'surrogate'``.

Names are the columns of :data:`carps_like.description.COLUMNS`, and ``ready`` and ``missing``.
A column that a task lacks, such as the optimum of one whose best value nobody knows, equals
``None`` and ``''`` and nothing else, and is neither below nor above anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from types import CodeType
from typing import Any, get_args

from carps_like.description import COLUMNS, TYPES, Kind, TaskDescription
from carps_like.errors import BadValue, UnknownName
from carps_like.registry import Readiness, collections

Test = Callable[[TaskDescription], bool]
Columns = Mapping[str, Callable[[TaskDescription], Any]]

# no product: 'a' * 10**10 would fill the memory
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Name, ast.Load,
    ast.Constant, ast.Tuple, ast.List, ast.BinOp, ast.Add, ast.Sub,
)  # fmt: skip
_CLOSED: dict[str, Callable[[], Iterable[str]]] = {
    "type": lambda: TYPES,
    "kind": lambda: get_args(Kind),
    "collection": collections,
}
_SAME = {ast.Is: ast.Eq, ast.IsNot: ast.NotEq}


class _Lacking:
    """The value of a column that a task does not have."""

    def __eq__(self, other: object) -> bool:
        return other is self or other is None or other == ""

    def __bool__(self) -> bool:
        return False

    def _never(self, other: object) -> bool:
        return False

    def _still(self, *others: object) -> _Lacking:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _never
    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = _still
    __hash__ = None  # type: ignore[assignment]


_LACKING = _Lacking()


class _Row(dict[str, Any]):
    """The columns of one task, looked up when the filter names them."""

    def __init__(self, columns: Columns, description: TaskDescription) -> None:
        self._columns, self._description = columns, description

    def __missing__(self, name: str) -> Any:
        value = self._columns[name](self._description)
        return _LACKING if value is None or value == "" else value


def task_filter(text: str) -> Test:
    """The test that ``text`` says: comparisons, ``in``, ``+`` and ``-``, and, or, not.

    Raises:
        UnknownName: a column that there is not, or a type, kind or collection that there is not.
        BadValue: not such an expression. The test raises it where it compares number and text.
    """
    missing = Readiness()
    columns: Columns = {**COLUMNS, "ready": lambda d: not missing(d), "missing": missing}
    code = _compiled(text, columns)

    def passes(description: TaskDescription) -> bool:
        try:
            return bool(eval(code, {"__builtins__": {}}, _Row(columns, description)))
        except TypeError as error:
            message = f"--where {text!r} compares what cannot be compared: {error}"
            raise BadValue(message) from None

    return passes


def _compiled(text: str, columns: Columns) -> CodeType:
    try:
        parsed = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadValue(f'--where {text!r} is not an expression like "dimension <= 5"') from None
    for node in ast.walk(parsed):
        if isinstance(node, ast.Compare):
            node.ops = [_SAME[type(op)]() if type(op) in _SAME else op for op in node.ops]
            _check_values(node)
    for node in ast.walk(parsed):
        if not isinstance(node, _ALLOWED):
            raise BadValue(
                f"--where {text!r}: only names, values, comparisons, in, +, -, and, or, not"
            )
        if isinstance(node, ast.Name) and node.id not in columns:
            raise UnknownName("column", node.id, columns, f"there are {', '.join(columns)}")
    try:
        return compile(parsed, "<where>", "eval")
    except (RecursionError, MemoryError):
        raise BadValue(f"--where {text[:50]!r}... is too deep") from None


def _check_values(node: ast.Compare) -> None:
    """``kind == 'surogate'`` would pass nothing, and say nothing."""
    sides = [node.left, *node.comparators]
    for (left, right), op in zip(pairwise(sides), node.ops, strict=True):
        if isinstance(op, ast.Eq | ast.NotEq):
            pairs = [(left, [right]), (right, [left])]
        elif isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List):
            pairs = [(left, right.elts)]
        else:
            continue
        for name, values in pairs:
            if isinstance(name, ast.Name) and name.id in _CLOSED:
                known = list(_CLOSED[name.id]())
                for value in values:
                    if isinstance(value, ast.Constant) and value.value not in known:
                        there = f"there are {', '.join(known)}"
                        raise UnknownName(name.id, str(value.value), known, there)
