"""Models that predict a class or a number: the contract, and one module a kind."""
