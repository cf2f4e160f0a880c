"""Roost as a server."""
