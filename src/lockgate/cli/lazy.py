"""A group whose commands are imported only when they are used, so that `--help` is quick."""

import importlib
from typing import Any

import click


class LazyGroup(click.Group):
    """A click group.

    Args:
        lazy: By command: where it is (`module:name` under `lockgate.cli`), and what the group's help says of it.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands, the lazy ones first."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if it is a lazy one."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"lockgate.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with what they do, importing none."""
        eager = {name: command.get_short_help_str() for name, command in self.commands.items()}
        rows = [(name, text) for name, (_, text) in self._lazy.items()] + list(eager.items())
        with formatter.section("Commands"):
            formatter.write_dl(rows)
