"""Archives and pickles that were made to do harm, and damaged ones: each is refused with one line and nothing runs."""

from __future__ import annotations

import io
import pickle
import pickletools
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fermisea.errors import FileFormatError
from fermisea.interop import mala
from fermisea.interop.mala.archive import read_archive
from fermisea.interop.mala.scalers import read_scaler
from fermisea.interop.mala.torch_file import read_torch
from mala_files import BE2, KERNEL, MADE, MODEL, be_snapshot, members, pickled_scaler, refusal, write_archive


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Builtin:
    """Calls a builtin when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit",)


def old_torch_file(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def new_torch_file(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def nested_scaler(inner: bytes) -> bytes:
    """A pickled scaler whose tensor holds a torch file of its own."""
    content = pickled_scaler({"means": torch.zeros(3)}, protocol=3)  # no frames, whose lengths would change
    found = list(pickletools.genops(content))
    (place,) = (k for k, (_, argument, _) in enumerate(found) if isinstance(argument, bytes))
    start, end = found[place][2], found[place + 1][2]
    return content[:start] + b"B" + struct.pack("<I", len(inner)) + inner + content[end:]


@pytest.mark.parametrize("attack", [Touch, lambda _: Builtin()])
@pytest.mark.parametrize(
    ("ending", "wrap"),
    [
        ("iscaler.pkl", lambda attack: pickle.dumps(attack, protocol=4)),
        ("oscaler.pkl", lambda attack: pickle.dumps(attack, protocol=0)),
        ("iscaler.pkl", lambda attack: pickle.dumps({"means": [attack]}, protocol=2)),
        ("iscaler.pkl", lambda attack: nested_scaler(old_torch_file(attack))),
        ("iscaler.pkl", lambda attack: nested_scaler(new_torch_file(attack))),
        ("network.pth", lambda attack: old_torch_file({"layers.0.weight": attack})),
        ("network.pth", lambda attack: new_torch_file({"layers.0.weight": attack})),
        ("network.pth", lambda attack: pickle.dumps(attack, protocol=4)),
    ],
)
def test_pickles_that_would_run_code_are_refused_and_run_nothing(tmp_path, ending, wrap, attack):
    victim = tmp_path / "made"
    content = wrap(attack(victim))
    path = write_archive(tmp_path / "m.zip", members() | {ending: content})
    with pytest.raises(FileFormatError, match="do not trust this file") as caught:
        mala.load_model(path, broadening=KERNEL)
    assert "\n" not in str(caught.value)
    assert ending in str(caught.value)
    assert not victim.exists()


def test_the_attack_would_work_on_a_trusting_reader(tmp_path):
    pickle.loads(pickle.dumps(Touch(tmp_path / "made")))  # noqa: S301
    assert (tmp_path / "made").exists()


def opcodes(*parts: bytes | str) -> bytes:
    return b"\x80\x04" + b"".join(part.encode() if isinstance(part, str) else part for part in parts) + b"."


@pytest.mark.parametrize(
    "content",
    [
        opcodes("cbuiltins\ngetattr\n"),
        opcodes("ctorch\nload\n(U\x01xtR"),
        opcodes("ctorch.storage\n_load_from_bytes\n(C\x04evil", b"tR"),  # a torch file that is none
        opcodes("cnumpy\nload\n"),
        opcodes("cmala.datahandling.data_scaler\nDataScaler.__init__\n"),
        opcodes("(ios\nsystem\nU\x01x"),  # INST
        opcodes("(cos\nsystem\no"),  # OBJ
        opcodes(b"\x82\x01"),  # EXT1
        opcodes(b"N", b"r\xff\xff\xff\x7f"),  # memo of 2^31 entries
        opcodes(b"\x96" + struct.pack("<Q", 2**40)),  # BYTEARRAY8
        opcodes(b"\x8e" + struct.pack("<Q", 2**62)),  # BINBYTES8
        opcodes(b"B\xff\xff\xff\x7f"),  # BINBYTES without its bytes
        opcodes("cmala.datahandling.data_scaler\nDataScaler\nN}X\x08\x00\x00\x00__init__Ns\x86b"),  # sets attributes
        opcodes("cnumpy\nndarray\n(KdtR"),
        opcodes("cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(X\x01\x00\x00\x00OtRC\x01x\x86R"),  # objects
        opcodes("ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x01\x85K\x01\x85tR"),
        b"\x80\x04(((((",
        b"",
    ],
)
def test_pickles_of_another_kind_are_refused(content):
    with pytest.raises(FileFormatError, match=r"x\.pkl") as caught:
        read_scaler(content, "x.pkl", 3)
    assert "\n" not in str(caught.value)
    scaler = members()["iscaler.pkl"]
    assert read_scaler(scaler, "x.pkl", 91).scale.size == 91  # what came before left nothing behind


def test_tensor_beyond_its_storage_is_refused():
    good = old_torch_file({"a": torch.arange(6.0).reshape(2, 3)})
    sizes = good.replace(b"K\x02K\x03\x86", b"K\x63K\x63\x86")
    assert sizes != good
    assert "got a tensor larger than its storage" in refusal(read_torch, sizes, "x.pth")
    repeated = good.replace(b"K\x03K\x01\x86", b"K\x00K\x00\x86").replace(b"K\x02K\x03\x86", b"K\x63K\x63\x86")
    assert "got a tensor larger than its storage" in refusal(read_torch, repeated, "x.pth")
    stated = good.replace(b"cpuq", b"cpuq", 1).replace(b"K\x06Nt", b"J\xff\xff\xff\x7fNt")
    assert stated != good
    assert "truncated" in refusal(read_torch, stated, "x.pth")


def test_archive_that_would_unpack_to_much_more_is_refused(tmp_path):
    path = write_archive(tmp_path / "m.zip", members() | {"network.pth": bytes(300_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 400_000
    with pytest.raises(FileFormatError, match="would unpack from"):
        mala.load_model(path, broadening=KERNEL)


def test_archive_that_understates_what_it_holds_is_refused(tmp_path):
    path = write_archive(tmp_path / "m.zip", {"params.json": bytes(40_000_000)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    true = struct.pack("<I", 40_000_000)
    assert content.count(true) == 2
    lying = bytes(content).replace(true, struct.pack("<I", 100))
    assert "m.zip" in refusal(read_archive, lying, "m.zip")


def test_archive_of_very_many_files_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k in range(1001):
            archive.writestr(f"{k}", b"")
    assert "an archive of 1001 files" in refusal(read_archive, stream.getvalue(), "m.zip")


@pytest.mark.parametrize(
    "name",
    [
        "../m.params.json",
        "a/../../m.params.json",
        "/etc/m.params.json",
        "..\\m.params.json",
        "C:\\m.params.json",
        "C:m",
    ],
)
def test_paths_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    files = members()
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for ending, content in files.items():
            archive.writestr(name if ending == "params.json" else f"m.{ending}", content)
    with pytest.raises(FileFormatError, match="leads out of the archive") as caught:
        mala.load_model(path, broadening=KERNEL)
    assert "\n" not in str(caught.value)


def test_links_doubles_and_encrypted_files_are_refused(tmp_path):
    link = zipfile.ZipInfo("m.params.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in refusal(read_archive, stream.getvalue(), "m.zip")

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("m.params.json", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("m.params.json", b"2")
    assert "two files with the same name" in refusal(read_archive, stream.getvalue(), "m.zip")

    content = bytearray(write_archive(tmp_path / "m.zip", {"params.json": b"{}"}).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + offset] |= 1
    assert "is encrypted" in refusal(read_archive, bytes(content), "m.zip")


def test_two_models_in_one_archive_are_refused(tmp_path):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for prefix in ("a", "b"):
            for ending, content in members().items():
                archive.writestr(f"{prefix}.{ending}", content)
    assert "expected one model" in refusal(mala.load_model, path, broadening=KERNEL)


def test_truncated_archives_are_refused(tmp_path):
    content = MODEL.read_bytes()
    path = tmp_path / "m.zip"
    for part in np.linspace(0, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:part])
        with pytest.raises(FileFormatError, match="not a complete zip archive"):
            mala.load_model(path, broadening=KERNEL)


@pytest.mark.parametrize("ending", ["iscaler.pkl", "oscaler.pkl", "network.pth", "params.json", "info.json"])
def test_truncated_files_in_an_archive_are_refused(tmp_path, ending):
    files = members()
    for part in np.linspace(0, len(files[ending]) - 1, 12).astype(int):
        path = write_archive(tmp_path / "m.zip", files | {ending: files[ending][:part]})
        with pytest.raises(FileFormatError, match=ending) as caught:
            mala.load_model(path, broadening=KERNEL)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (lambda content: read_scaler(content, "x.pkl", 91), members()["iscaler.pkl"]),
        (lambda content: read_torch(content, "x.pth"), members(MADE / "string.zip")["network.pth"]),
        (lambda content: read_archive(content, "x.zip"), (MADE / "string.zip").read_bytes()),
        (lambda content: read_torch(content, "x.pth"), new_torch_file({"a": torch.ones(3, 4)})),
    ],
)
def test_altered_files_are_read_or_refused_but_nothing_else_happens(read, content):
    random = np.random.default_rng(5)
    refused, lines = 0, set()
    for _ in range(400):
        altered = bytearray(content)
        # most of a file is numbers: alter bytes of its pickles and headers
        for place in random.integers(0, min(len(content), 1200), size=random.integers(1, 4)):
            altered[place] = random.integers(256)
        try:
            read(bytes(altered))
        except FileFormatError as error:
            refused += 1
            lines |= {str(error)}
    assert refused > 20
    assert not any("\n" in line for line in lines)


def test_numpy_files_with_pickles_are_refused(tmp_path):
    victim = tmp_path / "made"
    path = tmp_path / "x.npy"
    np.save(path, np.array([Touch(victim)], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="plain numbers"):
        be_snapshot(ldos=path)
    path.write_bytes(pickle.dumps(Touch(victim)))
    with pytest.raises(FileFormatError, match="plain numbers"):
        be_snapshot(density=path)
    assert not victim.exists()
    assert (BE2 / "Be_snapshot0.out.npy").exists()
