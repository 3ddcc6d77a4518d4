"""``parley intents``: the file that says what people may want."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from cli.options import Json

__all__ = ["app"]

app = App(name="intents", help="Check an intents file.")


@app.command
def check(file: Path | None = None, /, *, json: Json = False) -> None:
    """Check an intents file: keys, templates, enough sentences in each language, none that stands twice.

    Parameters
    ----------
    file
        The file; else intents.file of temporal.yaml.
    """
    from cli.console import output, print_json, print_line
    from cli.tables import rows
    from intents.intents_file import load as load_intents

    path = file or _configured()
    found = load_intents(path)
    counts = {
        name: {language: len(intent.examples.get(language, ())) for language in found.languages}
        for name, intent in found.intents.items()
    }
    if json:
        print_json({"file": path, "digest": found.digest, "languages": found.languages, "intents": counts})
        return
    lines = [
        (name, intent.route, *(str(counts[name][language]) for language in found.languages))
        for name, intent in found.intents.items()
    ]
    places = range(2, 2 + len(found.languages))
    output().print(rows(("intent", "route", *found.languages), lines, right=tuple(places)))
    print_line(f"{path}: everything is right · {len(found.intents)} intents · sha256 {found.digest[:8]}…")


def _configured() -> Path:
    from settings.load import load

    return load().intents.file
