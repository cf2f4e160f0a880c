"""A bridge answers with a new model while all vectors are still the old model's.

A learned map takes a query from the new model's space into the old one's. The old collection
gives candidates there, and the new model orders them by their contents. A bridge is measured
against keeping the old model, on queries that it was not fitted on, and refused when it does not
win.
"""
