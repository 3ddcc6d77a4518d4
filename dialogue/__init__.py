"""The vocabulary of Parley: messages, the result of each step, the turn's plan, faults.

Every other package speaks in these terms. This one imports nothing of ours, reads no
clock, file or environment, and is therefore safe inside a workflow.
"""
