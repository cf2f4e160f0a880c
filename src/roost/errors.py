"""Every error that Roost raises, with its stable name and its Milvus code.

There is one root, `RoostError`. It is a `pymilvus.MilvusException`, so code that catches Milvus's
errors catches these, and `error.code` is the number that a Milvus server would have sent. `error.name`
is a stable word for programs to match. Where pymilvus has a class of its own for a mistake that its
client finds, the error is an instance of that class too.
"""

from __future__ import annotations

from typing import ClassVar

from pymilvus import exceptions as milvus


class RoostError(milvus.MilvusException):
    """Root of all errors raised by Roost."""

    name: ClassVar[str] = "unexpected"
    milvus_code: ClassVar[int] = 65535
    of_model: bool = False
    """Whether a model that answers traffic raised it, so that the arguments of the call are not at fault."""

    def __init__(self, message: str) -> None:
        super().__init__(code=self.milvus_code, message=message)

    def __reduce__(self) -> tuple[type[RoostError], tuple[str]]:
        return type(self), (self.message,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"


# What the caller passed is wrong.


class InvalidArgument(RoostError, milvus.ParamError):
    """An argument has a value that is not allowed."""

    name = "invalid_argument"
    milvus_code = 1100


class InvalidArgumentType(InvalidArgument, TypeError):
    """An argument has a type that is not allowed."""

    name = "invalid_argument_type"


class InvalidConsistencyLevel(InvalidArgument, milvus.InvalidConsistencyLevel):
    """A consistency level is not one of Milvus's."""

    name = "invalid_consistency_level"


class InvalidData(RoostError, milvus.DataNotMatchException, milvus.ParamError):
    """A row does not fit the schema: a missing, unknown, over-long or wrongly typed value."""

    name = "invalid_data"
    milvus_code = 1100


class DimensionMismatch(InvalidData):
    """A vector has another length than the field's dimension."""

    name = "dimension_mismatch"


class NotFinite(InvalidData):
    """A vector or a number holds NaN or infinity."""

    name = "not_finite"


class DuplicateKey(InvalidData):
    """A batch holds the same primary key twice."""

    name = "duplicate_key"


class InvalidSchema(
    RoostError, milvus.SchemaNotReadyException, milvus.PrimaryKeyException, milvus.PartitionKeyException
):
    """A collection's schema is not valid."""

    name = "invalid_schema"
    milvus_code = 1100


class InvalidName(InvalidArgument):
    """A name is empty, too long, or holds characters that are not allowed."""

    name = "invalid_name"


class InvalidFieldName(InvalidName):
    """A field's name is empty, too long, reserved, or holds characters that are not allowed."""

    name = "invalid_field_name"
    milvus_code = 1701


class InvalidDatabaseName(InvalidName):
    """A database's name is empty, too long, or holds characters that are not allowed."""

    name = "invalid_database_name"
    milvus_code = 802


class InvalidFilter(RoostError, milvus.ParamError, milvus.DataTypeNotMatchException):
    """A filter expression does not parse or does not fit the schema."""

    name = "invalid_filter"
    milvus_code = 1100


class FieldNotFound(RoostError):
    """A field of that name is not in the schema."""

    name = "field_not_found"
    milvus_code = 1700


# What was named is not there, or is there already.


class CollectionNotFound(RoostError, milvus.DescribeCollectionException):
    """No collection or alias of that name exists in the database."""

    name = "collection_not_found"
    milvus_code = 100


class CollectionNotLoaded(RoostError):
    """The collection was released, or never loaded."""

    name = "collection_not_loaded"
    milvus_code = 101


class CollectionExists(RoostError):
    """A collection of that name exists with another schema."""

    name = "collection_exists"
    milvus_code = 65535


class PartitionNotFound(RoostError):
    """No partition of that name exists in the collection."""

    name = "partition_not_found"
    milvus_code = 200


class DatabaseNotFound(RoostError):
    """No database of that name exists."""

    name = "database_not_found"
    milvus_code = 800


class DatabaseExists(RoostError):
    """A database of that name exists already."""

    name = "database_exists"
    milvus_code = 65535


class IndexNotFound(RoostError):
    """The field has no index of that name."""

    name = "index_not_found"
    milvus_code = 700


class IndexExists(RoostError):
    """The field has an index with other parameters."""

    name = "index_exists"
    milvus_code = 65535


class AliasNotFound(RoostError):
    """No alias of that name exists in the database."""

    name = "alias_not_found"
    milvus_code = 1600


class AliasExists(RoostError):
    """The alias is taken by another collection, or by a collection's own name."""

    name = "alias_exists"
    milvus_code = 1602


# The engine cannot do it now, or not at all.


class NotSupported(RoostError):
    """The method or the option is part of Milvus and is not in the embedded engine yet."""

    name = "not_supported"
    milvus_code = 1100


class MissingDependency(RoostError):
    """An optional library is not installed; the message names the extra that installs it."""

    name = "missing_dependency"


class DatabaseLocked(RoostError):
    """Another process has the database open for writing; the message names it."""

    name = "database_locked"


class ReadOnly(RoostError):
    """The database is open for reading only."""

    name = "read_only"


class Closed(RoostError, milvus.ConnectionNotExistException):
    """The client or the database was closed."""

    name = "closed"
    milvus_code = 1


class Corruption(RoostError):
    """A file of the database is damaged; the message names it."""

    name = "corruption"


class StorageFull(RoostError):
    """The disk or the file system refused to store more; nothing of the call was written."""

    name = "storage_full"


class MemoryLimitExceeded(RoostError):
    """What was asked for does not fit into memory; the message says what it needs, what there is, and what to do."""

    name = "memory_limit_exceeded"
    milvus_code = 3


class StorageFailure(RoostError):
    """The operating system reported an input or output error; nothing of the call was written."""

    name = "storage_failure"


class LoadConflict(RoostError):
    """A bulk load cannot go on: its source has changed, its collection was emptied, or another call carries it on."""

    name = "load_conflict"
    milvus_code = 2100


class Timeout(RoostError):
    """The call's `timeout` passed before the work was done; the work goes on in the background."""

    name = "timeout"


# The life of a model.


class WorkspaceError(RoostError):
    """Something in the life of a model is not possible as asked."""

    name = "workspace"


class NotFound(WorkspaceError):
    """Nothing of that name or number exists in the workspace."""

    name = "not_found"


class ModelNotFound(NotFound):
    """No registered model, version or alias of that name exists."""

    name = "model_not_found"


class EndpointNotFound(NotFound):
    """No endpoint of that name exists in the workspace."""

    name = "endpoint_not_found"


class DeploymentNotFound(NotFound):
    """No deployment of that name exists on the endpoint."""

    name = "deployment_not_found"


class LiveTestNotFound(NotFound):
    """The endpoint has no live test, or none of that number."""

    name = "live_test_not_found"


class MonitorNotFound(NotFound):
    """The endpoint is not watched."""

    name = "monitor_not_found"


class PlanNotFound(NotFound):
    """No plan of retraining of that name exists."""

    name = "plan_not_found"


class JobNotFound(NotFound):
    """No job of that number exists."""

    name = "job_not_found"


class RequestNotFound(NotFound):
    """No request for an approval or a review has that number."""

    name = "request_not_found"


class SubjectNotFound(NotFound):
    """There is neither a model nor an endpoint of the name that was spoken of."""

    name = "subject_not_found"


class RoleNotFound(NotFound):
    """Somebody does not have the role in that environment."""

    name = "role_not_found"


class DataNotFound(NotFound):
    """No version of data of that name or digest is known."""

    name = "data_not_found"


class AnswerNotFound(NotFound):
    """No answer of that query id was recorded, or it was forgotten by now."""

    name = "answer_not_found"


class AlreadyExists(WorkspaceError):
    """An endpoint, a deployment or a test of that name exists already."""

    name = "already_exists"


class InvalidTransition(WorkspaceError):
    """The state of a deployment or of a test does not allow the step."""

    name = "invalid_transition"


class FingerprintMismatch(WorkspaceError):
    """Vectors of one model were about to be mixed with vectors of another."""

    name = "fingerprint_mismatch"


class UnsafeModel(WorkspaceError):
    """A stored model holds types that are not on the allow-list."""

    name = "unsafe_model"


class LedgerBroken(WorkspaceError):
    """A row of the ledger was altered, removed or reordered."""

    name = "ledger_broken"


class Conflict(WorkspaceError):
    """Another actor changed the same endpoint first."""

    name = "conflict"


class PermissionDenied(WorkspaceError):
    """The actor's roles do not allow the step."""

    name = "permission_denied"


class ApprovalRequired(WorkspaceError):
    """The step needs the approval of somebody else first; the message says how to ask for it."""

    name = "approval_required"


class JobStopped(WorkspaceError):
    """Somebody paused or cancelled the job; the message says who, and what can be done."""

    name = "job_stopped"


class GateFailed(WorkspaceError):
    """A check that was required before the step was not passed; the message says which, and by how much."""

    name = "gate_failed"


class ModelUnavailable(WorkspaceError):
    """The service behind a model did not answer, refused, or answered what is no answer."""

    name = "model_unavailable"
