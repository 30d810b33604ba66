//! The place of a parameter in its statement, which decides how a list is bound.

use super::Dialect;
use super::grammar::Grammar;
use super::params::ParamError;
use super::place_words::{
    AFTER_CONDITION, BEFORE_CONDITION, COMPARE_AFTER, COMPARE_BEFORE, COMPARISONS, CONDITIONS,
    IN_OPERATORS, IS_TESTED_FOR, KEYWORDS, OPERATORS, PASS_ON, TAKE_DOCUMENTS,
};
use super::tokens::{Token, is_name, token};

/// The place of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Alone inside `IN (…)`. `from` is the piece with the word `IN`, or with the `NOT` before it;
    /// `to` is the piece with the closing parenthesis.
    In { from: usize, to: usize, not: bool },
    /// Inside `IN (…)`, beside other values.
    AmongOthers,
    /// An argument of a function that is not known to take a JSON document.
    Argument,
    /// An argument of a function that takes a JSON document, or before `->` or `->>`.
    Document,
    /// Inside `ANY (…)` or `ALL (…)`.
    Array,
    /// After `LIMIT` or `OFFSET`: a number of rows.
    Count,
    /// Beside an operator of arithmetic, or after `INTERVAL`. Not used for PostgreSQL, which has
    /// such operators for JSON and reports the type of a place itself.
    Number,
    /// Beside a comparison, or as a condition of its own. A JSON document there would change other
    /// rows than meant: `id <> '[1]'` is true for each row. PostgreSQL also compares values of the
    /// type JSON, and reports the type of the place.
    Compared,
    /// Anywhere else.
    Value,
}

/// A statement in pieces, and the place of each parameter.
pub(super) struct Pieces<'s> {
    /// Each piece of text, and its place if it is a parameter.
    pub(super) all: Vec<(&'s str, Option<Place>)>,
}

impl<'s> Pieces<'s> {
    /// Splits a statement.
    pub(super) fn of(sql: &'s str, grammar: Grammar) -> Result<Self, ParamError> {
        let mut pieces: Vec<(&str, bool)> = Vec::new();
        let mut rest = sql;
        while let Some(next) = rest.chars().next() {
            let Token {
                length,
                is_parameter,
            } = token(rest, next, grammar)?;
            let (text, after) = rest.split_at(length);
            rest = after;
            pieces.push((text, is_parameter));
        }
        let mut all: Vec<(&str, Option<Place>)> =
            pieces.iter().map(|(text, _)| (*text, None)).collect();
        let mut reader = Reader::new(&pieces, grammar.dialect);
        for at in 0..reader.words.len() {
            if let Some((piece, place)) = reader.read(at)
                && let Some((_, found)) = all.get_mut(piece)
            {
                *found = Some(place);
            }
        }
        Ok(Pieces { all })
    }

    /// Returns the parameters, with their places.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'s str, Place)> {
        // The text of a parameter begins with a colon, which is one byte long and is cut off here.
        self.all
            .iter()
            .filter_map(|(text, place)| place.map(|place| (&text[1..], place)))
    }
}

/// A piece that is neither white space nor a comment.
struct Word<'s> {
    text: &'s str,
    is_parameter: bool,
    /// Its index among all pieces.
    piece: usize,
    /// For an opening parenthesis, the index of the word that closes it.
    close: usize,
}

/// What an open parenthesis belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A list of `IN (…)` or `NOT IN (…)`. `from` is the piece with the word `IN`, or with the
    /// `NOT` before it; `not` is `true` if there is a `NOT`.
    In { from: usize, not: bool },
    /// The arguments of a function that takes no document.
    Argument,
    /// The arguments of a function that takes a document.
    Document,
    /// `ANY (…)` or `ALL (…)`.
    Array,
    /// The arguments of a function that passes them on to this place.
    PassedTo(Place),
    /// A value or a row that is compared: `x = (:a)`, `(x, y) <> (:a, :b)`.
    Compared,
    /// Anything else, also the statement itself.
    Group,
}

