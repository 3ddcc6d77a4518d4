"""What happens, in order: deterministic code only.

Sees ``dialogue`` and nothing else of ours: activities are called by name and type.
"""
