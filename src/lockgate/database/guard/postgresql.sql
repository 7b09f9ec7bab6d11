-- The guard on PostgreSQL: no pointer that the policy protects moves without a grant, and every move is in the history.
--
-- @schema@ stands for the schema of MLflow's tables and ours. Everything is named with it, and nothing is looked up on a
-- search path: a temporary table called `lockgate_grants` is nobody's grant.
--
-- Triggers run after the row has changed, so that they see what no other trigger can change any more.

-- What is so

CREATE FUNCTION @schema@.lockgate_is_protected(of_target text) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (SELECT FROM @schema@.lockgate_protected AS p WHERE p.target = of_target)
$guard$;

CREATE FUNCTION @schema@.lockgate_has_protected_alias(of_workspace text, of_name text, of_version integer)
RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.registered_model_aliases AS a
        JOIN @schema@.lockgate_protected AS p ON p.target = 'alias:' || a.alias
        WHERE a.workspace = of_workspace AND a.name = of_name AND a.version = of_version
    )
$guard$;

CREATE FUNCTION @schema@.lockgate_holds_protected(of_workspace text, of_name text) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.registered_model_aliases AS a
        JOIN @schema@.lockgate_protected AS p ON p.target = 'alias:' || a.alias
        WHERE a.workspace = of_workspace AND a.name = of_name
    ) OR EXISTS (
        SELECT FROM @schema@.model_versions AS v
        JOIN @schema@.lockgate_protected AS p ON p.target = 'stage:' || v.current_stage
        WHERE v.workspace = of_workspace AND v.name = of_name
    )
$guard$;

-- Whether somebody has decided about what the version is: it was approved, or a decision brought it somewhere.
CREATE FUNCTION @schema@.lockgate_is_decided(of_workspace text, of_name text, of_version integer) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.lockgate_models AS m
        JOIN @schema@.lockgate_versions AS v ON v.model_id = m.id AND v.number = of_version
        WHERE m.workspace = of_workspace AND m.name = of_name AND m.deleted_at IS NULL
          AND (EXISTS (SELECT FROM @schema@.lockgate_requests AS r
                       WHERE r.version_id = v.id AND r.state IN ('approved', 'promoted'))
            OR EXISTS (SELECT FROM @schema@.lockgate_holders AS h
                       WHERE h.version_id = v.id AND h.decision_id IS NOT NULL))
    )
$guard$;

CREATE FUNCTION @schema@.lockgate_is_there(of_model text, of_version text, of_target text) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.lockgate_models AS m
        JOIN @schema@.lockgate_versions AS v ON v.model_id = m.id AND v.id = of_version
        WHERE m.id = of_model AND m.deleted_at IS NULL
          AND (EXISTS (SELECT FROM @schema@.model_versions AS s
                       WHERE s.workspace = m.workspace AND s.name = m.name AND s.version = v.number
                         AND 'stage:' || s.current_stage = of_target)
            OR EXISTS (SELECT FROM @schema@.registered_model_aliases AS a
                       WHERE a.workspace = m.workspace AND a.name = m.name AND a.version = v.number
                         AND 'alias:' || a.alias = of_target))
    )
$guard$;

CREATE FUNCTION @schema@.lockgate_clock() RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)
$guard$;

-- Whether a row that is seen was written by the transaction that runs, within a savepoint or not: what others write is
-- seen only when they have ended. Numbers of transactions go round after 2^32; those that run are near each other.
CREATE FUNCTION @schema@.lockgate_is_of_now(written_by xid) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT pg_xact_status((CASE
        WHEN near - mine > 2147483648 THEN near - 4294967296
        WHEN mine - near > 2147483648 THEN near + 4294967296
        ELSE near END)::text::xid8) = 'in progress'
    FROM (SELECT mine, mine - mod(mine, 4294967296) + written_by::text::numeric AS near
          FROM (SELECT pg_current_xact_id()::text::numeric AS mine) AS t) AS n
$guard$;

-- A version comes to a target

