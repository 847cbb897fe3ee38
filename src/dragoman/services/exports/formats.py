"""CSV, JSON lines and Parquet: each a writer that is fed batches and gives bytes, holding no more than a batch.

A file that was cut off can be told from a whole one: Parquet and ZIP end with what a reader needs first, a plain CSV or
JSONL that is streamed ends with its connection cut, and one on disk gets its name only when it is whole.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Literal, Protocol
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from dragoman.domain import storable
from dragoman.ledger.chain import Start
from dragoman.ledger.checkpoint import Proof, Signed
from dragoman.ledger.integrity import Integrity
from dragoman.services.exports import spreadsheet
from dragoman.services.exports.columns import CONVERSATION, EVENT, MESSAGE, ExportColumn
from dragoman.services.exports.sink import Sink
from dragoman.store.media import MediaFile

Format = Literal["csv", "jsonl", "parquet", "bundle"]
Row = Mapping[str, Any]

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What goes with each conversation."""

    transcript: bool = False
    timeline: bool = False

    @property
    def any(self) -> bool:
        """Whether anything does."""
        return self.transcript or self.timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some conversations; ``messages`` and ``events`` are those of each, by session id.

    For evidence also where each chain begins, if that is not its beginning, the files of messages, by message id, how
    far each session is proved, and by which of the checkpoints.
    """

    rows: Sequence[Row]
    messages: Mapping[UUID, Sequence[Row]] = field(default_factory=dict)
    events: Mapping[UUID, Sequence[Row]] = field(default_factory=dict)
    starts: Mapping[UUID, Start] = field(default_factory=dict)
    files: Mapping[UUID, MediaFile] = field(default_factory=dict)
    integrity: Mapping[UUID, Integrity] = field(default_factory=dict)
    proofs: Mapping[UUID, Proof] = field(default_factory=dict)
    checkpoints: Mapping[int, Signed] = field(default_factory=dict)


class ExportWriter(Protocol):
    """Turns batches into the bytes of one file, in order."""

    def write(self, batch: Batch) -> bytes:
        """The bytes that *batch* adds; they may be none yet."""
        ...

    def end(self) -> Iterator[bytes]:
        """The last bytes; without them the file is not whole."""
        ...

    def close(self) -> None:
        """Let go of what it holds, finished or not."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What file comes of a format with these parts."""

    extension: str
    media_type: str


def shape(kind: Format, parts: Parts) -> Shape:
    """The file's ending and media type: CSV with parts is a ZIP of several CSV files."""
    if kind == "csv" and parts.any:
        return Shape("zip", "application/zip")
    types = {
        "csv": "text/csv; charset=utf-8",
        "jsonl": "application/x-ndjson",
        "parquet": "application/vnd.apache.parquet",
    }
    if kind == "bundle":
        return Shape("zip", "application/zip")
    return Shape(kind, types[kind])


class CsvWriter:
    """Writes one CSV file, of conversations unless *columns* are another list's."""

    def __init__(self, columns: Sequence[ExportColumn] = CONVERSATION) -> None:
        self._columns = columns
        self._begun = False

    def write(self, batch: Batch) -> bytes:
        """Write the lines."""
        return self._beginning() + spreadsheet.lines(self._columns, batch.rows)

    def _beginning(self) -> bytes:
        begun, self._begun = self._begun, True
        return b"" if begun else spreadsheet.header(self._columns)

    def end(self) -> Iterator[bytes]:
        """The header, where there was no conversation at all."""
        yield self._beginning()

    def close(self) -> None:
        """Nothing is held."""


class CsvZipWriter:
    """Writes a ZIP of conversations.csv, messages.csv and events.csv.

    The members of a ZIP come one after the other, so the second and third wait on disk.
    """

    def __init__(self, parts: Parts) -> None:
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._first: IO[bytes] | None = self._zip.open("conversations.csv", "w", force_zip64=True)
        self._first.write(spreadsheet.header(CONVERSATION))
        self._kept: dict[str, tuple[IO[bytes], Sequence[ExportColumn]]] = {}
        for name, columns, wanted in (("messages", MESSAGE, parts.transcript), ("events", EVENT, parts.timeline)):
            if wanted:
                kept = tempfile.TemporaryFile(prefix="dragoman-export-")  # noqa: SIM115 - closed by close()
                kept.write(spreadsheet.header(columns))
                self._kept[name] = (kept, columns)

    def write(self, batch: Batch) -> bytes:
        """What has been compressed by now."""
        assert self._first is not None  # noqa: S101 - it is open until end()
        self._first.write(spreadsheet.lines(CONVERSATION, batch.rows))
        for name, found in (("messages", batch.messages), ("events", batch.events)):
            if name in self._kept:
                kept, columns = self._kept[name]
                for rows in found.values():
                    kept.write(spreadsheet.lines(columns, rows))
        return self._sink.taken()

    def end(self) -> Iterator[bytes]:
        """Write the other members and the directory."""
        assert self._first is not None  # noqa: S101 - as above
        self._first.close()
        self._first = None
        yield self._sink.taken()
        for name, (kept, _) in self._kept.items():
            kept.seek(0)
            with self._zip.open(f"{name}.csv", "w", force_zip64=True) as member:
                while piece := kept.read(_PIECE):
                    member.write(piece)
                    yield self._sink.taken()
        self._zip.close()
        yield self._sink.taken()

    def close(self) -> None:
        """Remove what waits on disk."""
        for kept, _ in self._kept.values():
            kept.close()
        self._sink.deaf = True
        if self._first is not None:
            self._first.close()
        self._zip.close()


