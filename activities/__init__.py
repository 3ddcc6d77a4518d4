"""How each step is done: one file a step, named after it.

Activities know policies, intents, knowledge, the model's runtime and the records; they are built by ``workers``
with the parts they need, and never read a setting themselves.
"""