-- Whether a grant for this rests on a decision of the same transaction about exactly this, not used before.
CREATE FUNCTION @schema@.lockgate_allows_gain(given @schema@.lockgate_grants) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.lockgate_decisions AS d
        WHERE d.id = given.decision_id
          AND @schema@.lockgate_is_of_now(d.xmin)
          AND d.model_id = given.model_id AND d.version_id = given.version_id AND d.target = given.target
          AND d.evidence_digest = given.evidence_digest
          AND NOT EXISTS (SELECT FROM @schema@.lockgate_holders AS h WHERE h.decision_id = d.id)
          AND (d.kind <> 'promotion' OR EXISTS (
              SELECT FROM @schema@.lockgate_requests AS r
              WHERE r.id = d.request_id AND r.state IN ('open', 'approved')
                AND r.version_id = d.version_id AND r.target = d.target AND r.evidence_digest = d.evidence_digest))
    )
$guard$;

CREATE FUNCTION @schema@.lockgate_gain(of_workspace text, of_name text, of_version integer, of_target text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $guard$
DECLARE
    of_model text;
    held text;
    given @schema@.lockgate_grants;
BEGIN
    -- A model that was made under a known name behind Lockgate's back is another one; it is adopted later.
    SELECT m.id INTO of_model FROM @schema@.lockgate_models AS m
    JOIN @schema@.registered_models AS r
      ON r.workspace = m.workspace AND r.name = m.name AND coalesce(r.creation_time, 0) = m.created_at
    WHERE m.workspace = of_workspace AND m.name = of_name AND m.deleted_at IS NULL;
    SELECT v.id INTO held FROM @schema@.lockgate_versions AS v WHERE v.model_id = of_model AND v.number = of_version;
    DELETE FROM @schema@.lockgate_grants AS g
    WHERE g.xact = pg_current_xact_id()::text AND g.change = 'gain'
      AND g.model_id = of_model AND g.version_id = held AND g.target = of_target
    RETURNING g.* INTO given;
    IF @schema@.lockgate_is_protected(of_target) AND NOT @schema@.lockgate_allows_gain(given) THEN
        RAISE check_violation USING MESSAGE = format(
            'Lockgate protects %s: version %s of ''%s'' comes there only by an approved promotion request. Ask for one '
            'with `lockgate request`, or call the Lockgate server instead of this database.',
            of_target, of_version, of_name);
    END IF;
    IF of_model IS NULL THEN
        RETURN;
    END IF;
    IF held IS NULL THEN
        INSERT INTO @schema@.lockgate_versions (id, model_id, number, created_at)
        SELECT replace(gen_random_uuid()::text, '-', ''), of_model, s.version, coalesce(s.creation_time, 0)
        FROM @schema@.model_versions AS s
        WHERE s.workspace = of_workspace AND s.name = of_name AND s.version = of_version
        ON CONFLICT DO NOTHING;
        SELECT v.id INTO held FROM @schema@.lockgate_versions AS v
        WHERE v.model_id = of_model AND v.number = of_version;
    END IF;
    IF held IS NOT NULL THEN
        INSERT INTO @schema@.lockgate_holders (model_id, target, version_id, since, decision_id, by_id, behind)
        SELECT of_model, of_target, held, coalesce(given.at, @schema@.lockgate_clock()),
               given.decision_id, given.by_id, given.id IS NULL
        WHERE NOT EXISTS (SELECT FROM @schema@.lockgate_holders AS h
                          WHERE h.model_id = of_model AND h.target = of_target AND h.version_id = held
                            AND h.until IS NULL);
    END IF;
END
$guard$;

-- A version goes from a target

CREATE FUNCTION @schema@.lockgate_lose(of_workspace text, of_name text, of_version integer, of_target text)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $guard$
DECLARE
    of_model text;
    held text;
    given @schema@.lockgate_grants;
BEGIN
    SELECT m.id INTO of_model FROM @schema@.lockgate_models AS m
    WHERE m.workspace = of_workspace AND m.name = of_name AND m.deleted_at IS NULL;
    SELECT v.id INTO held FROM @schema@.lockgate_versions AS v WHERE v.model_id = of_model AND v.number = of_version;
    DELETE FROM @schema@.lockgate_grants AS g
    WHERE g.xact = pg_current_xact_id()::text AND g.change = 'loss'
      AND g.model_id = of_model AND g.version_id = held AND g.target = of_target
    RETURNING g.* INTO given;
    IF @schema@.lockgate_is_protected(of_target) AND NOT EXISTS (
        SELECT FROM @schema@.lockgate_decisions AS d
        WHERE d.id = given.decision_id AND d.model_id = of_model AND @schema@.lockgate_is_of_now(d.xmin)
    ) THEN
        RAISE check_violation USING MESSAGE = format(
            'Lockgate protects %s: version %s of ''%s'' holds it and can''t be taken out of it here. Promote another '
            'version in its place (`lockgate request`), roll back (`lockgate rollback`), or call the Lockgate server '
            'instead of this database.',
            of_target, of_version, of_name);
    END IF;
    UPDATE @schema@.lockgate_holders AS h SET until = coalesce(given.at, @schema@.lockgate_clock())
    WHERE h.model_id = of_model AND h.version_id = held AND h.target = of_target AND h.until IS NULL;
END
$guard$;

-- MLflow's tables

CREATE FUNCTION @schema@.lockgate_guard_versions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
DECLARE
    was text;
    became text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was := OLD.current_stage;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        became := NEW.current_stage;
    END IF;
    IF TG_OP = 'INSERT' AND became IS NULL
       OR became IS DISTINCT FROM was
          AND became NOT IN ('None', 'Staging', 'Production', 'Archived', 'Deleted_Internal')
       OR TG_OP = 'UPDATE' AND became IS NULL AND was IS NOT NULL THEN
        RAISE check_violation USING MESSAGE = format(
            '%L is no stage of MLflow''s. The stages are None, Staging, Production and Archived, written so.', became);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF was = 'Deleted_Internal' AND became <> was THEN
            RAISE check_violation USING MESSAGE = format(
                'Version %s of ''%s'' was deleted and stays so. Register a new version instead.', OLD.version, OLD.name);
        END IF;
        IF NEW.version <> OLD.version
           OR (NEW.workspace, NEW.name) IS DISTINCT FROM (OLD.workspace, OLD.name) AND EXISTS (
               SELECT FROM @schema@.registered_models AS r WHERE r.workspace = OLD.workspace AND r.name = OLD.name) THEN
            RAISE check_violation USING MESSAGE = format(
                'Version %s of ''%s'' can''t become another one: approvals are about versions by their model and '
                'number. Register a new version instead.', OLD.version, OLD.name);
        END IF;
        IF became IS DISTINCT FROM 'Deleted_Internal'
           AND (NEW.source, NEW.storage_location, NEW.run_id)
               IS DISTINCT FROM (OLD.source, OLD.storage_location, OLD.run_id)
           AND (@schema@.lockgate_is_protected('stage:' || was)
                OR @schema@.lockgate_has_protected_alias(OLD.workspace, OLD.name, OLD.version)
                OR @schema@.lockgate_is_decided(NEW.workspace, NEW.name, NEW.version)) THEN
            RAISE check_violation USING MESSAGE = format(
                'Version %s of ''%s'' was approved as it is: its source, storage location and run can''t change. '
                'Register a new version instead.', OLD.version, OLD.name);
        END IF;
    END IF;
    -- With its row, what a protected alias points to would go, or come.
    IF (TG_OP = 'DELETE' OR became = 'Deleted_Internal' AND became IS DISTINCT FROM was)
       AND @schema@.lockgate_has_protected_alias(OLD.workspace, OLD.name, OLD.version)
       OR TG_OP = 'INSERT' AND @schema@.lockgate_has_protected_alias(NEW.workspace, NEW.name, NEW.version) THEN
        RAISE check_violation USING MESSAGE = format(
            'Version %s of ''%s'' holds an alias that Lockgate protects. Promote another version in its place first '
            '(`lockgate request`).', coalesce(OLD.version, NEW.version), coalesce(OLD.name, NEW.name));
    END IF;
    IF became IS DISTINCT FROM was THEN
        IF was IN ('Staging', 'Production') THEN
            PERFORM @schema@.lockgate_lose(OLD.workspace, OLD.name, OLD.version, 'stage:' || was);
        END IF;
        IF became IN ('Staging', 'Production') THEN
            PERFORM @schema@.lockgate_gain(NEW.workspace, NEW.name, NEW.version, 'stage:' || became);
        END IF;
    END IF;
    RETURN NULL;
END
$guard$;

CREATE FUNCTION @schema@.lockgate_guard_aliases() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.alias, NEW.version) = (OLD.alias, OLD.version) AND (
            (NEW.workspace, NEW.name) = (OLD.workspace, OLD.name)
            -- Its model was renamed, and it goes along.
            OR NOT EXISTS (SELECT FROM @schema@.registered_models AS r
                           WHERE r.workspace = OLD.workspace AND r.name = OLD.name)
        ) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM @schema@.lockgate_lose(OLD.workspace, OLD.name, OLD.version, 'alias:' || OLD.alias);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM @schema@.lockgate_gain(NEW.workspace, NEW.name, NEW.version, 'alias:' || NEW.alias);
    END IF;
    RETURN NULL;
