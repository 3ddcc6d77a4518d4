"""The pages hold together: links lead somewhere, both languages say the same, nothing of this machine is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import PAGES, ROOT, commands, counterpart, headings, links, slug
from workflows.names import SEARCH_ATTRIBUTES

HOSTS = {
    "127.0.0.1",
    "localhost",
    "docs.temporal.io",
    "opentelemetry.io",
    "planetscale.com",
    "temporal.example",
    "login.example",
    "shop.example",
}
"""What a page may name. A registry of packages or models is not among them."""

PAIRS = [(page, english) for page in PAGES if (english := counterpart(page)) is not None]


def _each(pages: list[Any]) -> Any:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@_each(PAGES)
def test_links_and_pictures_are_there(page: Path) -> None:
    """Relative links lead to a file, and to a heading of it where they name one."""
    lost = []
    for link in links(page):
        parts = urlsplit(unquote(link))
        if parts.scheme:
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        if not target.exists() or (parts.fragment and parts.fragment not in map(slug, headings(target))):
            lost.append(link)
    assert not lost


@_each(PAGES)
def test_nothing_of_this_machine_or_of_a_registry(page: Path) -> None:
    """No absolute path of where it was written, and no address that decides where packages come from."""
    text = page.read_text("utf-8")
    assert str(ROOT) not in text
    assert not re.findall(r"(?<![\w.])/(?:root|home|work|Users)/\S*", text)
    assert not re.findall(r"(?i)\bindex-url\b|\bpypi\.org\b|\bregistry\.\w+\.\w+|\bHF_ENDPOINT\b", text)
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s)\"'`<>|]+", text)}
    assert hosts <= HOSTS, hosts - HOSTS


@pytest.mark.parametrize(("page", "english"), PAIRS, ids=lambda page: str(page.relative_to(ROOT)))
def test_chinese_pages_follow_their_english_ones(page: Path, english: Path) -> None:
    """The same commands, and headings of the same depth in the same order."""
    assert english.exists()
    assert [command.text for command in commands(page)] == [command.text for command in commands(english)]
    depth = re.compile(r"#+")
    assert [depth.match(one)[0] for one in headings(page)] == [depth.match(one)[0] for one in headings(english)]  # type: ignore[index]


@pytest.mark.parametrize(("page", "english"), PAIRS, ids=lambda page: str(page.relative_to(ROOT)))
def test_readers_stay_in_their_language(page: Path, english: Path) -> None:
    """Each page of a pair leads to the other, and a Chinese one leads to no English page that exists in Chinese."""
    led_to = {(page.parent / urlsplit(unquote(link)).path).resolve() for link in links(page)}
    assert page in {(english.parent / urlsplit(unquote(link)).path).resolve() for link in links(english)}
    assert english in led_to
    assert not led_to & ({one for _, one in PAIRS} - {english})


def test_both_languages_have_the_main_pages() -> None:
    """What a newcomer, an operator and an investigator read exists in Chinese too."""
    names = {page.relative_to(ROOT).as_posix() for page, _ in PAIRS}
    main = {"README.zh-CN.md", "docs/configuration.zh-CN.md"}
    main |= {f"docs/zh-CN/{name}.md" for name in ("architecture", "operations", "incident-review")}
    assert main <= names


def test_the_index_names_every_page() -> None:
    """docs/README.md leads to each page below docs/."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / urlsplit(link).path).resolve() for link in links(index)}
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs") and page != index}
    assert not sorted(str(page.relative_to(ROOT)) for page in pages - linked)


def test_ci_installs_the_packages_that_the_readme_names() -> None:
    """One list in two places: neither may forget what the other says."""
    readme = re.findall(r"apt-get install -y --no-install-recommends ([a-z0-9 .-]+)", (ROOT / "README.md").read_text())
    ci = re.findall(r"^packages=\(([^)]*)\)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert len(readme) == len(ci) == 1
    assert readme[0].split() == ci[0].split()


@pytest.mark.parametrize("folder", ["docs", "docs/zh-CN"])
@pytest.mark.parametrize("name", ["protection.md", "architecture.md"])
def test_what_is_said_of_search_attributes_holds_for_each(folder: str, name: str) -> None:
    """They are never encrypted, and the paragraph that says so names every one that is written."""
    paragraphs = (ROOT / folder / name).read_text("utf-8").split("\n\n")
    (told,) = [one for one in paragraphs if "`Tenant`" in one]
    unwritten = {"Variant"}  # registered alone
    assert SEARCH_ATTRIBUTES.keys() - unwritten - set(re.findall(r"`(\w+)`", told)) == set()
