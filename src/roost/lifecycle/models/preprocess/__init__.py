"""Content on its way into a model: images, texts and rows of tables become arrays."""

from roost.lifecycle.models.preprocess.base import Preprocessor, Scale
from roost.lifecycle.models.preprocess.images import Images
from roost.lifecycle.models.preprocess.tables import Columns
from roost.lifecycle.models.preprocess.texts import Texts

__all__ = ["Columns", "Images", "Preprocessor", "Scale", "Texts"]
