"""Models that turn content into vectors: the contract, and one module a kind."""
