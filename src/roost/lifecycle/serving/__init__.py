"""Endpoints: where traffic goes, what it leaves behind, and how every process learns of a change."""
