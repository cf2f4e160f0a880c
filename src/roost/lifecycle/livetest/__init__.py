"""Live tests of a champion against challengers: mixing, assigning, measuring, and when to stop.

Everything here is pure. Interleaving mixes rankings into one (`team_draft`, `balanced_draft`, `multileave`) and turns
feedback into an outcome (`judge`, `judge_all`); a split assigns users (`Ramp`, `assign`, `SampleRatioTest`). Tests
collect evidence (`SequentialTest`, `MeanTest`, `SplitTest`, `RatioTest`), `decide` says how it ends, and `LimitTest`
finds what does harm. `power` says how many queries it takes.
"""

from roost.lifecycle.livetest import power
from roost.lifecycle.livetest.assignment import Ramp, Stage, assign
from roost.lifecycle.livetest.balanced import balanced_draft
from roost.lifecycle.livetest.evidence import Evidence
from roost.lifecycle.livetest.interleave import Draft, Id, Outcome, Side, judge, team_draft
from roost.lifecycle.livetest.limits import LimitTest
from roost.lifecycle.livetest.means import MeanTest, SplitTest
from roost.lifecycle.livetest.mismatch import SampleRatioTest
from roost.lifecycle.livetest.multileave import MultiDraft, judge_all, multileave
from roost.lifecycle.livetest.outcomes import Standing, TestOutcome, Verdict, decide
from roost.lifecycle.livetest.ratios import RatioTest
from roost.lifecycle.livetest.sequential import SequentialTest

__all__ = [
    "Draft",
    "Evidence",
    "Id",
    "LimitTest",
    "MeanTest",
    "MultiDraft",
    "Outcome",
    "Ramp",
    "RatioTest",
    "SampleRatioTest",
    "SequentialTest",
    "Side",
    "SplitTest",
    "Stage",
    "Standing",
    "TestOutcome",
    "Verdict",
    "assign",
    "balanced_draft",
    "decide",
    "judge",
    "judge_all",
    "multileave",
    "power",
    "team_draft",
]
