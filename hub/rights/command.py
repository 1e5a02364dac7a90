"""`hub rights`: who may read and write what, from the shell (ACC-12)."""

from __future__ import annotations

from typing import Annotated

import typer

from common import errors
from fhir_server.rights import sharing
from hub.rights import matrix
from hub.seed import small

app = typer.Typer(no_args_is_help=True, help="What each profession may read and write.")


@app.command()
def explain(
    who: Annotated[str, typer.Option(help="A profession (TRE-G15 code) or a persona of the demo.")],
    what: Annotated[str, typer.Option(help="A kind of data, such as medical.")],
) -> None:
    """Say whether a profession reads and writes a kind of data that a circle of care shares."""
    if what not in sharing.KINDS[1:]:
        raise errors.Unreadable(f"type de données attendu : {', '.join(sharing.KINDS[1:])}", at="--what")
    persona = small.PERSONAS.get(who)
    line = matrix.line(persona.code if persona else who)
    said = {action: "oui" if line.may(action, what) else "non" for action in ("read", "write")}
    typer.echo(f"{what}  lire : {said['read']}  écrire : {said['write']}  (profession {line.profession})")


@app.command()
def show() -> None:
    """The whole matrix: a line for each profession, r to read, w to write."""
    kinds = sharing.KINDS[1:]
    typer.echo("profession  " + "  ".join(f"{kind:12}" for kind in kinds))
    for line in matrix.lines().values():
        cells = ("".join(letter for letter in ("read", "write") if line.may(letter, kind)) for kind in kinds)
        short = (cell.replace("read", "r").replace("write", "w") or "-" for cell in cells)
        typer.echo(f"{line.profession:10}  " + "  ".join(f"{cell:12}" for cell in short))
