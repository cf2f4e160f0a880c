"""Models: what they are, how they are stored, registered and versioned, and the data and runs behind them."""
