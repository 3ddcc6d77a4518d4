from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dialogue.faults import DocumentUnreadable, KnowledgeCorrupt, KnowledgeMissing
from knowledge_base.dense import DenseIndex
from knowledge_base.knowledge import KnowledgeBase
from tests.knowledge_base.conftest import CARDS_EN, RETURNS_EN, HashEmbedder, write


def _add_one(folder: Path, file: Path) -> None:
    KnowledgeBase(folder, HashEmbedder()).add([file])


def test_nothing_is_there_before_the_first_build(base: KnowledgeBase) -> None:
    """An empty folder has no current snapshot, and a search says how to put something in."""
    assert base.current() is None
    assert base.standing() is None
    with pytest.raises(KnowledgeMissing, match="parley kb add"):
        base.search("anything", "en")


def test_building_reports_what_was_added_and_what_was_refused(base: KnowledgeBase, sources: Path) -> None:
    """A bad file is set aside with its reason and the rest goes on."""
    (sources / "bad.md").write_bytes(b"ab\0")
    seen: list[tuple[str, int, int]] = []
    report = base.build([sources], progress=lambda *told: seen.append(told))
    assert report.added == ("help/cards.en.md", "help/returns.en.md", "help/returns.zh.md")
    assert [name for name, _ in report.refused] == ["help/bad.md"]
    assert "binary" in report.refused[0][1]
    assert (report.snapshot.documents, report.snapshot.passages) == (3, 5)
    assert base.standing() == base.current() == report.snapshot
    assert seen[0] == ("reading", 1, 4)
    assert seen[-1][0] == "embedding"
    assert seen[-1][1] == seen[-1][2]


def test_passages_slice_their_document(base: KnowledgeBase, sources: Path) -> None:
    """``text == document_text[start:end]``, after loading from disk too."""
    base.build([sources])
    for reader in (base, KnowledgeBase(base.folder, HashEmbedder())):
        for query, language in (("refund parcel warehouse", "en"), ("退款 鞋子", "zh")):
            found = reader.search(query, language, threshold=0)
            assert found.passages
            for passage in found.passages:
                document = reader.document(passage.document, found.snapshot)
                assert document[passage.start : passage.end] == passage.text
                assert passage.language == language
                assert passage.id == f"{passage.document}:{passage.start}-{passage.end}"


def test_the_same_documents_give_the_same_snapshot(base: KnowledgeBase, sources: Path, tmp_path: Path) -> None:
    """A snapshot is named by its content: elsewhere and in another order it has the same id."""
    one = base.build([sources]).snapshot.id
    other = KnowledgeBase(tmp_path / "other", HashEmbedder())
    other.build([sources / "returns.zh.md"])
    assert other.build([sources]).snapshot.id == one
    assert KnowledgeBase(tmp_path / "third", HashEmbedder("cd" * 32)).build([sources]).snapshot.id != one


def test_adding_embeds_only_what_is_new(base: KnowledgeBase, sources: Path, tmp_path: Path) -> None:
    """Vectors of documents already there are taken over; they answer as before."""
    embedder = base.embedder
    assert isinstance(embedder, HashEmbedder)
    base.build([sources])
    before = base.search("refund parcel", "en", threshold=0).passages
    embedder.asked.clear()
    fees = write(tmp_path / "more", fees="# Fees\n\nA transfer abroad costs 4 EUR.\n")
    report = base.add([fees, sources])
    assert report.added == ("more/fees.md",)
    assert report.unchanged == ("help/cards.en.md", "help/returns.en.md", "help/returns.zh.md")
    assert set(embedder.asked) == {"Fees", "A transfer abroad costs 4 EUR.", "Fees. A transfer abroad costs 4 EUR."}
    after = {passage.id: passage for passage in base.search("refund parcel", "en", 9, threshold=0).passages}
    assert all(after[passage.id].dense_score == passage.dense_score for passage in before)


