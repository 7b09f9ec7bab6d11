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

-- Whether the model had a version of this number, that we know: nothing else takes its place. A model that was made
-- under a known name is another one, with a creation time of its own.
CREATE FUNCTION @schema@.lockgate_is_known(of_workspace text, of_name text, of_version integer) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $guard$
    SELECT EXISTS (
        SELECT FROM @schema@.lockgate_models AS m
        JOIN @schema@.registered_models AS r
          ON r.workspace = m.workspace AND r.name = m.name AND coalesce(r.creation_time, 0) = m.created_at
        JOIN @schema@.lockgate_versions AS v ON v.model_id = m.id AND v.number = of_version
        WHERE m.workspace = of_workspace AND m.name = of_name AND m.deleted_at IS NULL
    )
$guard$;

-- One after the other: whoever changes what a decision is about, or what a target holds, has the model's row until its
-- transaction ends. The gate takes the same row before it looks at anything. Whoever had to wait sees what came of it,
-- but only where each statement looks anew.
CREATE FUNCTION @schema@.lockgate_take_turn(of_workspace text, of_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE check_violation USING MESSAGE = format(
            'Lockgate can''t tell what was decided meanwhile about ''%s'' in a transaction that looks at an earlier '
            'state (isolation level %s). Use READ COMMITTED for changes of models.',
            of_name, current_setting('transaction_isolation'));
    END IF;
    PERFORM FROM @schema@.registered_models AS r WHERE r.workspace = of_workspace AND r.name = of_name
    FOR NO KEY UPDATE;
END
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

-- Stages are MLflow's, and what was deleted stays so.
CREATE FUNCTION @schema@.lockgate_guard_stages() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.current_stage IS NOT DISTINCT FROM OLD.current_stage THEN
        RETURN NULL;
    END IF;
    IF NEW.current_stage IS NULL
       OR NEW.current_stage NOT IN ('None', 'Staging', 'Production', 'Archived', 'Deleted_Internal') THEN
        RAISE check_violation USING MESSAGE = format(
            '%L is no stage of MLflow''s. The stages are None, Staging, Production and Archived, written so.',
            NEW.current_stage);
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.current_stage = 'Deleted_Internal' THEN
        RAISE check_violation USING MESSAGE = format(
            'Version %s of ''%s'' was deleted and stays so. Register a new version instead.', OLD.version, OLD.name);
    END IF;
    RETURN NULL;
END
$guard$;

-- A version stays itself: it keeps its number and its model, which it follows when that is renamed, and no other one
-- takes its place when it is gone.
CREATE FUNCTION @schema@.lockgate_guard_identity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.workspace, NEW.name, NEW.version) = (OLD.workspace, OLD.name, OLD.version) THEN
            RETURN NULL;
        END IF;
        IF NEW.version <> OLD.version OR EXISTS (
               SELECT FROM @schema@.registered_models AS r WHERE r.workspace = OLD.workspace AND r.name = OLD.name) THEN
            RAISE check_violation USING MESSAGE = format(
                'Version %s of ''%s'' can''t become another one: approvals are about versions by their model and '
                'number. Register a new version instead.', OLD.version, OLD.name);
        END IF;
        IF @schema@.lockgate_is_protected('stage:' || OLD.current_stage)
           OR @schema@.lockgate_has_protected_alias(OLD.workspace::text, OLD.name::text, OLD.version)
           OR @schema@.lockgate_has_protected_alias(NEW.workspace::text, NEW.name::text, NEW.version) THEN
            RAISE check_violation USING MESSAGE = format(
                'Version %s of ''%s'' holds a target that Lockgate protects, so its model can''t be renamed or moved. '
                'Let somebody with the role releaser clear the target first.', OLD.version, OLD.name);
        END IF;
    END IF;
    PERFORM @schema@.lockgate_take_turn(NEW.workspace::text, NEW.name::text);
    IF @schema@.lockgate_is_known(NEW.workspace::text, NEW.name::text, NEW.version) THEN
        RAISE check_violation USING MESSAGE = format(
            'There has been a version %s of ''%s'', and no other one takes its place: approvals are about versions by '
            'their model and number. Register it under another number or name.', NEW.version, NEW.name);
    END IF;
    RETURN NULL;
END
$guard$;

-- What was approved keeps its content.
CREATE FUNCTION @schema@.lockgate_guard_content() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF NEW.current_stage IS NOT DISTINCT FROM 'Deleted_Internal'
       OR (NEW.source, NEW.storage_location, NEW.run_id)
          IS NOT DISTINCT FROM (OLD.source, OLD.storage_location, OLD.run_id) THEN
        RETURN NULL;
    END IF;
    PERFORM @schema@.lockgate_take_turn(NEW.workspace::text, NEW.name::text);
    IF @schema@.lockgate_is_protected('stage:' || OLD.current_stage)
       OR @schema@.lockgate_has_protected_alias(NEW.workspace::text, NEW.name::text, NEW.version)
       OR @schema@.lockgate_is_decided(NEW.workspace::text, NEW.name::text, NEW.version) THEN
        RAISE check_violation USING MESSAGE = format(
            'Version %s of ''%s'' was approved as it is: its source, storage location and run can''t change. '
            'Register a new version instead.', OLD.version, OLD.name);
    END IF;
    RETURN NULL;
END
$guard$;

