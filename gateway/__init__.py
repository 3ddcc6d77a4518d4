"""How the outside talks to Parley.

Sees ``dialogue``, ``workflows`` (by name), ``policy``, ``records`` and ``settings``; never a model.
"""
