from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dialogue.faults import DocumentUnreadable
from knowledge_base.documents import document_of, find_documents, read_document


def test_a_markdown_file_keeps_its_text_and_takes_its_first_heading_as_title(tmp_path: Path) -> None:
    """The text is the file's own; the digest is that of its UTF-8 bytes."""
    file = tmp_path / "a.md"
    file.write_text("# Fees abroad #\n\nTwo percent.\n", "utf-8")
    document = read_document("en/a.md", file)
    assert (document.title, document.language, document.text) == (
        "Fees abroad",
        "en",
        "# Fees abroad #\n\nTwo percent.\n",
    )
    assert document.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_line_ends_a_byte_order_mark_and_front_matter_do_not_reach_the_text() -> None:
    """What editors and site generators put around a text is not part of it."""
    assert document_of("a", "\ufeff---\ntags: x\n---\n# A\r\nb\r").text == "# A\nb\n"


def test_the_language_is_the_one_of_the_script_that_prevails() -> None:
    """A Chinese text with English product names is Chinese."""
    assert document_of("a", "用 Apple Pay 或 Visa 付款，最多需要三天。").language == "zh"
    assert document_of("a", "The word 元 means yuan in Chinese shops.").language == "en"


def test_html_becomes_markdown_without_scripts_and_menus(tmp_path: Path) -> None:
    """Headings and lists stay; scripts, styles and navigation go; a declared encoding is followed."""
    file = tmp_path / "a.html"
    html = (
        '<html><head><meta charset="gb18030"><title>Shop</title><style>p{}</style></head><body><nav>Menu</nav>'
        "<h1>退货</h1><p>三十天内<b>可以</b>退货。</p><ul><li>未穿着</li></ul><script>alert(1)</script></body></html>"
    )
    file.write_bytes(html.encode("gb18030"))
    document = read_document("a.html", file)
    assert document.title == "退货"
    assert document.text.startswith("# 退货\n\n三十天内**可以**退货。")
    assert "未穿着" in document.text
    assert not {"Menu", "alert", "p{}"} & set(document.text.split())


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.md", b" \n ", "is empty"),
        ("binary.txt", b"ab\0\1\2", "is a binary file"),
        ("gb.txt", "退货须在三十天内办理".encode("gb18030"), "it looks like GB18030); save it as UTF-8"),
        ("latin.md", "Gebühr".encode("latin-1"), "is not UTF-8: byte 3 cannot be read; save it as UTF-8"),
        ("signs.md", b"*** --- ***", "has no text"),
        ("odd.html", b'<meta charset="klingon"><p>x</p>', "names the unknown encoding 'klingon'"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_one_line(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    """The fault names the file, what is wrong with it and the way out."""
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(DocumentUnreadable) as caught:
        read_document(name, file)
    assert reason in caught.value.message
    assert name in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """Neither is a document."""
    for path, reason in ((tmp_path / "none.md", "No such file"), (tmp_path, "is a folder")):
        with pytest.raises(DocumentUnreadable, match=reason):
            read_document("x", path)


def test_other_formats_name_the_command_that_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a PDF is refused with the exact pip command."""
    monkeypatch.setitem(__import__("sys").modules, "markitdown", None)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(DocumentUnreadable, match=r"pip install 'parley\[ingest\]'"):
        read_document("a.pdf", tmp_path / "a.pdf")


def test_folders_are_searched_for_readable_files_and_name_them_by_relative_path(tmp_path: Path) -> None:
    """Hidden files and unknown kinds are passed over; a file given by itself is taken whatever its kind."""
    for name in ("en/b.md", "en/a.txt", "en/.hidden.md", ".git/x.md", "data.yaml"):
        (tmp_path / "help" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "help" / name).write_text("x")
    found = find_documents([tmp_path / "help", tmp_path / "help" / "data.yaml"])
    assert [name for name, _ in found] == ["help/en/a.txt", "help/en/b.md", "data.yaml"]
