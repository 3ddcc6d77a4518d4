"""How fast Parley is, measured against a baseline in the same run: ``python -m benchmarks``.

May import everything of ours, and the servers and scripted steps of ``tests/support``. Absolute figures belong to one
machine at one hour; what carries over is the ratio to the baseline beside them.
"""
