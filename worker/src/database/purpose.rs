//! Decides whether a statement suits a task, mostly by its first words.
//!
//! A task runs inside a transaction of the worker, on a session that other tasks use before and
//! after it. A statement that ends the transaction would separate the work from the row that
//! records it. A statement that changes the session would affect other tasks. The rows of a
//! `SELECT` are discarded, and so is the outcome of a statement that reports it in rows.

use super::Dialect;
use super::shape::Word;

/// The reason why a statement does not suit a task.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PurposeError {
    /// It only returns rows.
    #[error(
        "{verb} only returns rows, and a task has no use for them: its result is the number of \
         rows that it matched{hint}"
    )]
    OnlyAnswers {
        /// The word that shows it.
        verb: String,
        /// The text to write instead.
        hint: &'static str,
    },
    /// It reports in rows whether it worked.
    #[error(
        "{0} reports errors only in the rows that it returns, which a task does not read: it would \
         succeed whatever happened"
    )]
    ReportsInRows(String),
    /// It begins or ends a transaction.
    #[error(
        "{0} controls a transaction, and the worker itself begins and ends the one that a task runs \
         in"
    )]
    Transaction(String),
    /// It changes the session.
    #[error(
        "{0} works on a session, and each call of a task may run in another one, which other tasks \
         use afterwards"
    )]
    Session(String),
    /// It cannot run inside a transaction.
    #[error("{0} cannot run inside a transaction, and every task runs in one")]
    Alone(String),
    /// It reads from its client or writes to it.
    #[error("{0} moves rows from or to its client, and a task has none to send or to receive")]
    Client(String),
    /// It defines a routine with statements of its own.
    #[error(
        "{0} … BEGIN … END defines statements, which is the work of a migration: a task changes rows"
    )]
    Definition(String),
    /// It is a block of statements.
    #[error(
        "{0} is a compound statement, which cannot be a task: put it into a procedure, which a \
         task can call (CALL p(:a))"
    )]
    Compound(String),
}

/// Statements that change rows.
pub(super) const CHANGES: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"];
/// Statements that only return rows. `SELECT` and `WITH` are not among them, because they may also
/// change something.
const ANSWERS: [&str; 7] = [
    "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP",
];
/// Statements of MySQL and MariaDB whose errors are rows.
const REPORTS: [&str; 6] = [
    "ANALYZE", "CHECK", "CHECKSUM", "OPTIMIZE", "REPAIR", "CACHE",
];
/// Settings of SQLite whose outcome is a row.
const PRAGMA_REPORTS: [&str; 5] = [
    "integrity_check",
    "quick_check",
    "foreign_key_check",
    "wal_checkpoint",
    "journal_mode",
];
/// What `CREATE` and `ALTER` can define with statements of its own.
const ROUTINES: [&str; 5] = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];
/// Words that begin, divide or end a transaction in any of the databases.
const TRANSACTION: [&str; 8] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "END",
    "ABORT",
    "XA",
];
/// Words with which MySQL's and MariaDB's compound statements begin, besides `BEGIN`.
const COMPOUND: [&str; 7] = ["IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR", "DECLARE"];

/// PostgreSQL's names of its type of truth values.
const BOOLEAN: [&str; 2] = ["BOOLEAN", "BOOL"];
/// The texts that PostgreSQL reads as true.
const TRUE: [&str; 9] = ["true", "tru", "tr", "t", "yes", "ye", "y", "on", "1"];

