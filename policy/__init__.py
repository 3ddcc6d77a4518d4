"""What may come in and what may go out: normalising, word lists, personal data, checks, verdicts.

Used by the input step, the review step and a stream gate. Everything here is plain Python over strings:
no model, no clock, no network. Of ours it imports only ``dialogue``.
"""
