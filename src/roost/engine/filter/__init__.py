"""The boolean expression language of Milvus: `compile_filter` makes a `Predicate` of an expression."""

from roost.engine.filter.compile import Predicate, compile_filter

__all__ = ["Predicate", "compile_filter"]
