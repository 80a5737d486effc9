"""Formulas of mixed models: the fixed part for formulaic, the random terms in lme4's notation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from formulaic import Formula
from formulaic.errors import FormulaicError
from formulaic.transforms import TRANSFORMS

from carps_like.errors import BadValue

_NUMPY = ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs")
ELEMENTWISE = frozenset(
    ("C", "I", "Q", "log", "log2", "log10", "exp", *(f"np.{name}" for name in _NUMPY))
)
"""Functions whose value for a row depends on that row only; others may look at all rows."""


@dataclass(frozen=True)
class RandomTerm:
    """One bar term after expansion: ``(lhs | groups[0]:groups[1]:...)`` with a full covariance."""

    lhs: str  # a formulaic right-hand side, e.g. "1" or "0 + x"
    groups: tuple[str, ...]  # columns whose combination of values is the level

    @property
    def group(self) -> str:
        """The name of the grouping factor, ``a:b`` for combinations."""
        return ":".join(self.groups)

    def __str__(self) -> str:
        return f"({self.lhs} | {self.group})"


@dataclass(frozen=True)
class MixedFormula:
    """A parsed formula."""

    text: str  # as given by the user
    response: str  # a column or an expression
    fixed: str  # formulaic right-hand side
    random: tuple[RandomTerm, ...]


def parse(formula: str) -> MixedFormula:
    """Split a formula into response, fixed part and random terms.

    ``(1|a/b)`` becomes ``(1|a) + (1|a:b)`` and ``(x||g)`` becomes ``(1|g) + (0 + x|g)`` as in
    lme4 (Bates et al. 2015, section 2.1 and table 2).

    Raises:
        BadValue: a formula that cannot be read; the message names the part.
    """
    if not isinstance(formula, str) or "~" not in formula:
        raise BadValue(f"formula {formula!r} has no '~': write 'response ~ fixed + (1|group)'")
    response, _, right = formula.partition("~")
    if not response.strip():
        raise BadValue(f"formula {formula!r} names no response to the left of '~'")
    if "~" in right:
        raise BadValue(f"formula {formula!r} has more than one '~'")
    if not right.strip():
        raise BadValue(f"formula {formula!r} has nothing to the right of '~'")
    fixed: list[str] = []
    random: list[RandomTerm] = []
    for sign, piece in _summands(right, formula):
        bar = _bar(piece)
        if bar is None:
            if _outside_quotes(piece, "|"):
                raise BadValue(f"random term {piece!r} must stand in parentheses: ({piece})")
            fixed.append(f"{sign} {piece}")
            continue
        if sign == "-":
            raise BadValue(f"random term {piece!r} cannot be subtracted in {formula!r}")
        random.extend(_random_terms(*bar, piece))
    if len(set(random)) < len(random):
        twice = next(t for t in random if random.count(t) > 1)
        raise BadValue(f"random term {twice} stands twice in {formula!r}")
    text = " ".join(fixed).removeprefix("+ ").strip() or "1"
    terms(text)
    return MixedFormula(formula, response.strip(), text, tuple(random))


@lru_cache(maxsize=256)
def terms(right: str) -> Formula:
    """The terms of a right-hand side; formulaic's syntax errors become one line."""
    try:
        return Formula(right)
    except (FormulaicError, SyntaxError) as error:
        reason = re.sub("\x1b\\[[0-9;]*m|[⧛⧚]", "", str(error)).split("\n")[0]
        raise BadValue(f"formula part {right!r} cannot be read: {reason}") from None


def variables(right: str) -> list[str]:
    """Columns of the data that a formula part needs, sorted."""
    names: set[str] = set()
    for term in terms(right):
        for factor in term.factors:
            method = str(factor.eval_method.value)
            if method == "lookup":
                names.add(str(factor.expr))
            elif method == "python":
                names |= _names_in(str(factor.expr))
    return sorted(names)


