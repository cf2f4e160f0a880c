"""What requests hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pymilvus import DataType, FieldSchema

from roost.lifecycle.backfill import CollectionSource, ParquetSource
from roost.lifecycle.serving.search_endpoint import DEFAULT_BATCH_SIZE, DEFAULT_VERIFY
from roost.server.rest.served import Served

MAX_LIMIT = 16_384


class Body(BaseModel):
    """A body of a request; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid")

    def given(self, *left_out: str) -> dict[str, Any]:
        """Return what the request says; what it leaves out has the library's default."""
        return self.model_dump(exclude_unset=True, exclude=set(left_out))


class Reason(Body):
    reason: str = Field(description="Why, for the ledger.")


class OptionalReason(Body):
    reason: str = Field("", description="Why, for the ledger.")


class StoredField(Body):
    name: str
    type: Literal["BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "VARCHAR", "JSON"]
    is_primary: bool = False
    max_length: int | None = Field(None, description="Of a VARCHAR.")

    def schema_field(self) -> FieldSchema:
        """Return the field as the vector engine declares it."""
        options: dict[str, Any] = {"max_length": self.max_length} if self.max_length is not None else {}
        return FieldSchema(self.name, DataType[self.type], is_primary=self.is_primary, **options)


class NewEndpoint(Body):
    name: str
    kind: Literal["search", "predict"] = "search"
    metric: Literal["L2", "IP", "COSINE"] | None = Field(None, description="Of a search endpoint; L2 by default.")
    fields: list[StoredField] | None = Field(
        None, description="What a search endpoint stores of a record; by default an INT64 key `id`."
    )
    task: str | None = Field(None, description="Of a predict endpoint: classification or regression.")
    description: str = ""
    environment: str = "production"
    owner: str | None = None


class Policy(Body):
    keep_retired: int | None = Field(None, description="Retired deployments whose vectors are kept; null for all.")
    promote_winners: bool | None = Field(None, description="Whether live tests may promote the winner by themselves.")


class Parquet(Body):
    kind: Literal["parquet"]
    path: str = Field(description="A file or a directory of *.parquet files, below the server's --data-dir.")
    key: str = "id"
    content: str = Field("content", description="The column that goes to the model.")
    columns: list[str] | None = Field(None, description="What is stored; by default every other column.")

    def opened(self, here: Served) -> ParquetSource:
        """Return the source. Raises: InvalidArgument: there is no such file, or it lacks a column."""
        return ParquetSource(here.path_below(self.path), key=self.key, content=self.content, columns=self.columns)


class Collection(Body):
    kind: Literal["collection"]
    collection: str
    content_field: str = Field(description="The field that goes to the model.")
    fields: list[str] | None = Field(None, description="What is stored; by default every field but vectors.")
    filter: str = ""

    def opened(self, here: Served) -> CollectionSource:
        """Return the source. Raises: CollectionNotFound, InvalidArgument: it or its field is not there."""
        return CollectionSource(
            here.workspace.vectors, self.collection, self.content_field, fields=self.fields, filter=self.filter
        )


AnySource = Annotated[Parquet | Collection, Field(discriminator="kind")]


class Configured(Body):
    name: str | None = Field(None, description="By default the model's name and version, as in digits-v1.")
    index: dict[str, Any] | None = Field(None, description="Type and parameters; HNSW by default.")
    search_params: dict[str, Any] | None = None
    delivered_from: str | None = None
    owner: str | None = None

    def configuration(self) -> dict[str, Any]:
        """Return what describes the deployment, as far as it was given."""
        names = set(Configured.model_fields)
        return {name: value for name, value in self.given().items() if name in names}


class Draft(Configured):
    model: str = Field(description="A registered version: digits/2, or digits/champion.")


class Filling(Body):
    batch_size: int = DEFAULT_BATCH_SIZE
    workers: int = 1
    rate_limit: float | None = Field(default=None, description="Records per second.")
    verify: int = Field(default=DEFAULT_VERIFY, description="Records that are read back and embedded again at the end.")


class Deploy(Configured):
    model: str | None = Field(None, description="A registered version: digits/2, or digits/champion.")
    draft: str | None = Field(None, description="Or the name of a draft, which has its configuration already.")
    source: AnySource | None = Field(None, description="The records of a search endpoint.")
    filling: Filling = Filling()
    check: list[Any] | None = Field(None, description="Rows that a predictor has to predict for first.")
    allow_other_classes: bool = Field(False, description="Of a predictor.")


class Resume(Body):
    source: AnySource | None = Field(None, description="By default the one that the job was begun with.")


class ProbationTerms(Body):
    guardrails: list[str] = Field(description='As in "error_rate <= 0.01".')
    minutes: float | None = 60.0
    max_queries: int | None = None


class Promote(Body):
    deployment: str
    reason: str
    evidence: dict[str, Any] | None = None
    expected_version: int | None = Field(None, description="The endpoint's version that the decision rests on.")
    accept_missing: bool = False
    probation: ProbationTerms | None = None


class Rollback(Body):
    to: str | None = Field(None, description="By default the last champion before the present one.")
    reason: str
    evidence: dict[str, Any] | None = None
    expected_version: int | None = None
    accept_missing: bool = False


class Asked(Body):
    limit: int = Field(10, ge=1, le=MAX_LIMIT)
    filter: str = ""
    output_fields: list[str] = []
    search_params: dict[str, Any] = {}
    user: str | None = Field(None, description="Recorded with the query, and what a split is made by.")


class Search(Asked):
    content: Any = Field(description="A text, numbers in lists, or a table's row: what the model embeds.")


class SearchBatch(Asked):
    contents: list[Any] = Field(min_length=1, max_length=MAX_LIMIT)


class Predict(Body):
    rows: list[Any] = Field(max_length=MAX_LIMIT, description="Lists of numbers, texts, or objects.")
    user: str | None = None


class Write(Body):
    records: list[dict[str, Any]] = Field(
        max_length=MAX_LIMIT, description="Each with the endpoint's key, `content`, and what is stored beside it."
    )


class Delete(Body):
    keys: Sequence[int | str] = Field(max_length=MAX_LIMIT)


class Feedback(Body):
    query_id: str
    item: Any = Field(None, description="The result's id; of a prediction's label, the right class or value.")
    gains: dict[str, float] | None = Field(None, description="Instead: the gains of all results that have one.")
    value: float = 1.0
    kind: str | None = Field(None, description="click, conversion, label or rating.")
    event_id: str | None = Field(None, description="The sender's own number: the same number counts once.")
    at: str | float | None = None


class StartTest(Body):
    challengers: list[str] = Field(min_length=1)
    method: Literal["interleave", "balanced", "split", "shadow"] = "interleave"
    alpha: float = 0.05
    max_queries: int | None = None
    seed: int | None = None
    metric: str = "click"
    margin: float | None = None
    weights: float | dict[str, float] | None = None
    ramp: list[tuple[float, float | dict[str, float]]] | None = None
    guardrails: list[str] = []
    deadline: str | None = Field(None, description="ISO 8601.")
    on_win: Literal["nothing", "promote"] = "nothing"
    window_s: float | None = None


class WatchRule(Body):
    metric: str
    comparison: Literal["<", "<=", ">", ">="]
    threshold: float
    for_windows: int = 1
    severity: str = "warning"
    relative_to: Literal["hour", "weekday", "hour_of_week"] | None = None
    n_seasons: int = 4
    name: str = ""


class Watch(Body):
    rules: list[WatchRule] | None = Field(
        None,
        description="All of them. Where none are given they stay as they are; at first they are on errors, empty and "
        "far answers, recall and drift.",
    )
    options: dict[str, Any] = Field({}, description="For example window_s, sample_rate, recall_every_s.")


class RoleGrant(Body):
    principal: str
    role: str
    environment: str | None = Field(None, description="By default every environment.")


class Rule(Body):
    action: str = Field(description="As the ledger names it: promote, rollback, retire, deploy.")
    environment: str | None = None
    n_approvals: int = 1
    by_others: bool = True
    expires_hours: float | None = None


class ApprovalRequest(Body):
    action: str
    subject: str = Field(description="As in image-search/digits-v2.")
    reason: str


class ReviewRequest(Body):
    subject: str
    reason: str
    reviewer: str | None = None


class Decision(Body):
    decision: Literal["approve", "reject", "request_changes"]
    comment: str = ""


class NewComment(Body):
    subject: str
    text: str


class MarkData(Body):
    digest: str
    state: str = Field(description="good, bad or gone.")
    reason: str


class Enable(Body):
    enabled: bool
    reason: str


class CardText(Body):
    sections: dict[str, str] = Field(
        description="intended_use, limitations, ethical_considerations, caveats: what only people know."
    )
