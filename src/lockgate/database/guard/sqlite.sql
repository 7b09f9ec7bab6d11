-- The guard on SQLite: the same as on PostgreSQL (postgresql.sql says more), as far as SQLite can do it. It stops a stock
-- server, a client, or anybody else who writes through SQL; who writes the file can drop it.
--
-- SQLite has no functions of its own: what several triggers do stands in triggers on the views `lockgate_gain` and
-- `lockgate_lose`, and to insert into those is to call them. Messages are constants, because older versions take no
-- others. There are no transactions to name: the server deletes what is left of a grant before it commits.

CREATE VIEW lockgate_gain AS SELECT NULL AS workspace, NULL AS name, NULL AS version, NULL AS target WHERE 0;
CREATE VIEW lockgate_lose AS SELECT NULL AS workspace, NULL AS name, NULL AS version, NULL AS target WHERE 0;

-- Who is meant: a model that we know, in MLflow's table and ours the same, and its version if we know it.
CREATE VIEW lockgate_known AS
    SELECT m.workspace, m.name, m.id AS model_id, s.version, s.creation_time, v.id AS version_id
    FROM lockgate_models AS m
    JOIN registered_models AS r
      ON r.workspace = m.workspace AND r.name = m.name AND coalesce(r.creation_time, 0) = m.created_at
    JOIN model_versions AS s ON s.workspace = m.workspace AND s.name = m.name
    LEFT JOIN lockgate_versions AS v ON v.model_id = m.id AND v.number = s.version
    WHERE m.deleted_at IS NULL;

-- Numbers that versions have had whom we know: nothing else takes their place. A model that was made under a known name is
-- another one, with a creation time of its own; without `PRAGMA foreign_keys` versions may be there before their model.
CREATE VIEW lockgate_numbers AS
    SELECT m.workspace, m.name, v.number AS version FROM lockgate_models AS m
    JOIN lockgate_versions AS v ON v.model_id = m.id
    WHERE m.deleted_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM registered_models AS r
        WHERE r.workspace = m.workspace AND r.name = m.name AND coalesce(r.creation_time, 0) <> m.created_at);

-- What protected targets hold.
CREATE VIEW lockgate_protected_holders AS
    SELECT a.workspace, a.name, a.version, p.target FROM registered_model_aliases AS a
    JOIN lockgate_protected AS p ON p.target = 'alias:' || a.alias
    UNION ALL
    SELECT s.workspace, s.name, s.version, p.target FROM model_versions AS s
    JOIN lockgate_protected AS p ON p.target = 'stage:' || s.current_stage;

-- Versions about which somebody has decided: approved, or brought somewhere by a decision.
CREATE VIEW lockgate_decided AS
    SELECT m.workspace, m.name, v.number AS version FROM lockgate_versions AS v
    JOIN lockgate_models AS m ON m.id = v.model_id
    WHERE m.deleted_at IS NULL
      AND (EXISTS (SELECT 1 FROM lockgate_requests AS r
                   WHERE r.version_id = v.id AND r.state IN ('approved', 'promoted'))
        OR EXISTS (SELECT 1 FROM lockgate_holders AS h WHERE h.version_id = v.id AND h.decision_id IS NOT NULL));

-- Grants that rest on a decision about exactly this, not used before.
CREATE VIEW lockgate_allowed_gains AS
    SELECT g.id, g.model_id, g.version_id, g.target FROM lockgate_grants AS g
    JOIN lockgate_decisions AS d
      ON d.id = g.decision_id AND d.at = g.at AND d.model_id = g.model_id AND d.version_id = g.version_id
     AND d.target = g.target AND d.evidence_digest = g.evidence_digest
    WHERE g.change = 'gain'
      AND NOT EXISTS (SELECT 1 FROM lockgate_holders AS h WHERE h.decision_id = d.id)
      AND (d.kind <> 'promotion' OR EXISTS (
          SELECT 1 FROM lockgate_requests AS r
          WHERE r.id = d.request_id AND r.state IN ('open', 'approved')
            AND r.version_id = d.version_id AND r.target = d.target AND r.evidence_digest = d.evidence_digest));