class JsonlWriter:
    """One JSON object a line; ``transcript`` and ``timeline`` are arrays in it."""

    def __init__(self, parts: Parts, columns: Sequence[ExportColumn] = CONVERSATION) -> None:
        self._parts, self._columns = parts, columns

    def write(self, batch: Batch) -> bytes:
        """Write the lines."""
        lines = []
        for row in batch.rows:
            record = plain(self._columns, row)
            if self._parts.transcript:
                record["transcript"] = [plain(MESSAGE[1:], m) for m in batch.messages.get(row["session_id"], ())]
            if self._parts.timeline:
                record["timeline"] = [plain(EVENT[1:], e) for e in batch.events.get(row["session_id"], ())]
            lines.append(storable.dump(record))
        return "".join(f"{line}\n" for line in lines).encode()

    def end(self) -> Iterator[bytes]:
        """Write nothing more."""
        yield b""

    def close(self) -> None:
        """Nothing is held."""


def plain(columns: Sequence[ExportColumn], row: Row) -> dict[str, Any]:
    """The row under its columns' names, as JSON has it."""
    record = {}
    for column in columns:
        value = column.of(row)
        if isinstance(value, datetime):
            value = spreadsheet.moment(value)
        record[column.name] = value
    return record


class ParquetWriter:
    """One Parquet file; ``transcript`` and ``timeline`` are lists of structures in it."""

    def __init__(self, parts: Parts, columns: Sequence[ExportColumn] = CONVERSATION) -> None:
        self._parts, self._columns = parts, columns
        self._sink = Sink()
        fields = [(column.name, _arrow(column)) for column in columns]
        if parts.transcript:
            fields.append(("transcript", pa.list_(_structure(MESSAGE[1:]))))
        if parts.timeline:
            fields.append(("timeline", pa.list_(_structure(EVENT[1:]))))
        self._schema = pa.schema(fields)
        self._file = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema, compression="zstd")
        self._open = True

    def write(self, batch: Batch) -> bytes:
        """Write the bytes of a row group."""
        columns = [pa.array([c.of(row) for row in batch.rows], _arrow(c)) for c in self._columns]
        ids = [row["session_id"] for row in batch.rows]
        if self._parts.transcript:
            columns.append(_nested(MESSAGE[1:], ids, batch.messages))
        if self._parts.timeline:
            columns.append(_nested(EVENT[1:], ids, batch.events))
        self._file.write_batch(pa.record_batch(columns, schema=self._schema))
        return self._sink.taken()

    def end(self) -> Iterator[bytes]:
        """Write the footer."""
        self._file.close()
        self._open = False
        yield self._sink.taken()

    def close(self) -> None:
        """Let the file go; an unfinished one is left without its footer."""
        self._sink.deaf = True
        if self._open:
            self._file.close()


def _arrow(column: ExportColumn) -> Any:
    types = {
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "money": pa.decimal128(18, 6),
    }
    return types.get(column.kind, pa.string())


def _structure(columns: Sequence[ExportColumn]) -> Any:
    return pa.struct([(column.name, _arrow(column)) for column in columns])


def _nested(columns: Sequence[ExportColumn], ids: Sequence[UUID], found: Mapping[UUID, Sequence[Row]]) -> Any:
    offsets: list[int] = [0]
    rows: list[Row] = []
    for session_id in ids:
        rows += found.get(session_id, ())
        offsets.append(len(rows))
    flat = [pa.array([_text(column, column.of(row)) for row in rows], _arrow(column)) for column in columns]
    values = pa.StructArray.from_arrays(flat, fields=list(_structure(columns)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _text(column: ExportColumn, value: Any) -> Any:
    return storable.dump(value) if column.kind == "json" and value is not None else value
