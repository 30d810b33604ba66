//! Draws `top`, and says what its keys do.

use std::time::Instant;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::fleet::Fleet;
use super::tables::Page;
use crate::printable::one_line;

const HELP: &str = "1-6 page  ↑↓ select  x revoke  r retry  p replay  q quit";

/// The widest that a column may be. The last column takes the rest of the line.
const WIDEST: u16 = 40;

/// What the person at the screen wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To revoke the task of this id, and to end it if it runs.
    Revoke(String),
    /// To send the failed task of this id again.
    Retry(String),
    /// To put the dead letter of this place back.
    Replay(String),
    /// To leave.
    Quit,
}

impl Wish {
    fn question(&self) -> String {
        match self {
            Wish::Revoke(id) => format!("Revoke {id}, and end it if it runs? y/n"),
            Wish::Retry(id) => format!("Send {id} again, under its id? y/n"),
            Wish::Replay(place) => format!("Put dead letter {place} back into its queue? y/n"),
            Wish::Quit => String::new(),
        }
    }
}

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    page: Page,
    selected: TableState,
    /// A wish that is to be confirmed.
    asked: Option<Wish>,
    /// The last message, such as what became of a wish.
    message: String,
}

impl Screen {
    /// Shows a message until the next one.
    pub(super) fn say(&mut self, message: impl Into<String>) {
        self.message = message.into();
    }

    /// Takes in a key. Returns the wish that it confirms.
    pub(super) fn press(&mut self, key: KeyEvent, fleet: &Fleet) -> Option<Wish> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Some(Wish::Quit);
        }
        if let Some(wish) = self.asked.take() {
            return (key.code == KeyCode::Char('y')).then_some(wish);
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
            KeyCode::Char(digit @ '1'..='6') => {
                self.page = Page::ALL[digit as usize - '1' as usize];
                self.selected = TableState::default();
            }
            KeyCode::Down => self.selected.select_next(),
            KeyCode::Up => self.selected.select_previous(),
            KeyCode::Char('x') => self.asked = self.task(fleet).map(Wish::Revoke),
            KeyCode::Char('r') => self.asked = self.failure(fleet).map(Wish::Retry),
            KeyCode::Char('p') => self.asked = self.letter(fleet).map(Wish::Replay),
            _ => {}
        }
        None
    }

    /// Returns the id of the selected task.
    fn task(&mut self, fleet: &Fleet) -> Option<String> {
        let row = self.selected.selected();
        let row = row.filter(|_| self.page == Page::Running);
        let id = row.and_then(|row| fleet.running.keys().nth(row)).cloned();
        if id.is_none() {
            self.say("Select a running task first (page 3)");
        }
        id
    }

    /// Returns the id of the selected failure.
    fn failure(&mut self, fleet: &Fleet) -> Option<String> {
        let row = self.selected.selected();
        let row = row.filter(|_| self.page == Page::Failures);
        let failed = row.and_then(|row| fleet.failures.get(row));
        let id = failed.map(|failed| failed.id.clone());
        if id.is_none() {
            self.say("Select a failure first (page 5)");
        }
        id
    }

    /// Returns the place of the selected dead letter.
    fn letter(&mut self, fleet: &Fleet) -> Option<String> {
        let row = self.selected.selected();
        let row = row.filter(|_| self.page == Page::Dead);
        let letter = row.and_then(|row| fleet.letters.get(row));
        let place = letter.map(|letter| letter.place.clone());
        if place.is_none() {
            self.say("Select a dead letter first (page 6)");
        }
        place
    }

    /// Draws everything. `broker` is the broker's URL without its password.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, fleet: &Fleet, broker: &str, clock: f64) {
        let now = Instant::now();
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(1),
        ]);
        let [head, pages, body, foot] = areas.areas(frame.area());
        frame.render_widget(summary(fleet, broker, now).bold(), head);
        frame.render_widget(self.pages(), pages);

        let table = self.page.table(fleet, now, clock);
        let mut widths: Vec<Constraint> = table
            .widths()
            .into_iter()
            .map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX).min(WIDEST)))
            .collect();
        if let Some(last) = widths.last_mut() {
            *last = Constraint::Fill(1);
        }
        let rows = table.rows.into_iter().map(Row::new);
        let drawn = Table::new(rows, widths)
            .header(Row::new(table.heads.iter().copied()).style(Style::new().underlined()))
            .row_highlight_style(Style::new().reversed());
        frame.render_stateful_widget(drawn, body, &mut self.selected);

        let foot_text = match &self.asked {
            Some(wish) => Line::from(one_line(&wish.question()).into_owned()).bold(),
            None if self.message.is_empty() => Line::from(HELP),
            None => Line::from(format!("{}   {HELP}", one_line(&self.message))),
        };
        frame.render_widget(Paragraph::new(foot_text), foot);
    }

    /// Returns the line that names the pages and marks the present one.
    fn pages(&self) -> Line<'static> {
        let mut line = Line::default();
        for (number, page) in (1..).zip(Page::ALL) {
            let text = format!(" {number} {} ", page.title());
            let style = if page == self.page {
                Style::new().reversed()
            } else {
                Style::new()
            };
            line.push_span(ratatui::text::Span::styled(text, style));
        }
        line
    }
}

/// Returns the line about the whole fleet.
pub(super) fn summary(fleet: &Fleet, broker: &str, now: Instant) -> Line<'static> {
    let waiting: u64 = fleet.queues.iter().map(|(_, waiting)| waiting).sum();
    Line::from(format!(
        "{broker}   {} workers   {waiting} waiting   {} held   {} dead   {:.1} tasks/s",
        fleet.workers.len(),
        fleet.held,
        fleet.dead,
        fleet.rate(now),
    ))
}
