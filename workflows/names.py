"""The names by which the outside calls workflows, their messages and their search attributes."""

from __future__ import annotations

from temporalio.common import SearchAttributeKey

__all__ = [
    "ANSWER",
    "CANCEL_TURN",
    "CLOSE",
    "CONVERSATION_WORKFLOW",
    "DIALOGUE_WORKFLOW",
    "FEEDBACK",
    "FORKED",
    "INTENT",
    "MODEL",
    "REPLY",
    "RESOLVE_REVIEW",
    "SAY",
    "SEARCH_ATTRIBUTES",
    "SNAPSHOT",
    "TENANT",
    "TRANSCRIPT",
    "VARIANT",
    "VERDICT",
]

CONVERSATION_WORKFLOW = "ConversationWorkflow"
DIALOGUE_WORKFLOW = "DialogueWorkflow"

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
VERDICT = SearchAttributeKey.for_keyword_list("Verdict")
MODEL = SearchAttributeKey.for_keyword_list("Model")
SNAPSHOT = SearchAttributeKey.for_keyword_list("Snapshot")

SEARCH_ATTRIBUTES: dict[str, str] = {
    "Tenant": "Keyword",
    "Intent": "Keyword",
    "Variant": "Keyword",
    "Verdict": "KeywordList",
    "Model": "KeywordList",
    "Snapshot": "KeywordList",
}
"""Name -> type, as the server must know them. They are never encrypted, so they never hold personal data."""
