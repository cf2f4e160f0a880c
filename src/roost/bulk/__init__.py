"""Loading many rows at once: files, tables, arrays and frames into a collection."""
