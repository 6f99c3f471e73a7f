"""A vector register as a type of numba: one number for each of several grid points.

An array is read and written a register at a time, ``load(array, index)``; numbers of the array's type may stand
wherever an operand is a vector. Functions whose name begins with ``row_`` work on several registers at once, so that
they stay in registers through a loop.
"""
# ruff: noqa: ANN001, ANN201, ANN202, ARG001, ARG002  # numba reads these signatures by position, and its types are values

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.extending import intrinsic, lower_builtin, register_model
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from fermisea.descriptors.compiled import vector_bits


def lane_count(itemsize: int) -> int:
    """Returns how many numbers of ``itemsize`` bytes one register holds."""
    return vector_bits() // (8 * itemsize)


class Vector(types.Type):
    """The type of a register of ``lanes`` numbers of type ``dtype``."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.lanes = dtype, vector_bits() // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        element = ir.FloatType() if fe_type.dtype == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def _splat(builder, value, kind):
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, undefined, mask)


def _pointer(context, builder, array_type, array, index, kind):
    element = builder.gep(context.make_array(array_type)(context, builder, array).data, [index])
    return builder.bitcast(element, kind.as_pointer())


def _alignment(dtype) -> int:
    return dtype.bitwidth // 8


def _call(builder, name, vector, kind, values):
    suffix = f"v{vector.lanes}f{vector.dtype.bitwidth}"
    function_type = ir.FunctionType(kind, [kind] * len(values))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{suffix}")
    return builder.call(function, values)


def _operand(kind, vector):
    return kind if isinstance(kind, Vector) else vector.dtype


def _vectors(context, builder, kinds, values, vector):
    kind = context.get_value_type(vector)
    return [
        value if isinstance(given, Vector) else _splat(builder, value, kind)
        for given, value in zip(kinds, values, strict=True)
    ]


@intrinsic
def lanes(typingctx, array):
    """Number of lanes of the register that belongs to an array's type."""
    count = Vector(array.dtype).lanes

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), count)

    return types.intp(array), codegen


@intrinsic
def load(typingctx, array, index):
    """The register at ``array[index : index + lanes]``."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        pointer = _pointer(context, builder, sig.args[0], *args, kind)
        return builder.load(pointer, align=_alignment(array.dtype))

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Writes a register, or a number in all lanes, to ``array[index : index + lanes]``."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        (register,) = _vectors(context, builder, sig.args[2:], args[2:], vector)
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], context.get_value_type(vector))
        builder.store(register, pointer, align=_alignment(array.dtype))
        return context.get_dummy_value()

    return types.void(array, types.intp, _operand(value, vector)), codegen


@intrinsic
def splat(typingctx, array, value):
    """A number in all lanes of the register that belongs to an array's type."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        return _splat(builder, args[1], context.get_value_type(vector))

    return vector(array, array.dtype), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Multiply and add with one rounding: a b + c."""
    vector = a if isinstance(a, Vector) else b

    def codegen(context, builder, sig, args):
        values = _vectors(context, builder, sig.args, args, vector)
        return _call(builder, "fma", vector, context.get_value_type(vector), values)

    return vector(*(_operand(kind, vector) for kind in (a, b, c))), codegen


@intrinsic
def root(typingctx, a):
    """The square root."""

    def codegen(context, builder, sig, args):
        return _call(builder, "sqrt", a, context.get_value_type(a), args)

    return a(a), codegen


@intrinsic
def where_below(typingctx, a, limit, value, other):
    """``value`` where a < limit, else ``other``."""

    def codegen(context, builder, sig, args):
        left, right, yes, no = _vectors(context, builder, sig.args, args, a)
        return builder.select(builder.fcmp_ordered("<", left, right), yes, no)

    return a(*(_operand(kind, a) for kind in (a, limit, value, other))), codegen


def _arithmetic(name: str, symbol: Callable[..., Any]) -> None:
    @infer_global(symbol)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            vectors = [kind for kind in args if isinstance(kind, Vector)]
            if not vectors or len(args) != 2:  # others know what to do
                return None
            return signature(vectors[0], *(_operand(kind, vectors[0]) for kind in args))

    def implement(context, builder, sig, args):
        values = _vectors(context, builder, sig.args, args, sig.return_type)
        return getattr(builder, name)(*values, flags=("contract", "nsz"))

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(symbol, *kinds)(implement)


for _name, _symbol in (
    ("fadd", operator.add),
    ("fsub", operator.sub),
    ("fmul", operator.mul),
    ("fdiv", operator.truediv),
):
    _arithmetic(_name, _symbol)


@intrinsic(prefer_literal=True)
def row_read(typingctx, array, start, count):
    """``array[start : start + count]`` as a tuple of numbers; ``count`` is a constant."""
    number = types.intp if isinstance(array.dtype, types.Integer) else array.dtype
    result = types.UniTuple(number, count.literal_value)

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        places = [builder.add(args[1], ir.Constant(args[1].type, k)) for k in range(len(result))]
        return context.make_tuple(builder, result, [builder.load(builder.gep(data, [place])) for place in places])

    return result(array, types.intp, count), codegen


@intrinsic
def row_zeros(typingctx, array, offsets):
    """A zero register for each of ``offsets``."""
    vector = Vector(array.dtype)
    result = types.UniTuple(vector, len(offsets))

    def codegen(context, builder, sig, args):
        zero = ir.Constant(context.get_value_type(vector), None)
        return context.make_tuple(builder, result, [zero] * len(offsets))

    return result(array, offsets), codegen


def _row_fma(totals, array, offsets, shift, factors, *, negative: bool):
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        results = []
        for k in range(len(offsets)):
            index = builder.add(builder.extract_value(args[2], k), args[3])
            pointer = _pointer(context, builder, sig.args[1], args[1], index, kind)
            value = builder.load(pointer, align=_alignment(array.dtype))
            if negative:
                value = builder.fneg(value)
            factor = builder.extract_value(args[4], k) if isinstance(factors, types.BaseTuple) else args[4]
            results.append(_call(builder, "fma", vector, kind, [value, factor, builder.extract_value(args[0], k)]))
        return context.make_tuple(builder, totals, results)

    return totals(totals, array, offsets, types.intp, factors), codegen


@intrinsic
def row_fma(typingctx, totals, array, offsets, shift, factors):
    """totals[k] + load(array, offsets[k] + shift) factors[k] for each k; ``factors`` may be a single register."""
    return _row_fma(totals, array, offsets, shift, factors, negative=False)


@intrinsic
def row_fnma(typingctx, totals, array, offsets, shift, factors):
    """totals[k] - load(array, offsets[k] + shift) factors[k] for each k; ``factors`` may be a single register."""
    return _row_fma(totals, array, offsets, shift, factors, negative=True)
