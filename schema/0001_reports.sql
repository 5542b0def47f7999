-- Reports, what was deleted, and what questions are answered from.
-- compatible-from: 1

-- One report. What is small stands first and the payload last, so that nobody who does not want a payload reads its pages. A report that
-- replaces another gets a new id: what an index says of the old id is dead by itself, and an id is never given twice.
-- Times are nanoseconds since 1970, scores are tenths.
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    class TEXT NOT NULL,
    scanned_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    -- How often a mover brought this version and found it here: who removes it says which time he means.
    renewals INTEGER NOT NULL DEFAULT 0,
    scanner_version TEXT NOT NULL,
    encoding TEXT NOT NULL,
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    service TEXT NOT NULL,
    image TEXT NOT NULL,
    os TEXT NOT NULL,
    node TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    size INTEGER NOT NULL,
    critical INTEGER NOT NULL,
    high INTEGER NOT NULL,
    medium INTEGER NOT NULL,
    low INTEGER NOT NULL,
    score INTEGER NOT NULL,
    score_v3 INTEGER NOT NULL,
    upload INTEGER,
    -- 1 if the writer gave findings or checks; otherwise they were read from the payload, where it is JSON.
    given INTEGER NOT NULL,
    checks BLOB,
    findings BLOB,
    payload BLOB NOT NULL
);

-- Lists and statistics read this and never the table: some 300 bytes a report instead of a page.
CREATE INDEX report_summary ON report (
    key, class, scanned_at, sequence, scanner_version, encoding,
    name, namespace, service, image, os, node, repository, tag,
    size, critical, high, medium, low, score, score_v3
);

-- "Every report with a finding of score S or more", and the worst first.
CREATE INDEX report_by_score ON report (score, key);
CREATE INDEX report_by_score_v3 ON report (score_v3, key);

-- The payload of a report that is too large for one value and one request, in pieces. They are written before the report that names
-- them by `upload`; pieces that no report names are remains of a writer that ended in between.
CREATE TABLE payload_part (
    upload INTEGER NOT NULL,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (upload, part)
);

-- Which report names an upload.
CREATE INDEX report_by_upload ON report (upload) WHERE upload IS NOT NULL;

-- What was deleted. A copy of the report that is found elsewhere, of a sequence below this one, is deleted too.
CREATE TABLE tombstone (
    key TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL
);

CREATE INDEX tombstone_by_time ON tombstone (deleted_at);

-- What a mover took out of this database: its report or its tombstone left without anything newer in its place. Whoever reads this and another
-- store one after the other learns by it what went from here to there in between. The last ones are kept; numbers have no gaps.
CREATE TABLE departure (
    number INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL
);

-- The findings of a report that is gone and that the index still counts.
CREATE TABLE retired (
    report INTEGER NOT NULL PRIMARY KEY,
    class TEXT NOT NULL,
    findings BLOB NOT NULL
);

-- Names of vulnerabilities whose number does not spell them.
CREATE TABLE vulnerability_name (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);

-- `indexed`: the greatest id of a report that the index counts; those behind it are pending.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
);

INSERT INTO counter (name, value) VALUES ('indexed', 0);

-- The index of findings.
-- ===== its tables stand from here to the end of the file =====

-- A run of vulnerabilities and of the reports with ids above `low`, up to `high`, that have them. Its blocks are never changed. It counts once
-- it is `live`; one that is not is being made, or was left behind by a maker that ended. `touched` is when the maker was last seen, in
-- seconds since 1970.
CREATE TABLE segment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    live INTEGER NOT NULL,
    postings INTEGER NOT NULL,
    touched INTEGER NOT NULL
);

-- Some hundred vulnerabilities that follow each other: what pages are made of (`summary`) and which reports have each (`postings`). `first` is
-- the number of the first, less 2^63, so that signed numbers sort as unsigned ones do.
CREATE TABLE block (
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    summary BLOB NOT NULL,
    postings BLOB NOT NULL,
    PRIMARY KEY (segment, first)
);

-- Questions read the blocks of all segments side by side.
CREATE INDEX block_by_first ON block (first, segment);
