"""Watching endpoints in production: statistics of their traffic, recall, drift, rules, alerts."""

from roost.lifecycle.monitor.notify import Email, Log, Webhook
from roost.lifecycle.monitor.rules import Rule

__all__ = ["Email", "Log", "Rule", "Webhook"]