/// The inside of an open parenthesis, or the statement itself.
#[derive(Clone, Copy)]
struct Level {
    open: Open,
    clause: Clause,
    /// `true` if the last `=` assigns, or may assign.
    assigns: bool,
    /// `true` if an `=` has come since the last comma.
    has_equals: bool,
}

/// What `=` does in a part of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clause {
    /// It is not known.
    Unknown,
    /// The first `=` after `SET` or a comma assigns, others compare.
    Set,
    /// It compares.
    Condition,
}

impl Level {
    fn new(open: Open, clause: Clause) -> Self {
        Level {
            open,
            clause,
            assigns: clause != Clause::Condition,
            has_equals: false,
        }
    }
}

/// Reads the words of a statement one after the other.
struct Reader<'s> {
    words: Vec<Word<'s>>,
    dialect: Dialect,
    levels: Vec<Level>,
}

impl<'s> Reader<'s> {
    fn new(pieces: &[(&'s str, bool)], dialect: Dialect) -> Self {
        let mut words: Vec<Word<'s>> = Vec::new();
        let mut open = Vec::new();
        for (piece, (text, is_parameter)) in pieces.iter().enumerate() {
            if !matters(text, dialect) {
                continue;
            }
            let at = words.len();
            match *text {
                "(" => open.push(at),
                ")" => {
                    if let Some(opening) = open.pop().and_then(|opening| words.get_mut(opening)) {
                        opening.close = at;
                    }
                }
                _ => {}
            }
            words.push(Word {
                text,
                is_parameter: *is_parameter,
                piece,
                close: at,
            });
        }
        Reader {
            words,
            dialect,
            levels: vec![Level::new(Open::Group, Clause::Unknown)],
        }
    }

    /// Returns the text of a word, which is empty before the first and after the last one.
    fn word(&self, at: Option<usize>) -> &'s str {
        at.and_then(|at| self.words.get(at))
            .map_or("", |word| word.text)
    }

    fn level(&self) -> Level {
        let bottom = Level::new(Open::Group, Clause::Unknown);
        self.levels.last().copied().unwrap_or(bottom)
    }

    /// Reads a word. Returns its piece and its place if it is a parameter.
    fn read(&mut self, at: usize) -> Option<(usize, Place)> {
        let word = self.words.get(at)?;
        if word.is_parameter {
            return Some((word.piece, self.place(at, at)));
        }
        let text = word.text;
        match text {
            "(" => {
                let open = self.opened(at);
                self.levels.push(Level::new(open, Clause::Condition));
                return None;
            }
            ")" if self.levels.len() > 1 => drop(self.levels.pop()),
            _ => {}
        }
        let is_after_key = is(self.word(at.checked_sub(1)), &["KEY"]);
        let level = self.levels.last_mut()?;
        match () {
            () if is(text, &["SET"]) || is(text, &["UPDATE"]) && is_after_key => {
                *level = Level::new(level.open, Clause::Set);
            }
            () if is(text, CONDITIONS) => level.clause = Clause::Condition,
            () if text == "," => level.has_equals = false,
            () if text == "=" => {
                level.assigns = match level.clause {
                    Clause::Unknown => true,
                    Clause::Set => !level.has_equals,
                    Clause::Condition => false,
                };
                level.has_equals = true;
            }
            () => {}
        }
        None
    }

    /// Returns what the parenthesis at this word belongs to.
    fn opened(&self, at: usize) -> Open {
        let before = at.checked_sub(1);
        let word = self.word(before);
        let is_name = word.starts_with(|c: char| is_name(c) || c == '`' || c == '"');
        let close = self.words.get(at).map_or(at, |word| word.close);
        // `(:x)` stands for `:x`, unless a function is called.
        let is_word = close == at + 2 && (!is_name || is(word, KEYWORDS));
        match () {
            // The parentheses of a query.
            () if is(
                self.word(Some(at + 1)),
                &["SELECT", "WITH", "VALUES", "TABLE"],
            ) =>
            {
                Open::Group
            }
            () if is(word, &["IN"]) => {
                let not = is(self.word(at.checked_sub(2)), &["NOT"]);
                let from = at.checked_sub(if not { 2 } else { 1 });
                let from = from.and_then(|from| self.words.get(from));
                Open::In {
                    from: from.map_or(0, |word| word.piece),
                    not,
                }
            }
            () if is(word, &["ANY", "ALL", "SOME"]) => Open::Array,
            () if is(word, TAKE_DOCUMENTS) => Open::Document,
            () if is(word, PASS_ON) => {
                Open::PassedTo(match self.place(before.unwrap_or(at), close) {
                    Place::In { .. } => Place::AmongOthers,
                    Place::Value => Place::Document,
                    place => place,
                })
            }
            () if is_word && self.reads_json(close) => Open::Document,
            () if is_word && self.is_tested(at, close) => Open::Group,
            () if self.is_compared(at) => Open::Compared,
            () if is(word, KEYWORDS) => Open::Group,
            () if is_name => Open::Argument,
            // `f((:x))` is `f(:x)`, and `f(1, (:x))` is `f(1, :x)`.
            () if is(word, &["(", ","]) => self.level().open,
            () => Open::Group,
        }
    }

    /// Returns the place of a value: a parameter or a call from the word `first` to the word `last`.
    fn place(&self, first: usize, last: usize) -> Place {
        if self.reads_json(last) {
            return Place::Document;
        }
        if self.is_tested(first, last) {
            return Place::Value;
        }
        let before = self.word(first.checked_sub(1));
        let after = self.words.get(last + 1);
        let ends = after.map_or("", |word| word.text);
        let place = match self.level().open {
            Open::In { from, not } => match after {
                Some(after) if before == "(" && ends == ")" => Place::In {
                    from,
                    to: after.piece,
                    not,
                },
                _ => Place::AmongOthers,
            },
            Open::Argument => Place::Argument,
            Open::Document => Place::Document,
            Open::Array => Place::Array,
            Open::Compared if is(before, &["(", ","]) && is(ends, &[")", ","]) => Place::Compared,
            Open::PassedTo(_) | Open::Compared | Open::Group => Place::Value,
        };
        let narrowed = match place {
            Place::Value | Place::Argument => self.narrow(place, first, last),
            place => place,
        };
        match self.level().open {
            Open::PassedTo(place) if narrowed == Place::Value => place,
            _ => narrowed,
        }
    }

    /// Returns `place`, or a place that the words around the value show.
    fn narrow(&self, place: Place, first: usize, last: usize) -> Place {
        let [before, further, furthest] = [1, 2, 3].map(|back| self.word(first.checked_sub(back)));
        let after = self.word(Some(last + 1));
        let counts = is(before, &["LIMIT", "OFFSET"])
            // `LIMIT 10, :count`
            || before == "," && is(furthest, &["LIMIT"])
            // `FETCH FIRST :count ROWS ONLY`
            || is(before, &["FIRST", "NEXT"]) && is(further, &["FETCH"]);
        let calculates = is(before, OPERATORS) || is(before, &["INTERVAL"]) || is(after, OPERATORS);
        let compares = self.is_compared(first) && !is(after, &["IS"])
            || self.compares_after(last)
            || is(before, BEFORE_CONDITION) && is(after, AFTER_CONDITION);
        match () {
            () if counts => Place::Count,
            () if calculates && self.dialect != Dialect::Postgres => Place::Number,
            () if compares && place == Place::Value => Place::Compared,
            () => place,
        }
    }

    /// Returns `true` if the words before this one compare a value with it.
    fn is_compared(&self, at: usize) -> bool {
        let [before, further, furthest] = [1, 2, 3].map(|back| self.word(at.checked_sub(back)));
        if self.dialect == Dialect::Postgres && is(before, IN_OPERATORS) {
            return match self.operator_before(at).as_str() {
                "=" => self.compares_by_equals(further),
                operator => is(operator, COMPARISONS),
            };
        }
        // Operators are single characters here: `<>` is `<` and `>`.
        match before {
            // `->` reads JSON. `=>` names an argument, but `<=>` compares.
            "<" | ">" => further != "-" && (further != "=" || furthest == "<"),
            "=" if is(further, &["<", ">", "!"]) => true,
            "=" => self.compares_by_equals(further),
            _ => is(before, COMPARE_BEFORE) || is(before, &["FROM"]) && is(further, &["DISTINCT"]),
        }
    }

    /// Returns `true` if an `=` after the word `before` compares. `:=` assigns.
    fn compares_by_equals(&self, before: &str) -> bool {
        before != ":" && !self.level().assigns
    }

    /// Returns `true` if the words after this one compare a value with it.
    fn compares_after(&self, last: usize) -> bool {
        let after = self.word(Some(last + 1));
        if self.dialect == Dialect::Postgres && is(after, IN_OPERATORS) {
            return is(&self.operator_after(last), COMPARISONS);
        }
        is(after, COMPARE_AFTER)
    }

    /// Returns PostgreSQL's operator that ends before this word.
    fn operator_before(&self, at: usize) -> String {
        let mut from = at;
        while let Some(next) = from.checked_sub(1)
            && is(self.word(Some(next)), IN_OPERATORS)
            && (from == at || self.touches(next))
        {
            from = next;
        }
        (from..at).map(|at| self.word(Some(at))).collect()
    }

    /// Returns PostgreSQL's operator that begins after this word.
    fn operator_after(&self, last: usize) -> String {
        let mut to = last + 1;
        while is(self.word(Some(to)), IN_OPERATORS) && (to == last + 1 || self.touches(to - 1)) {
            to += 1;
        }
        let operator: String = (last + 1..to).map(|at| self.word(Some(at))).collect();
        // A sign begins the next value, unless a character before it belongs to no operator of
        // standard SQL: `<-1` is `<` and `-1`, but `<#-` is one operator.
        if operator.contains(['~', '!', '@', '#', '%', '^', '&', '|', '?']) {
            return operator;
        }
        operator.trim_end_matches(['+', '-']).to_owned()
    }

    /// Returns `true` if nothing is between this word and the next one.
    fn touches(&self, at: usize) -> bool {
        let piece = |at| self.words.get(at).map(|word: &Word<'_>| word.piece);
        piece(at).map(|piece| piece + 1) == piece(at + 1)
    }

    /// Returns `true` if `->` or `->>` after this word reads JSON from its value. Both bind closer
    /// than the operators of arithmetic and comparison.
    fn reads_json(&self, last: usize) -> bool {
        self.word(Some(last + 1)) == "-" && self.word(Some(last + 2)) == ">"
    }

    /// Returns `true` for a value that `IS NULL` or its like makes true or false. `IS` binds as
    /// loosely as a comparison: in `a + :x IS NULL` and `a = :x IS NULL` it tests more than `:x`.
    fn is_tested(&self, first: usize, last: usize) -> bool {
        let before = self.word(first.checked_sub(1));
        let [after, second, third] = [1, 2, 3].map(|on| self.word(Some(last + on)));
        let what = if is(second, &["NOT"]) { third } else { second };
        let tests = is(after, &["ISNULL", "NOTNULL"])
            || is(after, &["NOT"]) && is(second, &["NULL"])
            || is(after, &["IS"]) && is(what, IS_TESTED_FOR);
        let is_operand = is(before, OPERATORS)
            || self.is_compared(first) && !is(before, &["NOT", "CASE", "WHEN"]);
        tests && !is_operand
    }
}

/// Returns `true` if a word is one of `others`, in any case.
fn is(word: &str, others: &[&str]) -> bool {
    others.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// Returns `true` if a piece is neither white space nor a comment.
fn matters(text: &str, dialect: Dialect) -> bool {
    let blank = text.starts_with(char::is_whitespace);
    // In other databases `#` is an operator.
    let is_hash_comment = dialect == Dialect::MySql && text.starts_with('#');
    !(blank || text.starts_with("--") || text.starts_with("/*") || is_hash_comment)
}

#[cfg(test)]
mod tests;
