//! Files of manifests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::error::KubernetesError;
use super::objects::{self, Object, Workload, WrongField};
use crate::yaml::{self, Document, MAX_BYTES};

/// The most files of a directory.
const MAX_FILES: usize = 10_000;
/// What files of manifests end in.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];

/// An object of a file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// The line that it begins at.
    pub(crate) line: usize,
    /// Its own text, of a list's as well.
    pub(crate) value: Value,
    document: Rc<Document>,
    /// Which document of the file it is in, from 1.
    number: usize,
    /// Where it is in its document.
    pointer: String,
    pub(crate) content: Content,
}

/// What it is.
#[derive(Debug)]
pub(crate) enum Content {
    Makes(Box<Workload>),
    /// It makes no pods: its kind and name.
    Other {
        kind: String,
        name: String,
    },
    /// A file of a directory that holds none, with the reason.
    Foreign(String),
}

impl Found {
    /// The line of a place of the object.
    pub(crate) fn line_of(&self, pointer: &str) -> usize {
        self.document.line(&format!("{}{pointer}", self.pointer))
    }

    /// The error about one of its fields.
    pub(crate) fn wrong(&self, wrong: WrongField) -> KubernetesError {
        let line = self.line_of(&wrong.pointer);
        let (path, document) = (self.path.clone(), self.number);
        KubernetesError::Field { path, document, line, place: wrong.path, reason: wrong.reason }
    }
}

/// Reads every object of the files and directories; what is in a directory and no manifest is told, and what is named has to be one.
pub(crate) fn objects(paths: &[PathBuf]) -> Result<Vec<Found>, KubernetesError> {
    let mut all = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = Vec::new();
            let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
            let read = io::stdin().take(most).read_to_end(&mut text);
            read.map_err(|source| KubernetesError::Read { path: path.clone(), source })?;
            of_text(path, text, false, &mut all)?;
        } else if path.is_dir() {
            let mut files = BTreeSet::new();
            walk(path, path, &mut files)?;
            if files.is_empty() {
                return Err(KubernetesError::NoManifest { directory: path.clone() });
            }
            for file in files {
                of_text(&file, read(&file)?, true, &mut all)?;
            }
        } else {
            of_text(path, read(path)?, false, &mut all)?;
        }
    }
    Ok(all)
}

/// The bytes of a file, and one more than is read where it is longer.
fn read(path: &Path) -> Result<Vec<u8>, KubernetesError> {
    let failed = |source| KubernetesError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Files below a directory by the endings of their names; links to directories are not followed.
fn walk(root: &Path, directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), KubernetesError> {
    let failed = |source| KubernetesError::Read { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if ENDINGS.contains(&ending) && path.is_file() {
            files.insert(path);
        }
        if files.len() > MAX_FILES {
            return Err(KubernetesError::TooManyFiles { directory: root.to_owned(), most: MAX_FILES });
        }
    }
    Ok(())
}

fn of_text(path: &Path, bytes: Vec<u8>, lenient: bool, all: &mut Vec<Found>) -> Result<(), KubernetesError> {
    let text = String::from_utf8(bytes).map_err(|_| KubernetesError::Text { path: path.to_owned() })?;
    let documents = yaml::documents(&text).map_err(|source| KubernetesError::Yaml { path: path.to_owned(), source })?;
    for (number, document) in documents.into_iter().enumerate() {
        let file = File { path, document: Rc::new(document), number: number + 1, lenient };
        file.object(&file.document.value, String::new(), all)?;
    }
    Ok(())
}

/// A document of a file.
struct File<'a> {
    path: &'a Path,
    document: Rc<Document>,
    number: usize,
    lenient: bool,
}

impl File<'_> {
    fn object(&self, value: &Value, pointer: String, all: &mut Vec<Found>) -> Result<(), KubernetesError> {
        let content = match objects::read(value) {
            Ok(Object::List) => {
                let items = value.get("items").and_then(Value::as_array).into_iter().flatten();
                for (index, item) in items.enumerate() {
                    self.object(item, format!("{pointer}/items/{index}"), all)?;
                }
                return Ok(());
            }
            Ok(Object::Makes(workload)) => Content::Makes(workload),
            Ok(Object::Other { kind, name }) => Content::Other { kind, name },
            Err(WrongField { path, reason, .. }) if path.is_empty() && self.lenient => Content::Foreign(reason),
            Err(wrong) => return Err(self.wrong(&pointer, wrong)),
        };
        all.push(Found {
            path: self.path.to_owned(),
            line: self.document.line(&pointer),
            value: value.clone(),
            document: Rc::clone(&self.document),
            number: self.number,
            pointer,
            content,
        });
        Ok(())
    }

    fn wrong(&self, pointer: &str, wrong: WrongField) -> KubernetesError {
        let line = self.document.line(&format!("{pointer}{}", wrong.pointer));
        let place = if wrong.path.is_empty() { "the document".to_owned() } else { wrong.path };
        KubernetesError::Field { path: self.path.to_owned(), document: self.number, line, place, reason: wrong.reason }
    }
}
