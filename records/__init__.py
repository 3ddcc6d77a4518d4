"""What is kept of a conversation: the audit, contents by digest, the token log, and the Temporal plugin.

Imports ``dialogue`` and ``settings`` of ours, and no other package. The audit and the contents are SQL (SQLite or
PostgreSQL, through SQLAlchemy and Alembic); the token log has back ends of its own behind one protocol.
"""
