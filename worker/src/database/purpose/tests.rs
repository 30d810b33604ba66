use super::super::shape;
use super::*;

const ALL: [Dialect; 3] = [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite];

fn fits(sql: &str, dialects: &[Dialect]) {
    for dialect in dialects {
        let outcome = shape::check(sql, (*dialect).into());
        assert_eq!(outcome, Ok(()), "{dialect:?}: {sql}");
    }
}

fn refused(sql: &str, dialects: &[Dialect], part: &str) {
    for dialect in dialects {
        let error = shape::check(sql, (*dialect).into())
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{dialect:?}: {sql}: {error}");
    }
}

#[test]
fn transactions_belong_to_the_worker() {
    for (sql, part) in [
        ("COMMIT", "COMMIT controls a transaction"),
        ("commit and chain;", "COMMIT controls"),
        ("ROLLBACK TO SAVEPOINT a", "ROLLBACK controls"),
        ("SAVEPOINT a", "SAVEPOINT controls"),
        ("RELEASE SAVEPOINT a", "RELEASE controls"),
        ("BEGIN", "BEGIN controls"),
        ("/* x */ begin ;", "BEGIN controls"),
        ("START TRANSACTION READ ONLY", "START TRANSACTION controls"),
        ("END", "END controls"),
    ] {
        refused(sql, &ALL, part);
    }
    refused("BEGIN WORK", &ALL, "BEGIN controls");
    refused("XA START 'a'", &[Dialect::MySql], "XA controls");
    refused("BEGIN IMMEDIATE", &[Dialect::Sqlite], "BEGIN controls");
    refused("ABORT", &[Dialect::Postgres], "ABORT controls");
    let prepare = "PREPARE TRANSACTION 'a'";
    refused(
        prepare,
        &[Dialect::Postgres],
        "PREPARE TRANSACTION controls",
    );
    fits("START REPLICA", &[Dialect::MySql]);
}

