"""The names by which the outside calls workflows, their messages and their search attributes."""

from __future__ import annotations

from temporalio.common import SearchAttributeKey

__all__ = [
    "ANSWER",
    "CANCEL_TURN",
    "CLOSE",
    "CONVERSATION_WORKFLOW",
    "DIALOGUE_WORKFLOW",
    "FAULT",
    "FEEDBACK",
    "FORKED",
    "INTENT",
    "KEEP_RECORDS_SCHEDULE",
    "KEEP_RECORDS_WORKFLOW",
    "MODEL",
    "REPLY",
    "RESOLVE_REVIEW",
    "SAY",
    "SEARCH_ATTRIBUTES",
    "SEARCH_ATTRIBUTE_KEYS",
    "SNAPSHOT",
    "STATE",
    "TENANT",
    "TRANSCRIPT",
    "VARIANT",
    "VERDICT",
    "WAITING_SINCE",
]

CONVERSATION_WORKFLOW = "ConversationWorkflow"
DIALOGUE_WORKFLOW = "DialogueWorkflow"
KEEP_RECORDS_WORKFLOW = "KeepRecordsWorkflow"
KEEP_RECORDS_SCHEDULE = "parley-keep-records"
"""The id of the site's own Temporal Schedule, and how the ids of the workflows begin that it starts."""

SAY = "say"
ANSWER = "answer"
CANCEL_TURN = "cancel_turn"
RESOLVE_REVIEW = "resolve_review"
CLOSE = "close"
FEEDBACK = "feedback"
FORKED = "forked"
TRANSCRIPT = "transcript"
REPLY = "reply"

TENANT = SearchAttributeKey.for_keyword("Tenant")
INTENT = SearchAttributeKey.for_keyword("Intent")
VARIANT = SearchAttributeKey.for_keyword("Variant")
STATE = SearchAttributeKey.for_keyword("State")
"""``running``, ``waiting`` (for a person), ``idle`` (nobody speaks), ``closed``."""
FAULT = SearchAttributeKey.for_keyword("Fault")
"""The type of the last fault that a step ended with, whether the turn was answered all the same or not."""
WAITING_SINCE = SearchAttributeKey.for_datetime("WaitingSince")
"""Since when a person is waited for; unset while nobody is."""
VERDICT = SearchAttributeKey.for_keyword_list("Verdict")
MODEL = SearchAttributeKey.for_keyword_list("Model")
SNAPSHOT = SearchAttributeKey.for_keyword_list("Snapshot")

SEARCH_ATTRIBUTE_KEYS = (TENANT, INTENT, VARIANT, STATE, FAULT, WAITING_SINCE, VERDICT, MODEL, SNAPSHOT)
SEARCH_ATTRIBUTES: dict[str, str] = {
    "Tenant": "Keyword",
    "Intent": "Keyword",
    "Variant": "Keyword",
    "State": "Keyword",
    "Fault": "Keyword",
    "WaitingSince": "Datetime",
    "Verdict": "KeywordList",
    "Model": "KeywordList",
    "Snapshot": "KeywordList",
}
"""Name -> type, as the server must know them. They are never encrypted, so they never hold personal data. A server on
SQLite or PostgreSQL has room for three of the type KeywordList, and no more."""
