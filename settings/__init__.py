"""``temporal.yaml`` read, checked and explained.

Composition roots, the gateway and the command line load it; a workflow never does: what a workflow
must know travels in :class:`dialogue.plan.TurnPlan`. Imports ``dialogue`` only.
"""
