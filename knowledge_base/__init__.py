"""Everything about finding passages: documents, chunks, indices, snapshots, search and citations.

Knows nothing of Temporal and of ours imports only ``dialogue``. Heavy libraries (torch, faiss, OpenCC)
are loaded when they are first needed and never by importing a module of this package.
"""