def test_a_changed_document_replaces_the_old_one_and_the_old_snapshot_stays(base: KnowledgeBase, sources: Path) -> None:
    """What an earlier answer saw can be asked again."""
    old = base.build([sources]).snapshot.id
    write(sources, cards__en=CARDS_EN.replace("8.50", "9.90"))
    report = base.add([sources])
    assert report.added == ("help/cards.en.md",)
    assert "9.90" in base.search("lost card costs", "en", threshold=0).passages[0].text
    again = base.search("lost card costs", "en", snapshot=old, threshold=0)
    assert (again.snapshot, "8.50" in again.passages[0].text) == (old, True)


def test_removing_a_document(base: KnowledgeBase, sources: Path) -> None:
    """It is gone from the list and the answers; a name that is not there is refused; the last may go too."""
    base.build([sources])
    base.remove("help/cards.en.md")
    assert [entry.name for entry in base.list()] == ["help/returns.en.md", "help/returns.zh.md"]
    with pytest.raises(KnowledgeMissing, match=r"no document 'help/cards\.en\.md'"):
        base.remove("help/cards.en.md")
    base.remove("help/returns.en.md")
    base.remove("help/returns.zh.md")
    assert base.list() == ()
    assert base.search("refund", "en", threshold=0).passages == ()


def test_the_list_counts_passages(base: KnowledgeBase, sources: Path) -> None:
    """Each document with its title, language and number of passages."""
    base.build([sources])
    assert [(entry.name, entry.title, entry.language, entry.passages) for entry in base.list()] == [
        ("help/cards.en.md", "Lost card", "en", 1),
        ("help/returns.en.md", "Returns and refunds", "en", 2),
        ("help/returns.zh.md", "退货与退款", "zh", 2),
    ]


def test_when_nothing_can_be_read_everything_stays_as_it_was(
    base: KnowledgeBase, sources: Path, tmp_path: Path
) -> None:
    """A build of bad files alone is refused; an add of them reports them."""
    with pytest.raises(DocumentUnreadable, match="no documents were given"):
        base.build([])
    with pytest.raises(DocumentUnreadable, match="No such file"):
        base.add([tmp_path / "none.md"])
    held = base.build([sources]).snapshot
    with pytest.raises(DocumentUnreadable, match="No such file"):
        base.build([tmp_path / "none.md"])
    report = base.add([tmp_path / "none.md"])
    assert (report.added, len(report.refused), report.snapshot) == ((), 1, held)


def test_two_files_of_one_name_are_not_mixed_up(base: KnowledgeBase, tmp_path: Path) -> None:
    """The second is refused, with the way out."""
    files = [write(tmp_path / folder, a="# A\n\nText.\n") / "a.md" for folder in ("one", "two")]
    report = base.build(files)
    assert report.added == ("a.md",)
    assert "give the folder that holds both" in report.refused[0][1]


def test_a_reader_follows_what_another_publishes(base: KnowledgeBase, sources: Path, tmp_path: Path) -> None:
    """A reader that searched before finds the new document without being told."""
    base.build([sources])
    reader = KnowledgeBase(base.folder, HashEmbedder())
    before = reader.search("transfer abroad", "en", threshold=0).snapshot
    base.add([write(tmp_path / "more", fees="# Fees\n\nA transfer abroad costs 4 EUR.\n")])
    found = reader.search("transfer abroad", "en", threshold=0)
    assert found.snapshot != before
    assert found.passages[0].document == "more/fees.md"


def test_searches_during_an_add_never_see_half_an_index(base: KnowledgeBase, sources: Path, tmp_path: Path) -> None:
    """Whatever is searched while snapshots are published is one of the published ones, whole."""
    ids = {base.build([sources]).snapshot.id}
    reader, stop = KnowledgeBase(base.folder, HashEmbedder()), threading.Event()
    seen: set[str] = set()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                found = reader.search("refund parcel", "en", threshold=0)
                assert found.passages
                seen.add(found.snapshot)
        except BaseException as error:  # handed to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(5):
            text = f"# Note {number}\n\nRefund number {number}.\n"
            ids.add(base.add([write(tmp_path / f"n{number}", note=text)]).snapshot.id)
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert seen <= ids


