use super::super::binding::{self, Plain};
use super::super::zone::Zone;
use super::*;
use serde_json::json;

/// Returns the statement as a database gets it.
fn sent(
    sql: &str,
    dialect: Dialect,
    params: Params<'_>,
) -> Result<(String, Vec<Plain>), ParamError> {
    let statement = rewrite(sql, dialect.into(), params, Dates::Converted)?;
    let zone = Ok(Zone::utc());
    let ready = match dialect {
        Dialect::Postgres => binding::typed(statement, &[], &zone),
        _ => binding::untyped(statement, dialect, &zone),
    };
    ready.map(|ready| (ready.sql, ready.values))
}

fn mysql(sql: &str, params: Params<'_>) -> Result<(String, Vec<Plain>), ParamError> {
    sent(sql, Dialect::MySql, params)
}

fn text(text: &str) -> Plain {
    Plain::Text(text.to_owned())
}

#[test]
fn each_dialect_has_its_placeholders() {
    let params: Params<'_> = &[("a", json!(1)), ("b", json!("x"))];
    let sql = "SELECT :a, :b, :a";
    let (sent_sql, values) = mysql(sql, params).unwrap();
    assert_eq!(sent_sql, "SELECT ?, ?, ?");
    assert_eq!(values, [Plain::Whole(1), text("x"), Plain::Whole(1)]);
    let (postgres, _) = sent(sql, Dialect::Postgres, params).unwrap();
    assert_eq!(postgres, "SELECT ($1::int8), ($2::text), ($3::int8)");
}

#[test]
fn parameters_are_named_once_in_their_order() {
    let sql = "SELECT :b, ':c', :a, :b";
    assert_eq!(
        names(sql, Dialect::Sqlite.into()),
        Ok(vec!["b".to_owned(), "a".to_owned()])
    );
}

#[test]
fn a_list_is_expanded_inside_in_only() {
    let ids: Params<'_> = &[("ids", json!([1, 2, 3]))];
    let (sql, values) = mysql("x IN (:ids)", ids).unwrap();
    assert_eq!(sql, "x IN (?, ?, ?, ?)");
    assert_eq!(values, [1, 2, 3, 3].map(Plain::Whole));
    for sql in [
        "x = :ids",
        "VALUES (:ids)",
        "JSON_LENGTH(:ids)",
        "CAST(:ids AS JSON)",
    ] {
        let (_, values) = mysql(sql, ids).unwrap();
        assert_eq!(values, [text("[1,2,3]")], "{sql}");
    }
    for sql in [
        "JSON_ARRAY(:ids)",
        "CONCAT_WS('-', :ids)",
        "x IN (:ids, 4)",
        "x = ANY (:ids)",
    ] {
        for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
            let error = sent(sql, dialect, ids).unwrap_err().to_string();
            assert!(error.contains(":ids is a list"), "{sql}: {error}");
        }
    }
    for list in [json!([[1]]), json!([1, {"a": 1}])] {
        let error = mysql("x IN (:ids)", &[("ids", list)]).unwrap_err();
        assert!(error.to_string().contains(":ids"), "{error}");
    }
    for sql in ["x LIMIT :ids", "x LIMIT 1 OFFSET :ids", "x LIMIT 1, :ids"] {
        for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
            let error = sent(sql, dialect, ids).unwrap_err().to_string();
            assert!(error.contains(":ids is a list"), "{sql}: {error}");
        }
    }
    for sql in ["n + :ids", ":ids * 2", "NOW() - INTERVAL :ids DAY"] {
        let error = mysql(sql, ids).unwrap_err().to_string();
        assert!(error.contains("only a number can be"), "{sql}: {error}");
    }
    for sql in [
        "DELETE FROM t WHERE x <> :ids",
        "DELETE FROM t WHERE x = :ids",
        "UPDATE t SET y = 1 WHERE :ids = x",
        "UPDATE t SET y = 1 WHERE (x, y) = (1, :ids)",
        "DELETE FROM t WHERE x = COALESCE(:ids, 1)",
        "UPDATE t SET y = CASE x WHEN :ids THEN 1 END",
        "DELETE FROM t WHERE x IS DISTINCT FROM :ids",
    ] {
        for value in [json!([1, 2, 3]), json!({"a": 1})] {
            for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
                let error = sent(sql, dialect, &[("ids", value.clone())]).unwrap_err();
                let error = error.to_string();
                assert!(
                    error.contains("single values are compared"),
                    "{sql}: {error}"
                );
            }
        }
    }
    // A value that is not a list may be in every place.
    let (sql, values) = mysql("x IN (:id, 4)", &[("id", json!("a"))]).unwrap();
    assert_eq!((sql.as_str(), values), ("x IN (?, 4)", vec![text("a")]));
}

