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

from fermisea.descriptors.compiled.compiling import vector_bits


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


def _row_load(context, builder, array_type, args, k, kind):
    """The register at args[1][k] + args[2] of the array args[0]."""
    index = builder.add(builder.extract_value(args[1], k), args[2])
    pointer = _pointer(context, builder, array_type, args[0], index, kind)
    return builder.load(pointer, align=_alignment(array_type.dtype))


def _row_fma(totals, array, offsets, shift, factors, *, negative: bool):
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        results = []
        for k in range(len(offsets)):
            value = _row_load(context, builder, sig.args[1], args[1:], k, kind)
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


@intrinsic
def row_scale(typingctx, array, factors, value):
    """factors[k] value for each k: numbers times a register."""
    vector = Vector(array.dtype)
    result = types.UniTuple(vector, len(factors))

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        numbers = [_splat(builder, builder.extract_value(args[1], k), kind) for k in range(len(factors))]
        return context.make_tuple(builder, result, [builder.fmul(number, args[2]) for number in numbers])

    return result(array, factors, vector), codegen


@intrinsic
def row_multiply(typingctx, array, offsets, shift, factors):
    """load(array, offsets[k] + shift) factors[k] for each k."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        values = [_row_load(context, builder, sig.args[0], args, k, kind) for k in range(len(offsets))]
        products = [builder.fmul(value, builder.extract_value(args[3], k)) for k, value in enumerate(values)]
        return context.make_tuple(builder, factors, products)

    return factors(array, offsets, types.intp, factors), codegen


@intrinsic
def row_dot(typingctx, total, array, offsets, shift, factors):
    """Total + sum_k load(array, offsets[k] + shift) factors[k]."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        value = args[0]
        for k in range(len(offsets)):
            loaded = _row_load(context, builder, sig.args[1], args[1:], k, kind)
            value = _call(builder, "fma", vector, kind, [loaded, builder.extract_value(args[4], k), value])
        return value

    return vector(vector, array, offsets, types.intp, factors), codegen


@intrinsic
def row_update(typingctx, array, offsets, shift, left, x, right, y):
    """Adds left[k] x + right[k] y to the register at offsets[k] + shift, for each k."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        for k in range(len(offsets)):
            index = builder.add(builder.extract_value(args[1], k), args[2])
            pointer = _pointer(context, builder, sig.args[0], args[0], index, kind)
            value = builder.load(pointer, align=_alignment(array.dtype))
            value = _call(builder, "fma", vector, kind, [builder.extract_value(args[3], k), args[4], value])
            value = _call(builder, "fma", vector, kind, [builder.extract_value(args[5], k), args[6], value])
            builder.store(value, pointer, align=_alignment(array.dtype))
        return context.get_dummy_value()

    return types.void(array, offsets, types.intp, left, vector, right, vector), codegen


@intrinsic
def row_add(typingctx, array, offsets, shift, left, right):
    """Adds left[k] right[k] to the register at offsets[k] + shift, for each k."""
    vector = Vector(array.dtype)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(vector)
        for k in range(len(offsets)):
            index = builder.add(builder.extract_value(args[1], k), args[2])
            pointer = _pointer(context, builder, sig.args[0], args[0], index, kind)
            value = builder.load(pointer, align=_alignment(array.dtype))
            factors = [builder.extract_value(args[3], k), builder.extract_value(args[4], k)]
            builder.store(
                _call(builder, "fma", vector, kind, [*factors, value]), pointer, align=_alignment(array.dtype)
            )
        return context.get_dummy_value()

    return types.void(array, offsets, types.intp, left, right), codegen
