"""A pool's version as a Temporal worker tells it."""

from __future__ import annotations

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from settings.schema import VersionSettings

__all__ = ["deployment_config"]


def deployment_config(version: VersionSettings | None) -> WorkerDeploymentConfig | None:
    """None where the pool is unversioned.

    Runs are pinned: each ends on the workers it began on, whatever the next version changes. So that a conversation
    of years does not hold a version for years, it continues as new on the current one after its next turn.
    """
    if version is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=version.deployment, build_id=version.build),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