def test_two_writers_at_once_lose_nothing(base: KnowledgeBase, sources: Path, tmp_path: Path) -> None:
    """Processes that add at the same moment wait for each other; all their documents are there."""
    base.build([sources])
    context = multiprocessing.get_context("spawn")
    files = [write(tmp_path / "w", **{f"n{n}": f"# N{n}\n\nText {n}.\n"}) / f"n{n}.md" for n in range(3)]
    writers = [context.Process(target=_add_one, args=(base.folder, file)) for file in files]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert {"n0.md", "n1.md", "n2.md", "help/cards.en.md"} <= {entry.name for entry in base.list()}


@pytest.mark.parametrize(
    "name", ["manifest.json", "passages.jsonl", "en/passages.faiss", "en/bm25/vocab.index.json", "documents"]
)
def test_a_damaged_file_is_named(base: KnowledgeBase, sources: Path, name: str) -> None:
    """Loading verifies every file; the fault names it and the way out; building again heals it."""
    id_ = base.build([sources]).snapshot.id
    file = base.folder / "snapshots" / id_ / name
    file = next(file.iterdir()) if file.is_dir() else file
    file.write_bytes(file.read_bytes().replace(b"e", b"f", 1) + b" ")
    reader = KnowledgeBase(base.folder, HashEmbedder())
    for look in (lambda: reader.search("refund", "en"), reader.standing):
        with pytest.raises(KnowledgeCorrupt, match="parley kb add") as caught:
            look()
        assert str(file) in caught.value.message
    assert KnowledgeBase(base.folder, HashEmbedder()).build([sources]).snapshot.id == id_
    assert reader.search("refund parcel", "en", threshold=0).passages


def test_a_missing_file_and_a_broken_pointer_are_named(base: KnowledgeBase, sources: Path) -> None:
    """Neither ends in a traceback."""
    id_ = base.build([sources]).snapshot.id
    (base.folder / "snapshots" / id_ / "passages.jsonl").unlink()
    with pytest.raises(KnowledgeCorrupt, match=r"passages\.jsonl: is missing"):
        KnowledgeBase(base.folder, HashEmbedder()).list()
    (base.folder / "current").write_text("../../etc")
    with pytest.raises(KnowledgeCorrupt, match="names no snapshot"):
        KnowledgeBase(base.folder, HashEmbedder()).list()
    for unknown in ("0" * 64, "../" + id_, ""):
        with pytest.raises((KnowledgeMissing, KnowledgeCorrupt)):
            KnowledgeBase(base.folder, HashEmbedder()).list(snapshot=unknown)


def test_a_snapshot_whose_folder_is_gone_is_searched_from_memory(base: KnowledgeBase, sources: Path) -> None:
    """Whoever has loaded it goes on and says so once; whoever has not is told what is missing, until it is back."""
    id_ = base.build([sources]).snapshot.id
    before = base.search("refund parcel", "en", threshold=0)
    folder, away = base.folder / "snapshots" / id_, base.folder / "away"
    folder.rename(away)
    with capture_logs() as logged:
        assert [base.search("refund parcel", "en", threshold=0) for _ in range(3)] == [before] * 3
    assert [(line["event"], line["fault"]) for line in logged] == [("snapshot only in memory", "knowledge-missing")]
    assert id_ in logged[0]["reason"]
    reader = KnowledgeBase(base.folder, HashEmbedder())
    with pytest.raises(KnowledgeMissing, match=rf"{id_[:12]}… is missing; put its folder back, or build it again"):
        reader.search("refund parcel", "en")
    with pytest.raises(KnowledgeCorrupt, match="is missing or cannot be read"):
        base.document("help/cards.en.md")
    away.rename(folder)
    assert reader.search("refund parcel", "en", threshold=0) == before
    assert base.document("help/cards.en.md")


def test_a_gone_snapshot_is_built_again_by_whoever_has_it_in_memory(base: KnowledgeBase, sources: Path) -> None:
    """Building the same documents puts the folder back: what is in memory alone counts for nothing."""
    id_ = base.build([sources]).snapshot.id
    shutil.rmtree(base.folder / "snapshots" / id_)
    assert base.build([sources]).snapshot.id == id_
    assert KnowledgeBase(base.folder, HashEmbedder()).search("refund parcel", "en", threshold=0).snapshot == id_


