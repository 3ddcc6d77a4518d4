from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SayRequest(_message.Message):
    __slots__ = ("messages", "conversation", "message_id", "tenant", "user", "temperature", "seed", "max_tokens", "model", "on_busy", "on_disconnect")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ON_BUSY_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    conversation: str
    message_id: str
    tenant: str
    user: str
    temperature: float
    seed: int
    max_tokens: int
    model: str
    on_busy: str
    on_disconnect: str
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., conversation: _Optional[str] = ..., message_id: _Optional[str] = ..., tenant: _Optional[str] = ..., user: _Optional[str] = ..., temperature: _Optional[float] = ..., seed: _Optional[int] = ..., max_tokens: _Optional[int] = ..., model: _Optional[str] = ..., on_busy: _Optional[str] = ..., on_disconnect: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "content", "files")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    files: _containers.RepeatedCompositeFieldContainer[File]
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("name", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class SayResponse(_message.Message):
    __slots__ = ("reply", "pending")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    reply: Reply
    pending: Pending
    def __init__(self, reply: _Optional[_Union[Reply, _Mapping]] = ..., pending: _Optional[_Union[Pending, _Mapping]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("answer", "reasoning", "verdict", "state", "citations", "conversation", "turn", "message_id", "language", "intent", "confidence", "model", "snapshot", "usage", "workflow_id", "run_id", "trace_url", "steps", "receipt")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_URL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    answer: str
    reasoning: str
    verdict: str
    state: str
    citations: _containers.RepeatedCompositeFieldContainer[Citation]
    conversation: str
    turn: int
    message_id: str
    language: str
    intent: str
    confidence: float
    model: str
    snapshot: str
    usage: Usage
    workflow_id: str
    run_id: str
    trace_url: str
    steps: _containers.RepeatedCompositeFieldContainer[StepRecord]
    receipt: str
    def __init__(self, answer: _Optional[str] = ..., reasoning: _Optional[str] = ..., verdict: _Optional[str] = ..., state: _Optional[str] = ..., citations: _Optional[_Iterable[_Union[Citation, _Mapping]]] = ..., conversation: _Optional[str] = ..., turn: _Optional[int] = ..., message_id: _Optional[str] = ..., language: _Optional[str] = ..., intent: _Optional[str] = ..., confidence: _Optional[float] = ..., model: _Optional[str] = ..., snapshot: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., trace_url: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[StepRecord, _Mapping]]] = ..., receipt: _Optional[str] = ...) -> None: ...

class Pending(_message.Message):
    __slots__ = ("conversation", "message_id", "workflow_id", "run_id", "trace_url")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_URL_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    message_id: str
    workflow_id: str
    run_id: str
    trace_url: str
    def __init__(self, conversation: _Optional[str] = ..., message_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., run_id: _Optional[str] = ..., trace_url: _Optional[str] = ...) -> None: ...

class Citation(_message.Message):
    __slots__ = ("number", "document", "title", "section", "start", "end", "quote", "support", "passage")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    document: str
    title: str
    section: str
    start: int
    end: int
    quote: str
    support: float
    passage: Passage
    def __init__(self, number: _Optional[int] = ..., document: _Optional[str] = ..., title: _Optional[str] = ..., section: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., quote: _Optional[str] = ..., support: _Optional[float] = ..., passage: _Optional[_Union[Passage, _Mapping]] = ...) -> None: ...

class Passage(_message.Message):
    __slots__ = ("text", "start")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    text: str
    start: int
    def __init__(self, text: _Optional[str] = ..., start: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ...) -> None: ...

class StepRecord(_message.Message):
    __slots__ = ("step", "pool", "try_number", "attempt", "milliseconds", "result", "skipped")
    STEP_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    TRY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    step: str
    pool: str
    try_number: int
    attempt: int
    milliseconds: float
    result: str
    skipped: bool
    def __init__(self, step: _Optional[str] = ..., pool: _Optional[str] = ..., try_number: _Optional[int] = ..., attempt: _Optional[int] = ..., milliseconds: _Optional[float] = ..., result: _Optional[str] = ..., skipped: _Optional[bool] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("conversation", "tenant", "turn", "message_id", "after")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    tenant: str
    turn: int
    message_id: str
    after: int
    def __init__(self, conversation: _Optional[str] = ..., tenant: _Optional[str] = ..., turn: _Optional[int] = ..., message_id: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "accepted", "step", "reasoning", "token", "citation", "retry", "retract", "final")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CITATION_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    id: int
    accepted: Accepted
    step: Step
    reasoning: Text
    token: Text
    citation: Citation
    retry: Retry
    retract: Retract
    final: Reply
    def __init__(self, id: _Optional[int] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., reasoning: _Optional[_Union[Text, _Mapping]] = ..., token: _Optional[_Union[Text, _Mapping]] = ..., citation: _Optional[_Union[Citation, _Mapping]] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., retract: _Optional[_Union[Retract, _Mapping]] = ..., final: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("conversation", "turn", "message_id")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    turn: int
    message_id: str
    def __init__(self, conversation: _Optional[str] = ..., turn: _Optional[int] = ..., message_id: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("step", "attempt")
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    step: str
    attempt: int
    def __init__(self, step: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("why",)
    TRY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    why: str
    def __init__(self, why: _Optional[str] = ..., **kwargs) -> None: ...

class Retract(_message.Message):
    __slots__ = ("why",)
    WHY_FIELD_NUMBER: _ClassVar[int]
    why: str
    def __init__(self, why: _Optional[str] = ...) -> None: ...

class TranscriptRequest(_message.Message):
    __slots__ = ("conversation", "tenant")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    tenant: str
    def __init__(self, conversation: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class TranscriptResponse(_message.Message):
    __slots__ = ("conversation", "tenant", "older", "turns", "waiting", "closed")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    OLDER_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    tenant: str
    older: int
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    waiting: _containers.RepeatedScalarFieldContainer[int]
    closed: bool
    def __init__(self, conversation: _Optional[str] = ..., tenant: _Optional[str] = ..., older: _Optional[int] = ..., turns: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., waiting: _Optional[_Iterable[int]] = ..., closed: _Optional[bool] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("turn", "message_id", "question", "answer", "verdict", "state", "intent", "confidence", "language", "tokens", "seconds")
    TURN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    turn: int
    message_id: str
    question: str
    answer: str
    verdict: str
    state: str
    intent: str
    confidence: float
    language: str
    tokens: int
    seconds: float
    def __init__(self, turn: _Optional[int] = ..., message_id: _Optional[str] = ..., question: _Optional[str] = ..., answer: _Optional[str] = ..., verdict: _Optional[str] = ..., state: _Optional[str] = ..., intent: _Optional[str] = ..., confidence: _Optional[float] = ..., language: _Optional[str] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("conversation", "tenant", "turn", "message_id", "reason")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    tenant: str
    turn: int
    message_id: str
    reason: str
    def __init__(self, conversation: _Optional[str] = ..., tenant: _Optional[str] = ..., turn: _Optional[int] = ..., message_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("conversation", "turn")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    turn: int
    def __init__(self, conversation: _Optional[str] = ..., turn: _Optional[int] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("conversation", "turn", "score", "comment", "user", "tenant")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    turn: int
    score: int
    comment: str
    user: str
    tenant: str
    def __init__(self, conversation: _Optional[str] = ..., turn: _Optional[int] = ..., score: _Optional[int] = ..., comment: _Optional[str] = ..., user: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class FeedbackResponse(_message.Message):
    __slots__ = ("conversation", "turn")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    turn: int
    def __init__(self, conversation: _Optional[str] = ..., turn: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("type", "title", "status", "detail", "field", "errors", "instance")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    type: str
    title: str
    status: int
    detail: str
    field: str
    errors: _containers.RepeatedCompositeFieldContainer[FieldProblem]
    instance: str
    def __init__(self, type: _Optional[str] = ..., title: _Optional[str] = ..., status: _Optional[int] = ..., detail: _Optional[str] = ..., field: _Optional[str] = ..., errors: _Optional[_Iterable[_Union[FieldProblem, _Mapping]]] = ..., instance: _Optional[str] = ...) -> None: ...

class FieldProblem(_message.Message):
    __slots__ = ("field", "detail")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    field: str
    detail: str
    def __init__(self, field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
