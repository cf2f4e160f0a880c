"""Live tests of a champion against a challenger: interleaving, credit, and when to stop.

The three steps are pure. `team_draft` mixes two rankings into one, `judge` turns feedback on the
mixed ranking into an outcome, and `SequentialTest` counts outcomes and says when to stop.
"""

from roost.lifecycle.livetest.interleave import Draft, Id, Outcome, Side, judge, team_draft
from roost.lifecycle.livetest.sequential import SequentialTest

__all__ = ["Draft", "Id", "Outcome", "SequentialTest", "Side", "judge", "team_draft"]