#[test]
fn postgres_compares_lists_by_the_type_of_the_place() {
    let ids: Params<'_> = &[("ids", json!([1, 2]))];
    let sent = |sql, of: &str| {
        let statement = rewrite(sql, Dialect::Postgres.into(), ids, Dates::Converted)?;
        let ready = binding::typed(statement, &[of.to_owned()], &Ok(Zone::utc()));
        ready.map(|ready| ready.values)
    };
    for sql in [
        "DELETE FROM t WHERE x <> :ids",
        "DELETE FROM t WHERE x = :ids",
        "DELETE FROM t WHERE x IS DISTINCT FROM :ids",
        "DELETE FROM t WHERE COALESCE(:ids, x) = x",
    ] {
        // Ranges and the types of extensions may read such a text.
        for of in ["jsonb", "int4range", "vector", "public.halfvec"] {
            assert_eq!(sent(sql, of).unwrap(), [text("[1,2]")], "{sql}");
        }
        assert!(sent(sql, "integer[]").is_ok(), "{sql}");
        for of in [
            "text",
            "character varying",
            "integer",
            "public.citext",
            "date",
            "timestamp with time zone",
        ] {
            let error = sent(sql, of).unwrap_err().to_string();
            assert!(error.contains(":ids is a list"), "{sql}: {error}");
        }
    }
    for sql in [
        "DELETE FROM t WHERE x @> :ids",
        "DELETE FROM t WHERE x <=> :ids < 1",
        "DELETE FROM t WHERE :ids <-> x < 1",
        "DELETE FROM t WHERE (x <#> :ids) < 1",
    ] {
        for of in ["jsonb", "vector", "int4range"] {
            assert_eq!(sent(sql, of).unwrap(), [text("[1,2]")], "{sql}");
        }
    }
    assert!(sent("UPDATE t SET x = :ids WHERE y = 1", "text").is_ok());
}

