"""The commands and their options; what they do is in the modules beside this."""

from __future__ import annotations

import datetime
import enum
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imagegate.cli.audit.app import app as audit_app
from imagegate.cli.exits import Exit
from imagegate.cli.keys.app import app as keys_app
from imagegate.cli.options import (
    AsFormat,
    Config,
    Credential,
    Day,
    Enforced,
    Format,
    JudgedBy,
    Keys,
    Policy,
    Trail,
    Upstreams,
)

_HELP = """\
One policy for AI image generation, enforced on the wire and proved on paper.
Begin with `imagegate demo`.

A POLICY is a file, a folder with a policy.yaml, or the name of one that ships.
"""
_EPILOG = (
    "Exit codes: 0 fine, 1 the policy fails, 2 wrong usage or settings, 3 the policy "
    "is invalid, 4 the gateway cannot serve."
)

app = typer.Typer(
    name="imagegate",
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(audit_app, name="audit")
app.add_typer(keys_app, name="keys")


class Provider(enum.StrEnum):
    """Whose interface is meant."""

    openai = "openai"
    azure = "azure"


class Way(enum.StrEnum):
    """How a policy can be otherwise than another."""

    looser = "looser"
    tighter = "tighter"
    different = "different"


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - lazy by design

        typer.echo(f"imagegate {version('imagegate')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and end.",
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def demo(
    policy: Policy = "standard",
    *,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Keep the records in chained files."),
    ] = None,
) -> None:
    """Show the gateway at work, with no key and no network."""
    from imagegate.cli import demo as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(policy, trail=audit))


@app.command()
def serve(  # noqa: PLR0913 - one option each
    *,
    config: Config = "",
    policy: Enforced = None,
    candidate: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="Decided and recorded beside it; never acts."
        ),
    ] = None,
    upstream: Upstreams = None,
    credential: Credential = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen. [127.0.0.1]")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="On which port. [8080]")
    ] = None,
    keys: Keys = None,
    unauthenticated: Annotated[
        bool,
        typer.Option(
            "--unauthenticated",
            help="Listen beyond loopback although nobody is asked who they are.",
        ),
    ] = False,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Speak TLS with this, a PEM file."),
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its key, another PEM file.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Processes to serve with. [1]")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS", help="How long open streams may take to end. [30]"
        ),
    ] = None,
    audit: Trail = None,
    audit_mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="`blocking` or `blocking-strict` (synced) before a request goes on, "
            "or `batch`. [blocking]",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The HTTP client: `fast` or `httpx2`. [auto]"
        ),
    ] = None,
    metrics_port: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Serve Prometheus metrics there."),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print every setting and its origin, and end."
        ),
    ] = False,
) -> None:
    """Serve the reverse proxy: it needs a policy and a provider.

    imagegate serve -p standard --upstream https://api.openai.com

    Each option has a variable, such as IMAGEGATE_LISTEN_PORT, and a place in the
    configuration file, which IMAGEGATE_CONFIG names as well. Options come before
    variables, variables before the file. --print-config shows all there is to set.
    A key is never an option: name the variable or the file that holds it.
    """
    from imagegate.server.signals import (  # noqa: PLC0415 - lazy by design
        leaving_at_once,
    )

    said: dict[str, str | list[str] | None] = {
        "policy": policy,
        "candidate": candidate,
        "upstreams": upstream,
        "credential": credential,
        "identity.keys.file": keys,
        "listen.host": host,
        "listen.port": port,
        "listen.unauthenticated": "true" if unauthenticated else None,
        "listen.tls_certificate": tls_certificate,
        "listen.tls_key": tls_key,
        "listen.workers": workers,
        "listen.grace": grace,
        "audit.directory": audit,
        "audit.mode": audit_mode,
        "pool.client": client,
        "metrics.port": metrics_port,
    }
    options = {path: value for path, value in said.items() if value}
    with leaving_at_once():
        from imagegate.cli import serve as command  # noqa: PLC0415 - lazy by design

        ended = command.run(options, config=config, only_print=print_config)
    raise typer.Exit(ended)


@app.command()
def doctor(  # noqa: PLR0913 - one option each
    *,
    config: Config = "",
    policy: Enforced = None,
    upstream: Upstreams = None,
    credential: Credential = None,
    keys: Keys = None,
    audit: Trail = None,
    form: AsFormat = Format.text,
) -> None:
    """Look at settings, policy, machine, records and providers.

    What is wrong stands first: broken (it will not serve, or not enforce), danger
    (it may fail or leak), open (left open by somebody's decision), advice. It serves
    nobody and changes nothing; each provider is asked for its list of models. The exit
    code is 1 when something is broken or in danger.
    """
    from imagegate.cli import doctor as command  # noqa: PLC0415 - lazy by design

    given: dict[str, str | list[str] | None] = {
        "policy": policy,
        "upstreams": upstream,
        "credential": credential,
        "identity.keys.file": keys,
        "audit.directory": audit,
    }
    options = {path: value for path, value in given.items() if value is not None}
    raise typer.Exit(command.run(options, config=config, as_json=form == "json"))


