//! How a server reads the quotes of a statement.
//!
//! Whether a backslash inside quotes escapes the next character depends on settings of the session:
//! `sql_mode` of MySQL and MariaDB (`NO_BACKSLASH_ESCAPES`, `ANSI_QUOTES`), and
//! `standard_conforming_strings` of PostgreSQL. The worker learns these settings when it opens a
//! session. Before that, it accepts a statement if one of the [`possible`](Grammar::possible)
//! readings makes sense of it.

use super::Dialect;

/// A dialect, and the effect of a session's settings on its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grammar {
    pub(super) dialect: Dialect,
    /// `true` if a backslash escapes inside `'…'`.
    escapes_in_single: bool,
    /// `true` if a backslash escapes inside `"…"`, which it never does in a name.
    escapes_in_double: bool,
}

impl From<Dialect> for Grammar {
    /// Returns the grammar of a server with its default settings.
    fn from(dialect: Dialect) -> Self {
        let escapes = dialect == Dialect::MySql;
        Grammar {
            dialect,
            escapes_in_single: escapes,
            escapes_in_double: escapes,
        }
    }
}

impl Grammar {
    /// Returns the grammar of a session of MySQL or MariaDB by its `sql_mode`.
    pub(super) fn of_sql_mode(mode: &str) -> Self {
        let has = |name| mode.split(',').any(|part| part == name);
        let escapes = !has("NO_BACKSLASH_ESCAPES");
        Grammar {
            dialect: Dialect::MySql,
            escapes_in_single: escapes,
            escapes_in_double: escapes && !has("ANSI_QUOTES"),
        }
    }

    /// Returns the grammar of a session of PostgreSQL by its `standard_conforming_strings`.
    pub(super) fn of_conforming_strings(conform: bool) -> Self {
        Grammar {
            escapes_in_single: !conform,
            ..Dialect::Postgres.into()
        }
    }

    /// Returns every grammar that a session may turn out to have, the usual one first.
    pub(super) fn possible(dialect: Dialect) -> Vec<Self> {
        let mut all = vec![Self::from(dialect)];
        match dialect {
            Dialect::MySql => {
                all.extend(["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"].map(Self::of_sql_mode));
            }
            Dialect::Postgres => all.push(Self::of_conforming_strings(false)),
            Dialect::Sqlite => {}
        }
        all
    }

    /// Returns `true` if a backslash escapes inside these quotes.
    pub(super) fn escapes_in(self, quote: char) -> bool {
        match quote {
            '\'' => self.escapes_in_single,
            '"' => self.escapes_in_double,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_says_where_a_backslash_escapes() {
        for (mode, single, double) in [
            ("", true, true),
            ("STRICT_TRANS_TABLES,ANSI_QUOTES", true, false),
            ("NO_BACKSLASH_ESCAPES", false, false),
            (
                "PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,ANSI_QUOTES",
                false,
                false,
            ),
        ] {
            let grammar = Grammar::of_sql_mode(mode);
            let escapes = ['\'', '"', '`'].map(|quote| grammar.escapes_in(quote));
            assert_eq!(escapes, [single, double, false], "{mode}");
        }
    }
}
