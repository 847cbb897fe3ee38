"""Which writer makes which kind of file."""

from __future__ import annotations

from dragoman.services.exports.bundle import About, BundleWriter
from dragoman.services.exports.formats import (
    CsvWriter,
    CsvZipWriter,
    ExportWriter,
    Format,
    JsonlWriter,
    ParquetWriter,
    Parts,
)


def writer(kind: Format, parts: Parts, about: About) -> ExportWriter:
    """A writer for one file; *about* is what an evidence bundle says of itself."""
    if kind == "bundle":
        return BundleWriter(about)
    if kind == "parquet":
        return ParquetWriter(parts)
    if kind == "jsonl":
        return JsonlWriter(parts)
    return CsvZipWriter(parts) if parts.any else CsvWriter()
