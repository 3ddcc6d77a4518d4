"""How good Parley's answers are, measured on public and own data: ``python -m evals``.

May import everything of ours but the servers. Public data stands beside the repository, never inside it.
"""