-- What MLflow's tables say now, as the history would say it.
CREATE VIEW lockgate_pointers AS
    SELECT k.model_id, k.version_id, 'alias:' || a.alias AS target FROM lockgate_known AS k
    JOIN registered_model_aliases AS a ON a.workspace = k.workspace AND a.name = k.name AND a.version = k.version
    UNION ALL
    SELECT k.model_id, k.version_id, 'stage:' || s.current_stage FROM lockgate_known AS k
    JOIN model_versions AS s ON s.workspace = k.workspace AND s.name = k.name AND s.version = k.version
    WHERE s.current_stage IN ('Staging', 'Production');

-- A version comes to a target

CREATE TRIGGER lockgate_guard_gain INSTEAD OF INSERT ON lockgate_gain BEGIN
    SELECT RAISE(ABORT, 'Lockgate protects this target: a version comes there only by an approved promotion request. Ask for one with `lockgate request`, or call the Lockgate server instead of this database.')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected WHERE target = NEW.target)
      AND NOT EXISTS (
          SELECT 1 FROM lockgate_known AS k
          JOIN lockgate_allowed_gains AS g ON g.model_id = k.model_id AND g.version_id = k.version_id
          WHERE k.workspace = NEW.workspace AND k.name = NEW.name AND k.version = NEW.version AND g.target = NEW.target);
    INSERT OR IGNORE INTO lockgate_versions (id, model_id, number, created_at)
    SELECT lower(hex(randomblob(16))), k.model_id, k.version, coalesce(k.creation_time, 0) FROM lockgate_known AS k
    WHERE k.workspace = NEW.workspace AND k.name = NEW.name AND k.version = NEW.version AND k.version_id IS NULL;
    -- `INSERT OR REPLACE` runs no trigger for the row that it replaces.
    UPDATE lockgate_holders SET until = CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)
    WHERE until IS NULL AND target = NEW.target AND NEW.target LIKE 'alias:%' AND EXISTS (
        SELECT 1 FROM lockgate_known AS k
        WHERE k.workspace = NEW.workspace AND k.name = NEW.name AND k.version = NEW.version
          AND k.model_id = lockgate_holders.model_id AND k.version_id <> lockgate_holders.version_id);
    INSERT INTO lockgate_holders (model_id, target, version_id, since, decision_id, by_id, behind)
    SELECT k.model_id, NEW.target, k.version_id,
           coalesce(g.at, CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)),
           g.decision_id, g.by_id, g.id IS NULL
    FROM lockgate_known AS k
    LEFT JOIN lockgate_grants AS g
      ON g.model_id = k.model_id AND g.version_id = k.version_id AND g.target = NEW.target AND g.change = 'gain'
    WHERE k.workspace = NEW.workspace AND k.name = NEW.name AND k.version = NEW.version
      AND NOT EXISTS (SELECT 1 FROM lockgate_holders AS h
                      WHERE h.model_id = k.model_id AND h.target = NEW.target AND h.version_id = k.version_id
                        AND h.until IS NULL)
    ORDER BY g.id LIMIT 1;
    DELETE FROM lockgate_grants WHERE change = 'gain' AND target = NEW.target AND EXISTS (
        SELECT 1 FROM lockgate_known AS k
        WHERE k.workspace = NEW.workspace AND k.name = NEW.name AND k.version = NEW.version
          AND k.model_id = lockgate_grants.model_id AND k.version_id = lockgate_grants.version_id);
END;

-- A version goes from a target

