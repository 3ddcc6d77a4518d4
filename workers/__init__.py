"""Composition roots: build the real parts from the settings and serve one pool. Nothing is decided here."""
