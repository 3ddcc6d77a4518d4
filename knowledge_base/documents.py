"""Files read as documents: Markdown text with a name, a title, a language and a digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dialogue.faults import DocumentUnreadable
from knowledge_base.text import language_of

__all__ = ["MAX_BYTES", "SUFFIXES", "Document", "document_of", "find_documents", "read_document"]

MAX_BYTES = 50_000_000
_MARKDOWN = frozenset({".md", ".markdown", ".txt", ".text"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_CONVERTED = frozenset({".docx", ".pdf", ".xlsx", ".pptx", ".csv"})
SUFFIXES = _MARKDOWN | _HTML | _CONVERTED
"""What a folder is searched for. A file named by itself is read whatever its suffix: as text, where it is another."""

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_META_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_\-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """``text`` is Markdown with ``\\n`` line ends; ``digest`` is the SHA-256 of its UTF-8 bytes, hexadecimal."""

    name: str
    title: str
    language: str
    text: str
    digest: str


def find_documents(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """``(name, file)`` for each file given and each readable file below a folder given, in the order of names.

    A document's name is its path relative to the folder given, that folder's own name first (so ``help`` and
    ``more/help`` do not mix ``en/a.md`` of one with the other's); for a file given by itself, its file name.
    Hidden files and folders are passed over. A path that does not exist is given as it is: reading it refuses it.
    """
    for path in paths:
        if not path.is_dir():
            yield path.name, path
            continue
        root = path.resolve()
        for file in sorted(root.rglob("*")):
            relative = file.relative_to(root)
            hidden = any(part.startswith(".") for part in relative.parts)
            if file.is_file() and not hidden and file.suffix.lower() in SUFFIXES:
                yield (root.name / relative).as_posix(), file


def read_document(name: str, path: Path) -> Document:
    """The document in a file. Raises :class:`DocumentUnreadable` with the reason in one line."""
    try:
        if path.is_dir():
            raise DocumentUnreadable(f"{path}: is a folder, not a document")
        if path.stat().st_size > MAX_BYTES:
            raise DocumentUnreadable(f"{path}: is larger than {MAX_BYTES // 1_000_000} MB; split it first")
        data = path.read_bytes()
    except OSError as error:
        raise DocumentUnreadable(f"{path}: cannot be read: {error.strerror or error}") from error
    suffix = path.suffix.lower()
    if not data.strip():
        raise DocumentUnreadable(f"{path}: is empty")
    if suffix in _CONVERTED:
        return document_of(name, _through_markitdown(path))
    if suffix in _HTML:
        return document_of(name, *_from_html(_decode(path, data, html=True)))
    return document_of(name, _decode(path, data))


def document_of(name: str, text: str, title: str | None = None) -> Document:
    """A document from Markdown. Its title is its first heading where none is given, else its name's last part.

    Raises :class:`DocumentUnreadable` when it has no text.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    text = _FRONT_MATTER.sub("", text)
    if not any(character.isalnum() for character in text):
        raise DocumentUnreadable(f"{name}: has no text")
    heading = _HEADING.search(text)
    title = (title or (str(heading[1]) if heading else "") or Path(name).stem).strip()
    return Document(name, title, language_of(text), text, hashlib.sha256(text.encode()).hexdigest())


def _decode(path: Path, data: bytes, *, html: bool = False) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif html and (declared := _META_CHARSET.search(data[:2048])):
        encoding = declared.group(1).decode("ascii")
    else:
        encoding = "utf-8-sig"
    if encoding != "utf-16" and b"\0" in data:
        raise DocumentUnreadable(f"{path}: is a binary file, not text; save it as Markdown, text or HTML")
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise DocumentUnreadable(f"{path}: names the unknown encoding {encoding!r}; save it as UTF-8") from error
    except UnicodeDecodeError as error:
        guess = " (it looks like GB18030)" if _is_chinese(data, "gb18030") else ""
        raise DocumentUnreadable(
            f"{path}: is not {encoding.removesuffix('-sig').upper()}: byte {error.start} cannot be read{guess}; "
            "save it as UTF-8"
        ) from error


def _is_chinese(data: bytes, encoding: str) -> bool:
    try:
        return language_of(data.decode(encoding)) == "zh"
    except UnicodeDecodeError:
        return False


def _from_html(html: str) -> tuple[str, str | None]:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(html, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else None
    for tag in soup(["script", "style", "template", "nav", "noscript", "head"]):
        tag.decompose()
    text: str = MarkdownConverter(heading_style="atx", strip=["a", "img"], escape_misc=False).convert_soup(soup)
    heading = soup.find(["h1", "h2"])
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", (heading.get_text(" ", strip=True) if heading else title)


def _through_markitdown(path: Path) -> str:
    try:
        from markitdown import MarkItDown  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise DocumentUnreadable(
            f"{path}: reading {path.suffix} files needs more packages: pip install 'parley[ingest]'"
        ) from error
    try:
        return MarkItDown(enable_plugins=False).convert_local(str(path)).markdown
    except Exception as error:  # markitdown's converters raise whatever their libraries raise
        reason = str(error).strip().splitlines()
        raise DocumentUnreadable(
            f"{path}: cannot be converted: {reason[0] if reason else type(error).__name__}"
        ) from error
