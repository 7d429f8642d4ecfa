//! Which way imports go, however they are written.

use std::{fs, path::Path};

use syn::{
    Attribute, ItemMod, ItemUse, UseTree, parse_quote,
    visit::{self, Visit},
};

use super::{is_test, none, sources};

/// What a file names from its crate's root or of other crates, tests aside: `crate::features::billing::PlanCache`.
struct Named {
    /// The module that is read.
    here: Vec<String>,
    paths: Vec<String>,
}

impl Named {
    fn of(file: &str, text: &str) -> Vec<String> {
        let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
        let inside = inside.trim_end_matches("/mod").trim_end_matches("lib");
        let below = inside.split('/').filter(|part| !part.is_empty());
        let here = std::iter::once("crate").chain(below).map(str::to_owned).collect();
        let mut named = Named {
            here,
            paths: Vec::new(),
        };
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        named.visit_file(&parsed);
        named.paths
    }

    /// Notes a path, from the root if it says where it begins.
    fn note(&mut self, path: &[String]) {
        let above = path.iter().take_while(|part| *part == "super").count();
        let from_here = above > 0 || path.first().is_some_and(|part| part == "self");
        let mut whole = Vec::new();
        if from_here {
            whole.extend_from_slice(&self.here[..self.here.len().saturating_sub(above)]);
        }
        whole.extend(
            path.iter()
                .filter(|part| !["super", "self"].contains(&part.as_str()))
                .cloned(),
        );
        self.paths.push(whole.join("::"));
    }

    fn imported(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.imported(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.imported(item, before)),
            UseTree::Name(name) => self.note(&with(name.ident.to_string())),
            UseTree::Rename(name) => self.note(&with(name.ident.to_string())),
            _ => self.note(before),
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.contains(&parse_quote!(#[cfg(test)]))
}

impl Visit<'_> for Named {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.here.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.here.pop();
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.imported(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&parts);
        visit::visit_path(self, path);
    }
}

/// The files of a folder that name something which begins with one of these.
fn naming(folder: &str, wanted: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let begins = |path: &str, with: &str| {
        path.strip_prefix(with)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let mut broken = Vec::new();
    for (file, text) in sources(folder)
        .iter()
        .filter(|(file, _)| !allowed(file) && !is_test(file))
    {
        for path in Named::of(file, text) {
            if wanted.iter().any(|with| begins(&path, with)) {
                broken.push(format!("{file} names {path}"));
            }
        }
    }
    broken
}

#[test]
fn a_path_is_seen_however_it_is_written() {
    let text = "
        use crate::{ app::boot::Deployment, features::{billing::{self, PlanCache}, products::*} };
        use super::super::features::machines as m;
        mod within { use super::super::other; fn f() { let _ = crate::app::serve(|| actix_web::web::Data); } }
        #[cfg(test)] mod tests { use crate::never; }
    ";
    let named = Named::of("src/kernel/gate.rs", text);
    for path in [
        "crate::app::boot::Deployment",
        "crate::features::billing",
        "crate::features::billing::PlanCache",
        "crate::features::products",
        "crate::features::machines",
        "crate::kernel::other",
        "crate::app::serve",
        "actix_web::web::Data",
    ] {
        assert!(named.iter().any(|one| one == path), "{path} of {named:?}");
    }
    assert!(!named.iter().any(|one| one.contains("never")), "{named:?}");
}

#[test]
fn imports_go_down_and_never_up() {
    let nowhere = |_: &str| false;
    none(
        "the kernel knows nothing above it",
        naming("src/kernel", &["crate::features", "crate::app"], nowhere),
    );
    none(
        "features know nothing of the wiring",
        naming("src/features", &["crate::app"], nowhere),
    );
}

#[test]
fn a_feature_uses_only_those_listed_above_it() {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/features/mod.rs")).expect("the list");
    let order: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'))
        .filter(|name| *name != "schema")
        .collect();
    assert!(order.len() > 5, "{order:?}");
    let mut broken = Vec::new();
    for (place, feature) in order.iter().enumerate() {
        let below: Vec<String> = order[place + 1..]
            .iter()
            .map(|other| format!("crate::features::{other}"))
            .collect();
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        let (folder, alone) = (format!("src/features/{feature}/"), format!("src/features/{feature}.rs"));
        let others = |file: &str| !file.starts_with(&folder) && file != alone;
        broken.extend(naming("src/features", &below, others));
    }
    none("the order of src/features/mod.rs is the direction of import", broken);
}

#[test]
fn actix_stays_at_the_edge() {
    let at_the_edge = |file: &str| {
        file.ends_with("/routes.rs")
            || file.contains("/routes/")
            || ["src/kernel/http/", "src/kernel/access/", "src/app/"]
                .iter()
                .any(|folder| file.starts_with(folder))
    };
    none(
        "actix_web appears in routes, kernel/http, kernel/access and app only",
        naming("src", &["actix_web"], at_the_edge),
    );
}
