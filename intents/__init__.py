"""What people may want: the intents file, and the classifier trained from it.

Of ours it imports only ``dialogue``; an embedding is a callable that the caller injects.
"""