#[test]
fn sessions_are_shared_by_tasks() {
    for (sql, verb) in [
        ("SET @x = :x", "SET"),
        ("SET SESSION sql_mode = ''", "SET"),
        ("set names latin1", "SET"),
        ("SET @@sql_mode = ''", "SET"),
        ("HANDLER t OPEN", "HANDLER"),
        ("LOCK TABLES t WRITE", "LOCK TABLES"),
        ("UNLOCK TABLES", "UNLOCK TABLES"),
        ("FLUSH TABLES t WITH READ LOCK", "FLUSH TABLES with a lock"),
        ("USE other", "USE"),
        ("PREPARE x FROM 'DELETE FROM t'", "PREPARE"),
        ("EXECUTE x", "EXECUTE"),
        ("DEALLOCATE PREPARE x", "DEALLOCATE"),
        ("DROP PREPARE x", "DROP PREPARE"),
        (
            "CREATE OR REPLACE TEMPORARY TABLE t (a INT)",
            "CREATE TEMPORARY",
        ),
    ] {
        refused(
            sql,
            &[Dialect::MySql],
            &format!("{verb} works on a session"),
        );
    }
    for (sql, verb) in [
        ("SET search_path = a", "SET"),
        ("SET LOCAL work_mem = '1GB'", "SET"),
        ("RESET ALL", "RESET"),
        ("DISCARD ALL", "DISCARD"),
        ("LISTEN x", "LISTEN"),
        ("DECLARE c CURSOR FOR SELECT 1", "DECLARE"),
        ("LOCK TABLE t", "LOCK TABLE"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE TEMPORARY"),
        ("LOAD 'auto_explain'", "LOAD"),
    ] {
        refused(
            sql,
            &[Dialect::Postgres],
            &format!("{verb} works on a session"),
        );
    }
    let attach = "ATTACH 'x.db' AS x";
    refused(attach, &[Dialect::Sqlite], "ATTACH works on a session");
    for sql in [
        "SET GLOBAL max_connections = :n",
        "SET @@global.max_connections = :n",
        "SET PASSWORD FOR a = PASSWORD(:p)",
        "SET STATEMENT max_statement_time = 10 FOR DELETE FROM t",
        "EXECUTE IMMEDIATE 'DELETE FROM t'",
        "LOAD DATA INFILE '/x' INTO TABLE t",
        "FLUSH TABLES",
        "CREATE TABLE temporary (a INT)",
    ] {
        fits(sql, &[Dialect::MySql]);
    }
    fits("NOTIFY x, 'y'", &[Dialect::Postgres]);
}

#[test]
fn a_pragma_may_only_change_the_file() {
    let sqlite = [Dialect::Sqlite];
    for sql in [
        "PRAGMA optimize",
        "PRAGMA main.optimize(0x10002)",
        "PRAGMA incremental_vacuum(10)",
        "PRAGMA user_version = 7",
        "PRAGMA main.application_id = 7",
    ] {
        fits(sql, &sqlite);
    }
    for (sql, part) in [
        (
            "PRAGMA integrity_check",
            "integrity_check reports errors only",
        ),
        ("pragma main.quick_check(5);", "quick_check reports"),
        (
            "PRAGMA foreign_key_check",
            "reports errors only in the rows",
        ),
        (
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "reports errors only in the rows",
        ),
        (
            "PRAGMA journal_mode = wal",
            "reports errors only in the rows",
        ),
        (
            "PRAGMA foreign_keys = OFF",
            "foreign_keys works on a session",
        ),
        (
            "PRAGMA main.synchronous(0)",
            "synchronous works on a session",
        ),
        ("PRAGMA busy_timeout = 1", "works on a session"),
        ("PRAGMA user_version", "user_version only returns rows"),
        ("PRAGMA table_list", "only returns rows"),
    ] {
        refused(sql, &sqlite, part);
    }
}

#[test]
fn functions_that_leave_something_in_the_session_are_refused() {
    for sql in [
        "DO GET_LOCK(:name, 10)",
        "do get_lock ('a', 1), RELEASE_LOCK('a')",
        "UPDATE t SET a = 1 WHERE GET_LOCK('a', 0) = 1",
        "INSERT INTO t VALUES (`GET_LOCK`('a', 0))",
        "DELETE FROM t /*! WHERE GET_LOCK('a', 0) */",
    ] {
        refused(sql, &[Dialect::MySql], "(…) works on a session");
    }
    for sql in [
        "SELECT pg_advisory_lock(:a)",
        "SELECT pg_catalog.pg_try_advisory_lock(:a, 1)",
        "UPDATE t SET a = 1 WHERE pg_advisory_lock_shared(1) IS NULL",
        "SELECT \"pg_try_advisory_lock_shared\"(1)",
        "SELECT set_config('search_path', :a, false)",
        "SELECT set_config('app.user', f(1, true), :b)",
        "SELECT set_config('app.user', :a, 'f')",
        "SELECT set_config('app.user', :a, false::bool)",
        "SELECT set_config('app.user', :a, NOT true)",
        "SELECT set_config('app.user', :a, true AND f())",
        "SELECT set_config('app.user', :a, 'o'::bool)",
        "SELECT set_config('app.user', :a, (true) = (false))",
    ] {
        refused(sql, &[Dialect::Postgres], "(…) works on a session");
    }
    for sql in [
        "SELECT pg_advisory_xact_lock(:a)",
        "SELECT set_config('app.user', :a, true)",
        "SELECT set_config('app.user', :a, TRUE::bool)",
        "SELECT set_config('app.user', :a, true::boolean)",
        "SELECT set_config('app.user', :a, 't')",
        "SELECT set_config('app.user', :a, 'ON')",
        "SELECT set_config('app.user', :a, ' yes ')",
        "SELECT set_config('app.user', :a, '1'::bool)",
        "SELECT set_config('app.user', :a, bool 'y')",
        "SELECT set_config('app.user', :a, CAST('true' AS boolean))",
        "SELECT set_config('app.user', f(:a, false), ((true)))",
        "SELECT set_config('app.user', :a, is_local => true)",
        "SELECT pg_catalog.set_config('app.user', :a::text, true::bool)",
        "UPDATE t SET a = 'pg_advisory_lock(1)', set_config = 1",
        "UPDATE get_lock SET a = (1)",
    ] {
        fits(sql, &[Dialect::Postgres]);
    }
    fits("DO RELEASE_LOCK('a')", &[Dialect::MySql]);
}

#[test]
fn what_mysql_runs_inside_a_comment_is_read() {
    for (sql, part) in [
        ("/*! SELECT 1 */", "SELECT only returns rows"),
        ("/*!50000 SELECT * FROM t */", "SELECT only returns rows"),
        ("/*M!100000 COMMIT */", "COMMIT controls a transaction"),
        ("/*!80000SET @x = 1*/;", "SET works on a session"),
        ("/*! SELECT /* inner */ 1 */", "SELECT only returns rows"),
    ] {
        refused(sql, &[Dialect::MySql], part);
    }
    for sql in [
        "INSERT /*! IGNORE */ INTO t VALUES (1)",
        "/*!50000 DELETE */ FROM t",
        "DELETE FROM t /*!99999 LIMIT 1 */",
    ] {
        fits(sql, &[Dialect::MySql]);
    }
}

#[test]
fn definitions_are_work_for_a_migration() {
    for (sql, part) in [
        (
            "CREATE PROCEDURE p() BEGIN DELETE FROM a; DELETE FROM b; END",
            "CREATE PROCEDURE … BEGIN … END defines statements",
        ),
        (
            "create definer=`a`@`b` trigger x before insert on t for each row begin update u set a = 1; end;",
            "CREATE TRIGGER …",
        ),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS INT BEGIN RETURN 1; END",
            "CREATE FUNCTION …",
        ),
        ("ALTER EVENT e DO BEGIN DELETE FROM a; END", "ALTER EVENT …"),
        (
            "CREATE TRIGGER x BEFORE INSERT ON t BEGIN DELETE FROM a; END",
            "the work of a migration",
        ),
    ] {
        refused(sql, &ALL, part);
    }
    refused("CREATE TABLE t (a INT); BEGIN", &ALL, "another one begins");
    refused(
        "DROP PROCEDURE p; CREATE PROCEDURE p() BEGIN END",
        &ALL,
        "another one begins",
    );
}

