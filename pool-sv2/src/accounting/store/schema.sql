-- The store of pool-sv2. All of it comes from the log; it may be deleted and is built again.
-- Work is work_high * 2^40 + work_low hashes, so that sums stay exact within 64 bits.
-- Hashes are in internal byte order; best shares the upper half of the hash, big-endian.
-- A slice's key begins with its time: what is written at a time stands on few pages, and what is
-- old is forgotten in one piece. A history is one look-up a span.
CREATE TABLE position (
    node INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;
-- kind 0: the pool; 1: an account; 2: a worker.
CREATE TABLE scope (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    account TEXT NOT NULL,
    worker TEXT NOT NULL,
    UNIQUE (kind, account, worker)
) STRICT;
CREATE TABLE slice (
    start_s INTEGER NOT NULL,
    scope INTEGER NOT NULL REFERENCES scope (id),
    shares INTEGER NOT NULL,
    work_high INTEGER NOT NULL,
    work_low INTEGER NOT NULL,
    PRIMARY KEY (start_s, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE day (
    start_s INTEGER NOT NULL,
    scope INTEGER NOT NULL REFERENCES scope (id),
    shares INTEGER NOT NULL,
    work_high INTEGER NOT NULL,
    work_low INTEGER NOT NULL,
    PRIMARY KEY (start_s, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE total (
    scope INTEGER PRIMARY KEY REFERENCES scope (id),
    shares INTEGER NOT NULL,
    work_high INTEGER NOT NULL,
    work_low INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    best_ever BLOB,
    best_of_round BLOB,
    rates_at_ms INTEGER NOT NULL,
    rate_1m REAL NOT NULL,
    rate_5m REAL NOT NULL,
    rate_1h REAL NOT NULL,
    rate_1d REAL NOT NULL,
    rate_7d REAL NOT NULL
) STRICT;
-- Who mines at the moment is found without a look at all who ever did.
CREATE INDEX total_last ON total (last_ms);
CREATE TABLE reject (
    scope INTEGER NOT NULL REFERENCES scope (id),
    reason INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (scope, reason)
) STRICT, WITHOUT ROWID;
-- What the pool's miners did since its last block: one row.
CREATE TABLE round (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    work_high INTEGER NOT NULL,
    work_low INTEGER NOT NULL,
    rejects INTEGER NOT NULL
) STRICT;
INSERT INTO round VALUES (0, 0, 0, 0);
CREATE TABLE block (
    hash BLOB PRIMARY KEY,
    height INTEGER,
    time_ms INTEGER NOT NULL,
    finder INTEGER NOT NULL REFERENCES scope (id),
    prev_hash BLOB NOT NULL,
    nbits INTEGER NOT NULL,
    coinbase_value INTEGER NOT NULL
) STRICT;
CREATE INDEX block_time ON block (time_ms, hash);
CREATE TABLE block_state (
    hash BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    state INTEGER NOT NULL
) STRICT;
CREATE INDEX block_state_hash ON block_state (hash);
-- 4 is orphaned: few blocks are, and sums leave them out.
CREATE INDEX block_state_orphaned ON block_state (hash) WHERE state = 4;
CREATE TABLE payout (
    node INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (node, epoch, sequence)
) STRICT;
-- What a payout record says, ready to be shown. kind 0: a shared block, whose hash it is; 1: a
-- transaction of the pool's wallet. Amounts are satoshis; root is empty where nobody had worked.
CREATE TABLE settlement (
    hash BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    value INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    pool_output INTEGER NOT NULL,
    counted_work TEXT NOT NULL,
    root TEXT NOT NULL,
    root_work TEXT NOT NULL,
    is_confirmed INTEGER NOT NULL,
    -- What its lines were sent together.
    paid INTEGER NOT NULL
) STRICT;
CREATE INDEX settlement_time ON settlement (time_ms, hash);
-- One account's line of it.
CREATE TABLE credit (
    scope INTEGER NOT NULL REFERENCES scope (id),
    time_ms INTEGER NOT NULL,
    hash BLOB NOT NULL,
    work TEXT NOT NULL,
    entitled INTEGER NOT NULL,
    paid INTEGER NOT NULL,
    PRIMARY KEY (scope, time_ms, hash)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 3;
