"""Deployments: a model version with its vectors, its states, and the change from one champion to the next."""
