"""Lengths of time on the command line: 30s, 15m, 2h, 7d."""

import re

import click

_WRITTEN = re.compile(r"([1-9]\d{0,5})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[int]):
    """An option that takes a length of time; its value is in seconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds, or refuse what is no length of time."""
        written = _WRITTEN.fullmatch(str(value))
        if written is None:
            self.fail(f"{value!r} is no length of time: write a number and a unit, 30s, 15m, 2h or 7d", param, ctx)
        return int(written[1]) * _SECONDS[written[2]]


def spoken(seconds: int) -> str:
    """Return a length of time as it is written, in the largest unit that fits."""
    unit = next((unit for unit in reversed(_SECONDS) if seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds // _SECONDS[unit]}{unit}"