#[test]
fn an_outcome_that_no_task_reads_is_refused() {
    for sql in [
        "ANALYZE TABLE t",
        "analyze update t SET a = :a",
        "OPTIMIZE TABLE t",
        "CHECK TABLE t",
        "REPAIR TABLE t",
        "ALTER TABLE t CHECK PARTITION p",
        "alter table t analyze partition all",
        "ALTER TABLE t OPTIMIZE PARTITION p, q",
        "ALTER TABLE t REPAIR PARTITION p",
    ] {
        refused(sql, &[Dialect::MySql], "reports errors only in the rows");
    }
    for sql in [
        "ALTER TABLE t REBUILD PARTITION p",
        "ALTER TABLE t TRUNCATE PARTITION p",
        "ALTER TABLE t ADD CONSTRAINT CHECK (a > 1)",
    ] {
        fits(sql, &[Dialect::MySql]);
    }
    let others = [Dialect::Postgres, Dialect::Sqlite];
    fits("ANALYZE t", &others);
    refused("VACUUM", &others, "VACUUM cannot run inside a transaction");
    for sql in ["COPY t FROM STDIN", "copy (SELECT 1) to stdout"] {
        refused(sql, &[Dialect::Postgres], "COPY moves rows");
    }
    fits("COPY t FROM '/x'", &[Dialect::Postgres]);
}