END
$guard$;

CREATE FUNCTION @schema@.lockgate_guard_models() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.workspace, NEW.name, NEW.creation_time)
           IS NOT DISTINCT FROM (OLD.workspace, OLD.name, OLD.creation_time) THEN
            RETURN NULL;
        END IF;
        -- By now what hangs on it may have followed to the new name.
        IF @schema@.lockgate_holds_protected(NEW.workspace, NEW.name) THEN
            RAISE check_violation USING MESSAGE = format(
                '''%s'' holds a target that Lockgate protects, so it can''t be renamed, moved or made another model. '
                'Let somebody with the role releaser clear the target first.', OLD.name);
        END IF;
    END IF;
    IF @schema@.lockgate_holds_protected(OLD.workspace, OLD.name) THEN
        RAISE check_violation USING MESSAGE = format(
            '''%s'' holds a target that Lockgate protects, so it can''t be renamed, moved or deleted. Let somebody '
            'with the role releaser clear the target first.', OLD.name);
    END IF;
    RETURN NULL;
END
$guard$;

CREATE FUNCTION @schema@.lockgate_guard_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    RAISE check_violation USING MESSAGE = format(
        'Lockgate keeps ''%s'' from being emptied at once: what targets hold could not be followed. Delete rows one by '
        'one, or remove the guard first (`lockgate doctor --remove-guard`).', TG_TABLE_NAME);
