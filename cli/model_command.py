"""``parley model``: models are brought in, built, published, and set to be used."""

from __future__ import annotations

from cyclopts import App

__all__ = ["app"]

app = App(name="model", help="Bring in, build, promote and roll back models.")

_COMMANDS = (
    ("pull", "cli.model_pull:pull", "Bring a model in from an address or a hub."),
    ("build", "cli.model_build:build", "Build a model and publish it to the registry."),
    ("list", "cli.model_versions:list_", "List the versions and their aliases."),
    ("show", "cli.model_versions:show", "Show one version, and the history of the aliases."),
    ("verify", "cli.model_versions:verify", "Read every byte of a version, or of all."),
    ("promote", "cli.model_aliases:promote", "Set an alias to a version."),
    ("rollback", "cli.model_aliases:rollback", "Put an alias to where it was before."),
    ("gc", "cli.model_gc:gc", "Remove the versions that nobody needs."),
)
for _name, _where, _help in _COMMANDS:
    app.command(_where, name=_name, help=_help)