-- A version comes to a stage, or goes from it. With its row, what a protected alias points to would go, or come.
CREATE FUNCTION @schema@.lockgate_guard_versions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.current_stage IS NOT DISTINCT FROM OLD.current_stage THEN
        RETURN NULL;
    END IF;
    PERFORM @schema@.lockgate_take_turn(
        coalesce(NEW.workspace, OLD.workspace)::text, coalesce(NEW.name, OLD.name)::text);
    IF (TG_OP = 'DELETE' OR NEW.current_stage = 'Deleted_Internal')
       AND @schema@.lockgate_has_protected_alias(OLD.workspace::text, OLD.name::text, OLD.version)
       OR TG_OP = 'INSERT'
       AND @schema@.lockgate_has_protected_alias(NEW.workspace::text, NEW.name::text, NEW.version) THEN
        RAISE check_violation USING MESSAGE = format(
            'Version %s of ''%s'' holds an alias that Lockgate protects. Promote another version in its place first '
            '(`lockgate request`).', coalesce(OLD.version, NEW.version), coalesce(OLD.name, NEW.name));
    END IF;
    IF OLD.current_stage IN ('Staging', 'Production') THEN
        PERFORM @schema@.lockgate_lose(
            OLD.workspace::text, OLD.name::text, OLD.version, 'stage:' || OLD.current_stage);
    END IF;
    IF NEW.current_stage IN ('Staging', 'Production') THEN
        PERFORM @schema@.lockgate_gain(
            NEW.workspace::text, NEW.name::text, NEW.version, 'stage:' || NEW.current_stage);
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
            -- Its model was renamed, and it goes along; one that holds a protected alias is not.
            OR NOT @schema@.lockgate_is_protected('alias:' || OLD.alias) AND NOT EXISTS (
                SELECT FROM @schema@.registered_models AS r WHERE r.workspace = OLD.workspace AND r.name = OLD.name)
        ) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM @schema@.lockgate_take_turn(OLD.workspace::text, OLD.name::text);
        PERFORM @schema@.lockgate_lose(OLD.workspace::text, OLD.name::text, OLD.version, 'alias:' || OLD.alias);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM @schema@.lockgate_take_turn(NEW.workspace::text, NEW.name::text);
        PERFORM @schema@.lockgate_gain(NEW.workspace::text, NEW.name::text, NEW.version, 'alias:' || NEW.alias);
    END IF;
    RETURN NULL;
END
$guard$;

-- A model keeps its creation time, by which it is known from one that took its name. What holds a protected target is not
-- renamed, moved or deleted.
CREATE FUNCTION @schema@.lockgate_guard_models() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $guard$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.workspace, NEW.name, NEW.creation_time)
           IS NOT DISTINCT FROM (OLD.workspace, OLD.name, OLD.creation_time) THEN
            RETURN NULL;
        END IF;
        IF NEW.creation_time IS DISTINCT FROM OLD.creation_time THEN
            RAISE check_violation USING MESSAGE = format(
                '''%s'' keeps its creation time: approvals are about the model of that time. Register another model '
                'instead.', OLD.name);
        END IF;
    END IF;
    PERFORM @schema@.lockgate_take_turn(OLD.workspace::text, OLD.name::text);
    -- By now what hangs on it may have followed to the new name.
    IF @schema@.lockgate_holds_protected(OLD.workspace::text, OLD.name::text)
       OR TG_OP = 'UPDATE' AND @schema@.lockgate_holds_protected(NEW.workspace::text, NEW.name::text) THEN
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
           AND @schema@.lockgate_is_there(NEW.model_id::text, NEW.version_id::text, NEW.target::text)
           AND NOT EXISTS (SELECT FROM @schema@.lockgate_holders AS h
                           WHERE h.model_id = NEW.model_id AND h.version_id = NEW.version_id
                             AND h.target = NEW.target AND h.until IS NULL) THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        ended := OLD;
        ended.until := NEW.until;
        IF OLD.until IS NULL AND NEW.until IS NOT NULL AND NEW IS NOT DISTINCT FROM ended
           AND NOT @schema@.lockgate_is_there(OLD.model_id::text, OLD.version_id::text, OLD.target::text) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE check_violation USING MESSAGE =
        'The history of who held each target is kept by the database itself and can''t be written or rewritten.';
END
$guard$;

-- In the order of their names.
CREATE TRIGGER lockgate_guard_content AFTER UPDATE ON @schema@.model_versions
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_content();
CREATE TRIGGER lockgate_guard_identity AFTER INSERT OR UPDATE ON @schema@.model_versions
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_identity();
CREATE TRIGGER lockgate_guard_stages AFTER INSERT OR UPDATE ON @schema@.model_versions
    FOR EACH ROW EXECUTE FUNCTION @schema@.lockgate_guard_stages();
-- The last one: it makes a version known that comes to a stage.
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
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_content;
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_identity;
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_stages;
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_versions;
ALTER TABLE @schema@.registered_model_aliases ENABLE ALWAYS TRIGGER lockgate_guard_aliases;
ALTER TABLE @schema@.registered_models ENABLE ALWAYS TRIGGER lockgate_guard_models;
ALTER TABLE @schema@.lockgate_holders ENABLE ALWAYS TRIGGER lockgate_guard_history;
ALTER TABLE @schema@.model_versions ENABLE ALWAYS TRIGGER lockgate_guard_versions_truncation;
ALTER TABLE @schema@.registered_model_aliases ENABLE ALWAYS TRIGGER lockgate_guard_aliases_truncation;
ALTER TABLE @schema@.registered_models ENABLE ALWAYS TRIGGER lockgate_guard_models_truncation;
ALTER TABLE @schema@.lockgate_holders ENABLE ALWAYS TRIGGER lockgate_guard_history_truncation;

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