#[test]
fn a_compound_statement_is_named_as_one() {
    for (sql, part) in [
        (
            "BEGIN NOT ATOMIC DELETE FROM a; DELETE FROM b; END",
            "BEGIN NOT ATOMIC … END is a compound",
        ),
        (
            "begin not atomic\n  delete from a;\nend;",
            "into a procedure",
        ),
        ("BEGIN DELETE FROM a; END", "BEGIN … END is a compound"),
        ("IF :a > 1 THEN DELETE FROM a; END IF", "IF … is a compound"),
        ("x: LOOP DELETE FROM a; END LOOP", "is a compound"),
        ("FOR i IN (SELECT 1) DO DELETE FROM a; END FOR", "FOR … is"),
    ] {
        refused(sql, &[Dialect::MySql], part);
    }
}

#[test]
fn statements_that_only_return_rows_are_refused() {
    for (sql, verb) in [
        ("SELECT a FROM t WHERE id = :id", "SELECT"),
        ("/* look */ select 1;", "SELECT"),
        ("(SELECT a FROM t) UNION (SELECT b FROM t)", "SELECT"),
        ("SELECT a FROM t WHERE id = :id FOR UPDATE", "SELECT"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH … SELECT"),
        (
            "WITH x AS (SELECT 1), y (a) AS (SELECT 2) SELECT * FROM x FOR UPDATE",
            "WITH",
        ),
        ("WITH x AS (SELECT 1) VALUES (1)", "WITH"),
        ("VALUES (:a, :b)", "VALUES"),
        ("TABLE t", "TABLE"),
        ("SHOW TABLES", "SHOW"),
        ("DESC t", "DESC"),
        ("explain DELETE FROM t", "EXPLAIN"),
    ] {
        refused(sql, &ALL, verb);
    }
    let both = [Dialect::MySql, Dialect::Sqlite];
    refused("SELECT f(:a)", &both, "SELECT");
    refused("SELECT a INTO @x FROM t", &[Dialect::MySql], "DO f(…)");
    for table in [
        "TEMP x",
        "TEMPORARY x",
        "LOCAL TEMP x",
        "GLOBAL TEMPORARY x",
    ] {
        let sql = format!("SELECT a INTO {table} FROM t");
        refused(&sql, &[Dialect::Postgres], "SELECT");
        let sql = format!("WITH u AS (SELECT 1) {sql}");
        refused(&sql, &[Dialect::Postgres], "WITH … SELECT");
    }
    for sql in [
        "SELECT f(:a), g(:b)",
        "SELECT (f(:a))",
        "SELECT * FROM f(:a)",
        "SELECT a",
    ] {
        refused(sql, &[Dialect::Postgres], "SELECT f(…) alone");
    }
}

#[test]
fn statements_that_change_something_are_accepted() {
    for sql in [
        "INSERT INTO t SELECT * FROM u WHERE id = :id",
        "INSERT INTO t (a) VALUES (:a) RETURNING id",
        "REPLACE INTO t VALUES (:a)",
        "CREATE TABLE t AS SELECT 1",
        "WITH x AS (SELECT 1 AS a) UPDATE t SET a = (SELECT a FROM x)",
        "WITH x AS (SELECT 1), y AS (SELECT 2) INSERT INTO t SELECT * FROM y",
        "WITH gone AS (DELETE FROM t WHERE id = :id RETURNING *) SELECT * FROM gone",
        "DO f(:a)",
    ] {
        fits(sql, &ALL);
    }
    for sql in [
        "SELECT a INTO OUTFILE '/tmp/x' FROM t",
        "WITH u AS (SELECT 1 AS a) SELECT a FROM u INTO OUTFILE '/tmp/x'",
    ] {
        fits(sql, &[Dialect::MySql]);
    }
    for sql in [
        "SELECT f(:a)",
        "SELECT s.f(:a, (SELECT 1))",
        "SELECT \"S\".\"f\"(:a::int);",
        "SELECT * INTO u FROM t",
        "WITH old AS (SELECT * FROM t) SELECT * INTO archive FROM old",
    ] {
        fits(sql, &[Dialect::Postgres]);
    }
}