END
$guard$;

-- The history can only say what MLflow's tables say: whoever writes to it, a time in office begins when a target holds
-- the version, ends when it does no more, and nothing else about it changes.

CREATE FUNCTION @schema@.lockgate_guard_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
DECLARE
    ended @schema@.lockgate_holders;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.until IS NULL
           AND @schema@.lockgate_is_there(NEW.model_id, NEW.version_id, NEW.target)
           AND NOT EXISTS (SELECT FROM @schema@.lockgate_holders AS h
                           WHERE h.model_id = NEW.model_id AND h.version_id = NEW.version_id
                             AND h.target = NEW.target AND h.until IS NULL) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        ended := OLD;
        ended.until := NEW.until;
        IF OLD.until IS NULL AND NEW.until IS NOT NULL AND NEW IS NOT DISTINCT FROM ended
           AND NOT @schema@.lockgate_is_there(OLD.model_id, OLD.version_id, OLD.target) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE check_violation USING MESSAGE =
        'The history of who held each target is kept by the database itself and can''t be written or rewritten.';
END
$guard$;

CREATE TRIGGER lockgate_guard_versions AFTER INSERT OR UPDATE OR DELETE ON @schema@.model_versions
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_versions();
CREATE TRIGGER lockgate_guard_aliases AFTER INSERT OR UPDATE OR DELETE ON @schema@.registered_model_aliases
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_aliases();
CREATE TRIGGER lockgate_guard_models AFTER UPDATE OR DELETE ON @schema@.registered_models
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_models();
CREATE TRIGGER lockgate_guard_history BEFORE INSERT OR UPDATE OR DELETE ON @schema@.lockgate_holders
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_history();

