"""Training a model again: when, with which recipe, within which budget, and what must hold before it is deployed.

A recipe ends in a challenger that passed its gate, never in a change of champion.
"""

from roost.lifecycle.retrain.plan import Budget, Cron, Drift, Gate, MetricBelow, NewRows, Plan, Trigger
from roost.lifecycle.retrain.training import Training

__all__ = ["Budget", "Cron", "Drift", "Gate", "MetricBelow", "NewRows", "Plan", "Training", "Trigger"]
