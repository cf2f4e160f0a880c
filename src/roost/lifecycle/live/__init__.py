"""Live tests: deployments that answer the same traffic until one is known to be better.

`plan` says what was asked for; `interleaved`, `split` and `shadow` answer queries; `feedback`, `units`, `judging`
and `tally` make of them what is counted; `guardrails` and `guards` watch for harm; `records` and `course` are
what the store keeps; `test` holds it together.
"""

from roost.lifecycle.live.guardrails import Guardrail
from roost.lifecycle.live.status import ArmStatus, TestStatus
from roost.lifecycle.live.test import Ending, LiveTest

__all__ = ["ArmStatus", "Ending", "Guardrail", "LiveTest", "TestStatus"]
