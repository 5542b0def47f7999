-- The results of policy reports, one row each, beside the objects that they stand in.
-- compatible-from: 1

-- Made from `object` by whoever comes first, and can be made anew from it at any time. Which report a row is of says `object`, whose row has its resource
-- and key; `position` counts the rows of one object. `kind`, `namespace` and `name` are those of what was checked. `severity` is 5 for critical, 4
-- high, 3 medium, 2 low, 1 info, 0 for none or another; `result` is pass, fail, warn, error, skip, or empty for another. `at` is seconds since 1970: when
-- it was checked, otherwise when the report was created. `message` is cut at some hundred bytes.
CREATE TABLE result (
    object INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    result TEXT NOT NULL,
    scored INTEGER NOT NULL,
    policy TEXT NOT NULL,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (object, position)
) WITHOUT ROWID;

-- Each question reads one of these from its newest row on; the rows of an index go on with `object` and `position`. What fails, where, since when is counted
-- from the second alone.
CREATE INDEX result_by_policy ON result (policy, result, at);
CREATE INDEX result_by_namespace ON result (namespace, result, at, object, position, policy, severity);
CREATE INDEX result_by_severity ON result (severity, result, at);
CREATE INDEX result_by_name ON result (name, at);

-- Up to which revision the rows say what objects were; 0 before the first. It is moved in the transaction that changes the rows. `walked` is the id of
-- the last object that was gone through while all rows are made anew, and the greatest number there is once that is done.
CREATE TABLE extraction (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    walked INTEGER NOT NULL
);

INSERT INTO extraction (id, revision, walked) VALUES (1, 0, 0);

-- For people: what stands in reports, in words.
CREATE VIEW report_result AS
SELECT o.resource AS report_resource, o.key AS report, r.policy, r.rule, r.result,
    CASE r.severity WHEN 5 THEN 'critical' WHEN 4 THEN 'high' WHEN 3 THEN 'medium' WHEN 2 THEN 'low' WHEN 1 THEN 'info' ELSE '' END AS severity,
    r.kind, r.namespace, r.name, r.category, r.source, strftime('%Y-%m-%dT%H:%M:%SZ', r.at, 'unixepoch') AS at, r.scored, r.message
FROM result r JOIN object o ON o.id = r.object;

-- What fails, where, since when.
CREATE VIEW failing_policy AS
SELECT r.policy, r.namespace, max(r.severity) AS severity, count(*) AS results, strftime('%Y-%m-%dT%H:%M:%SZ', min(r.at), 'unixepoch') AS since
FROM result r WHERE r.result IN ('fail', 'error') GROUP BY r.policy, r.namespace;

-- How current both are: they are if `behind` is 0, and whole if `complete` is 1.
CREATE VIEW result_state AS
SELECT x.revision, (SELECT count(*) FROM change c WHERE c.revision > x.revision) AS behind, x.walked = 9223372036854775807 AS complete
FROM extraction x;
