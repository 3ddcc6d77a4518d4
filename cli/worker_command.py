"""``parley worker POOL``: one pool, as in production."""

from __future__ import annotations

__all__ = ["worker"]


async def worker(pool: str, /) -> None:
    """Serve one worker pool until it is told to stop; what it has begun it finishes first.

    Parameters
    ----------
    pool
        The name of a pool in temporal.yaml.
    """
    import gc

    # while libraries are imported, looking for garbage costs a fifth of the time and finds next to none; the worker
    # lets the collector go on once it takes tasks
    gc.disable()
    from settings.load import load
    from workers.run import run_worker

    await run_worker(load(), pool)
