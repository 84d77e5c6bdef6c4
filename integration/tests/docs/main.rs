//! Every command of the documentation, run as it stands there, on a node of its own: containerd, runc and palisade where a node has them.
//!
//! A block that is marked `console` holds commands (after `# ` or `$ `) and, below a command, what it prints; `…` stands for anything. They are run in the
//! order of the page. A command that ends with another code than 0 says so in a comment, `# exit code 1`. Commands of a block that is marked
//! `console cluster` need the API of a cluster: what they name in this repository must be there. Run by `scripts/test` as root.

mod cluster;
mod node;
mod page;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use palisade_integration::{Assets, Enclosure, Failure};

use node::Node;
use page::{Command, Kind, Page};

/// Commands that something else runs, or that nothing here can run, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("scripts/test", "is what runs this"),
    ("scripts/demo", "builds by itself, and is a demonstration of its own"),
    ("scripts/bench", "takes minutes, and its figures are no test"),
    ("scripts/soak", "takes as long as it is given"),
    ("scripts/fuzz", "takes as long as it is given; the bodies are part of cargo test"),
    ("scripts/mutants", "takes hours"),
    ("scripts/vm", "a step of scripts/test"),
    ("scripts/build", "a step of scripts/test"),
    ("DIR=$(dirname \"$(scripts/build)\")", "a step of scripts/test; the node has what it built"),
    ("scripts/image", "the suite makes the image and installs from it"),
    ("cosign ", "signs at a registry; the suite makes the same signatures with openssl"),
    ("digest=$(crane", "asks a registry"),
    ("trivy ", "has a database to fetch; reports of its form are judged by tests"),
    ("grype ", "has a database to fetch; reports of its form are judged by tests"),
];

fn main() -> ExitCode {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("docs: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let assets = Assets::locate()?;
    let enclosure = Enclosure::enter(&assets.busybox)?;
    let node: &'static Node = Box::leak(Box::new(Node::start(&enclosure, &assets)?));
    let pages = pages()?;
    let mut trials: Vec<Trial> = pages.iter().cloned().map(|page| trial(node, page)).collect();
    trials.push(Trial::test("no block of commands is passed over", move || every_block_is_marked(&pages)));
    let conclusion = libtest_mimic::run(arguments, trials);
    node.stop()?;
    Ok(!conclusion.has_failed())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// README.md and the pages of docs/; those that begin on a bare node first.
fn pages() -> Result<Vec<Page>, Failure> {
    let folder = root().join("docs");
    let mut paths = vec![root().join("README.md")];
    for entry in std::fs::read_dir(&folder).map_err(Failure::io("list", &folder))? {
        let path = entry.map_err(Failure::io("list", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

fn trial(node: &'static Node, page: Page) -> Trial {
    Trial::test(format!("commands of {}", page.name), move || {
        node.prepare(&page.name)?;
        let mut ran = 0;
        for command in &page.commands {
            follow(node, command).map_err(|failed| at(&page, command, &failed))?;
            ran += 1;
        }
        println!("{}: {ran} commands", page.name);
        Ok(())
    })
}

fn follow(node: &Node, command: &Command) -> Result<(), Failed> {
    if let Some((beginning, _)) = ELSEWHERE.iter().find(|(beginning, _)| command.text.starts_with(beginning)) {
        let script = beginning.starts_with("scripts/").then(|| root().join(beginning));
        return match script.filter(|script| !script.exists()) {
            Some(missing) => Err(format!("{} is not there", missing.display()).into()),
            None => Ok(()),
        };
    }
    match command.kind {
        Kind::Cluster => cluster::names_what_is_there(&command.text, &root()),
        Kind::Node => node.run(command),
    }
}

fn at(page: &Page, command: &Command, failed: &Failed) -> Failed {
    format!("{}:{}: {}: {}", page.name, command.line, command.text, failed.message().unwrap_or_default()).into()
}

/// Commands in a block of another kind would be read and never run.
fn every_block_is_marked(pages: &[Page]) -> Result<(), Failed> {
    let wrong: Vec<String> = pages
        .iter()
        .flat_map(|page| page.unmarked.iter().map(|(line, info)| format!("{}:{line}: {info:?}", page.name)))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("mark these `console`: {wrong:?}").into()) }
}