/// Checks that a statement suits a task.
pub(super) fn check(words: &[Word<'_>], dialect: Dialect) -> Result<(), PurposeError> {
    let Some(first) = words.first() else {
        return Ok(());
    };
    let second = words.get(1);
    let follows = |keywords: &[&str]| second.is_some_and(|word| word.is_one_of(keywords));
    let one = || first.text.to_uppercase();
    let two = || {
        second.map_or_else(one, |second| {
            format!("{} {}", one(), second.text.to_uppercase())
        })
    };
    let (mysql, postgres) = (dialect == Dialect::MySql, dialect == Dialect::Postgres);
    if let Some(function) = keeps_in_session(words, dialect) {
        return Err(PurposeError::Session(format!("{function}(…)")));
    }
    match () {
        () if first.is_one_of(&TRANSACTION) => Err(PurposeError::Transaction(one())),
        () if (first.is("START") || first.is("PREPARE")) && follows(&["TRANSACTION"]) => {
            Err(PurposeError::Transaction(two()))
        }
        () if first.is("SET") && !sets_for_all(words, dialect) => Err(PurposeError::Session(one())),
        () if first.is_one_of(session_words(dialect)) => Err(PurposeError::Session(one())),
        () if first.is_one_of(&["LOCK", "UNLOCK"]) => Err(PurposeError::Session(two())),
        () if first.is("EXECUTE") && !follows(&["IMMEDIATE"]) => Err(PurposeError::Session(one())),
        () if first.is("DROP") && follows(&["PREPARE"]) => Err(PurposeError::Session(two())),
        () if makes_temporary(words) => Err(PurposeError::Session("CREATE TEMPORARY".to_owned())),
        () if first.is("FLUSH") && locks_tables(words) => {
            Err(PurposeError::Session("FLUSH TABLES with a lock".to_owned()))
        }
        () if mysql && first.is_one_of(&REPORTS) => Err(PurposeError::ReportsInRows(one())),
        () if mysql && first.is("ALTER") && checks_partitions(words) => Err(
            PurposeError::ReportsInRows("ALTER TABLE … of partitions".to_owned()),
        ),
        () if dialect == Dialect::Sqlite && first.is("PRAGMA") => pragma(words),
        () if !mysql && first.is("VACUUM") => Err(PurposeError::Alone(one())),
        () if postgres && first.is("COPY") && words.iter().any(is_the_client) => {
            Err(PurposeError::Client("COPY".to_owned()))
        }
        () => only_answers(words, dialect),
    }
}

/// Refuses MariaDB's compound statements, which hold others that end with semicolons.
pub(super) fn refuse_compound(words: &[Word<'_>], dialect: Dialect) -> Result<(), PurposeError> {
    let (Some(first), Dialect::MySql) = (words.first(), dialect) else {
        return Ok(());
    };
    let second = words.get(1);
    let is_block = second.is_some_and(|second| match () {
        // The statement begins with a label.
        () if second.is(":") => true,
        () if first.is("BEGIN") => !second.is("WORK"),
        () => first.is_one_of(&COMPOUND),
    });
    let verb = match () {
        () if !is_block => return Ok(()),
        () if first.is("BEGIN") && second.is_some_and(|second| second.is("NOT")) => {
            "BEGIN NOT ATOMIC … END".to_owned()
        }
        () if first.is("BEGIN") => "BEGIN … END".to_owned(),
        () => format!("{} …", first.text.to_uppercase()),
    };
    Err(PurposeError::Compound(verb))
}

/// Refuses the definition of a procedure, function, trigger or event whose body has several
/// statements.
pub(super) fn refuse_definition(words: &[Word<'_>]) -> Result<(), PurposeError> {
    let Some((first, rest)) = words.split_first() else {
        return Ok(());
    };
    let begin = rest.iter().position(|word| word.is("BEGIN"));
    let head = rest.get(..begin.unwrap_or_default()).unwrap_or_default();
    match head.iter().find(|word| word.is_one_of(&ROUTINES)) {
        Some(routine) if first.is("CREATE") || first.is("ALTER") => {
            let verb = format!("{} {}", first.text, routine.text);
            Err(PurposeError::Definition(verb.to_uppercase()))
        }
        _ => Ok(()),
    }
}

/// Returns the name of a function in a statement whose effect stays in the session.
fn keeps_in_session<'s>(words: &[Word<'s>], dialect: Dialect) -> Option<&'s str> {
    let kept: &[&str] = match dialect {
        Dialect::MySql => &["GET_LOCK"],
        // Those with `xact` in their name end with the transaction.
        Dialect::Postgres => &[
            "pg_advisory_lock",
            "pg_advisory_lock_shared",
            "pg_try_advisory_lock",
            "pg_try_advisory_lock_shared",
            "set_config",
        ],
        Dialect::Sqlite => &[],
    };
    words.iter().enumerate().find_map(|(at, word)| {
        let name = word.text.trim_matches(['"', '`']);
        let is_kept = kept.iter().any(|kept| name.eq_ignore_ascii_case(kept));
        let arguments = words.get(at + 1..).unwrap_or_default();
        let is_called = arguments.first().is_some_and(|word| word.is("("));
        (is_kept && is_called && !is_local(name, arguments)).then_some(name)
    })
}

