"""What several adapters share: options for a library's constructor, and asking until legal."""

from __future__ import annotations

import inspect
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Optimizer
from carps_like.space import Checker, Sampler
from carps_like.trial import Result, Trial, Value

TRIES = 1000  # proposals in a row that clauses forbid before a run ends with an error
PATIENCE = 20  # after so many of them a random legal configuration takes the place, where it can


def construct(factory: Callable[..., Any], options: Mapping[str, Any], **fixed: Any) -> Any:
    """``factory(**fixed, **options)``; what ``options`` leaves out keeps the library's default.

    Raises:
        BadValue: an option that the library's constructor does not take, with the nearest one.
    """
    return factory(**fixed, **checked(factory, options, fixed))


def checked(
    function: Callable[..., Any], options: Mapping[str, Any], fixed: Iterable[str] = ()
) -> Mapping[str, Any]:
    """``options``, if ``function`` takes them all; else :class:`BadValue` with the nearest one."""
    names = _parameters(function)
    known = [name for name in names or () if name not in fixed]
    for name in options if names is not None else ():
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known)}")
            raise BadValue(f"{function.__name__} has no option {name!r}{hint}")
    return options


def _parameters(function: Callable[..., Any]) -> list[str] | None:
    """Names that it takes; None if it takes any. What a class leaves open goes to its bases."""
    bases = [function]
    if isinstance(function, type):
        bases = [vars(c)["__init__"] for c in function.__mro__[:-1] if "__init__" in vars(c)]
    names = []
    for one in bases:
        parameters = inspect.signature(one).parameters.values()
        names += [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    else:
        if not isinstance(function, type):
            return None
    return [name for name in names if name != "self"]


@cache
def quiet_optuna() -> Any:
    """Optuna, with its warnings going to the root logger instead of a handler on stderr."""
    import optuna

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def no_legal(where: str) -> BadValue:
    """The error of an optimizer whose proposals are all forbidden."""
    return BadValue(f"no legal configuration of {where} in {TRIES} proposals in a row")


class Generational(Optimizer):
    """Base of population methods: a generation is handed out one by one and told back together.

    While trials of a generation are still open, :meth:`ask` waits. A forbidden proposal is not
    evaluated: it is told with the worst values of its generation. After ``PATIENCE`` of them in a
    row a random legal configuration is evaluated, of which the method learns nothing.
    """

    _checker: Checker
    _points: Sequence[Any] = ()
    _results: list[Result | None]
    _next = 0
    _left = 0
    _sampler: Sampler | None = None

    @abstractmethod
    def _propose(self) -> Sequence[Any]:
        """The next generation, in the library's own form."""

    @abstractmethod
    def _config(self, point: Any) -> dict[str, Value]:
        """The configuration of a point; clauses may still forbid it."""

    @abstractmethod
    def _learn(self, points: Sequence[Any], results: Sequence[Result | None]) -> None:
        """Tell a whole generation; ``None`` stands for a forbidden proposal."""

    def ask(self) -> Trial | None:
        for _ in range(PATIENCE):
            if self._next == len(self._points):
                if self._left:
                    return None
                if len(self._points):
                    self._learn(self._points, self._results)
                    self._points, self._next = (), 0  # told, whatever comes of the next line
                self._points = self._propose()
                self._results = [None] * len(self._points)
                self._next = 0
            index = self._next
            self._next += 1
            config = self._config(self._points[index])
            if not self._checker.forbidden(config):
                self._left += 1
                return Trial(config, tag=index)
        if self._sampler is None:  # its stream is that of the seed, by way of what was proposed
            self._sampler = Sampler(self._checker, zlib.crc32(repr(config).encode()))
        return Trial(self._sampler.sample(), tag=None)

    def tell(self, trial: Trial, result: Result) -> None:
        if trial.tag is None:
            return
        self._results[trial.tag] = result
        self._left -= 1


def values_of(results: Sequence[Result | None]) -> list[tuple[float, ...]]:
    """Values to minimise; a forbidden proposal (``None``) has the worst of each objective."""
    known = [r.values for r in results if r is not None]
    worst = tuple(max(column) for column in zip(*known, strict=True)) if known else (0.0,)
    return [worst if r is None else r.values for r in results]


class Lineage:
    """Numbers the trials of an optimizer, and finds the one that a promotion continues."""

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[frozenset[tuple[str, Value]], tuple[int, float]] = {}

    def trial(
        self,
        config: dict[str, Value],
        fidelity: float,
        info: dict[str, Any] | None = None,
        tag: Any = None,
    ) -> Trial:
        """A trial; it continues the last one of an equal configuration at a lower fidelity."""
        key = frozenset(config.items())
        number, reached = self._last.get(key, (None, fidelity))
        continues = number if reached < fidelity else None
        self._last[key] = (self._count, fidelity)
        self._count += 1
        return Trial(config, fidelity, continues, info or {}, tag)
