//! The view on a terminal.

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};

use super::Header;
use super::view::{InstanceRow, View};
use crate::console::{self, ConsoleError};

/// Where the demo shows itself.
pub(super) enum Screen {
    /// Redraws the whole terminal.
    Terminal { terminal: Box<DefaultTerminal>, header: Vec<String> },
    /// Writes a line for each thing that happens.
    Lines,
}

impl Screen {
    /// A live screen when standard output is a terminal, plain lines otherwise.
    pub(super) fn open(header: Header) -> anyhow::Result<Self> {
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Ok(Self::Terminal { terminal: Box::new(ratatui::try_init()?), header: header.screen });
        }
        header.lines.iter().try_for_each(|line| console::line(format_args!("{line}")))?;
        Ok(Self::Lines)
    }

    /// Whether it has the whole terminal, keyboard included.
    pub(super) fn draws(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    pub(super) fn draw(&mut self, view: &View) -> anyhow::Result<()> {
        if let Self::Terminal { terminal, header } = self {
            terminal.draw(|frame| render(frame, header, view))?;
        }
        Ok(())
    }

    /// Says a line at once, where lines are how this screen talks.
    pub(super) fn say(&self, line: &str) -> Result<(), ConsoleError> {
        if matches!(self, Self::Lines) { console::line(format_args!("{line}")) } else { Ok(()) }
    }

    pub(super) fn close(self) {
        if matches!(self, Self::Terminal { .. }) {
            ratatui::restore();
        }
    }
}

fn render(frame: &mut Frame<'_>, header: &[String], view: &View) {
    let rows = u16::try_from(view.instances.len()).unwrap_or(u16::MAX).clamp(1, 12);
    let top = u16::try_from(header.len()).unwrap_or(8) + 2;
    let [head, table, load, story] = Layout::vertical([
        Constraint::Length(top),
        Constraint::Length(rows + 3),
        Constraint::Length(6),
        Constraint::Min(4),
    ])
    .areas(frame.area());

    let lines: Vec<Line<'_>> = header.iter().map(|line| Line::from(line.as_str())).collect();
    // No border at the sides: these lines are there to be copied.
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM).title(" outrigger demo · ctrl-c ends it ".bold());
    frame.render_widget(Paragraph::new(lines).block(block), head);

    let title = format!(" {} · {} ready of {} ", view.status, view.ready, view.desired);
    let columns = ["instance", "state", "config", "cpu %", "memory %", "requests/s", "p95 ms", "endpoint"];
    let widths = [9, 12, 7, 7, 9, 11, 8, 22].map(Constraint::Length);
    let instances = Table::new(view.instances.iter().map(instance), widths)
        .header(Row::new(columns).style(Style::new().dim()))
        .block(Block::bordered().title(title.bold()));
    frame.render_widget(instances, table);

    let now = view.requests.back().copied().unwrap_or(0);
    let points: Vec<u64> = view.requests.iter().copied().collect();
    let skip = points.len().saturating_sub(usize::from(load.width.saturating_sub(2)));
    let spark =
        Sparkline::default().data(&points[skip..]).block(Block::bordered().title(format!(" {now} requests/s ").bold()));
    frame.render_widget(spark, load);

    let height = usize::from(story.height.saturating_sub(2));
    let skip = view.lines.len().saturating_sub(height);
    let lines: Vec<Line<'_>> = view.lines.iter().skip(skip).map(|line| Line::from(line.as_str())).collect();
    let title = format!(" now: {} ", view.decision);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), story);
}

fn instance(row: &InstanceRow) -> Row<'_> {
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    let style = if row.endpoint.is_some() { Style::new().green() } else { Style::new().yellow() };
    Row::new([
        row.name.clone(),
        row.state.clone(),
        row.generation.map_or("-".to_owned(), |g| g.to_string()),
        number(row.cpu_percent, 0),
        number(row.memory_percent, 0),
        number(row.requests_per_second, 0),
        number(row.response_ms, 1),
        row.endpoint.clone().unwrap_or_default(),
    ])
    .style(style)
}
