use super::*;

fn place(sql: &str) -> Place {
    place_in(sql, Dialect::MySql)
}

fn place_in(sql: &str, dialect: Dialect) -> Place {
    let pieces = Pieces::of(sql, dialect.into()).unwrap();
    pieces.parameters().next().unwrap().1
}

#[test]
fn a_list_stands_alone_inside_in() {
    for (sql, negated) in [
        ("x IN (:a)", false),
        ("x in(:a) AND 1", false),
        ("x NOT IN (:a)", true),
        (
            "x not /* never */ In ( -- these\n :a # and no others\n )",
            true,
        ),
        ("f(x IN (:a))", false),
        ("NOT (x IN (:a))", false),
        ("(SELECT 1 WHERE x IN (:a))", false),
    ] {
        match place(sql) {
            Place::In { not, .. } => assert_eq!(not, negated, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn a_parameter_may_follow_two_hyphens_in_mysql() {
    assert_eq!(place("UPDATE t SET a = 5--:a"), Place::Number);
}

#[test]
fn other_words_may_begin_with_any_character() {
    for sql in [
        "UPDATE größe SET ß = :a",
        "ü = :a – 1",
        "日本語 IN (:a, '語')",
        "\u{7ec} :a",
    ] {
        let pieces = Pieces::of(sql, Dialect::MySql.into()).unwrap();
        let names: Vec<&str> = pieces.parameters().map(|(name, _)| name).collect();
        assert_eq!(names, ["a"], "{sql}");
    }
}

#[test]
fn other_places_are_distinguished() {
    for (sql, expected) in [
        ("x IN (1, :a)", Place::AmongOthers),
        ("x IN (:a, 2)", Place::AmongOthers),
        ("x IN (-:a)", Place::AmongOthers),
        ("x IN (SELECT y FROM z WHERE w = :a)", Place::Compared),
        ("x IN (SELECT f(:a))", Place::Argument),
        ("x = :a", Place::Value),
        ("INSERT INTO t (a) VALUES (:a)", Place::Value),
        ("INSERT INTO t VALUES (1), (:a)", Place::Value),
        ("x = (:a)", Place::Value),
        ("JSON_ARRAY(:a)", Place::Argument),
        ("CONCAT_WS('-', :a)", Place::Argument),
        ("concat ((:a))", Place::Argument),
        ("concat (1, (:a))", Place::Argument),
        ("`json_array`(:a)", Place::Argument),
        ("JSON_ARRAY(1 IN (2), :a)", Place::Argument),
        ("Json_Length(:a)", Place::Document),
        ("CAST(:a AS JSON)", Place::Document),
        ("x MEMBER OF(:a)", Place::Document),
        ("x = ANY (:a)", Place::Array),
        ("x WHERE (y OR (:a))", Place::Value),
        ("DELETE FROM t LIMIT :a", Place::Count),
        ("x limit /* few */ :a", Place::Count),
        ("x LIMIT 5, :a", Place::Count),
        ("x LIMIT 5 OFFSET :a", Place::Count),
        ("x IN (SELECT y FROM z LIMIT :a)", Place::Count),
        ("x FETCH FIRST :a ROWS ONLY", Place::Count),
        ("x = y + :a", Place::Number),
        ("x = :a * 2", Place::Number),
        ("f(:a DIV 2)", Place::Number),
        ("NOW() - INTERVAL :a DAY", Place::Number),
        ("x = :a -> '$.b'", Place::Document),
        ("f(y, :a)", Place::Argument),
        ("DELETE FROM t WHERE id <> :a", Place::Compared),
        ("DELETE FROM t WHERE id != :a", Place::Compared),
        ("DELETE FROM t WHERE id >= :a", Place::Compared),
        ("DELETE FROM t WHERE NOT (id <=> :a)", Place::Compared),
        ("DELETE FROM t WHERE :a < id", Place::Compared),
        ("DELETE FROM t WHERE NOT :a", Place::Compared),
        ("DELETE FROM t WHERE :a", Place::Compared),
        ("DELETE FROM t WHERE id = 1 AND :a;", Place::Compared),
        ("DELETE FROM t WHERE :a NOT IN (1, 2)", Place::Compared),
        ("DELETE FROM t WHERE id NOT LIKE :a", Place::Compared),
        ("DELETE FROM t WHERE id BETWEEN :a AND 5", Place::Compared),
        ("UPDATE t SET tags = :a", Place::Value),
        ("UPDATE t SET tags = :a WHERE id = 1", Place::Value),
        (
            "UPDATE t SET x = 1 WHERE (:a IS NULL OR y = 1)",
            Place::Value,
        ),
        (
            "UPDATE t SET x = 1 WHERE JSON_LENGTH(y) > 0 AND :a IS NULL",
            Place::Value,
        ),
        ("x IN (:a + 1)", Place::AmongOthers),
    ] {
        assert_eq!(place(sql), expected, "{sql}");
    }
}

#[test]
fn an_equals_sign_assigns_after_set_and_compares_elsewhere() {
    for (sql, expected) in [
        ("UPDATE t SET a = :a", Place::Value),
        ("UPDATE t SET b = 1, t.a = :a WHERE b = 2", Place::Value),
        ("UPDATE t SET b = (1, 2), a[1] = :a", Place::Value),
        (
            "UPDATE t SET b = CASE WHEN c = 1 THEN 2 END, a = :a",
            Place::Value,
        ),
        ("UPDATE t JOIN u ON t.id = u.id SET a = :a", Place::Value),
        ("UPDATE t SET (a, b) = (:a, 1)", Place::Value),
        ("INSERT INTO t SET a = :a", Place::Value),
        (
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = :a",
            Place::Value,
        ),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = :a",
            Place::Value,
        ),
        (
            "WITH x AS (UPDATE t SET a = :a RETURNING *) DELETE FROM u",
            Place::Value,
        ),
        ("SELECT @x := :a", Place::Value),
        ("UPDATE t SET n = 1 WHERE a = :a", Place::Compared),
        ("UPDATE t SET n = 1 WHERE :a = a", Place::Compared),
        ("UPDATE t SET n = 1 WHERE (a = :a OR b)", Place::Compared),
        ("UPDATE t SET n = 1 WHERE a = (:a)", Place::Compared),
        ("UPDATE t SET n = 1 WHERE (a, b) = (1, :a)", Place::Compared),
        (
            "UPDATE t SET n = 1 WHERE (a, b) <> (:a, 1)",
            Place::Compared,
        ),
        ("UPDATE t SET n = a = :a", Place::Compared),
        ("UPDATE t SET n = (a = :a)", Place::Compared),
        (
            "UPDATE t SET b = CASE WHEN c = :a THEN 2 END",
            Place::Compared,
        ),
        (
            "UPDATE t SET b = CASE c WHEN :a THEN 2 END",
            Place::Compared,
        ),
        ("UPDATE t SET b = CASE WHEN 1 THEN :a END", Place::Value),
        ("UPDATE t JOIN u ON t.a = :a SET b = 1", Place::Compared),
        (
            "DELETE FROM t WHERE a IS NOT DISTINCT FROM :a",
            Place::Compared,
        ),
        ("DELETE FROM t WHERE a IS :a", Place::Compared),
        ("INSERT INTO t SELECT a = :a FROM u", Place::Compared),
        (
            "DELETE FROM t WHERE id IN (SELECT id FROM u GROUP BY id HAVING a = :a)",
            Place::Compared,
        ),
    ] {
        assert_eq!(place(sql), expected, "{sql}");
    }
}

#[test]
fn functions_that_pass_their_arguments_on_take_the_place_of_their_call() {
    for (sql, expected) in [
        ("UPDATE t SET a = COALESCE(:a, a)", Place::Document),
        ("INSERT INTO t VALUES (IFNULL(:a, 1))", Place::Document),
        ("JSON_LENGTH(COALESCE(:a, '[]'))", Place::Document),
        ("JSON_ARRAY(COALESCE(:a, 1))", Place::Argument),
        ("CONCAT(x, IF(y, 1, :a))", Place::Argument),
        ("JSON_ARRAY(IFNULL(NULLIF(:a, 1), 2))", Place::Argument),
        ("JSON_ARRAY((COALESCE(1, (:a))))", Place::Argument),
        (
            "DELETE FROM t WHERE id IN (COALESCE(:a, 1))",
            Place::AmongOthers,
        ),
        ("DELETE FROM t WHERE id <> COALESCE(1, :a)", Place::Compared),
        ("DELETE FROM t WHERE id = IF(x, :a, 1)", Place::Compared),
        ("DELETE FROM t WHERE COALESCE(:a, 1) > id", Place::Compared),
        ("UPDATE t SET n = IF(a = :a, 1, 2)", Place::Compared),
        ("UPDATE t SET n = n + COALESCE(:a, 1)", Place::Number),
    ] {
        assert_eq!(place(sql), expected, "{sql}");
    }
}

#[test]
fn operators_of_postgres_compare_if_they_are_comparisons() {
    for operator in [
        "<->", "<=>", "<#>", "<+>", "<~>", "<%>", "@>", "<@", "&&", "||", "?|", "->", "->>", "#>>",
        "@@", "@?", "<<", ">>", "-|-", "<<->", "%>", "=>", "|=|",
    ] {
        for sql in [
            format!("UPDATE t SET x = 1 WHERE id IN (SELECT id FROM u ORDER BY v {operator} :a)"),
            format!("UPDATE t SET x = 1 WHERE v{operator}(:a) IS NOT NULL"),
        ] {
            assert_eq!(place_in(&sql, Dialect::Postgres), Place::Value, "{sql}");
        }
        if !operator.starts_with("->") {
            let sql = format!("UPDATE t SET x = 1 WHERE y = 1 AND :a {operator} v < 5");
            assert_eq!(place_in(&sql, Dialect::Postgres), Place::Value, "{sql}");
        }
    }
    for operator in [
        "<", ">", "=", "<=", ">=", "<>", "!=", "~", "~*", "!~", "!~*", "~~", "!~~*", " LIKE ",
    ] {
        for sql in [
            format!("UPDATE t SET x = 1 WHERE v {operator} :a"),
            format!("UPDATE t SET x = 1 WHERE v{operator}:a"),
            format!("UPDATE t SET x = 1 WHERE v {operator} /* it */ (:a)"),
            format!("UPDATE t SET x = 1 WHERE :a {operator} v"),
            format!("UPDATE t SET x = 1 WHERE :a{operator} -1"),
        ] {
            assert_eq!(place_in(&sql, Dialect::Postgres), Place::Compared, "{sql}");
        }
    }
    for (sql, expected) in [
        ("UPDATE t SET x = 1 WHERE :a <-1", Place::Compared),
        ("UPDATE t SET x = 1 WHERE :a >=+1", Place::Compared),
        ("UPDATE t SET x = 1 WHERE :a = @ y", Place::Compared),
        ("UPDATE t SET v=:a", Place::Value),
        ("CALL p(v => :a)", Place::Value),
        ("CALL p(v := :a)", Place::Value),
    ] {
        let found = match place_in(sql, Dialect::Postgres) {
            Place::Argument => Place::Value,
            place => place,
        };
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn an_arrow_reads_json_from_the_value_before_it() {
    for sql in [
        "UPDATE t SET n = 1 WHERE id = :a ->> '$.id'",
        "UPDATE t SET n = 1 WHERE id = :a->'$.id'",
        "UPDATE t SET n = 1 WHERE id <> :a ->> '$.id'",
        "UPDATE t SET n = 1 WHERE id = (:a) ->> '$.id'",
        "UPDATE t SET n = 1 WHERE id = (:a ->> '$.id')",
        "UPDATE t SET n = 1 WHERE (id, n) = (:a ->> '$.id', 2)",
        "UPDATE t SET n = 1 WHERE id IN (:a ->> '$.id', 2)",
        "UPDATE t SET n = 1 WHERE id IN (:a ->> '$[0]')",
        "UPDATE t SET n = 1 WHERE name LIKE :a ->> '$.name'",
        "UPDATE t SET n = 1 WHERE n BETWEEN :a ->> '$.from' AND 5",
        "UPDATE t SET n = 1 WHERE id = COALESCE(:a, '{}') ->> '$.id'",
        "UPDATE t SET n = CASE id WHEN :a ->> '$.id' THEN 1 END",
        "UPDATE t SET n = n + :a ->> '$.n'",
        "UPDATE t SET n = n + (:a) ->> '$.n'",
        "UPDATE t SET n = abs(:a ->> '$.n')",
        "UPDATE t SET n = abs((:a) ->> '$.n')",
        "DELETE FROM t LIMIT :a ->> '$.n'",
    ] {
        assert_eq!(place_in(sql, Dialect::Sqlite), Place::Document, "{sql}");
    }
    for (sql, expected) in [
        ("UPDATE t SET n = :a - 1", Place::Number),
        ("UPDATE t SET n = f(:a) ->> '$.n'", Place::Argument),
        (
            "UPDATE t SET n = 1 WHERE data ->> '$.id' = :a",
            Place::Compared,
        ),
        ("UPDATE t SET n = 1 WHERE :a > 5", Place::Compared),
    ] {
        assert_eq!(place_in(sql, Dialect::Sqlite), expected, "{sql}");
    }
}

#[test]
fn a_value_that_is_only_tested_is_not_passed_on() {
    for sql in [
        "UPDATE t SET n = n + IF(:a IS NULL, 0, 1)",
        "UPDATE t SET n = n + IIF(:a IS NOT NULL, 0, 1)",
        "UPDATE t SET n = n + IF((:a) IS NULL, 0, 1)",
        "UPDATE t SET n = n + IF(NOT :a IS NULL, 0, 1)",
        "UPDATE t SET n = IIF(:a ISNULL, 0, 1) * 2",
        "UPDATE t SET n = IIF(:a NOTNULL, 0, 1) * 2",
        "UPDATE t SET n = IIF(:a NOT NULL, 0, 1) * 2",
        "UPDATE t SET n = IF(b AND :a IS NULL, 0, 1) - 1",
        "UPDATE t SET n = n + IF(:a IS TRUE, 0, 1)",
        "DELETE FROM t WHERE id = IF(:a IS NULL, id, 5)",
        "DELETE FROM t WHERE id <> COALESCE(:a IS NULL, 0)",
        "DELETE FROM t WHERE id = 1 OR NOT (:a) IS NULL",
        "DELETE FROM t WHERE id IN (:a IS NULL, 1)",
        "DELETE FROM t WHERE id = f(:a IS NULL)",
        "DELETE FROM t LIMIT :a IS NULL",
        "UPDATE t SET n = CASE WHEN :a IS NULL THEN 0 ELSE 1 END",
    ] {
        assert_eq!(place(sql), Place::Value, "{sql}");
    }
    for (sql, expected) in [
        ("UPDATE t SET n = n + IF(1, :a, 0)", Place::Number),
        ("UPDATE t SET n = IF(n + :a IS NULL, 0, 1)", Place::Number),
        ("DELETE FROM t WHERE id = IF(1, :a, 5)", Place::Compared),
        ("DELETE FROM t WHERE id = (:a) IS NULL", Place::Compared),
        (
            "DELETE FROM t WHERE id = IF(id <> :a, 1, 5)",
            Place::Compared,
        ),
    ] {
        assert_eq!(place(sql), expected, "{sql}");
    }
}