/// Returns `true` for `set_config(…, …, true)`, which lasts as long as the transaction.
fn is_local(function: &str, arguments: &[Word<'_>]) -> bool {
    let depth = arguments.first().map_or(0, |word| word.depth);
    let close = arguments
        .iter()
        .position(|word| word.is(")") && word.depth == depth);
    let inside = close.and_then(|close| arguments.get(1..close));
    let last = inside.and_then(|inside| {
        inside
            .rsplit(|word| word.is(",") && word.depth == depth + 1)
            .next()
    });
    function.eq_ignore_ascii_case("set_config") && last.is_some_and(is_true)
}

/// Returns `true` for a constant of PostgreSQL that is true, also with a cast: `true`, `'on'`,
/// `'t'::bool`.
fn is_true(mut value: &[Word<'_>]) -> bool {
    loop {
        value = match value {
            // `is_local => true`, or `is_local := true`
            [name, a, b, value @ ..]
                if name.is("is_local") && (a.is("=") && b.is(">") || a.is(":") && b.is("=")) =>
            {
                value
            }
            [open, value @ .., close] if open.is("(") && close.is(")") => value,
            [cast, open, value @ .., to, name, close]
                if cast.is("CAST")
                    && open.is("(")
                    && to.is("AS")
                    && name.is_one_of(&BOOLEAN)
                    && close.is(")") =>
            {
                value
            }
            [value @ .., cast, name] if cast.is("::") && name.is_one_of(&BOOLEAN) => value,
            [name, value] if name.is_one_of(&BOOLEAN) && value.text.starts_with('\'') => {
                std::slice::from_ref(value)
            }
            [value] => {
                let text = value.text.trim_matches('\'').trim();
                return value.is("TRUE")
                    || value.text.starts_with('\'')
                        && TRUE.iter().any(|word| text.eq_ignore_ascii_case(word));
            }
            _ => return false,
        };
    }
}

/// Returns `true` for `ALTER TABLE … CHECK PARTITION` and its like.
fn checks_partitions(words: &[Word<'_>]) -> bool {
    words.windows(2).any(|pair| match pair {
        [what, partition] => what.is_one_of(&REPORTS) && partition.is("PARTITION"),
        _ => false,
    })
}

/// Checks a `PRAGMA` of SQLite: most of them read a setting, or change one of the session.
fn pragma(words: &[Word<'_>]) -> Result<(), PurposeError> {
    // `PRAGMA schema.name = value`
    let name = match words {
        [_, _, dot, name, ..] if dot.is(".") => name,
        [_, name, ..] => name,
        _ => return Ok(()),
    };
    let has_value = words.iter().any(|word| word.is_one_of(&["=", "("]));
    let shown = format!("PRAGMA {}", name.text);
    match () {
        () if name.is_one_of(&["optimize", "incremental_vacuum"]) => Ok(()),
        // These are kept in the file.
        () if has_value && name.is_one_of(&["user_version", "application_id"]) => Ok(()),
        () if name.is_one_of(&PRAGMA_REPORTS) => Err(PurposeError::ReportsInRows(shown)),
        () if has_value => Err(PurposeError::Session(shown)),
        () => Err(PurposeError::OnlyAnswers {
            verb: shown,
            hint: "",
        }),
    }
}

/// Returns the first words of statements that only affect their session.
fn session_words(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::MySql => &["USE", "HANDLER", "PREPARE", "DEALLOCATE"],
        Dialect::Postgres => &[
            "RESET",
            "DISCARD",
            "LISTEN",
            "UNLISTEN",
            "DECLARE",
            "FETCH",
            "MOVE",
            "CLOSE",
            "PREPARE",
            "DEALLOCATE",
            "LOAD",
        ],
        Dialect::Sqlite => &["ATTACH", "DETACH"],
    }
}

/// Returns `true` for a `SET` of MySQL that outlives the session, and for MariaDB's `SET STATEMENT
/// … FOR`, which runs another statement.
fn sets_for_all(words: &[Word<'_>], dialect: Dialect) -> bool {
    const FOR_ALL: [&str; 6] = [
        "GLOBAL",
        "PERSIST",
        "PERSIST_ONLY",
        "PASSWORD",
        "DEFAULT",
        "STATEMENT",
    ];
    let what = words.iter().skip(1).find(|word| !word.is("@"));
    dialect == Dialect::MySql && what.is_some_and(|what| what.is_one_of(&FOR_ALL))
}

/// Returns `true` for `CREATE [OR REPLACE | GLOBAL | LOCAL] TEMPORARY …`
fn makes_temporary(words: &[Word<'_>]) -> bool {
    let mut words = words.iter().take(4);
    words.next().is_some_and(|first| first.is("CREATE"))
        && words
            .find(|word| !word.is_one_of(&["OR", "REPLACE", "GLOBAL", "LOCAL"]))
            .is_some_and(|word| word.is_one_of(&["TEMPORARY", "TEMP"]))
}

/// Returns `true` for `FLUSH TABLES … WITH READ LOCK` or `FOR EXPORT`
fn locks_tables(words: &[Word<'_>]) -> bool {
    words.windows(2).any(|pair| match pair {
        [first, second] => {
            first.is("READ") && second.is("LOCK") || first.is("FOR") && second.is("EXPORT")
        }
        _ => false,
    })
}

fn is_the_client(word: &Word<'_>) -> bool {
    word.depth == 0 && word.is_one_of(&["STDIN", "STDOUT"])
}

fn only_answers(words: &[Word<'_>], dialect: Dialect) -> Result<(), PurposeError> {
    // `(SELECT …) UNION (SELECT …)`
    let opening = words.iter().take_while(|word| word.is("(")).count();
    let Some(first) = words.get(opening) else {
        return Ok(());
    };
    let does_something = match () {
        () if first.is("SELECT") => selects_into(words, dialect) || calls_function(words, dialect),
        () if first.is("WITH") => with_changes(words) || selects_into(words, dialect),
        () => !first.is_one_of(&ANSWERS),
    };
    if does_something {
        return Ok(());
    }
    Err(PurposeError::OnlyAnswers {
        verb: if first.is("WITH") {
            "WITH … SELECT".to_owned()
        } else {
            first.text.to_uppercase()
        },
        hint: match dialect {
            Dialect::MySql => "; a function is called by DO f(…), a procedure by CALL",
            Dialect::Postgres => "; a function is called by SELECT f(…) alone, a procedure by CALL",
            Dialect::Sqlite => "",
        },
    })
}

/// Returns `true` for `SELECT … INTO`, which makes a table in PostgreSQL, and may make a file in
/// MySQL.
fn selects_into(words: &[Word<'_>], dialect: Dialect) -> bool {
    let into = words.windows(2).find_map(|pair| match pair {
        [into, what] if into.depth == 0 && into.is("INTO") => Some(what),
        _ => None,
    });
    into.is_some_and(|what| match dialect {
        Dialect::MySql => what.is_one_of(&["OUTFILE", "DUMPFILE"]),
        // A temporary table would stay in the session of a pooled connection.
        Dialect::Postgres => !what.is_one_of(&["TEMP", "TEMPORARY", "LOCAL", "GLOBAL"]),
        Dialect::Sqlite => false,
    })
}

/// Returns `true` for `SELECT schema.name(…)` and nothing else: PostgreSQL has no other way to call
/// a function.
fn calls_function(words: &[Word<'_>], dialect: Dialect) -> bool {
    let is_name = |word: &Word<'_>| {
        word.is(".")
            || word
                .text
                .starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic())
    };
    let named = words
        .iter()
        .skip(1)
        .take_while(|word| is_name(word))
        .count();
    let arguments = words.get(1 + named..).unwrap_or_default();
    let (first, last) = (arguments.first(), arguments.last());
    dialect == Dialect::Postgres
        && named > 0
        && first.is_some_and(|word| word.is("("))
        && last.is_some_and(|word| word.is(")"))
        // The last parenthesis closes the first one.
        && arguments.iter().filter(|word| word.depth == 0).count() == 2
}

/// Returns `true` if the statement after the tables of `WITH`, or one inside them, changes rows.
fn with_changes(words: &[Word<'_>]) -> bool {
    let mut statement = words
        .iter()
        .filter(|word| word.depth == 0)
        .filter(|word| word.is_one_of(&CHANGES) || word.is_one_of(&["SELECT", "VALUES", "TABLE"]));
    let changes = statement
        .next()
        .is_some_and(|word| word.is_one_of(&CHANGES));
    let inside = words.windows(2).any(|pair| match pair {
        [open, first] => open.depth == 0 && open.is("(") && first.is_one_of(&CHANGES),
        _ => false,
    });
    changes || inside
}

#[cfg(test)]
mod tests;
