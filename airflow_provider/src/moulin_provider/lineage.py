"""What a landing tells OpenLineage: files in, table out, columns, counts. Loaded only where that is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    column_lineage_dataset,
    dataset_version_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
    sql_job,
    symlinks_dataset,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moulin.job import Receipt
    from moulin.plan import JobPlan, PlannedColumn, PlannedFile
    from moulin.spec import JobSpec

# More files than this are told by their folders.
_MAX_FILES = 100


def begun(spec: JobSpec, catalog: str) -> OperatorLineage[Any, Any]:
    """What is known before the job: the patterns it reads and the table it lands in."""
    inputs = [InputDataset(namespace, name) for namespace, name in _names(_patterns(spec))]
    inputs += _rejects(spec, catalog)
    inputs += [InputDataset(f"iceberg://{catalog}", one.table) for one in spec.tables.values()]
    return OperatorLineage(
        inputs=inputs, outputs=[OutputDataset(f"iceberg://{catalog}", spec.target.table)], job_facets=_job_facets(spec)
    )


def ended(spec: JobSpec, catalog: str, receipt: Receipt, plan: JobPlan | None) -> OperatorLineage[Any, Any]:
    """What came of it. Without a plan (the worker did not say) the files are the patterns, and columns are missing."""
    if plan is None:
        found = begun(spec, catalog)
        found.outputs = [_output(spec, catalog, receipt, None, {})]
        return found
    files = _files_taken(plan, receipt)
    names = _names(_patterns(spec) if files is None else (file.uri for file in files))
    inputs = [InputDataset(*name, facets={"schema": _schema(plan.input)}) for name in names]
    if files is not None and len(files) == len(names):
        for one, file in zip(inputs, files, strict=True):
            size = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(size=file.size_bytes)
            one.inputFacets = {"inputStatistics": size}
    inputs += _rejects(spec, catalog)
    inputs += _tables_read(plan, catalog, receipt)
    columns = _column_lineage(spec, plan, _relations(plan, catalog, names))
    return OperatorLineage(
        inputs=inputs, outputs=[_output(spec, catalog, receipt, plan, columns)], job_facets=_job_facets(spec)
    )


def _patterns(spec: JobSpec) -> tuple[str, ...]:
    """What a job reads, as its source says it; none of a replay, which reads rejects and touches no file."""
    return () if spec.source is None or spec.replay is not None else spec.source.uris


def _files_taken(plan: JobPlan, receipt: Receipt) -> list[PlannedFile] | None:
    """The files that the job took; None: they are not known.

    The plan lists what matches now, and of what the job left out the receipt names only the first ones. Where that does
    not add up to what the job took there are others, or some have come since.
    """
    left_out = {one.uri for one in receipt.skipped_files}
    files = [file for file in plan.files if file.uri not in left_out]
    return files if len(files) == receipt.files else None


def _rejects(spec: JobSpec, catalog: str) -> list[InputDataset]:
    """The table of rejects that a replay reads."""
    if spec.replay is None:
        return []
    return [InputDataset(f"iceberg://{catalog}", f"{spec.target.table}__rejects")]


def queried(sql: str, tables: Mapping[str, str | None], catalog: str = "moulin") -> OperatorLineage[Any, Any]:
    """What a query has read: tables and their snapshots."""
    return OperatorLineage(
        inputs=[_table_read(catalog, table, snapshot_id) for table, snapshot_id in tables.items()],
        job_facets={"sql": sql_job.SQLJobFacet(query=sql)},
    )


def _tables_read(plan: JobPlan, catalog: str, receipt: Receipt) -> list[InputDataset]:
    """The tables that were inputs, as the job read them."""
    columns = {one.name: one.columns for one in plan.tables}
    found = []
    for read in receipt.tables:
        one = _table_read(catalog, read.table, None if read.snapshot_id is None else str(read.snapshot_id))
        one.facets = {**(one.facets or {}), "schema": _schema(columns.get(read.name, ()))}
        one.inputFacets = {
            "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                rowCount=read.rows_read, size=read.bytes, fileCount=read.files
            )
        }
        found.append(one)
    return found


def _table_read(catalog: str, table: str, snapshot_id: str | None) -> InputDataset:
    facets: dict[str, DatasetFacet] = {}
    if snapshot_id is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(snapshot_id)
    return InputDataset(f"iceberg://{catalog}", table, facets=facets)


def _output(
    spec: JobSpec, catalog: str, receipt: Receipt, plan: JobPlan | None, columns: Mapping[str, list[_Origin]]
) -> OutputDataset:
    facets: dict[str, DatasetFacet] = {}
    location, found, _ = receipt.metadata_location.rpartition("/metadata/")
    if found:
        physical = symlinks_dataset.Identifier(*_name(location), type="LOCATION")
        facets["symlinks"] = symlinks_dataset.SymlinksDatasetFacet(identifiers=[physical])
    if plan is not None:
        facets["schema"] = _schema(plan.output)
        if columns:
            made_of = {to: _made_of(origins) for to, origins in columns.items()}
            facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(fields=made_of)
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=receipt.rows_landed, size=receipt.bytes_written, fileCount=receipt.data_files
    )
    return OutputDataset(
        f"iceberg://{catalog}", spec.target.table, facets=facets, outputFacets={"outputStatistics": statistics}
    )


def _job_facets(spec: JobSpec) -> dict[str, JobFacet]:
    from moulin.transform import Sql

    return {"sql": sql_job.SQLJobFacet(query=spec.transform.query)} if isinstance(spec.transform, Sql) else {}


def _schema(columns: Iterable[PlannedColumn]) -> schema_dataset.SchemaDatasetFacet:
    fields = [schema_dataset.SchemaDatasetFacetFields(name=one.name, type=one.type) for one in columns]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def _made_of(origins: list[_Origin]) -> column_lineage_dataset.Fields:
    fields = [
        column_lineage_dataset.InputField(*name, field=column)
        for relation, column in origins
        for name in relation.datasets
    ]
    return column_lineage_dataset.Fields(inputFields=fields)


@dataclass(frozen=True)
class _Relation:
    """An input by the name that the transform knows it by."""

    name: str
    datasets: tuple[tuple[str, str], ...]
    columns: frozenset[str]


_Origin: TypeAlias = "tuple[_Relation, str]"


def _relations(plan: JobPlan, catalog: str, files: list[tuple[str, str]]) -> list[_Relation]:
    tables = [
        _Relation(one.name, ((f"iceberg://{catalog}", one.table),), frozenset(column.name for column in one.columns))
        for one in plan.tables
    ]
    # A replay has columns and no files: its rows come out of rejects.
    source = [_Relation("input", tuple(files), frozenset(one.name for one in plan.input))] if files else []
    return source + tables


def _column_lineage(spec: JobSpec, plan: JobPlan, relations: list[_Relation]) -> dict[str, list[_Origin]]:
    """Which columns of which input each column of the table is made of, where that can be known."""
    from moulin.transform import Sql

    query = spec.transform.query if isinstance(spec.transform, Sql) else None
    if spec.transform is not None and query is None:
        return {}
    known = {} if query is None else _sql_lineage(query)
    # Which input a star has a column of is not said; of a single one there is no doubt.
    as_they_are = relations[0] if len(relations) == 1 and (query is None or "*" in query) else None
    found: dict[str, list[_Origin]] = {}
    for column in (one.name for one in plan.output):
        if column in known:
            origins = (_origin(relations, relation, name) for relation, name in known[column])
            found[column] = [one for one in origins if one is not None]
        elif as_they_are is not None and column in as_they_are.columns:
            found[column] = [(as_they_are, column)]
    return {column: origins for column, origins in found.items() if origins}


def _origin(relations: list[_Relation], said: str, column: str) -> _Origin | None:
    """The input that a column is of; None: it cannot be known.

    The parser knows no columns of tables: one that is named without its table it takes for one of the first. A query
    that the worker runs is not ambiguous, so where that one has no such column it is of the only one that does.
    """
    having = [one for one in relations if column in one.columns]
    relation = next((one for one in having if one.name == said), None)
    if relation is None and len(having) == 1:
        (relation,) = having
    return None if relation is None else (relation, column)


def _sql_lineage(query: str) -> dict[str, list[tuple[str, str]]]:
    """What each column of a query is made of: names of inputs, as far as they are known, and of their columns."""
    try:
        from openlineage_sql import parse

        read = parse([query])
    except Exception:  # a parser of its own, which need not know everything that the worker does
        return {}
    lineage = read.column_lineage if read is not None else []
    return {
        one.descendant.name: [(source.origin.name if source.origin else "", source.name) for source in one.lineage]
        for one in lineage
    }


def _names(uris: Iterable[str]) -> list[tuple[str, str]]:
    """Namespace and name of each file, as OpenLineage names them; of very many files those of their folders."""
    listed = list(uris)
    if len(listed) > _MAX_FILES:
        listed = sorted({uri.rpartition("/")[0] for uri in listed})[:_MAX_FILES]
    return [_name(uri) for uri in listed]


def _name(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return "file", parts.path
    name = parts.path if parts.scheme in ("http", "https") else parts.path.lstrip("/")
    return f"{parts.scheme}://{parts.netloc}", name or "/"
