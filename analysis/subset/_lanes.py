"""Blocks of 64 small counters that are looked at and changed at once, chosen by the bits of a word.

Rows of a pool and points of a set are numbered; 64 neighbours are a block, whose counters (16 bits
each) are one vector and whose yes-or-no facts are one word. The two operations are written for
LLVM, which turns them into the vector instructions of the machine at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from carps_like.analysis.subset._boxes import Words
from carps_like.analysis.subset._compiled import helper, popcount

BLOCK = 64
Shorts = NDArray[np.int16]

_WORD, _BLOCK = ir.IntType(BLOCK), ir.VectorType(ir.IntType(16), BLOCK)
_BITS = ir.VectorType(ir.IntType(1), BLOCK)


def _load(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, Any]:
    """Address and content of the block of the array ``arguments[0]`` from ``arguments[1]`` on."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    place = builder.gep(array.data, [arguments[1]])
    place = builder.bitcast(place, _BLOCK.as_pointer())
    return place, builder.load(place, align=2)


def _repeat(builder: Any, value: Any) -> Any:
    """A block of ``value``."""
    nothing = ir.Constant(_BLOCK, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), None)
    return builder.shuffle_vector(one, nothing, zeros)


def _add_where(typing_context: Any, counters: Any, start: Any, word: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, old = _load(context, builder, signature, arguments)
        bits = builder.bitcast(arguments[2], _BITS)
        more = builder.select(bits, _repeat(builder, arguments[3]), ir.Constant(_BLOCK, None))
        builder.store(builder.add(old, more), place, align=2)
        return context.get_dummy_value()

    return types.void(counters, types.intp, types.uint64, types.int16), code


def _where_above(typing_context: Any, counters: Any, start: Any, bound: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, block = _load(context, builder, signature, arguments)
        bits = builder.icmp_signed(">", block, _repeat(builder, arguments[2]))
        return builder.bitcast(bits, _WORD)

    return types.uint64(counters, types.intp, types.int16), code


# add_where(counters, start, word, value): add ``value`` to counters[start + i] for each bit i of
# ``word`` that is set
add_where: Callable[[Shorts, int, Any, Any], None] = intrinsic(_add_where)
# where_above(counters, start, bound): a word whose bit i tells counters[start + i] > bound
where_above: Callable[[Shorts, int, Any], Any] = intrinsic(_where_above)


@helper
def lowest(word: int) -> int:
    """Number of the lowest bit of ``word`` that is set."""
    return np.int64(popcount(~word & (word - np.uint64(1))))  # type: ignore[return-value]


@helper
def ones(word: int) -> int:
    """How many bits of ``word`` are set, as a signed number."""
    return np.int64(popcount(word))  # type: ignore[return-value]


def blocks(n: int) -> int:
    """How many blocks hold ``n`` counters."""
    return -(-n // BLOCK)


def members(words: Words, n: int) -> NDArray[np.bool_]:
    """The first ``n`` bits of each row of ``words`` (..., blocks)."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), axis=-1, bitorder="little")
    return bits[..., :n].astype(np.bool_)
