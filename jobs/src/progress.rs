//! How far a run has come: a bar on a terminal, a plain line every ten seconds elsewhere, JSON where asked for.
//!
//! A `View` owns stderr for the length of a command. A `Pulse` holds the numbers that running steps report; a
//! watching thread turns them into `progress` events. Reporting costs a few atomic stores a block.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::events::Event;
use crate::memory;
use crate::terminal::complain;

/// Time between two signs of life.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Stands for a number of rows that nobody knows.
const UNKNOWN: u64 = u64::MAX;

/// What stderr carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, with a progress bar on a terminal.
    #[default]
    Text,
    /// One JSON object a line: the events of `events.jsonl`.
    Json,
}

/// Shows events on stderr.
pub struct View {
    format: LogFormat,
    quiet: bool,
    on_terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl View {
    /// Returns a view; a bar is drawn only on a terminal, and never beside JSON.
    #[must_use]
    pub fn new(format: LogFormat, quiet: bool) -> Self {
        let on_terminal = format == LogFormat::Text && !quiet && std::io::stderr().is_terminal();
        Self { format, quiet, on_terminal, bar: Mutex::new(None) }
    }

    /// Returns what stderr carries.
    #[must_use]
    pub const fn format(&self) -> LogFormat {
        self.format
    }

    /// Says whether only errors are wanted.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Shows an event: its JSON line or its text, whichever this view is for.
    pub fn show(&self, json: &str, text: Option<&str>, is_error: bool) {
        if self.quiet && !is_error {
            return;
        }
        match (self.format, text) {
            (LogFormat::Json, _) => complain(json),
            (LogFormat::Text, Some(text)) => self.say(text),
            (LogFormat::Text, None) => {}
        }
    }

    /// Shows a line for people, above the bar where there is one.
    fn say(&self, text: &str) {
        let text = format!("{}\n", text.trim_end());
        match &*self.bar() {
            Some(bar) => bar.suspend(|| complain(&text)),
            None => complain(&text),
        }
    }

    /// Starts a bar of rows.
    pub fn start_rows(&self, label: &str, total: Option<u64>) {
        self.start(
            label,
            total,
            "{prefix} [{wide_bar}] {human_pos}/{human_len} rows, {eta} left",
            "{prefix} {spinner} {human_pos} rows, {elapsed}",
        );
    }

    /// Starts a bar of bytes.
    pub fn start_bytes(&self, label: &str, total: u64) {
        self.start(label, Some(total), "{prefix} [{wide_bar}] {binary_bytes}/{binary_total_bytes}, {eta} left", "{prefix} {binary_bytes}");
    }

    fn start(&self, label: &str, total: Option<u64>, known: &str, unknown: &str) {
        if !self.on_terminal {
            return;
        }
        let template = if total.is_some() { known } else { unknown };
        let style = ProgressStyle::with_template(template)
            .expect("the templates are constants of this file")
            .progress_chars("=> ")
            .tick_chars("-\\|/ ");
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style).with_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        *self.bar() = Some(bar);
    }

    /// Moves the bar.
    pub fn move_to(&self, position: u64) {
        if self.on_terminal
            && let Some(bar) = &*self.bar()
        {
            bar.set_position(position);
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    /// Says whether signs of life are shown as lines; a bar shows them better.
    #[must_use]
    pub const fn has_bar(&self) -> bool {
        self.on_terminal
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        // A panic while drawing leaves the bar as it was.
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says now and then that it is time.
pub struct Every {
    span: Duration,
    last: Mutex<Instant>,
}

impl Every {
    /// Begins to wait.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        Self { span, last: Mutex::new(Instant::now()) }
    }

    /// Says whether it is time: once in a span, to one of those that ask.
    pub fn is_due(&self) -> bool {
        let Ok(mut last) = self.last.try_lock() else { return false };
        let is_due = last.elapsed() >= self.span;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }
}

/// The numbers of the step that runs now.
#[derive(Default)]
pub struct Pulse {
    step: Mutex<Option<Beat>>,
    rows_done: AtomicU64,
    rows_total: AtomicU64,
}

struct Beat {
    step: String,
    started: Instant,
    last: Instant,
    read_before: u64,
}

impl Pulse {
    /// Starts to count for a step.
    pub fn start(&self, step: &str, rows_total: Option<u64>) {
        self.rows_done.store(0, Ordering::Relaxed);
        self.rows_total.store(rows_total.unwrap_or(UNKNOWN), Ordering::Relaxed);
        let now = Instant::now();
        let read_before = memory::read_bytes().unwrap_or(0);
        *self.beat() = Some(Beat { step: step.to_owned(), started: now, last: now, read_before });
    }

    /// Takes the rows done, and the rows in all where they are known.
    pub fn report(&self, rows_done: u64, rows_total: Option<u64>) {
        self.rows_done.store(rows_done, Ordering::Relaxed);
        if let Some(total) = rows_total {
            self.rows_total.store(total, Ordering::Relaxed);
        }
    }

    /// Ends the count.
    pub fn end(&self) {
        *self.beat() = None;
    }

    /// Returns the step and its sign of life when one is due.
    pub fn due(&self, every: Duration) -> Option<(String, Event)> {
        let mut beat = self.beat();
        let beat = beat.as_mut().filter(|beat| beat.last.elapsed() >= every)?;
        beat.last = Instant::now();
        let total = self.rows_total.load(Ordering::Relaxed);
        let event = Event::Progress {
            rows_done: self.rows_done.load(Ordering::Relaxed),
            rows_total: (total != UNKNOWN).then_some(total),
            bytes_read: memory::read_bytes().map(|now| now.saturating_sub(beat.read_before)),
            rss_bytes: memory::rss_bytes(),
            seconds: beat.started.elapsed().as_secs_f64(),
        };
        Some((beat.step.clone(), event))
    }

    fn beat(&self) -> MutexGuard<'_, Option<Beat>> {
        // A panic elsewhere leaves plain numbers behind.
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn it_is_time_once_in_a_span() {
        let every = Every::new(Duration::from_millis(30));
        assert!(!every.is_due());
        std::thread::sleep(Duration::from_millis(31));
        assert!(every.is_due() && !every.is_due());
    }

    #[test]
    fn a_pulse_beats_when_due_and_only_while_a_step_runs() {
        let pulse = Pulse::default();
        assert!(pulse.due(Duration::ZERO).is_none());
        pulse.start("pairs", None);
        pulse.report(7, None);
        assert!(pulse.due(Duration::from_secs(60)).is_none());
        let (step, event) = pulse.due(Duration::ZERO).unwrap();
        assert!(matches!(event, Event::Progress { rows_done: 7, rows_total: None, .. }) && step == "pairs");
        pulse.report(8, Some(9));
        assert!(matches!(pulse.due(Duration::ZERO).unwrap().1, Event::Progress { rows_total: Some(9), .. }));
        pulse.end();
        assert!(pulse.due(Duration::ZERO).is_none());
    }
}
