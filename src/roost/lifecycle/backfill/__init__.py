"""Filling a deployment's collection from records, while its endpoint answers and takes writes."""

from roost.lifecycle.backfill.batches import Key, Record
from roost.lifecycle.backfill.collection import CollectionSource
from roost.lifecycle.backfill.estimate import Estimate, Price, estimate
from roost.lifecycle.backfill.job import MAX_BATCH_SIZE, Backfill, Options, Progress, check_batch_size
from roost.lifecycle.backfill.parquet import ParquetSource
from roost.lifecycle.backfill.sources import ArraySource, Records, Source

__all__ = [
    "MAX_BATCH_SIZE",
    "ArraySource",
    "Backfill",
    "CollectionSource",
    "Estimate",
    "Key",
    "Options",
    "ParquetSource",
    "Price",
    "Progress",
    "Record",
    "Records",
    "Source",
    "check_batch_size",
    "estimate",
]
