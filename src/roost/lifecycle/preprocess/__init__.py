"""Content on its way into a model: images, texts and rows of tables become arrays."""

from roost.lifecycle.preprocess.base import Preprocessor, Scale
from roost.lifecycle.preprocess.images import Images
from roost.lifecycle.preprocess.tables import Columns
from roost.lifecycle.preprocess.texts import Texts

__all__ = ["Columns", "Images", "Preprocessor", "Scale", "Texts"]
