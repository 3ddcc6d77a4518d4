"""Receipts: what they prove, offline, and what they do not let pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue.faults import ReceiptInvalid, SettingsFault
from dialogue.messages import TextFile, message_digest, text_digest
from dialogue.receipt import Receipt, passages_digest
from records.signing import Signer, Verifier, check_receipt
from settings.schema import EncryptionSettings, Settings
from tests.records.rows import a_row


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(Settings(data=tmp_path))


@pytest.fixture
def receipt(signer: Signer) -> Receipt:
    return signer.receipt(
        Receipt(
            tenant="acme", conversation="conv-1", turn=2, question=text_digest("How long?"),
            answer=text_digest("30 days 三十天"), passages=passages_digest(a_row().citations), model="a" * 64,
            snapshot=None, policy="c" * 64, audit_id=7, audit_hash="f" * 64, received_at=1_790_000_000.25,
        )
    )  # fmt: skip


def test_a_receipt_holds_against_the_public_key_alone(signer: Signer, receipt: Receipt) -> None:
    """Also after it was written as JSON and read again."""
    public = Verifier.of_pem(signer.public_pem().encode(), "key.pem")
    again = Receipt.model_validate_json(receipt.model_dump_json())
    check_receipt(again, public, question="How long?", answer="30 days 三十天")
    assert signer.receipt(receipt) == receipt  # each attempt signs the same


@pytest.mark.parametrize("field", sorted(Receipt.model_fields))
def test_every_field_is_signed(signer: Signer, receipt: Receipt, field: str) -> None:
    """Whatever is changed, it holds no longer."""
    value = getattr(receipt, field)
    other = value + 1 if isinstance(value, int | float) else "x" if value is None else f"{value[:-2]}00"
    with pytest.raises(ReceiptInvalid):
        check_receipt(receipt.model_copy(update={field: other}), signer)


def test_another_text_or_key_is_told_apart(signer: Signer, receipt: Receipt, tmp_path: Path) -> None:
    """The message says which it is."""
    with pytest.raises(ReceiptInvalid, match=r"^answer: this is not the answer"):
        check_receipt(receipt, signer, answer="31 days")
    with pytest.raises(ReceiptInvalid, match=r"^question: "):
        check_receipt(receipt, signer, question="How long")
    stranger = Signer.open(Settings(data=tmp_path / "other"))
    with pytest.raises(ReceiptInvalid, match=r"^key: .* not among the public keys"):
        check_receipt(receipt, stranger)
    with pytest.raises(ReceiptInvalid, match="holds no public key"):
        Verifier.of_pem(b"nothing", "key.pem")


def test_the_files_of_a_question_are_part_of_it(signer: Signer, receipt: Receipt) -> None:
    """By name, text and order; and a question without them is another one."""
    terms, notes = TextFile(name="terms.txt", text="30 days"), TextFile(name="notes.md", text="三十天")
    digest = message_digest("How long?", [terms, notes])
    with_files = signer.receipt(receipt.model_copy(update={"question": digest}))
    check_receipt(with_files, signer, question="How long?", files=[terms, notes])
    renamed = TextFile(name="terms.md", text="30 days")
    for others in ([], [terms], [notes, terms], [renamed, notes]):
        with pytest.raises(ReceiptInvalid, match=r"^question: .* with --file for each file"):
            check_receipt(with_files, signer, question="How long?", files=others)
    with pytest.raises(ReceiptInvalid, match=r"^question: "):
        check_receipt(receipt, signer, question="How long?", files=[terms])


def test_a_new_key_in_front_leaves_old_receipts_whole(signer: Signer, receipt: Receipt, tmp_path: Path) -> None:
    """The first signs, all verify."""
    old = tmp_path / "keys" / "signing.pem"
    Signer.open(Settings(data=tmp_path / "new"))
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "new" / "keys" / "signing.pem").read_bytes() + old.read_bytes())
    both.chmod(0o600)
    after = Signer.open(Settings(data=tmp_path, encryption=EncryptionSettings(signing_key=both)))
    assert after.id != signer.id
    check_receipt(receipt, after)
    check_receipt(after.receipt(receipt), after)


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    """One line that names the setting and the command that makes one."""
    path = tmp_path / "signing.pem"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsFault, match=r"^encryption\.signing_key: .*openssl genpkey"):
        Signer.open(Settings(data=tmp_path, encryption=EncryptionSettings(signing_key=path)))
    path.chmod(0o644)
    with pytest.raises(SettingsFault, match="chmod 600"):
        Signer.open(Settings(data=tmp_path, encryption=EncryptionSettings(signing_key=path)))
