from typing import ClassVar

from roost_kd_tree import KdTree

from roost.testing.index_contract import IndexContract


class TestKdTree(IndexContract):
    index_class = KdTree
    build_params: ClassVar = {"leaf_size": 8}
    metrics: ClassVar = ("L2",)
    recall_floor: ClassVar = 1.0
