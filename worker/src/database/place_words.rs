//! The words of SQL that show what a place is.

/// Functions that take a JSON document. A list is bound as JSON there; any other function would
/// read the text of the document as a plain string.
pub(super) const TAKE_DOCUMENTS: &[&str] = &[
    "CAST",
    "CONVERT",
    "JSON",
    "JSONB",
    "JSON_ARRAY_INTERSECT",
    "JSON_ARRAY_LENGTH",
    "JSON_COMPACT",
    "JSON_CONTAINS",
    "JSON_CONTAINS_PATH",
    "JSON_DEPTH",
    "JSON_DETAILED",
    "JSON_EACH",
    "JSON_EXISTS",
    "JSON_EXTRACT",
    "JSON_KEYS",
    "JSON_LENGTH",
    "JSON_LOOSE",
    "JSON_MERGE",
    "JSON_MERGE_PATCH",
    "JSON_MERGE_PRESERVE",
    "JSON_NORMALIZE",
    "JSON_OVERLAPS",
    "JSON_PATCH",
    "JSON_PRETTY",
    "JSON_QUERY",
    "JSON_SCHEMA_VALID",
    "JSON_SEARCH",
    "JSON_TABLE",
    "JSON_TREE",
    "JSON_TYPE",
    "JSON_VALID",
    "JSON_VALUE",
    // `17 MEMBER OF(:list)`
    "OF",
];

/// Functions that return an argument unchanged. Such an argument has the place of the call.
pub(super) const PASS_ON: &[&str] = &["COALESCE", "IF", "IFNULL", "IIF", "NULLIF", "NVL"];

/// Words that may precede a parenthesis and are not the name of a function.
pub(super) const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "DIV",
    "ELSE",
    "EXISTS",
    "FROM",
    "HAVING",
    "IS",
    "JOIN",
    "LIKE",
    "LIMIT",
    "MOD",
    "NOT",
    "OFFSET",
    "ON",
    "OR",
    "REGEXP",
    "RETURNING",
    "RLIKE",
    "ROW",
    "SELECT",
    "SET",
    "SOME",
    "THEN",
    "UNION",
    "USING",
    "VALUE",
    "VALUES",
    "WHEN",
    "WHERE",
    "XOR",
];

/// Operators of arithmetic.
pub(super) const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "DIV", "MOD"];

/// Words that compare a single value, before it and after it. `=` is not among them, because it also
/// assigns.
pub(super) const COMPARE_BEFORE: &[&str] = &[
    "LIKE", "ILIKE", "GLOB", "REGEXP", "RLIKE", "~", "NOT", "IS", "BETWEEN", "CASE", "WHEN",
];
pub(super) const COMPARE_AFTER: &[&str] = &[
    "<", ">", "!", "~", "=", "IN", "NOT", "LIKE", "ILIKE", "GLOB", "REGEXP", "RLIKE", "BETWEEN",
];
/// The characters of PostgreSQL's operators. Extensions define others with them, such as the
/// distances `<->`, `<=>` and `<#>` of pgvector.
pub(super) const IN_OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "<", ">", "=", "~", "!", "@", "#", "%", "^", "&", "|", "?",
];
/// The operators of PostgreSQL that compare single values. `~~` stands for `LIKE`.
pub(super) const COMPARISONS: &[&str] = &[
    "<", ">", "=", "<=", ">=", "<>", "!=", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*",
];
/// The words after `IS` that test a single value.
pub(super) const IS_TESTED_FOR: &[&str] = &["NULL", "TRUE", "FALSE", "UNKNOWN", "JSON"];
/// Words after which `=` compares, until another word changes that.
pub(super) const CONDITIONS: &[&str] = &["WHERE", "HAVING", "ON", "SELECT", "RETURNING"];
/// Words around a condition.
pub(super) const BEFORE_CONDITION: &[&str] = &["WHERE", "HAVING", "AND", "OR", "XOR"];
pub(super) const AFTER_CONDITION: &[&str] = &[
    "",
    ")",
    ";",
    "AND",
    "OR",
    "XOR",
    "ORDER",
    "GROUP",
    "HAVING",
    "LIMIT",
    "RETURNING",
];
