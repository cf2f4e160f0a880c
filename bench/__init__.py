"""Roost's embedded engine measured beside Faiss called directly and beside other vector databases."""
