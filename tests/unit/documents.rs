//! The links, file names and the picture in the documents.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of the repository, without those in folders that tools make.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The text without blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// The anchors of its headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let heading = line.trim_start_matches('#').trim();
            heading.chars().filter(kept).collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_in_the_documents_leads_to_a_file_and_to_a_heading_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, &mut found);
    found.retain(|path| is_document(path));
    assert!(found.len() > 20, "{found:?}");
    let mut broken = Vec::new();
    for document in &found {
        let text = prose(&fs::read_to_string(document).unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads = match fs::read_to_string(&target) {
                Ok(text) if !anchor.is_empty() => anchors(&prose(&text)).iter().any(|known| known == anchor),
                _ => target.exists(),
            };
            if !leads {
                broken.push(format!("{}: {link}", document.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The words in backticks that name a source file or a folder of them.
fn source_paths(text: &str) -> Vec<String> {
    let is_path = |word: &&str| {
        let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
        word.chars().all(in_path)
            && (word.ends_with(".rs")
                || (word.ends_with('/') && word.matches('/').count() > 1 && !word.starts_with('/')))
    };
    prose(text).split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_source_file_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, &mut found);
    // `kafka/topic.rs` stands for `crates/kafka/src/topic.rs`, and may be shortened at its beginning.
    let known: Vec<String> = found
        .iter()
        .map(|path| path.strip_prefix(root).unwrap().to_string_lossy())
        .flat_map(|path| {
            [format!("/{path}"), format!("/{path}").replace("/crates/", "/").replace("/src/", "/")]
        })
        .collect();
    let exists = |name: &str| {
        let file = format!("/{name}");
        known
            .iter()
            .any(|path| if name.ends_with('/') { path.contains(&file) } else { path.ends_with(&file) })
    };
    let written_by_hand = |path: &&PathBuf| {
        let path = path.strip_prefix(root).unwrap();
        is_document(path) && path != Path::new("CHANGELOG.md") && !path.starts_with("bench")
    };
    let mut stale = Vec::new();
    for document in found.iter().filter(written_by_hand) {
        let text = fs::read_to_string(document).unwrap();
        let names = source_paths(&text).into_iter().filter(|name| !exists(name));
        stale.extend(names.map(|name| format!("{}: {name}", document.strip_prefix(root).unwrap().display())));
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn the_picture_of_the_flow_has_the_labels_of_its_source() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let read = |name| fs::read_to_string(docs.join(name)).unwrap();
    let (source, picture) = (read("flow.dot"), read("flow.svg").replace("&#45;", "-"));
    let labels = source.split("label=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let lines: Vec<_> = labels.flat_map(|label| label.split("\\n")).collect();
    assert!(lines.len() > 15, "{lines:?}");
    let missing: Vec<_> = lines.iter().filter(|line| !picture.contains(&format!(">{line}<"))).collect();
    assert!(missing.is_empty(), "draw it again, as docs/flow.dot says: {missing:?}");
}
