//! The commands of a page.

use std::fs;
use std::path::Path;

use palisade_integration::Failure;

/// Where a command can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Cluster,
}

/// A command, and what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The exit codes that the page tells of, else 0.
    pub(crate) codes: Vec<i32>,
    /// Lines that the page shows below it.
    pub(crate) output: Vec<String>,
}

/// A page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) commands: Vec<Command>,
    /// Blocks of a shell's that are not marked as ones to be run.
    pub(crate) unmarked: Vec<(usize, String)>,
}

const CODES: &str = "exit code ";

impl Page {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(Failure::io("read", path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut page = Self { name, commands: Vec::new(), unmarked: Vec::new() };
        let mut block: Option<Option<Kind>> = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_start();
            match (line.strip_prefix("```"), block) {
                (Some(_), Some(_)) => block = None,
                (Some(info), None) => block = Some(page.begin(at + 1, info)),
                (None, Some(Some(kind))) => page.take(kind, at + 1, line),
                (None, _) => {}
            }
        }
        Ok(page)
    }

    fn begin(&mut self, line: usize, info: &str) -> Option<Kind> {
        match info {
            "console" => Some(Kind::Node),
            "console cluster" => Some(Kind::Cluster),
            _ => {
                if ["sh", "bash", "shell"].contains(&info) || info.starts_with("console") {
                    self.unmarked.push((line, info.to_owned()));
                }
                None
            }
        }
    }

    fn take(&mut self, kind: Kind, line: usize, text: &str) {
        let goes_on = self.commands.last().is_some_and(|last| last.output.is_empty() && last.text.ends_with('\\'));
        if let (true, Some(last)) = (goes_on, self.commands.last_mut()) {
            last.text.pop();
            last.text.push_str(text);
        } else if let Some(text) = text.strip_prefix("# ").or_else(|| text.strip_prefix("$ ")) {
            let codes = codes(text);
            self.commands.push(Command { kind, line, text: text.to_owned(), codes, output: Vec::new() });
        } else if let Some(last) = self.commands.last_mut().filter(|_| !text.is_empty()) {
            last.output.push(text.to_owned());
        }
    }
}

/// `# exit code 1: looser`, `# exit code 0 or 1`.
fn codes(text: &str) -> Vec<i32> {
    let said = text.split_once('#').and_then(|(_, comment)| comment.split_once(CODES));
    let Some((_, said)) = said else { return vec![0] };
    said.split(':').next().unwrap_or_default().split(" or ").filter_map(|code| code.trim().parse().ok()).collect()
}

/// Whether a line of the output is what the page shows: `…` stands for anything.
pub(crate) fn is_shown(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim().strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
        last = Some(part);
    }
    match last {
        Some(end) => end.is_empty() || line.trim().ends_with(end),
        None => rest.is_empty(),
    }
}