CREATE TRIGGER lockgate_guard_lose INSTEAD OF INSERT ON lockgate_lose BEGIN
    SELECT RAISE(ABORT, 'Lockgate protects this target: the version that holds it can''t be taken out of it here. Promote another version in its place (`lockgate request`), roll back (`lockgate rollback`), or call the Lockgate server instead of this database.')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected WHERE target = NEW.target)
      AND NOT EXISTS (
          SELECT 1 FROM lockgate_models AS m
          JOIN lockgate_versions AS v ON v.model_id = m.id AND v.number = NEW.version
          JOIN lockgate_grants AS g ON g.model_id = m.id AND g.version_id = v.id AND g.target = NEW.target
          JOIN lockgate_decisions AS d ON d.id = g.decision_id AND d.model_id = m.id AND d.at = g.at
          WHERE m.workspace = NEW.workspace AND m.name = NEW.name AND m.deleted_at IS NULL AND g.change = 'loss');
    UPDATE lockgate_holders SET until = coalesce(
        (SELECT g.at FROM lockgate_grants AS g
         WHERE g.model_id = lockgate_holders.model_id AND g.version_id = lockgate_holders.version_id
           AND g.target = NEW.target AND g.change = 'loss'
         ORDER BY g.id LIMIT 1),
        CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER))
    WHERE until IS NULL AND target = NEW.target
      AND model_id = (SELECT m.id FROM lockgate_models AS m
                      WHERE m.workspace = NEW.workspace AND m.name = NEW.name AND m.deleted_at IS NULL)
      AND version_id = (SELECT v.id FROM lockgate_versions AS v
                        WHERE v.model_id = lockgate_holders.model_id AND v.number = NEW.version);
    DELETE FROM lockgate_grants WHERE change = 'loss' AND target = NEW.target
      AND model_id = (SELECT m.id FROM lockgate_models AS m
                      WHERE m.workspace = NEW.workspace AND m.name = NEW.name AND m.deleted_at IS NULL)
      AND version_id = (SELECT v.id FROM lockgate_versions AS v
                        WHERE v.model_id = lockgate_grants.model_id AND v.number = NEW.version);
END;

-- Stages are MLflow's, and what was deleted stays so

CREATE TRIGGER lockgate_guard_stages_coming BEFORE INSERT ON model_versions
WHEN NEW.current_stage IS NULL
  OR NEW.current_stage NOT IN ('None', 'Staging', 'Production', 'Archived', 'Deleted_Internal') BEGIN
    SELECT RAISE(ABORT, 'This is no stage of MLflow''s. The stages are None, Staging, Production and Archived, written so.');
END;

CREATE TRIGGER lockgate_guard_stages_changing BEFORE UPDATE ON model_versions
WHEN NEW.current_stage IS NOT OLD.current_stage BEGIN
    SELECT RAISE(ABORT, 'This is no stage of MLflow''s. The stages are None, Staging, Production and Archived, written so.')
    WHERE NEW.current_stage IS NULL
       OR NEW.current_stage NOT IN ('None', 'Staging', 'Production', 'Archived', 'Deleted_Internal');
    SELECT RAISE(ABORT, 'This version was deleted and stays so. Register a new version instead.')
    WHERE OLD.current_stage = 'Deleted_Internal';
END;

-- A version stays itself

CREATE TRIGGER lockgate_guard_identity_coming BEFORE INSERT ON model_versions
-- `INSERT OR REPLACE` would run no trigger for the row that it replaces.
WHEN EXISTS (SELECT 1 FROM model_versions
             WHERE workspace = NEW.workspace AND name = NEW.name AND version = NEW.version)
  OR EXISTS (SELECT 1 FROM lockgate_numbers
             WHERE workspace = NEW.workspace AND name = NEW.name AND version = NEW.version) BEGIN
    SELECT RAISE(ABORT, 'There has been a version of this number, and no other one takes its place: approvals are about versions by their model and number. Register it under another number or name.');
END;

