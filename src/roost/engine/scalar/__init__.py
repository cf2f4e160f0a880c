"""Indexes on scalar fields: the rows of each distinct value, kept in a file beside a segment's columns."""
