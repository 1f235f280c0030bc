"""Products with matrices (ONNX MatMul, Gemm, Einsum; onnxruntime's FusedMatMul, TransposeMatMul, FusedGemm).

MatMul: A [..., M, K], B [..., K, N]; Gemm: A [M, K], B [K, N], C broadcast to [M, N], A and B turned where `transA` and
`transB` say so. Either factor may be the weight.
"""

from __future__ import annotations

from collections.abc import Callable

from chanc.ops.spec import Attributes, AxesOf, Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import einsum, fused_product, gemm, product

PRODUCT = {Trait.LINEAR, Trait.RANK}


def _is_set(attributes: Attributes, name: str) -> bool:
    given = attributes.get(name)
    return given is not None and bool(given.as_int())


def _axis(side: int, flag: str) -> AxesOf:
    """The axis next to last (-2) or last (-1), the other one where the attribute `flag` is set; a vector has none."""

    def axes(attributes: Attributes, rank: int) -> tuple[int, ...]:
        turned = bool(flag) and _is_set(attributes, flag)
        return (rank + (-3 - side if turned else side),) if rank > 1 else ()

    return axes


def _contracted(side: int, flag: str) -> AxesOf:
    """The same of the axis that is summed over: the only one of a vector."""
    matrix = _axis(side, flag)
    return lambda attributes, rank: matrix(attributes, rank) or tuple(range(rank))


def factors(first: str = "", second: str = "") -> tuple[Weight, Weight]:
    """The two factors of a product; the names of the attributes that turn them."""
    return (
        Weight(0, init="he", makes=_axis(-2, first), takes=_contracted(-1, first)),
        Weight(1, init="he", makes=_axis(-1, second), takes=_contracted(-2, second)),
    )


Chosen = Callable[[bool, bool], bool]


def _letters(index: int, chosen: Chosen) -> AxesOf:
    """The axes of an Einsum operand whose letter is chosen by whether the other operands, and the result, have it."""

    def axes(attributes: Attributes, rank: int) -> tuple[int, ...]:
        terms, result = _equation(attributes)
        if index >= len(terms):
            return ()
        others = "".join(terms[:index] + terms[index + 1 :])
        own = terms[index].replace("...", "." * (rank - len(terms[index].replace("...", ""))))
        return tuple(k for k, letter in enumerate(own) if chosen(letter in others, letter in result))

    return axes


def _equation(attributes: Attributes) -> tuple[list[str], str]:
    """The terms of the operands and that of the result; without `->` it has the letters that stand once, sorted."""
    left, arrow, result = attributes["equation"].as_string().replace(" ", "").partition("->")
    once = sorted(letter for letter in set(left) if letter.isalpha() and left.count(letter) == 1)
    return left.split(","), result if arrow else "".join(["...", *once])


def term(index: int) -> Weight:
    """An operand of an Einsum: it makes what it alone gives the result, and takes what the result lacks."""
    made = _letters(index, lambda others, result: result and not others)
    taken = _letters(index, lambda others, result: others and not result)
    return Weight(index, init="he", makes=made, takes=taken)


BIAS = Weight(2, init=0.0)
operator("MatMul", traits=PRODUCT, weights=factors(), divisors=(), work=product())
operator("Gemm", traits=PRODUCT, weights=(*factors("transA", "transB"), BIAS), divisors=(), work=gemm())
operator("Einsum", traits={Trait.LINEAR}, weights=(term(0), term(1), term(2)), divisors=(), work=einsum)
operator(
    "FusedMatMul", "TransposeMatMul",
    domain="com.microsoft", traits=PRODUCT, weights=factors("transA", "transB"), divisors=(), work=fused_product,
)  # fmt: skip
operator(
    "FusedGemm", domain="com.microsoft",
    traits=PRODUCT, weights=(*factors("transA", "transB"), BIAS), divisors=(), work=gemm(),
)  # fmt: skip
