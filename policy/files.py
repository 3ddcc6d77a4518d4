"""The files of a message, judged as its text is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dialogue.faults import MessageTooLong
from dialogue.messages import TextFile, text_digest
from dialogue.steps import Finding, ReceivedFile
from policy.policy import InputCheck, Policy

__all__ = ["Decision", "FilesCheck", "check_files", "sternest"]

Decision = Literal["pass", "mask", "refuse"]
_ORDER: tuple[Decision, ...] = ("pass", "mask", "refuse")


@dataclass(frozen=True, slots=True)
class FilesCheck:
    """``findings`` point into each file as it came, one file after the other; their notes say which."""

    files: tuple[ReceivedFile, ...]
    findings: tuple[Finding, ...]
    decision: Decision


def check_files(policy: Policy, files: Sequence[TextFile], template_tokens: Sequence[str] = ()) -> FilesCheck:
    """Names and texts normalised, defused and masked as ``policy`` says of a message.

    Raises MessageTooLong where the texts together are longer than one message may be.
    """
    total, most = sum(len(file.text) for file in files), policy.rules.max_characters
    if total > most:
        raise MessageTooLong(
            f"files: have {total} characters together, {most} are allowed; shorten them", field="files"
        )
    received: list[ReceivedFile] = []
    findings: list[Finding] = []
    decisions: list[Decision] = []
    for number, file in enumerate(files, 1):
        name = policy.check_input(file.name, template_tokens)
        text = policy.check_input(file.text, template_tokens)
        received.append(ReceivedFile(name=name.text, text=text.text, digest=text_digest(file.text)))
        findings += _noted(name, f"in the name of file {number}")
        findings += _noted(text, f"in file {number}")
        decisions += (name.decision, text.decision)
    return FilesCheck(tuple(received), tuple(findings), sternest(decisions))


def _noted(check: InputCheck, where: str) -> list[Finding]:
    return [
        finding.model_copy(update={"note": f"{finding.note}, {where}" if finding.note else where})
        for finding in check.findings
    ]


def sternest(decisions: Iterable[Decision]) -> Decision:
    """``pass`` where there are none."""
    return _ORDER[max(map(_ORDER.index, decisions), default=0)]