def test_a_folder_that_is_gone_is_no_knowledge_until_it_is_back(base: KnowledgeBase, sources: Path) -> None:
    """The pointer says what may be answered from, so nothing is searched without it."""
    id_ = base.build([sources]).snapshot.id
    away = base.folder.with_name("away")
    base.folder.rename(away)
    with pytest.raises(KnowledgeMissing, match="no snapshot is current; put documents in with `parley kb add"):
        base.search("refund", "en")
    base.folder.write_text("not even a folder")
    with pytest.raises(KnowledgeMissing, match="no snapshot is current"):
        base.search("refund", "en")
    base.folder.unlink()
    away.rename(base.folder)
    assert base.search("refund parcel", "en", threshold=0).snapshot == id_


def test_what_cannot_be_read_back_never_becomes_current(
    base: KnowledgeBase, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses what it took is found out before any reader looks."""
    id_ = base.build([sources]).snapshot.id

    def lossy(self: DenseIndex, folder: Path) -> None:
        for name in ("passages", "sentences"):
            (folder / f"{name}.faiss").write_bytes(b"IxFI")

    monkeypatch.setattr(DenseIndex, "save", lossy)
    with pytest.raises(KnowledgeCorrupt, match="cannot be read"):
        base.add([write(tmp_path / "more", a="# A\n\nText.\n") / "a.md"])
    assert KnowledgeBase(base.folder, HashEmbedder()).search("refund parcel", "en", threshold=0).snapshot == id_


def test_a_killed_writer_leaves_nothing_that_readers_see(base: KnowledgeBase, sources: Path) -> None:
    """What a dead writer left half-built is no snapshot, and goes at the next write."""
    id_ = base.build([sources]).snapshot.id
    left = base.folder / "snapshots" / ".building-dead"
    left.mkdir()
    (left / "manifest.json").write_text("{}")
    assert base.search("refund parcel", "en", threshold=0).snapshot == id_
    base.remove("help/cards.en.md")
    assert not left.exists()


def test_snapshots_hold_no_pickles(base: KnowledgeBase, sources: Path) -> None:
    """Every file is JSON, text, NumPy without objects or FAISS, and is in the manifest."""
    folder = base.folder / "snapshots" / base.build([sources]).snapshot.id
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {Path(name).suffix for name in files} == {".json", ".jsonl", ".md", ".npy", ".faiss"}
    assert set(json.loads((folder / "manifest.json").read_text())["files"]) == files - {"manifest.json"}
    for array in folder.rglob("*.npy"):
        assert b"'|O'" not in array.read_bytes()[:128]


def test_vectors_of_another_model_are_not_compared(base: KnowledgeBase, sources: Path) -> None:
    """With another embedder a snapshot is searched lexically until it is built anew."""
    base.build([sources])
    other = KnowledgeBase(base.folder, HashEmbedder("cd" * 32))
    assert base.search("refund parcel", "en").searched == ("dense", "lexical")
    assert other.search("refund parcel", "en", threshold=0).searched == ("lexical",)
    assert other.search("refund parcel", "en", threshold=0).passages[0].section == "Refunds"
    other.add([sources])
    assert other.search("refund parcel", "en").searched == ("dense", "lexical")


def test_an_english_question_gets_english_passages(sources: Path, tmp_path: Path) -> None:
    """Another language is asked only when the question's own has nothing to say."""
    write(
        tmp_path / "mix",
        zh="# 付款\n\n可以用 Lantern Wallet 付款，每天限额 500 欧元，请在应用里设置。\n",
        en=RETURNS_EN,
    )
    base = KnowledgeBase(tmp_path / "kb", HashEmbedder(languages=()))
    base.build([sources, tmp_path / "mix"])
    own = base.search("refund parcel warehouse", "en", threshold=0.01)
    assert {passage.language for passage in own.passages} == {"en"}
    foreign = base.search("Lantern Wallet", "en", threshold=0.2)
    assert [passage.document for passage in foreign.passages] == ["mix/zh.md"]
    assert base.search("鞋子可以退货", "zh-TW", threshold=0.01).passages[0].language == "zh"