def _names_in(expression: str) -> set[str]:
    """Columns in a Python expression: its names except functions, quoted names, ``Q("name")``."""
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        return quoted.setdefault(match.group(1), f"_quoted_{len(quoted)}")

    text = re.sub(r"`([^`]*)`", stand_in, expression)
    back = {v: k for k, v in quoted.items()}
    names = set()
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Name) and node.id not in TRANSFORMS:
            names.add(back.get(node.id, node.id))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
            names |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return names


@lru_cache(maxsize=256)
def is_elementwise(right: str) -> bool:
    """Whether every row's columns depend on that row alone, so equal rows may be collapsed."""
    calls = re.findall(r"([A-Za-z_][\w.]*)\s*\(", re.sub(r"`[^`]*`", "x", right))
    return all(call.removeprefix("contr.") in ELEMENTWISE or "contr" in call for call in calls)


def unquote(name: str) -> str:
    """A column name without formulaic's backticks."""
    name = name.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == "`" else name


def quote(name: str) -> str:
    """A column name as formulaic needs it in a formula."""
    return name if name.isidentifier() else f"`{name}`"


def _random_terms(lhs: str, double: bool, group: str, piece: str) -> Iterator[RandomTerm]:
    if not lhs or not group:
        raise BadValue(f"random term {piece!r} needs an expression on both sides of the bar")
    parts = _uncorrelated(lhs) if double else [lhs]
    for part in parts:
        if not len(terms(part)):
            raise BadValue(f"random term {piece!r} has nothing to the left of the bar")
    for term in terms(f"0 + {group}"):
        factors = [str(factor.eval_method.value) for factor in term.factors]
        if any(method != "lookup" for method in factors):
            raise BadValue(f"grouping {group!r} in {piece!r} must be columns joined by ':' or '/'")
        columns = tuple(str(factor.expr) for factor in term.factors)
        yield from (RandomTerm(part, columns) for part in parts)


def _uncorrelated(lhs: str) -> list[str]:
    parts = []
    for term in terms(lhs):
        text = ":".join(quote(str(f.expr)) if "(" not in f.expr else f.expr for f in term.factors)
        parts.append("1" if text in ("1", "`1`") else f"0 + {text}")
    return parts


def _summands(right: str, formula: str) -> Iterator[tuple[str, str]]:
    """Top-level summands with their signs."""
    sign, start, empty = "+", 0, True
    for position, char in [*_top_level(right, formula), (len(right), "")]:
        if char in ("+", "-", ""):
            piece = right[start:position].strip()
            if piece:
                yield sign, piece
                empty = False
            elif char == "" or not empty:
                raise BadValue(f"formula {formula!r} has an operator without a term after it")
            sign, start = char, position + 1


def _bar(piece: str) -> tuple[str, bool, str] | None:
    """Left side, whether the bar is double, right side; None when it is no random term."""
    if not (piece.startswith("(") and piece.endswith(")")):
        return None
    inner = piece[1:-1]
    bars = [i for i, char in _top_level(inner, piece) if char == "|"]
    if not bars:
        return None
    double = len(bars) == 2 and bars[1] == bars[0] + 1
    if len(bars) > 1 and not double:
        raise BadValue(f"random term {piece!r} has more than one bar")
    return inner[: bars[0]].strip(), double, inner[bars[-1] + 1 :].strip()


def _top_level(text: str, formula: str) -> Iterator[tuple[int, str]]:
    """Characters outside brackets and backticks, with their positions."""
    depth, quoted = 0, False
    for i, char in enumerate(text):
        if char == "`":
            quoted = not quoted
        elif quoted:
            continue
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                raise BadValue(f"formula {formula!r} has a closing bracket too many")
        elif depth == 0:
            yield i, char
    if depth or quoted:
        raise BadValue(f"formula {formula!r} has an open bracket or backtick")


def _outside_quotes(piece: str, char: str) -> bool:
    return char in re.sub(r"`[^`]*`", "", piece)