#[test]
fn an_object_is_refused_where_its_text_matches_nothing() {
    let object: Params<'_> = &[("a", json!({"b": 1}))];
    for sql in ["x IN (:a)", "x NOT IN (:a)", "x IN (1, :a)", "x LIMIT :a"] {
        for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
            let error = sent(sql, dialect, object).unwrap_err().to_string();
            assert!(error.contains(":a is an object"), "{sql}: {error}");
        }
    }
    for sql in ["x = n + :a", "x = :a % 2"] {
        let error = mysql(sql, object).unwrap_err().to_string();
        assert!(error.contains(":a is an object"), "{sql}: {error}");
    }
    for sql in ["x = :a", "JSON_EXTRACT(:a, '$.b')", "x = :a -> '$.b'"] {
        assert_eq!(mysql(sql, object).unwrap().1, [text(r#"{"b":1}"#)]);
    }
    let uuid =
        json!({"__type__": "uuid", "__value__": {"hex": "0b8a1e3c5d2f4c7a9e612f3b4c5d6e7f"}});
    assert!(mysql("x IN (:a)", &[("a", uuid)]).is_ok());
}

#[test]
fn mysql_takes_whole_numbers_of_rows_only() {
    for (value, expected) in [
        (json!(5), Some(5)),
        (json!(0), Some(0)),
        (json!("7"), Some(7)),
        (json!(-1), None),
        (json!("many"), None),
        (json!(""), None),
        (json!(1.5), None),
        (json!(true), None),
        (json!(null), None),
        (json!(u64::MAX), None),
    ] {
        let sent = mysql("DELETE FROM t LIMIT :a", &[("a", value.clone())]);
        if let Some(count) = expected {
            assert_eq!(sent.unwrap().1, [Plain::Whole(count)]);
        } else {
            let error = sent.unwrap_err().to_string();
            assert!(error.contains(":a stands behind LIMIT"), "{value}: {error}");
        }
    }
    // PostgreSQL and SQLite report wrong values themselves. Some values that MySQL refuses have a
    // meaning there.
    let none: Params<'_> = &[("a", json!(null))];
    assert!(sent("SELECT 1 LIMIT :a", Dialect::Postgres, none).is_ok());
    let all: Params<'_> = &[("a", json!(-1))];
    assert!(sent("SELECT 1 LIMIT :a", Dialect::Sqlite, all).is_ok());
}

#[test]
fn an_empty_list_contains_no_value() {
    let none: Params<'_> = &[("a", json!([])), ("b", json!(7))];
    let sql = ":b not in (:a) OR x IN( :a /* c */ ) AND y = :b";
    for (dialect, expected) in [
        (
            Dialect::MySql,
            "? not in (SELECT NULL FROM DUAL WHERE FALSE) OR \
            x IN( SELECT NULL FROM DUAL WHERE FALSE /* c */ ) AND y = ?",
        ),
        (
            Dialect::Postgres,
            "($1::int8) <> ALL ('{}') OR x = ANY ('{}') AND y = ($2::int8)",
        ),
        (Dialect::Sqlite, "? not in () OR x IN(  /* c */ ) AND y = ?"),
    ] {
        assert_eq!(sent(sql, dialect, none).unwrap().0, expected);
    }
}

#[test]
fn a_long_list_is_sent_as_it_is() {
    let list = |length: usize| [("a", json!(vec![1; length]))];
    for (length, sent, kept) in [(5, 8, true), (4_096, 4_096, true), (4_097, 4_097, false)] {
        let params = list(length);
        let statement = rewrite("x IN (:a)", Dialect::MySql.into(), &params, Dates::Kept).unwrap();
        assert_eq!((statement.values.len(), statement.kept), (sent, kept));
    }
}

#[test]
fn a_batch_needs_lists() {
    for sql in ["x IN (:a) AND y IN (:b)", "SELECT JSON_LENGTH(:a)"] {
        assert_eq!(check_batch(sql, Dialect::MySql.into()), Ok(()), "{sql}");
    }
    for sql in [
        "SET n = :a WHERE x IN (:b)",
        "CONCAT(:a)",
        "x = ANY (:a)",
        "x IN (1, :a)",
    ] {
        let wrong = Err(ParamError::Batch("a".to_owned()));
        assert_eq!(check_batch(sql, Dialect::MySql.into()), wrong, "{sql}");
    }
    assert_eq!(
        check_batch("x = ANY (:a)", Dialect::Postgres.into()),
        Ok(())
    );
    assert_eq!(
        check_batch("unnest(:a::int[])", Dialect::Postgres.into()),
        Ok(())
    );
    assert!(check_batch("x = :a", Dialect::Postgres.into()).is_err());
}

#[test]
fn exact_numbers_stay_exact() {
    let decimal = json!({"__type__": "decimal", "__value__": "1.10"});
    let params: Params<'_> = &[("a", decimal), ("b", json!(u64::MAX))];
    let (sql, values) = mysql("SELECT :a, :b", params).unwrap();
    assert_eq!(
        sql,
        "SELECT CAST(? AS DECIMAL(3, 2)), CAST(? AS DECIMAL(20, 0))"
    );
    assert_eq!(values, [text("1.10"), text("18446744073709551615")]);
    let (sql, _) = sent("SELECT :a, :b", Dialect::Postgres, params).unwrap();
    assert_eq!(sql, "SELECT ($1::text::numeric), ($2::text::numeric)");
}

#[test]
fn text_that_only_looks_like_a_parameter_stays() {
    for sql in [
        "SELECT ':a'",
        r"SELECT 'it\':a'",
        "SELECT 'it'':a'",
        "SELECT `:a`, \":a\"",
        "SELECT 1 -- :a\n",
        "SELECT 1 # :a",
        "SELECT /* :a */ 1",
        "SET @x := 1",
        "SELECT '12:30'",
        "SELECT 'Zoë :a'",
        "SELECT 'why?', @x, a$1",
    ] {
        assert_eq!(mysql(sql, &[]).unwrap().0, sql);
    }
    for sql in [
        "SELECT x::text",
        "SELECT $$ :a $$",
        "SELECT $q$ :a $$ $q$",
        "SELECT a$1, '$1', j ? 'k'",
        r"SELECT '\', x::int",
        r"SELECT E'it\':a', e'\\', like'\'",
    ] {
        assert_eq!(sent(sql, Dialect::Postgres, &[]).unwrap().0, sql);
    }
}

#[test]
fn mistakes_are_named() {
    assert_eq!(
        mysql("SELECT :a", &[]),
        Err(ParamError::Missing("a".into()))
    );
    assert_eq!(
        mysql("SELECT 1", &[("a", json!(1))]),
        Err(ParamError::Unused("a".into()))
    );
    assert_eq!(
        mysql("SELECT 'x", &[]),
        Err(ParamError::Unterminated("quotes"))
    );
    assert_eq!(
        mysql("SELECT /* x", &[]),
        Err(ParamError::Unterminated("a comment"))
    );
    for (dialect, placeholder) in [
        (Dialect::MySql, "?"),
        (Dialect::Postgres, "$12"),
        (Dialect::Sqlite, "?"),
        (Dialect::Sqlite, "$a"),
        (Dialect::Sqlite, "@a"),
    ] {
        let sql = format!("SELECT 1, {placeholder}, 2");
        let wrong = Err(ParamError::Placeholder(placeholder.into()));
        assert_eq!(names(&sql, dialect.into()), wrong, "{sql}");
    }
}

#[test]
fn a_statement_knows_its_size() {
    let params: Params<'_> = &[("a", json!("x".repeat(1_000))), ("b", json!([1, 2, 3]))];
    let sql = "SELECT :a, x IN (:b)";
    let statement = rewrite(sql, Dialect::MySql.into(), params, Dates::Kept).unwrap();
    let placeholders = "SELECT ?, x IN (?, ?, ?, ?)".len() + 5 * AROUND_A_VALUE;
    assert_eq!(statement.bytes(), 1_000 + placeholders);
}

#[test]
fn a_document_is_not_compared() {
    for sql in [
        "DELETE FROM t WHERE id <> :a",
        "DELETE FROM t WHERE n > :a",
        "DELETE FROM t WHERE NOT :a",
        "DELETE FROM t WHERE :a NOT IN (1, 2)",
        "DELETE FROM t WHERE id NOT LIKE :a",
    ] {
        for value in [json!([1]), json!([]), json!({"a": 1})] {
            for dialect in [Dialect::MySql, Dialect::Sqlite] {
                let error = sent(sql, dialect, &[("a", value.clone())]).unwrap_err();
                let error = error.to_string();
                assert!(error.contains("single values are compared"), "{error}");
                let instead = match dialect {
                    Dialect::Sqlite => "is compared with json(:a)",
                    _ => "with CAST(:a AS JSON), or JSON_COMPACT(:a) on MariaDB",
                };
                assert!(error.contains(instead), "{error}");
            }
        }
        for value in [json!(1), json!("x"), json!(null)] {
            assert!(mysql(sql, &[("a", value)]).is_ok(), "{sql}");
        }
    }
}

#[test]
fn a_column_is_compared_with_a_document_as_the_error_says() {
    for (dialect, of) in [
        (Dialect::MySql, "CAST(:a AS JSON)"),
        (Dialect::MySql, "JSON_COMPACT(:a)"),
        (Dialect::Sqlite, "json(:a)"),
        (Dialect::Postgres, "CAST(:a AS text)"),
    ] {
        for value in [json!([1]), json!([]), json!({"a": 1})] {
            for sql in [
                format!("DELETE FROM t WHERE data = {of}"),
                format!("DELETE FROM t WHERE {of} <> data"),
                format!("DELETE FROM t WHERE (id, data) = (1, {of})"),
            ] {
                let sent = sent(&sql, dialect, &[("a", value.clone())]).unwrap();
                assert_eq!(sent.1, [text(&value.to_string())], "{sql}");
            }
        }
    }
}
