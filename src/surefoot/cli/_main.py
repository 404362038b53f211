"""The group of commands, and how errors leave it: one or two lines on standard error and an exit code."""

from __future__ import annotations

import os
from typing import Any

import click

from surefoot import __version__
from surefoot._errors import ArgumentError, ArgumentTypeError, SurefootError
from surefoot.cli._find import find
from surefoot.cli._simulate import simulate
from surefoot.cli._story import show
from surefoot.cli._transfer import transfer

INTERRUPTED = 130


class _Failed(click.ClickException):
    """The work failed."""


class _Misused(click.ClickException):
    """An argument is not allowed."""

    exit_code = 2


class _Group(click.Group):
    """A group whose errors are sentences, never tracebacks, unless SUREFOOT_TRACEBACK=1 asks for them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if os.environ.get("SUREFOOT_TRACEBACK") == "1":
                raise
            raise _as_click(error) from error


def _as_click(error: Exception) -> click.ClickException:
    if isinstance(error, ArgumentError | ArgumentTypeError):
        return _Misused(str(error))
    if isinstance(error, SurefootError):
        return _Failed(str(error))
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return _Failed(f"{said}\nSet SUREFOOT_TRACEBACK=1 to see where it comes from.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="surefoot")
def main() -> None:
    """Which learning rate, at every step, and why?

    \b
    Examples:
      surefoot find digits
      surefoot simulate "linear_warmup('5%') >> cosine_decay(to=0.1)" --steps 1000
      surefoot transfer 0.003 --batch-size 32 256 --optimizer adam
    """  # noqa: D301 - click's mark for lines to be left as they are


main.add_command(find)
main.add_command(show)
main.add_command(simulate)
main.add_command(transfer)
