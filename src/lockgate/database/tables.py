"""All our tables, on one page. They stand beside MLflow's in the registry's database.

Times are milliseconds since 1970 in UTC, as MLflow's are; JSON is canonical text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

_NAME = String(256)
_ID = String(32)


def _key() -> Column[int]:
    # SQLite numbers only `INTEGER` keys by itself; AUTOINCREMENT never reuses a number.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


principals = Table(
    "lockgate_principals",
    metadata,
    _key(),
    Column("name", _NAME, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("password_hash", String(256)),
    Column("owner_id", ForeignKey("lockgate_principals.id")),  # of a service account
    Column("person_id", ForeignKey("lockgate_principals.id")),  # the account that this one is a second one beside
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

group_members = Table(
    "lockgate_group_members",
    metadata,
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("group_name", _NAME, nullable=False),
    PrimaryKeyConstraint("principal_id", "group_name"),
)

role_bindings = Table(
    "lockgate_role_bindings",
    metadata,
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("role", String(32), nullable=False),
    Column("pattern", _NAME, nullable=False),
    PrimaryKeyConstraint("principal_id", "role", "pattern"),
)

tokens = Table(
    "lockgate_tokens",
    metadata,
    _key(),
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("use", String(16), nullable=False),  # api, session, sign-in
    Column("parent", String(64)),  # digest of the token that this one ends with
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),  # to the minute or so
    Column("caveats", Text),  # JSON; null: as much as its principal may
    sqlite_autoincrement=True,
)

# Who a principal is to an OpenID provider. Never an e-mail address, which can change hands.
identities = Table(
    "lockgate_identities",
    metadata,
    Column("issuer", _NAME, nullable=False),
    Column("subject", _NAME, nullable=False),
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer", "subject"),
)

# Failed attempts to sign in, by account and by address.
attempts = Table(
    "lockgate_attempts",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256 of what is counted
    Column("failures", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
)

policies = Table(
    "lockgate_policies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("applied_by", _NAME, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
)

# A registered model's identity: kept through a rename, ended by deletion. The creation time tells a model
# from one that was made under its name behind our back.
models = Table(
    "lockgate_models",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("workspace", String(63), nullable=False),
    Column("name", _NAME, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("adopted", Boolean, nullable=False),
    Column("deleted_at", BigInteger),
    Index(
        "lockgate_models_living",
        "workspace",
        "name",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

versions = Table(
    "lockgate_versions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("registrar_id", ForeignKey("lockgate_principals.id")),  # null: registered before Lockgate
    Column("deleted_at", BigInteger),
    Index("lockgate_versions_of_model", "model_id", "number", unique=True),
)

# Who made and changed what stands behind versions, as Lockgate saw it: runs, logged models, artifact folders.
authors = Table(
    "lockgate_authors",
    metadata,
    Column("kind", String(16), nullable=False),
    Column("object", String(500), nullable=False),
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("first_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "object", "principal_id"),
)

requests = Table(
    "lockgate_requests",
    metadata,
    _key(),
    Column("workspace", String(63), nullable=False),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    Column("target", String(300), nullable=False),
    Column("state", String(16), nullable=False),
    Column("requester_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("evidence_digest", String(80), nullable=False),
    Column("gates", Text, nullable=False),  # what they came to when last judged
    Column("incumbent", Integer),
    Column("outcome", Text, nullable=False),
    Index("lockgate_requests_by_state", "state", "expires_at"),
    Index("lockgate_requests_of_model", "model_id", "target", "state"),
    # One request for the same thing, however often it is asked.
    Index(
        "lockgate_requests_live",
        "version_id",
        "target",
        unique=True,
        sqlite_where=text("state IN ('open', 'approved')"),
        postgresql_where=text("state IN ('open', 'approved')"),
    ),
    sqlite_autoincrement=True,
)

reviews = Table(
    "lockgate_reviews",
    metadata,
    _key(),
    Column("request_id", ForeignKey("lockgate_requests.id"), nullable=False, index=True),
    Column("reviewer_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    Column("evidence_digest", String(80), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("dismissed", Text),  # what changed in the evidence, so that the approval is void
    Column("lifted_at", BigInteger),  # of a rejection
    Column("lifted_by_id", ForeignKey("lockgate_principals.id")),
    sqlite_autoincrement=True,
)

# Who was asked to review, or to review again.
review_requests = Table(
    "lockgate_review_requests",
    metadata,
    Column("request_id", ForeignKey("lockgate_requests.id"), nullable=False),
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("asked_by_id", ForeignKey("lockgate_principals.id")),  # null: Lockgate, when evidence changed
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("request_id", "principal_id"),
)

checks = Table(
    "lockgate_checks",
    metadata,
    _key(),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("status", String(16), nullable=False),
    Column("summary", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("evidence_digest", String(80), nullable=False, server_default=""),  # of what was checked
    Column("reporter_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("lockgate_checks_of_version", "version_id", "name"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "lockgate_decisions",
    metadata,
    _key(),
    Column("kind", String(16), nullable=False),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False),
    Column("target", String(300), nullable=False),
    Column("version_id", ForeignKey("lockgate_versions.id")),  # null: the target was cleared
    Column("previous_version_id", ForeignKey("lockgate_versions.id")),
    Column("request_id", ForeignKey("lockgate_requests.id"), index=True),
    Column("policy_version", Integer, nullable=False),
    Column("evidence_digest", String(80), nullable=False),
    Column("by_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Who held each target, from when to when. The database's own triggers write it: see `database/guard`.
holders = Table(
    "lockgate_holders",
    metadata,
    _key(),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False),
    Column("target", String(300), nullable=False),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("decision_id", ForeignKey("lockgate_decisions.id")),  # null: no rule protected the target
    Column("by_id", ForeignKey("lockgate_principals.id")),  # null: moved before Lockgate, or behind its back
    Column("behind", Boolean, nullable=False, server_default=false()),  # moved past the server, seen by the database
    Index("lockgate_holders_of_target", "model_id", "target", "id"),
    # What decisions bring somewhere is there alone, whatever else goes wrong.
    Index(
        "lockgate_holders_sole",
        "model_id",
        "target",
        unique=True,
        sqlite_where=text("until IS NULL AND decision_id IS NOT NULL"),
        postgresql_where=text("until IS NULL AND decision_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# The targets that the policy in force protects, for the triggers to know them.
protected = Table("lockgate_protected", metadata, Column("target", String(300), primary_key=True))

# What is about to move, and by whose decision: written right before the move, in its transaction, and used up by the
# triggers.
grants = Table(
    "lockgate_grants",
    metadata,
    _key(),
    Column("xact", String(32)),  # PostgreSQL's number of the transaction that wrote it; no other one can use it
    Column("change", String(8), nullable=False),  # gain, loss
    Column("model_id", _ID, nullable=False, index=True),
    Column("version_id", _ID, nullable=False),
    Column("target", String(300), nullable=False),
    Column("decision_id", BigInteger),  # null: no rule protects the target
    Column("evidence_digest", String(80), nullable=False),
    Column("by_id", BigInteger),
    Column("at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Versions that may not be promoted until somebody lifts it.
holds = Table(
    "lockgate_holds",
    metadata,
    _key(),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False, index=True),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    Column("target", String(300)),  # null: every target
    Column("reason", Text, nullable=False),
    Column("by_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("decision_id", ForeignKey("lockgate_decisions.id")),  # the rollback that it came with
    Column("lifted_at", BigInteger),
    Column("lifted_by_id", ForeignKey("lockgate_principals.id")),
    Column("lift_comment", Text, nullable=False),
    sqlite_autoincrement=True,
)

# One-off freeze windows, beside the weekly ones of the policy.
freezes = Table(
    "lockgate_freezes",
    metadata,
    _key(),
    Column("workspace", String(63), nullable=False),
    Column("pattern", _NAME, nullable=False),
    Column("target", String(300)),  # null: all protected targets
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("by_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("lifted_at", BigInteger),
    Column("lifted_by_id", ForeignKey("lockgate_principals.id")),
    sqlite_autoincrement=True,
)

# Emergencies: what was moved past the gate, and the review that must follow.
break_glass = Table(
    "lockgate_break_glass",
    metadata,
    _key(),
    Column("decision_id", ForeignKey("lockgate_decisions.id"), nullable=False),
    Column("model_id", ForeignKey("lockgate_models.id"), nullable=False, index=True),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    Column("target", String(300), nullable=False),
    Column("by_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ticket", String(300), nullable=False),
    Column("unmet", Text, nullable=False),  # what was missing at the moment
    Column("evidence", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("review_by", BigInteger, nullable=False),
    Column("reviewed_at", BigInteger),
    Column("reviewer_id", ForeignKey("lockgate_principals.id")),
    Column("verdict", String(16)),
    Column("comment", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Policies that would weaken the one in force, until enough people agree.
policy_changes = Table(
    "lockgate_policy_changes",
    metadata,
    _key(),
    Column("source", Text, nullable=False),
    Column("base_version", Integer, nullable=False),
    Column("weakens", Text, nullable=False),
    Column("proposer_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    sqlite_autoincrement=True,
)

policy_approvals = Table(
    "lockgate_policy_approvals",
    metadata,
    Column("change_id", ForeignKey("lockgate_policy_changes.id"), nullable=False),
    Column("principal_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("change_id", "principal_id"),
)

# Where the files of approved versions are: nothing is written there while the approval stands.
seals = Table(
    "lockgate_seals",
    metadata,
    Column("place", String(500), nullable=False),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False),
    PrimaryKeyConstraint("place", "version_id"),
)

# What is known of the files at a place where versions keep theirs, and how far hashing them is.
places = Table(
    "lockgate_places",
    metadata,
    Column("place", String(64), primary_key=True),  # SHA-256 of the location
    Column("location", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of what the storage says of the files, without reading them
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("bytes_done", BigInteger, nullable=False),
    Column("bytes_total", BigInteger, nullable=False),
    Column("claimed_until", BigInteger),
    Column("hashed_at", BigInteger),
    Index("lockgate_places_waiting", "state", "claimed_until"),
)

# Comments on versions, apart from any request.
comments = Table(
    "lockgate_comments",
    metadata,
    _key(),
    Column("version_id", ForeignKey("lockgate_versions.id"), nullable=False, index=True),
    Column("author_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("edited_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# The hash chain of all that was done and refused. Numbers have no gaps, and each entry names the hash of the one before
# it: two can't follow the same one.
audit = Table(
    "lockgate_audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor_id", ForeignKey("lockgate_principals.id")),
    Column("actor", _NAME, nullable=False),
    Column("address", String(100), nullable=False),
    Column("action", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("model_id", _ID),
    Column("model", _NAME),
    Column("version", Integer),
    Column("target", String(300)),
    Column("request_id", BigInteger),
    Column("decision_id", BigInteger),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("lockgate_audit_of_model", "model_id", "id"),
    Index("lockgate_audit_chain", "previous", unique=True),
    CheckConstraint("id > 0", name="lockgate_audit_from_one"),
)

# The last entry of the chain, in one row: who locks it writes next.
chain_head = Table(
    "lockgate_chain_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("log_id", _ID, nullable=False),  # of this database's log, as checkpoints name it
    CheckConstraint("id = 1", name="lockgate_chain_head_is_one"),
)

# What checkpoints and bundles are signed with; the private half is encrypted with LOCKGATE_SECRET_KEY.
signing_keys = Table(
    "lockgate_signing_keys",
    metadata,
    Column("key_id", String(64), primary_key=True),  # SHA-256 of the public key in DER
    Column("private_key", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Places outside the database that keep checkpoints, and up to which entry they have them.
witnesses = Table(
    "lockgate_witnesses",
    metadata,
    Column("witness", String(64), primary_key=True),  # SHA-256 of its URI
    Column("number", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("claimed_until", BigInteger, nullable=False),
    Column("trouble", Text, nullable=False),  # how it contradicted the log, or was out of reach, when asked last
)

# The outbox: events to be delivered.
events = Table(
    "lockgate_events",
    metadata,
    _key(),
    Column("audit_id", ForeignKey("lockgate_audit.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("model", _NAME),
    Column("data", Text, nullable=False),
    sqlite_autoincrement=True,
)

# Who is told of events. MLflow's own webhooks stand in MLflow's tables.
webhooks = Table(
    "lockgate_webhooks",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("workspace", String(63), nullable=False),
    Column("dialect", String(64), nullable=False),
    Column("description", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON: their names in the dialect
    Column("models", _NAME, nullable=False),  # a pattern
    Column("status", String(16), nullable=False),  # active, disabled, failed, test
    Column("reason", Text, nullable=False),  # why it failed
    Column("told_since", BigInteger, nullable=False),  # of what happened before, it is told nothing
    Column("failing_since", BigInteger),
    Column("verify_certificate", Boolean, nullable=False),
    Column("secret", Text, nullable=False),  # JSON, encrypted with LOCKGATE_SECRET_KEY
    Column("created_by_id", ForeignKey("lockgate_principals.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# What is told in order: the deliveries of a webhook that are about one model. Whoever claims one delivers for it.
lanes = Table(
    "lockgate_lanes",
    metadata,
    Column("webhook_id", _NAME, nullable=False),
    Column("model", _NAME, nullable=False),
    Column("due_at", BigInteger),  # null: nothing waits, or its webhook gets nothing now
    Column("claimed_until", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),  # counts the claims
    PrimaryKeyConstraint("webhook_id", "model"),
    Index("lockgate_lanes_due", "due_at"),
)

# One event under one name to one webhook.
deliveries = Table(
    "lockgate_deliveries",
    metadata,
    _key(),
    Column("webhook_id", _NAME, nullable=False),
    Column("model", _NAME, nullable=False),
    Column("event_id", ForeignKey("lockgate_events.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # waiting, delivered, parked
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    UniqueConstraint("webhook_id", "event_id", "name", name="lockgate_deliveries_once"),
    Index("lockgate_deliveries_waiting", "webhook_id", "model", "state", "id"),
    Index("lockgate_deliveries_finished", "finished_at"),
    sqlite_autoincrement=True,
)

delivery_attempts = Table(
    "lockgate_delivery_attempts",
    metadata,
    _key(),
    Column("delivery_id", ForeignKey("lockgate_deliveries.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("status", Integer),  # of the answer, if there was one
    Column("error", Text, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    sqlite_autoincrement=True,
)

# What dialects remember of what receivers answered: the key of a request's issue, say.
remembered = Table(
    "lockgate_remembered",
    metadata,
    Column("webhook_id", _ID, nullable=False),
    Column("subject", String(64), nullable=False),
    Column("learnt", String(256), nullable=False),
    PrimaryKeyConstraint("webhook_id", "subject"),
)

# One row: up to which event deliveries have been made of the outbox.
outbox = Table(
    "lockgate_outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="lockgate_outbox_is_one"),
)

# Calls that named themselves by an `Idempotency-Key`, and how they were answered; forgotten after a day.
calls = Table(
    "lockgate_calls",
    metadata,
    Column("key", String(64), primary_key=True),  # SHA-256 of the principal and the key
    Column("call", String(64), nullable=False),  # SHA-256 of what was called
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # encrypted with the key, which nothing here tells
    Column("at", BigInteger, nullable=False, index=True),
)

# One row: the oldest schema whose servers may still write. See `writers`.
writers = Table(
    "lockgate_writers",
    metadata,
    Column("minimum", Integer, primary_key=True, autoincrement=False),
)
