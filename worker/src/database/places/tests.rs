use super::*;

fn place(sql: &str) -> Place {
    let pieces = Pieces::of(sql, Dialect::MySql.into()).unwrap();
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
        ("x = :a -> '$.b'", Place::Value),
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
