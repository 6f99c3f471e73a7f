"""UPF files: against the analytic form, against a plain summation over the file, and files that must be refused."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from scipy.special import erf, spherical_jn

from fermisea import pseudopotentials
from fermisea.errors import FileFormatError, InputError
from fermisea.physics.radial import RadialTable
from fermisea.pseudopotentials.gth import load_gth
from fermisea.pseudopotentials.upf import functional_of, load_upf
from fermisea.units import BOHR, COULOMB, RYDBERG

FOLDER = Path(__file__).parent / "data" / "pseudopotentials"
GTH, VBC, DOJO, BERYLLIUM = (
    FOLDER / name for name in ("Al.gth-pbe.upf", "Al.pz-vbc.UPF", "PD_Al_std.upf", "PD_Be_std.upf")
)
FILES = {path.name: path for path in (GTH, VBC, DOJO, BERYLLIUM)}
SHORT = 12.0  # 1/Angstrom; enough where only the reading is tested


@pytest.fixture(scope="module")
def loaded():
    return {name: load_upf(path) for name, path in FILES.items()}


def test_file_of_a_gaussian_potential_equals_the_analytic_form(loaded):
    # the file holds GTH-PBE Al-q3 on a mesh of 0.01 bohr to 20 bohr
    file, exact = loaded[GTH.name], load_gth("Al", "pbe")
    q = torch.linspace(0, 25, 2501, dtype=torch.float64)
    scale = float(exact.local(q[:1]).abs())
    difference = (file.local(q) - exact.local(q)).abs()
    assert float((difference / (scale + exact.local(q).abs())).max()) < 1e-9
    assert [channel.l for channel in file.channels] == [channel.l for channel in exact.channels] == [0, 1]
    for got, want in zip(file.channels, exact.channels, strict=True):
        torch.testing.assert_close(got.coupling, want.coupling, rtol=1e-8, atol=0)
        forms = want.radial(q)
        for row, expected in zip(got.radial(q), forms, strict=True):
            # Simpson's error on this mesh; the overall sign of a projector is free
            sign = torch.sign(row[0] * expected[0])
            assert float((sign * row - expected).abs().max() / expected.abs().max()) < 1e-8


def _column(root, tag):
    return np.array(root.find(f".//{tag}").text.split(), dtype=float)


def _simpson(values):
    return (values[:-2:2] + 4 * values[1:-1:2] + values[2::2]).sum() / 3


@pytest.mark.parametrize("name", FILES)
def test_tables_are_plain_sums_over_the_file(loaded, name):
    """Everything again in Ry and bohr with another XML reader, other Bessel functions and no table."""
    text = re.sub(r"<PP_INFO>.*?</PP_INFO>", "", FILES[name].read_text(), flags=re.DOTALL)
    root = ET.fromstring(text)  # noqa: S314
    r, rab = _column(root, "PP_R"), _column(root, "PP_RAB")
    header = {key: value.strip() for key, value in root.find("PP_HEADER").attrib.items()}
    valence, potential = float(header["z_valence"]), loaded[name]
    size = np.flatnonzero(r > 10)[0] + 1 if r[-1] > 10 else len(r)
    size -= 1 - size % 2
    inside = slice(0, size)
    r_in, rab_in = r[inside], rab[inside]
    local = _column(root, "PP_LOCAL")[inside]
    q = np.array([0.0123, 0.5011, 1.987, 4.4, 12.34567])  # 1/Angstrom, between the points of the table
    momenta = torch.from_numpy(q)
    unit = RYDBERG * BOHR**3
    for index, g in enumerate(q * BOHR):
        short = (r_in * local + 2 * valence * erf(r_in)) * np.sin(g * r_in) / g
        total = 4 * np.pi * (_simpson(short * rab_in) - 2 * valence * math.exp(-(g**2) / 4) / g**2)
        assert float(potential.local(momenta)[index]) / unit == pytest.approx(total, rel=1e-10, abs=1e-9)
    alpha = 4 * np.pi * _simpson(r_in * (r_in * local + 2 * valence) * rab_in)
    assert float(potential.local(torch.zeros(1, dtype=torch.float64))) / unit == pytest.approx(alpha, rel=1e-12)

    betas = [element for element in root.find("PP_NONLOCAL") if element.tag.startswith("PP_BETA")]
    coupling = _column(root, "PP_DIJ").reshape(len(betas), len(betas))
    end = max(int(beta.get("cutoff_radius_index")) for beta in betas)
    end -= 1 - end % 2
    for channel in potential.channels:
        chosen = [i for i, beta in enumerate(betas) if int(beta.get("angular_momentum")) == channel.l]
        expected = np.zeros((len(chosen), len(q)))
        for row, i in enumerate(chosen):
            values = np.array(betas[i].text.split(), dtype=float)[:end] * r[:end] * rab[:end]
            for column, g in enumerate(q * BOHR):
                expected[row, column] = 4 * np.pi * _simpson(values * spherical_jn(channel.l, g * r[:end]))
        got = channel.radial(momenta).numpy() * q**channel.l
        block = coupling[np.ix_(chosen, chosen)]
        np.testing.assert_allclose(
            np.einsum("iq,ij,jp->qp", got, channel.coupling.numpy(), got) / unit,
            np.einsum("iq,ij,jp->qp", expected, block, expected),
            rtol=0,
            atol=1e-9 * np.abs(np.einsum("iq,ij,jq->q", expected, block, expected)).max(),
        )
    if potential.core is not None:
        core = _column(root, "PP_NLCC")[inside] * r_in**2 * rab_in
        electrons = [4 * np.pi * _simpson(core * spherical_jn(0, g * r_in)) for g in [0.0, *(q * BOHR)]]
        assert potential.core.electrons == pytest.approx(electrons[0], rel=1e-12)
        np.testing.assert_allclose(potential.core(momenta).numpy(), electrons[1:], rtol=0, atol=1e-10 * electrons[0])


def test_facts_of_the_files(loaded):
    dojo, beryllium, vbc = loaded[DOJO.name], loaded[BERYLLIUM.name], loaded[VBC.name]
    assert [(p.symbol, p.valence, p.functional) for p in (dojo, beryllium, vbc)] == [
        ("Al", 3.0, "pbe"),
        ("Be", 4.0, "pbe"),
        ("Al", 3.0, "pz"),
    ]
    assert [channel.l for channel in dojo.channels] == [0, 1, 2]
    assert [len(channel.coupling) for channel in dojo.channels] == [2, 2, 2]
    assert [channel.l for channel in beryllium.channels] == [0, 1]
    assert [channel.l for channel in vbc.channels] == [0, 1]
    assert dojo.core is not None
    assert beryllium.core is None
    assert dojo.digest == hashlib.sha256(DOJO.read_bytes()).hexdigest()
    assert dojo.name == "PD_Al_std.upf"
    assert (dojo.ion.symbol, dojo.ion.valence, dojo.ion.core) == ("Al", 3.0, dojo.core)


@pytest.mark.parametrize("name", FILES)
def test_zero_momentum_is_the_limit(loaded, name):
    # the file's own sum at zero and the screened form differ by Simpson's error on an erf: coarse on VBC's mesh
    potential = loaded[name]
    q = torch.tensor([0.0, 2e-3], dtype=torch.float64)
    values = potential.local(q)
    tail = 4 * math.pi * potential.valence * COULOMB / float(q[1]) ** 2
    assert float(values[1]) + tail == pytest.approx(float(values[0]), abs=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_derivatives_are_those_of_finite_differences(loaded, name):
    potential = loaded[name]
    functions = [potential.local, *(channel.radial for channel in potential.channels)]
    if potential.core is not None:
        functions.append(potential.core)
    q = torch.tensor([0.31, 1.117, 4.02, 9.999], dtype=torch.float64, requires_grad=True)
    step = 1e-3
    for function in functions:
        derivative = torch.autograd.functional.jvp(function, q, torch.ones_like(q))[1]
        with torch.no_grad():
            a, b = ((function(q + k * step) - function(q - k * step)) / (2 * k * step) for k in (1, 2))
        numerical = (4 * a - b) / 3
        assert float((derivative - numerical).abs().max() / numerical.abs().max()) < 1e-7


def _rewritten(tmp_path, source, *changes):
    text = source.read_text()
    for old, new in changes:
        assert re.search(old, text), old
        text = re.sub(old, new, text)
    path = tmp_path / "changed.upf"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        [(r"<PP_INFO>", '<?xml version="1.0"?>\n<PP_INFO> R&D <a@b.c> x < 3 & <PP_R> 1.0 </PP_R>')],
        [(r'author="[^"]*"', 'author="A & B <mail>"')],
        [(r"(\d)[Ee]([+-]\d\d)\b", r"\1D\2")],
        [(r"(PP_RAB|PP_R|PP_LOCAL|PP_DIJ|PP_NLCC) type[^>]*>", r"\1>")],
        [(r'element="Al"', "element=' al '"), (r'is_paw="F"', 'is_paw=".false."')],
        [(r"</UPF>", "</UPF>\n")],
        [(r"<PP_MESH", "<!-- <PP_R> 1 2 3 </PP_R> -->\n<PP_MESH")],
    ],
    ids=["info", "header", "D", "bare", "case", "newline", "comment"],
)
def test_quirks_found_in_circulation_do_not_change_the_numbers(tmp_path, changes):
    plain, odd = load_upf(DOJO, SHORT), load_upf(_rewritten(tmp_path, DOJO, *changes), SHORT)
    q = torch.linspace(0, SHORT, 50, dtype=torch.float64)
    assert odd.symbol == "Al"
    torch.testing.assert_close(odd.local(q), plain.local(q), rtol=0, atol=0)
    for got, want in zip(odd.channels, plain.channels, strict=True):
        torch.testing.assert_close(got.radial(q), want.radial(q), rtol=0, atol=0)


def test_projectors_without_a_cutoff_are_integrated_over_the_whole_mesh(tmp_path):
    # the last point that is not zero, number 180, counts fully then and not at all with the cutoff of the file
    plain, whole = (
        load_upf(DOJO, SHORT),
        load_upf(_rewritten(tmp_path, DOJO, (r'cutoff_radius_index=" *\d+"', "")), SHORT),
    )
    q = torch.linspace(0, SHORT, 50, dtype=torch.float64)
    for got, want in zip(whole.channels, plain.channels, strict=True):
        assert 0 < float((got.radial(q) - want.radial(q)).abs().max()) < 1e-4


def test_exponents_without_their_letter_are_read(tmp_path):
    path = _rewritten(tmp_path, DOJO, (r"-1\.5381511065E-09", "-1.5381511065-109"))
    assert load_upf(path, SHORT).symbol == "Al"


def _without_last_value(text):
    return re.sub(r"\S+\s*</PP_LOCAL>", "</PP_LOCAL>", text)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.replace('is_ultrasoft="F"', 'is_ultrasoft="T"'), InputError, "an ultrasoft pseudopotential"),
        (lambda t: t.replace('pseudo_type="NC"', 'pseudo_type="USPP"'), InputError, "an ultrasoft pseudopotential"),
        (lambda t: t.replace('is_paw="F"', 'is_paw="true"'), InputError, "a PAW data set"),
        (lambda t: t.replace('is_coulomb="F"', 'is_coulomb=".true."'), InputError, "a bare Coulomb potential"),
        (lambda t: t.replace('has_so="F"', 'has_so="T"'), InputError, "with spin-orbit terms"),
        (
            lambda t: t.replace('"NC"', '"SL"').replace('number_of_proj="6"', 'number_of_proj="0"'),
            InputError,
            "a semilocal pseudopotential without projectors",
        ),
        (lambda t: t.replace('pseudo_type="NC"', 'pseudo_type="XX"'), InputError, "pseudo_type XX"),
        (lambda t: t.replace('version="2.0.1"', 'version="3.0"'), InputError, "a UPF file of version 3.0"),
        (lambda _: "<PP_HEADER>\n 0 Version Number\n</PP_HEADER>\n", InputError, "a UPF file of version 1"),
        (lambda _: "hello\n", FileFormatError, "not a UPF file"),
        (lambda t: t[: len(t) // 2], FileFormatError, "truncated"),
        (lambda t: t.replace("</PP_NLCC>", ""), FileFormatError, "</PP_NLCC> is missing"),
        (lambda t: t.replace("PP_DIJ", "PP_DJI"), FileFormatError, "PP_DIJ is missing"),
        (_without_last_value, FileFormatError, "PP_LOCAL holds 1875 values, expected 1876"),
        (lambda t: t.replace("0.0100    0.0200", "0.0100    nan"), FileFormatError, "PP_R holds values that are not"),
        (lambda t: t.replace("0.0100    0.0200", "0.0100    O.02"), FileFormatError, "PP_R has text among its numbers"),
        (lambda t: t.replace('z_valence="    3.00"', ""), FileFormatError, "z_valence is missing"),
        (lambda t: t.replace('angular_momentum="2"', 'angular_momentum="4"'), InputError, "l = 4, expected 0 to 3"),
        (lambda t: t.replace('angular_momentum="2"', 'angular_momentum="one"'), FileFormatError, "is one, expected"),
        (
            lambda t: re.sub(r"(<PP_DIJ[^>]*>\s*\S+\s+)\S+", r"\g<1>3.0", t),
            FileFormatError,
            "PP_DIJ is not symmetric or couples different l",
        ),
        (lambda t: t.replace('z_valence="    3.00"', 'z_valence="4.0"'), FileFormatError, "a charge of 3 at large r"),
        (lambda t: t.replace('z_valence="    3.00"', 'z_valence="0"'), FileFormatError, "z_valence is 0"),
        (lambda t: t.replace('z_valence="    3.00"', 'z_valence="0_3"'), FileFormatError, "z_valence is 0_3"),
        (lambda t: t.replace("0.0100    0.0200", "0.0200    0.0100"), FileFormatError, "values of PP_R are no mesh"),
        (
            lambda t: re.sub(r"(<PP_RAB[^>]*>\s*\S+\s+)\S+", r"\g<1>0.1", t),
            FileFormatError,
            r"PP_RAB differs from the derivative of PP_R by 900 % at point 2",
        ),
        (lambda t: t.replace('mesh_size="  1876"', 'mesh_size="1875"'), FileFormatError, "expected mesh_size = 1875"),
        (lambda t: t.replace('number_of_proj="6"', 'number_of_proj="5"'), FileFormatError, "holds 6 projectors"),
        (lambda t: t.replace('core_correction="T"', 'core_correction="F"'), FileFormatError, "PP_NLCC holds a core"),
        (lambda t: t.replace('core_correction="T"', 'core_correction="I"'), FileFormatError, "core_correction is 'I'"),
        (
            lambda t: re.sub(r"(<PP_LOCAL[^>]*>\s*\S+\s+)\S+", r"\g<1>1e30", t),
            FileFormatError,
            "PP_LOCAL holds 1e.30, expected numbers up to",
        ),
    ],
)
def test_refused_files_say_why_in_one_line(tmp_path, change, error, message):
    path, text = tmp_path / "bad.upf", DOJO.read_text()
    changed = change(text)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(error, match=message) as caught:
        load_upf(path, SHORT)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("PBE", "pbe"),
        (" SLA  PZ   NOGX NOGC", "pz"),
        ("SLA-PW-PBX-PBC", "pbe"),
        ("SLA PW PBE PBE", "pbe"),
        ("sla+pw+psx+psc", "pbesol"),
        ("PW", "lda"),
        ("BLYP", None),
        ("", None),
    ],
)
def test_functionals_of_headers(text, name):
    assert functional_of(text) == name


@pytest.mark.parametrize(
    ("source", "functional", "message"),
    [
        ({"Al": FOLDER / "missing.upf"}, "pbe", "missing.upf: cannot be read"),
        ({"Al": str(FOLDER)}, "pbe", "cannot be read"),
        ({"Al": BERYLLIUM}, "pbe", "a pseudopotential of Be, expected one of Al"),
        ({"Al": str(VBC)}, "pbe", "made for functional pz, expected pbe or pbesol"),
        ({"Al": DOJO}, "lda", "made for functional pbe, expected lda or pz"),
    ],
)
def test_unfitting_files_are_refused_by_name(source, functional, message):
    with pytest.raises(InputError, match=message):
        pseudopotentials.load(source, ["Al"], functional, momentum=SHORT)


def test_functionals_of_one_family_share_files():
    assert pseudopotentials.load({"Al": VBC}, ["Al"], "lda", momentum=SHORT)["Al"].functional == "pz"
    assert pseudopotentials.load({"Al": DOJO}, ["Al"], "pbesol", momentum=SHORT)["Al"].functional == "pbe"


def test_files_of_foreign_functionals_are_refused(tmp_path):
    path = _rewritten(tmp_path, DOJO, (r'functional="PBE"', 'functional="SLA LYP B88 BLYP"'))
    with pytest.raises(InputError, match="made for a functional outside this package, expected pbe or pbesol"):
        pseudopotentials.load({"Al": path}, ["Al"], "pbe", momentum=SHORT)


def test_another_functional_and_a_mixture_of_sources_are_possible():
    source = {"Al": VBC, "Mg": "gth"}
    mixed = pseudopotentials.load(source, ["Mg", "Al"], "pbe", momentum=SHORT, allow_other_functional=True)
    assert [mixed[symbol].name for symbol in ("Al", "Mg")] == ["Al.pz-vbc.UPF", "GTH-PBE Mg-q10"]


def test_momenta_beyond_the_table_are_refused_and_the_table_grows_on_request():
    q = torch.tensor([20.0], dtype=torch.float64)
    with pytest.raises(InputError, match=r"local potential of Al.pz-vbc.UPF: got a momentum of 20.00"):
        load_upf(VBC, SHORT).local(q)
    assert torch.isfinite(load_upf(VBC, 20.0).local(q)).all()


@pytest.mark.parametrize("name", FILES)
def test_interpolation_adds_nothing(loaded, name):
    # half as many points of the same table must give the same functions
    q = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 28 + 0.1
    potential = loaded[name]
    tables = [potential.local.rest, *(channel.radial for channel in potential.channels)]
    tables += [] if potential.core is None else [potential.core.table]
    for table in tables:
        coarse = RadialTable(2 * table.step, table.values[:, ::2])
        fine = table(q)
        # the error falls with the sixth power of the step, so that of the table itself is 64 times smaller
        assert float((coarse(q) - fine).abs().max() / fine.abs().max()) < 2e-11
