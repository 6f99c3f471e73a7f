"""``fermisea export``: interatomic potentials in files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import fermisea
from fermisea.cli.common import Json, ModelFile, output_folder, print_json
from fermisea.cli.shell import FILES, Command
from fermisea.terminal import progress_bar, stdout, table

if TYPE_CHECKING:
    from ase import Atoms

export = typer.Typer(
    name="export",
    help="Export the interatomic potential of a model to files of other programs.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def lammps(
    model: ModelFile,
    electron_temperature: Annotated[
        list[float], typer.Option(help="Electronic temperatures (tau_e), K.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the files.", show_default=False)],
    structures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar=FILES,
            help="Further structure files or folders for the fit, in any format that ASE reads.  "
            "[dim]\\[default: the structures in the model file alone][/]",
            show_default=False,
        ),
    ] = None,
    twojmax: Annotated[int, typer.Option(help="Twice the highest angular momentum of the bispectrum, 2 to 8.")] = 6,
    cutoff: Annotated[
        float | None,
        typer.Option(
            help="Cutoff of the bispectrum, Å.  [dim]\\[default: effective cutoff of the potential of the model][/]",
            show_default=False,
        ),
    ] = None,
    linear: Annotated[
        bool, typer.Option("--linear", help="Energies linear in the bispectrum: faster and less accurate.")
    ] = False,
    variants: Annotated[
        int | None,
        typer.Option(
            help="Number of variants of each structure, displaced and strained, with the structure itself.  "
            "[dim]\\[default: as many as make 400 structures, 4 to 40][/]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of displacements, strains and velocities.")] = 0,
    json: Json = False,
) -> None:
    """Write SNAP files for pair_style snap of LAMMPS, one potential for each tau_e, and an input to run.

    The potentials are fitted to F, forces and stress of the interatomic potential of the model. The table shows their
    errors for structures that are not in the fit.

    Example: [bold]fermisea export lammps aluminium --electron-temperature 300 5000 10000 --out snap/[/]
    """
    from fermisea.interop.lammps import export_lammps  # noqa: PLC0415  # only when needed
    from fermisea.interop.lammps.errors import HEADINGS, cells  # noqa: PLC0415

    loaded = fermisea.load_model(model)
    further: list[Atoms] = list(fermisea.read_structures(structures).values()) if structures else []
    with output_folder(out), progress_bar() as bar:
        task = bar.add_task("structures", total=None, note="")
        found = export_lammps(
            loaded,
            electron_temperature,
            out,
            structures=further,
            twojmax=twojmax,
            cutoff=cutoff,
            linear=linear,
            number=variants,
            seed=seed,
            progress=lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
        )
    if json:
        document = {"warnings": found.warnings, "rows": [errors.row() for errors in found.errors]}
        print_json(document | {"structures": found.structures, "left_out": found.left_out, "files": found.files})
        return
    console = stdout()
    title = f"Errors over {found.left_out} structures that are not in the fit of {found.structures}"
    console.print(table(title, HEADINGS, [cells(errors) for errors in found.errors]))
    console.print("errors: root mean squares; 'of' is the size of the quantity before it")
    console.print(f"start: cd {out} && lmp -in in.example")
    console.print("files: " + ", ".join(map(str, found.files)))


export.command(cls=Command)(lammps)
