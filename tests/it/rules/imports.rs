//! Which way imports go: in trees of `use`, in paths, and within macros and attributes.

use std::{collections::BTreeSet, fs, path::Path};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ItemMod, ItemUse, Macro, Meta, UseTree, parse_quote,
    visit::{self, Visit},
};

use super::{is_test, none, sources};

/// What a file names from its crate's root or of other crates, tests aside: `crate::features::billing::PlanCache`.
struct Named {
    /// The module that is read.
    here: Vec<String>,
    paths: Vec<String>,
    /// What a name stands for that was imported.
    bound: BTreeSet<(String, String)>,
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
            bound: BTreeSet::new(),
        };
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        named.visit_file(&parsed);
        let whole = |path: &String| -> Vec<String> {
            let (first, rest) = path.split_once("::").unwrap_or((path, ""));
            let bound = named.bound.iter().filter(|(name, _)| name == first);
            bound.map(|(_, meant)| format!("{meant}::{rest}")).collect()
        };
        // What a name stands for may begin with another one that was imported.
        for _ in 0..2 {
            let meant: Vec<String> = named.paths.iter().flat_map(whole).collect();
            named.paths.extend(meant);
        }
        named.paths
    }

    /// A path from the root, if it says where it begins.
    fn whole(&self, path: &[String]) -> String {
        let above = path.iter().take_while(|part| *part == "super").count();
        let from_here = above > 0 || path.first().is_some_and(|part| part == "self");
        let mut whole = Vec::new();
        if from_here {
            whole.extend_from_slice(&self.here[..self.here.len().saturating_sub(above)]);
        }
        let rest = path.iter().filter(|part| !["super", "self"].contains(&part.as_str()));
        whole.extend(rest.cloned());
        whole.join("::")
    }

    fn imported(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.imported(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => return group.items.iter().for_each(|item| self.imported(item, before)),
            UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned().unwrap_or_default())
            }
            UseTree::Name(name) => (with(name.ident.to_string()), name.ident.to_string()),
            UseTree::Rename(name) => (with(name.ident.to_string()), name.rename.to_string()),
            _ => (with("*".to_owned()), "*".to_owned()),
        };
        let path = self.whole(&path);
        self.bound.insert((name, path.clone()));
        self.paths.push(path);
    }

    /// What stands in a macro or an attribute, where a path is a run of names, or a text.
    fn within(&mut self, tokens: &TokenStream) {
        let mut run: Vec<String> = Vec::new();
        for token in tokens.clone() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => {}
                TokenTree::Ident(name) => run.push(name.to_string()),
                other => {
                    self.note(&mut run);
                    match other {
                        TokenTree::Group(group) => self.within(&group.stream()),
                        TokenTree::Literal(text) => {
                            let text = text.to_string();
                            let mut parts = text.trim_matches('"').split("::").map(str::to_owned).collect();
                            self.note(&mut parts);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.note(&mut run);
    }

    /// Notes a run of names: any of them may be where a path begins, as after a keyword.
    fn note(&mut self, run: &mut Vec<String>) {
        for start in 0..run.len() {
            self.paths.push(self.whole(&run[start..]));
        }
        run.clear();
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
        self.paths.push(self.whole(&parts));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &Macro) {
        self.within(&called.tokens);
        visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.within(&list.tokens);
        }
        visit::visit_attribute(self, attribute);
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
        use crate::features::{self};
        use crate as root;
        use root::app as above;
        fn renamed() { above::twice::removed() }
        fn called() { assert!(features::policies::f()); json!({\"a\": crate::features::store::x()}); matches!(0, x if crate::app::web::x(x)) }
        macro_rules! up { () => { crate::app::made::run() }; }
        #[serde(serialize_with = \"crate::features::written::millis\")] struct Told;
        mod within { use super::super::other; fn f() { let _ = crate::app::serve(|| actix_web::web::Data); } }
        #[cfg(test)] mod tests { use crate::never; }
    ";
    let named = Named::of("src/kernel/gate.rs", text);
    for path in [
        "crate::app::boot::Deployment",
        "crate::features::billing",
        "crate::features::billing::PlanCache",
        "crate::features::products::*",
        "crate::features::machines",
        "crate::features::policies::f",
        "crate::features::store::x",
        "crate::app::web::x",
        "crate::app::made::run",
        "crate::app::twice::removed",
        "crate::features::written::millis",
        "crate::kernel::other",
        "crate::app::serve",
        "actix_web::web::Data",
    ] {
        assert!(named.iter().any(|one| one == path), "{path} of {named:?}");
    }
    assert!(!named.iter().any(|one| one.contains("never")), "{named:?}");
}

#[test]
fn nobody_takes_everything_of_the_root() {
    none(
        "what is taken is named",
        naming("src", &["crate::*", "crate::features::*"], |_| false),
    );
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