CREATE TRIGGER lockgate_guard_identity_changing BEFORE UPDATE ON model_versions
WHEN NEW.workspace IS NOT OLD.workspace OR NEW.name IS NOT OLD.name OR NEW.version IS NOT OLD.version BEGIN
    SELECT RAISE(ABORT, 'A version can''t become another one: approvals are about versions by their model and number. Register a new version instead.')
    WHERE NEW.version IS NOT OLD.version
       OR EXISTS (SELECT 1 FROM registered_models WHERE workspace = OLD.workspace AND name = OLD.name);
    SELECT RAISE(ABORT, 'This version holds a target that Lockgate protects, so its model can''t be renamed or moved. Let somebody with the role releaser clear the target first.')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected_holders
                  WHERE version = OLD.version
                    AND (workspace, name) IN (VALUES (OLD.workspace, OLD.name), (NEW.workspace, NEW.name)));
    SELECT RAISE(ABORT, 'There has been a version of this number, and no other one takes its place: approvals are about versions by their model and number. Register it under another number or name.')
    WHERE EXISTS (SELECT 1 FROM model_versions
                  WHERE workspace = NEW.workspace AND name = NEW.name AND version = NEW.version)
       OR EXISTS (SELECT 1 FROM lockgate_numbers
                  WHERE workspace = NEW.workspace AND name = NEW.name AND version = NEW.version);
END;

-- What was approved keeps its content

CREATE TRIGGER lockgate_guard_content BEFORE UPDATE ON model_versions
WHEN NEW.current_stage IS NOT 'Deleted_Internal'
 AND (NEW.source IS NOT OLD.source OR NEW.storage_location IS NOT OLD.storage_location OR NEW.run_id IS NOT OLD.run_id)
BEGIN
    SELECT RAISE(ABORT, 'This version was approved as it is: its source, storage location and run can''t change. Register a new version instead.')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected_holders
                  WHERE workspace = OLD.workspace AND name = OLD.name AND version = OLD.version)
       OR EXISTS (SELECT 1 FROM lockgate_decided
                  WHERE workspace = OLD.workspace AND name = OLD.name AND version = OLD.version);
END;

-- A version comes to a stage, or goes from it; with its row, what a protected alias points to would go, or come

CREATE TRIGGER lockgate_guard_versions_coming BEFORE INSERT ON model_versions
WHEN EXISTS (SELECT 1 FROM lockgate_protected_holders
             WHERE workspace = NEW.workspace AND name = NEW.name AND version = NEW.version) BEGIN
    SELECT RAISE(ABORT, 'An alias that Lockgate protects points to this number. Promote another version in its place first (`lockgate request`).');
END;

CREATE TRIGGER lockgate_guard_versions_came AFTER INSERT ON model_versions
WHEN NEW.current_stage IN ('Staging', 'Production') BEGIN
    INSERT INTO lockgate_gain (workspace, name, version, target)
    VALUES (NEW.workspace, NEW.name, NEW.version, 'stage:' || NEW.current_stage);
END;

CREATE TRIGGER lockgate_guard_versions_changing BEFORE UPDATE ON model_versions
WHEN NEW.current_stage = 'Deleted_Internal' AND OLD.current_stage IS NOT 'Deleted_Internal' BEGIN
    SELECT RAISE(ABORT, 'This version holds a target that Lockgate protects. Promote another version in its place first (`lockgate request`).')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected_holders
                  WHERE workspace = OLD.workspace AND name = OLD.name AND version = OLD.version);
END;

CREATE TRIGGER lockgate_guard_versions_changed AFTER UPDATE ON model_versions
WHEN NEW.current_stage IS NOT OLD.current_stage BEGIN
    INSERT INTO lockgate_lose (workspace, name, version, target)
    SELECT OLD.workspace, OLD.name, OLD.version, 'stage:' || OLD.current_stage
    WHERE OLD.current_stage IN ('Staging', 'Production');
    INSERT INTO lockgate_gain (workspace, name, version, target)
    SELECT NEW.workspace, NEW.name, NEW.version, 'stage:' || NEW.current_stage
    WHERE NEW.current_stage IN ('Staging', 'Production');
END;