CREATE TRIGGER lockgate_guard_versions_truncation BEFORE TRUNCATE ON @schema@.model_versions
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_truncation();
CREATE TRIGGER lockgate_guard_aliases_truncation BEFORE TRUNCATE ON @schema@.registered_model_aliases
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_truncation();
CREATE TRIGGER lockgate_guard_models_truncation BEFORE TRUNCATE ON @schema@.registered_models
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_truncation();
CREATE TRIGGER lockgate_guard_history_truncation BEFORE TRUNCATE ON @schema@.lockgate_holders
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_truncation();

-- Also in a session that says it only replays what happened elsewhere (session_replication_role = replica).
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_versions;
ALTER TABLE @schema@.registered_model_aliases ENABLE ALWAYS TRIGGER lockgate_guard_aliases;
ALTER TABLE @schema@.registered_models ENABLE ALWAYS TRIGGER lockgate_guard_models;
ALTER TABLE @schema@.lockgate_holders ENABLE ALWAYS TRIGGER lockgate_guard_history;
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_versions_truncation;
ALTER TABLE @schema@.registered_model_aliases ENABLE ALWAYS TRIGGER lockgate_guard_aliases_truncation;
ALTER TABLE @schema@.registered_models ENABLE ALWAYS TRIGGER lockgate_guard_models_truncation;
ALTER TABLE @schema@.lockgate_holders ENABLE ALWAYS TRIGGER lockgate_guard_history_truncation;

-- Triggers need nobody's right to call them.
REVOKE ALL ON FUNCTION
    @schema@.lockgate_is_protected,
    @schema@.lockgate_has_protected_alias,
    @schema@.lockgate_holds_protected,
    @schema@.lockgate_is_decided,
    @schema@.lockgate_is_there,
    @schema@.lockgate_clock,
    @schema@.lockgate_is_of_now,
    @schema@.lockgate_allows_gain,
    @schema@.lockgate_gain,
    @schema@.lockgate_lose,
    @schema@.lockgate_guard_versions,
    @schema@.lockgate_guard_aliases,
    @schema@.lockgate_guard_models,
    @schema@.lockgate_guard_truncation,
    @schema@.lockgate_guard_history
FROM PUBLIC;

-- The audit log and the decisions are only ever added to.

CREATE FUNCTION @schema@.lockgate_guard_record() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    RAISE check_violation USING MESSAGE = format(
        'What is on record in ''%s'' stays as it is: Lockgate only adds to it.', TG_TABLE_NAME);
END
$guard$;

CREATE TRIGGER lockgate_guard_audit BEFORE UPDATE OR DELETE ON @schema@.lockgate_audit
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_record();
CREATE TRIGGER lockgate_guard_decisions BEFORE UPDATE OR DELETE ON @schema@.lockgate_decisions
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_record();
CREATE TRIGGER lockgate_guard_audit_truncation BEFORE TRUNCATE ON @schema@.lockgate_audit
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_record();
CREATE TRIGGER lockgate_guard_decisions_truncation BEFORE TRUNCATE ON @schema@.lockgate_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION @schema@.lockgate_guard_record();
ALTER TABLE @schema@.lockgate_audit ENABLE ALWAYS TRIGGER lockgate_guard_audit;
ALTER TABLE @schema@.lockgate_decisions ENABLE ALWAYS TRIGGER lockgate_guard_decisions;
ALTER TABLE @schema@.lockgate_audit ENABLE ALWAYS TRIGGER lockgate_guard_audit_truncation;
ALTER TABLE @schema@.lockgate_decisions ENABLE ALWAYS TRIGGER lockgate_guard_decisions_truncation;
REVOKE ALL ON FUNCTION @schema@.lockgate_guard_record FROM PUBLIC;