@app.command()
def check(
    policies: Annotated[list[str], typer.Argument(metavar="POLICY")],
    *,
    form: AsFormat = Format.text,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let warnings fail as well.")
    ] = False,
    prices: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A price table in place of ours."),
    ] = None,
) -> None:
    """Find everything wrong with policy files, before a request does."""
    from imagegate.cli import check as command  # noqa: PLC0415 - lazy by design

    as_json = form == "json"
    raise typer.Exit(command.run(policies, prices, as_json=as_json, strict=strict))


@app.command()
def show(
    policy: Policy,
    *,
    form: AsFormat = Format.text,
) -> None:
    """Show what a policy says, rule by rule and team by team."""
    from imagegate.cli import show as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(policy, as_json=form == "json"))


@app.command()
def doors(
    *,
    policy: JudgedBy,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hold this OpenAPI document against it."),
    ] = None,
    form: AsFormat = Format.text,
) -> None:
    """Show every way to an image, and what a policy does there."""
    from imagegate.cli import doors as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(policy, spec=spec, as_json=form == "json"))


@app.command()
def catalogue(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="All, if not said.")
    ] = None,
    *,
    form: AsFormat = Format.text,
) -> None:
    """Show what is known about the providers' image models."""
    from imagegate.cli import catalogue as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(model, as_json=form == "json"))


@app.command()
def explain(  # noqa: PLR0913 - the options of a command
    request: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST.json", help="A body, or a batch file; - is stdin."
        ),
    ],
    *,
    policy: JudgedBy,
    provider: Annotated[
        Provider | None, typer.Option(help="Whose paths; openai if not said.")
    ] = None,
    door: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The route by name; responses.create if not said."
        ),
    ] = "",
    path: Annotated[
        str,
        typer.Option(
            metavar="'METHOD PATH'", help="The route as asked: 'POST /v1/responses'."
        ),
    ] = "",
    who: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="NAME=VALUE", help="Who asks, as team=design."),
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Who asks has not proved it.")
    ] = False,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="A header of the request."),
    ] = None,
    date: Day = None,
    seen: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="An id that was judged here before."),
    ] = None,
    form: AsFormat = Format.text,
) -> None:
    """Explain what becomes of a request, setting by setting, and why.

    Nothing is sent. A refused request is an answer too: the exit code is 0.
    """
    from imagegate.cli import explain as command  # noqa: PLC0415 - lazy by design

    day = date or datetime.datetime.now(tz=datetime.UTC)
    options = command.Options(
        provider=provider.value if provider else None,
        door=door,
        path=path,
        who=who or (),
        verified=not unverified,
        headers=header or (),
        date=day.date(),
        seen=seen or (),
    )
    raise typer.Exit(command.run(policy, request, options, as_json=form == "json"))


@app.command()
def diff(  # noqa: PLR0913 - the options of a command
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    *,
    provider: Annotated[
        Provider | None,
        typer.Option(
            help="At whose interface; openai, and azure with deployments, if not said."
        ),
    ] = None,
    acting: Annotated[
        bool, typer.Option("--enforced", help="Take what is observed for enforced.")
    ] = False,
    date: Day = None,
    failing: Annotated[
        list[Way] | None,
        typer.Option("--fail-on", help="End with 1 where the newer one is that."),
    ] = None,
    form: AsFormat = Format.text,
) -> None:
    """Show what a change of policy means, and for whom.

    Both decide on every kind of request, for everybody whom one of them tells from the
    others; what comes out otherwise is listed, in JSON with the smallest request.
    Quotas and doors are compared as they are written.
    """
    from imagegate.cli import diff as command  # noqa: PLC0415 - lazy by design

    day = date or datetime.datetime.now(tz=datetime.UTC)
    options = command.Options(
        provider=provider.value if provider else None,
        date=day.date(),
        acting=acting,
        failing=[each.value for each in failing or ()],
    )
    raise typer.Exit(command.run(old, new, options, as_json=form == "json"))


@app.command("test")
def try_cases(
    folders: Annotated[list[str], typer.Argument(metavar="DIR")],
    *,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JUnit XML as well.")
    ] = None,
    form: AsFormat = Format.text,
) -> None:
    """Try policies on the cases that lie beside them.

    A case is a request, and what is to become of it. A DIR is the folder of
    a policy, with a policy.yaml and with cases in cases/forward, cases/rewrite and
    cases/block, or a folder of such folders.
    """
    from imagegate.cli import test as command  # noqa: PLC0415 - lazy by design

    raise typer.Exit(command.run(folders, as_json=form == "json", junit=junit))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(args=list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.USAGE
    except OSError as error:
        from imagegate.cli.screen import complain, hang_up  # noqa: PLC0415 - rich

        # Of a disk that is full behind standard output, as a rule.
        hang_up()
        complain(": ".join(filter(None, (error.filename, error.strerror))))
        return Exit.USAGE
    return Exit.FINE