CREATE TRIGGER lockgate_guard_versions_going BEFORE DELETE ON model_versions BEGIN
    SELECT RAISE(ABORT, 'This version holds a target that Lockgate protects. Promote another version in its place first (`lockgate request`).')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected_holders
                  WHERE workspace = OLD.workspace AND name = OLD.name AND version = OLD.version);
END;

CREATE TRIGGER lockgate_guard_versions_gone AFTER DELETE ON model_versions
WHEN OLD.current_stage IN ('Staging', 'Production') BEGIN
    INSERT INTO lockgate_lose (workspace, name, version, target)
    VALUES (OLD.workspace, OLD.name, OLD.version, 'stage:' || OLD.current_stage);
END;

-- Aliases

CREATE TRIGGER lockgate_guard_aliases_came AFTER INSERT ON registered_model_aliases BEGIN
    INSERT INTO lockgate_gain (workspace, name, version, target)
    VALUES (NEW.workspace, NEW.name, NEW.version, 'alias:' || NEW.alias);
END;

CREATE TRIGGER lockgate_guard_aliases_changed AFTER UPDATE ON registered_model_aliases
WHEN NEW.alias IS NOT OLD.alias OR NEW.version IS NOT OLD.version
  -- If its model was renamed, it goes along; one that holds a protected alias is not.
  OR (NEW.workspace IS NOT OLD.workspace OR NEW.name IS NOT OLD.name)
     AND (EXISTS (SELECT 1 FROM registered_models WHERE workspace = OLD.workspace AND name = OLD.name)
       OR EXISTS (SELECT 1 FROM lockgate_protected WHERE target = 'alias:' || OLD.alias))
BEGIN
    INSERT INTO lockgate_lose (workspace, name, version, target)
    VALUES (OLD.workspace, OLD.name, OLD.version, 'alias:' || OLD.alias);
    INSERT INTO lockgate_gain (workspace, name, version, target)
    VALUES (NEW.workspace, NEW.name, NEW.version, 'alias:' || NEW.alias);
END;

CREATE TRIGGER lockgate_guard_aliases_gone AFTER DELETE ON registered_model_aliases BEGIN
    INSERT INTO lockgate_lose (workspace, name, version, target)
    VALUES (OLD.workspace, OLD.name, OLD.version, 'alias:' || OLD.alias);
END;

-- Models

-- Versions and aliases that are there before their model, without `PRAGMA foreign_keys`, are another one's.
CREATE TRIGGER lockgate_guard_models_coming BEFORE INSERT ON registered_models
WHEN EXISTS (SELECT 1 FROM model_versions WHERE workspace = NEW.workspace AND name = NEW.name)
  OR EXISTS (SELECT 1 FROM registered_model_aliases WHERE workspace = NEW.workspace AND name = NEW.name) BEGIN
    SELECT RAISE(ABORT, 'There are versions of this name already, of another model: approvals are about versions by their model and number. Choose another name.');
END;

CREATE TRIGGER lockgate_guard_models_changing BEFORE UPDATE ON registered_models
WHEN NEW.workspace IS NOT OLD.workspace OR NEW.name IS NOT OLD.name OR NEW.creation_time IS NOT OLD.creation_time BEGIN
    SELECT RAISE(ABORT, 'A model keeps its creation time: approvals are about the model of that time. Register another model instead.')
    WHERE NEW.creation_time IS NOT OLD.creation_time;
    SELECT RAISE(ABORT, 'This model holds a target that Lockgate protects, so it can''t be renamed or moved. Let somebody with the role releaser clear the target first.')
    WHERE EXISTS (SELECT 1 FROM lockgate_protected_holders
                  WHERE (workspace, name) IN (VALUES (OLD.workspace, OLD.name), (NEW.workspace, NEW.name)));
    SELECT RAISE(ABORT, 'There are versions of this name already, of another model: approvals are about versions by their model and number. Choose another name.')
    WHERE EXISTS (SELECT 1 FROM model_versions WHERE workspace = NEW.workspace AND name = NEW.name)
       OR EXISTS (SELECT 1 FROM registered_model_aliases WHERE workspace = NEW.workspace AND name = NEW.name);
