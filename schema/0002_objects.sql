-- Objects of the Kubernetes API server, and the log of what writes replaced.
-- compatible-from: 1

-- The latest revision, which each write raises in its own transaction, so that revisions come in the order of commits, whoever writes. A revision
-- is at least the microseconds since 1970 when it is given: after a restore the next one is above whatever the lost history gave.
-- Changes at and below `compacted` were forgotten; `kept` says how many are left, which would take a while to count.
CREATE TABLE revision (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    latest INTEGER NOT NULL,
    compacted INTEGER NOT NULL,
    kept INTEGER NOT NULL
);

INSERT INTO revision (id, latest, compacted, kept) VALUES (1, 0, 0, 0);

-- One object. `id` is the revision at which it was created, so rows are appended, an id is never given twice, and the index of keys says for
-- itself which objects there were at a revision. `key` is `namespace/name`, or the name alone where there are no namespaces, in the order of its bytes.
-- `terms` is a JSON object: labels by their keys, selectable fields by their paths behind a dot (`{"app":"web",".spec.owner":"x"}`). `hashes` is a JSON
-- list, which says where it stands in `term`. `body` is zstd of the object's JSON without its head (apiVersion, kind, resourceVersion), and stands
-- last: who does not want it does not read its pages.
CREATE TABLE object (
    id INTEGER NOT NULL PRIMARY KEY,
    resource TEXT NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL,
    uid TEXT NOT NULL,
    version TEXT NOT NULL,
    terms TEXT NOT NULL,
    hashes TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (resource, key)
);

-- Where objects with a term may be found, for selectors: `hash` is made of resource, name and value, so whether an object has the term says `terms` alone.
-- A row is a tenth of what it would be with the texts in it, and of a term that many objects have the next one is appended: a write, which has a
-- term or ten, dirties few pages.
CREATE TABLE term (
    hash INTEGER NOT NULL,
    object INTEGER NOT NULL,
    PRIMARY KEY (hash, object)
) WITHOUT ROWID;

-- One change, with the object as it was before (`prev_…`, NULL where there was none). The object as it was after is `prev_…` of the next change of its
-- key, or stands in `object`: so a creation writes its body once. What was there at revision R is what has `revision <= R` in `object`, and what has
-- `prev_revision <= R < revision` here. A change of the empty resource only marks that a process began. `at` is milliseconds since 1970.
CREATE TABLE change (
    revision INTEGER NOT NULL PRIMARY KEY,
    resource TEXT NOT NULL,
    key TEXT NOT NULL,
    object INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    at INTEGER NOT NULL,
    prev_revision INTEGER,
    prev_version TEXT,
    prev_terms TEXT,
    prev_body BLOB
);

-- What was replaced, by key: for lists of the past, and for what stood there after a change.
CREATE INDEX change_by_key ON change (resource, key, prev_revision, revision, object, deleted)
    WHERE prev_revision IS NOT NULL;
