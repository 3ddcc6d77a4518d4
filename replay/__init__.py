"""Incident review: what was recorded of a conversation, read as a story, run again and compared.

Reads histories (:mod:`replay.histories`), tells them (:mod:`replay.story`), proves them (:mod:`replay.exact`,
:mod:`replay.tokens`, :mod:`replay.samples`) and asks what would have been otherwise (:mod:`replay.whatif`). Nothing
here writes into what is kept, but for a fork, which is asked for by name.
"""
