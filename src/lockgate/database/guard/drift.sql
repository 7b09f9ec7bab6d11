-- What moved while no trigger was there to see it. Run without the guard's triggers, in the transaction that puts them
-- (back) in place.

UPDATE lockgate_holders SET until = :now
WHERE until IS NULL AND NOT EXISTS (
    SELECT 1 FROM lockgate_models m
    JOIN lockgate_versions v ON v.model_id = m.id
    WHERE m.id = lockgate_holders.model_id AND v.id = lockgate_holders.version_id AND m.deleted_at IS NULL
      AND (EXISTS (SELECT 1 FROM model_versions s
                   WHERE s.workspace = m.workspace AND s.name = m.name AND s.version = v.number
                     AND 'stage:' || s.current_stage = lockgate_holders.target)
        OR EXISTS (SELECT 1 FROM registered_model_aliases a
                   WHERE a.workspace = m.workspace AND a.name = m.name AND a.version = v.number
                     AND 'alias:' || a.alias = lockgate_holders.target)));

INSERT INTO lockgate_holders (model_id, target, version_id, since, behind)
SELECT m.id, h.target, v.id, :now, true
FROM (
    SELECT workspace, name, version, 'stage:' || current_stage AS target FROM model_versions
    WHERE current_stage IN ('Staging', 'Production')
    UNION ALL
    SELECT workspace, name, version, 'alias:' || alias FROM registered_model_aliases
) h
JOIN registered_models r ON r.workspace = h.workspace AND r.name = h.name
JOIN lockgate_models m
  ON m.workspace = h.workspace AND m.name = h.name AND m.deleted_at IS NULL
 AND m.created_at = coalesce(r.creation_time, 0)
JOIN lockgate_versions v ON v.model_id = m.id AND v.number = h.version
WHERE NOT EXISTS (
    SELECT 1 FROM lockgate_holders o
    WHERE o.model_id = m.id AND o.version_id = v.id AND o.target = h.target AND o.until IS NULL);