END;

CREATE TRIGGER lockgate_guard_models_going BEFORE DELETE ON registered_models
WHEN EXISTS (SELECT 1 FROM lockgate_protected_holders WHERE workspace = OLD.workspace AND name = OLD.name) BEGIN
    SELECT RAISE(ABORT, 'This model holds a target that Lockgate protects, so it can''t be deleted. Let somebody with the role releaser clear the target first.');
END;

-- The history

CREATE TRIGGER lockgate_guard_history_coming BEFORE INSERT ON lockgate_holders
WHEN NEW.until IS NOT NULL
  OR EXISTS (SELECT 1 FROM lockgate_holders WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM lockgate_holders AS h
             WHERE h.model_id = NEW.model_id AND h.version_id = NEW.version_id AND h.target = NEW.target
               AND h.until IS NULL)
  OR NOT EXISTS (SELECT 1 FROM lockgate_pointers AS p
                 WHERE p.model_id = NEW.model_id AND p.version_id = NEW.version_id AND p.target = NEW.target)
BEGIN
    SELECT RAISE(ABORT, 'The history of who held each target is kept by the database itself and can''t be written or rewritten.');
END;

CREATE TRIGGER lockgate_guard_history_changing BEFORE UPDATE ON lockgate_holders
WHEN OLD.until IS NOT NULL OR NEW.until IS NULL
  OR NEW.id IS NOT OLD.id OR NEW.model_id IS NOT OLD.model_id OR NEW.target IS NOT OLD.target
  OR NEW.version_id IS NOT OLD.version_id OR NEW.since IS NOT OLD.since
  OR NEW.decision_id IS NOT OLD.decision_id OR NEW.by_id IS NOT OLD.by_id OR NEW.behind IS NOT OLD.behind
  OR EXISTS (SELECT 1 FROM lockgate_pointers AS p
             WHERE p.model_id = OLD.model_id AND p.version_id = OLD.version_id AND p.target = OLD.target)
BEGIN
    SELECT RAISE(ABORT, 'The history of who held each target is kept by the database itself and can''t be written or rewritten.');
END;

CREATE TRIGGER lockgate_guard_history_going BEFORE DELETE ON lockgate_holders BEGIN
    SELECT RAISE(ABORT, 'The history of who held each target is kept by the database itself and can''t be written or rewritten.');
END;

-- The audit log and the decisions are only ever added to. `INSERT OR REPLACE` runs no trigger for the row that it
-- replaces, so nothing may come that is there already.

CREATE TRIGGER lockgate_guard_audit_coming BEFORE INSERT ON lockgate_audit
WHEN EXISTS (SELECT 1 FROM lockgate_audit WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM lockgate_audit WHERE previous = NEW.previous)
BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_audit'' stays as it is: Lockgate only adds to it.');
END;

CREATE TRIGGER lockgate_guard_audit_changing BEFORE UPDATE ON lockgate_audit BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_audit'' stays as it is: Lockgate only adds to it.');
END;

CREATE TRIGGER lockgate_guard_audit_going BEFORE DELETE ON lockgate_audit BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_audit'' stays as it is: Lockgate only adds to it.');
END;

CREATE TRIGGER lockgate_guard_decisions_coming BEFORE INSERT ON lockgate_decisions
WHEN EXISTS (SELECT 1 FROM lockgate_decisions WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_decisions'' stays as it is: Lockgate only adds to it.');
END;

CREATE TRIGGER lockgate_guard_decisions_changing BEFORE UPDATE ON lockgate_decisions BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_decisions'' stays as it is: Lockgate only adds to it.');
END;

CREATE TRIGGER lockgate_guard_decisions_going BEFORE DELETE ON lockgate_decisions BEGIN
    SELECT RAISE(ABORT, 'What is on record in ''lockgate_decisions'' stays as it is: Lockgate only adds to it.');
END;
