# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for servers of the tests, by openssl. Python 3.13 wants to be told what a key is for (VERIFY_X509_STRICT), and who has signed."""

from __future__ import annotations

import pathlib
import subprocess

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_authority(folder: pathlib.Path, days: int = 2) -> None:
    """Make ``ca.crt`` and ``ca.key`` in a folder."""
    _openssl(folder, "req", "-x509", *NEW_KEY, "-days", str(days), "-subj", "/CN=Test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip


def issue(folder: pathlib.Path, stem: str, subject: str, names: str, days: int = 2) -> None:
    """Make a certificate and its key, signed by the authority in the same folder.

    Args:
        folder: where ``ca.crt`` and ``ca.key`` are.
        stem: name of the files, without ``.crt`` and ``.key``.
        subject: common name.
        names: as in ``subjectAltName``, such as ``DNS:localhost,IP:127.0.0.1``.
        days: how long it is valid.
    """
    _openssl(folder, "req", *NEW_KEY, "-subj", f"/CN={subject}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
    (folder / f"{stem}.ext").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n", encoding="utf-8")
    _openssl(folder, "x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days),
             "-extfile", f"{stem}.ext", "-out", f"{stem}.crt")  # fmt: skip


def make_self_signed(key: pathlib.Path, certificate: pathlib.Path, subject: str, names: str, days: int = 2) -> None:
    """Make a certificate that is its own authority, and its key; the arguments are as for :func:`issue`."""
    _openssl(key.parent, "req", "-x509", *NEW_KEY, "-days", str(days), "-subj", f"/CN={subject}", "-addext", f"subjectAltName={names}",
             "-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", str(key), "-out", str(certificate))  # fmt: skip


def _openssl(folder: pathlib.Path, *argv: str) -> None:
    subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=folder)
