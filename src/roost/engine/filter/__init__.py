"""The boolean expression language of Milvus: `compile_filter` makes a `Predicate` of an expression."""

from roost.engine.filter.compile import Predicate, compile_filter
from roost.engine.filter.estimate import Estimate
from roost.engine.filter.evaluate import Leaf

__all__ = ["Estimate", "Leaf", "Predicate", "compile_filter"]
