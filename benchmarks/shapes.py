"""What a message may cost: the shapes of conversation that are measured side by side, on one real server.

``floor`` and ``bare`` use the SDK as it comes. ``turn`` and ``pools`` are Parley's own workflow, client core and
plugin, with steps that do nothing and the plan that ``temporal.yaml`` gives a real turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from activities.heartbeats import living
from activities.turn_plan import TurnPlanner
from benchmarks.floor import BareStepsWorkflow, FloorWorkflow, floor_step
from dialogue.messages import Say
from dialogue.plan import ModelPlan, TurnPlan
from dialogue.steps import ReceiveInput
from gateway.conversations import Conversations
from policy.policy import Policy
from records.data_keys import DataKeys
from records.plugin import parley_plugin
from settings.load import load
from tests.support.scripted_steps import ScriptedSteps
from tests.support.servers import DYNAMIC_CONFIG_ARGS, executable
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.names import SEARCH_ATTRIBUTE_KEYS

__all__ = ["CACHED", "QUESTION", "ROOT", "Living", "Shape", "file_server", "planned_steps", "serving", "turn_shape"]

ROOT = Path(__file__).resolve().parent.parent
# As `parley up` starts it: the file database's own defaults wait for the disk at every commit.
PRAGMAS = ("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1")
QUESTION = "How long do I have to send something back?"
CACHED = 1000  # pools.dialogue.max_cached_workflows, as temporal.yaml has it


class Living(Interceptor):
    """The part of the product's interceptor that tells Temporal that a step's worker lives: a step is taken for dead
    after two seconds without it, and a busy machine is slow."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (the SDK's name)
        return _LivingInbound(next)


class _LivingInbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        async with living():
            return await super().execute_activity(input)


@dataclass(frozen=True, slots=True)
class Shape:
    """``speak`` says the nth message, from 1, in a conversation; ``close`` ends it."""

    name: str
    speak: Callable[[str, int], Awaitable[object]]
    close: Callable[[str], Awaitable[object]]


async def file_server(database: Path, *, metrics_port: int | None = None) -> WorkflowEnvironment:
    """The development server with a file database; its client is the SDK's as it comes."""
    metrics = ("--metrics-port", str(metrics_port)) if metrics_port else ()
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable("temporal"),
        dev_server_database_filename=str(database),
        dev_server_extra_args=[*DYNAMIC_CONFIG_ARGS, *PRAGMAS, *metrics],
        search_attributes=SEARCH_ATTRIBUTE_KEYS,
    )


@asynccontextmanager
async def serving(client: Client) -> AsyncGenerator[dict[str, Shape]]:
    """The shapes by name, with workers for all of them in this process. ``client`` is a plain one."""
    ours = await Client.connect(client.service_client.config.target_host, plugins=[parley_plugin()])
    async with AsyncExitStack() as stack:
        shapes = [
            await _least(client, stack, "floor", FloorWorkflow),
            await _least(client, stack, "bare", BareStepsWorkflow),
            await turn_shape(ours, stack, "turn"),
            await turn_shape(ours, stack, "pools", pools=2),
        ]
        yield {shape.name: shape for shape in shapes}


async def _least(
    client: Client, stack: AsyncExitStack, name: str, kind: type[FloorWorkflow | BareStepsWorkflow]
) -> Shape:
    queue = f"benchmark-{name}"
    await stack.enter_async_context(Worker(client, task_queue=queue, workflows=[kind], activities=[floor_step]))

    async def speak(conversation: str, number: int) -> object:
        start = WithStartWorkflowOperation(
            kind.run, id=conversation, task_queue=queue, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        return await client.execute_update_with_start_workflow(
            kind.say, QUESTION, start_workflow_operation=start, id=f"m{number}"
        )

    async def close(conversation: str) -> object:
        return await client.get_workflow_handle(conversation).signal(kind.close)

    return Shape(name, speak, close)


async def turn_shape(
    client: Client,
    stack: AsyncExitStack,
    name: str,
    *,
    pools: int = 1,
    keys: DataKeys | None = None,
    reasoning: str = "",
) -> Shape:
    """With two pools generation is served by a worker of its own, as in the embedded profile. ``keys``: those of the
    client's protection; ``reasoning``: what the model thinks in every turn."""
    queue = f"benchmark-{name}"
    steps = planned_steps(queue, gpu=queue if pools == 1 else f"{queue}-gpu")
    steps.reasoning = reasoning
    generate = [steps.generate_answer]
    beside = [each for each in steps.activities() if each.__name__ != "generate_answer"]
    workers = [
        Worker(
            client,
            task_queue=queue,
            workflows=[ConversationWorkflow, DialogueWorkflow],
            activities=[*beside, *generate] if pools == 1 else beside,
            max_cached_workflows=CACHED,
            max_heartbeat_throttle_interval=timedelta(seconds=0.2),
            interceptors=[Living()],
        )
    ]
    if pools == 2:
        workers.append(Worker(client, task_queue=f"{queue}-gpu", activities=generate, interceptors=[Living()]))
    for worker in workers:
        await stack.enter_async_context(worker)
    conversations = Conversations(client, task_queue=queue, web_ui="http://127.0.0.1:8233", keys=keys)

    async def speak(conversation: str, number: int) -> object:
        return await conversations.say(conversation, Say(message_id=f"m{number}", text=QUESTION), fresh=number == 1)

    async def close(conversation: str) -> object:
        return await conversations.close(conversation, "default")

    return Shape(name, speak, close)


def planned_steps(queue: str, *, gpu: str) -> ScriptedSteps:
    """Steps that do nothing, under the plan of the project's own ``temporal.yaml`` on these queues."""
    settings = load(ROOT / "temporal.yaml")
    policies = {name: Policy.build(rules, settings.root) for name, rules in settings.policies.items()}
    model = ModelPlan(
        alias="default", name=settings.model.name, digest="d" * 64, task_queue=gpu, languages=("en",), context=1024
    )
    planner = TurnPlanner(settings, policies, {"default": model})

    def plan(request: ReceiveInput) -> TurnPlan:
        planned = planner.plan(request)
        moved = {
            step: each.model_copy(update={"task_queue": gpu if step == "generate_answer" else queue})
            for step, each in planned.steps.items()
        }
        return planned.model_copy(update={"steps": moved})

    return dataclasses.replace(ScriptedSteps(queue), planner=plan)
