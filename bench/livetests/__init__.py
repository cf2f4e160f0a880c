"""False decisions and speed of live tests, on simulated users of real rankings: `python -m bench.livetests`."""
