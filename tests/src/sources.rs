//! The files of the checkout, as the rules look at them. It judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold nothing of ours.
const FOREIGN_FOLDERS: [&str; 5] = [".git", ".node", "data", "node_modules", "target"];

/// A text file of the checkout.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path from the root of the checkout, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// For samples and for files that were read.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// True for files that hold nothing but tests.
    pub fn is_test(&self) -> bool {
        let in_tests = |path: &str| path.contains("/tests/");
        in_tests(&self.path) || matches!(self.file_name(), "tests.rs" | "samples.rs" | "stub.rs")
    }

    /// A violation at `line`, counted from 1.
    pub fn violation(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file of the checkout whose name ends with one of `endings`, sorted by path.
pub fn all(endings: &[&str]) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths)?;
    paths.sort();
    let root = root();
    let wanted =
        |path: &Path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending));
    let wanted = paths.into_iter().filter(|path| wanted(path));
    let read = wanted.map(|path| {
        let relative = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| relative.clone())?;
        Ok(Source::new(relative, text))
    });
    read.collect()
}

/// Every path of the checkout, files and folders, from its root.
pub fn all_paths() -> Result<Vec<String>> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths)?;
    let root = root();
    let relative = |path: &PathBuf| path.strip_prefix(&root).ok().map(Path::to_path_buf);
    let relative = paths.iter().filter_map(relative);
    Ok(relative.map(|path| path.to_string_lossy().into_owned()).collect())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let foreign = FOREIGN_FOLDERS.iter().any(|foreign| name == *foreign);
            if !foreign {
                collect(&entry.path(), paths)?;
            }
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}
