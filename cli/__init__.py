"""The ``parley`` command. It may import everything of ours, but only when a command that needs it runs.

``main`` knows the commands by name; each lives in a file of its own. ``supervisor`` keeps child processes alive,
``stack`` says what runs on one machine and in which order, ``tables`` draws what people see.
"""
