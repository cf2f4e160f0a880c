"""Measure the drift detectors on real images and texts: false alarms, power, time; python -m bench.drift."""
