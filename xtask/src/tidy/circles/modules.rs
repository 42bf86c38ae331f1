//! The modules of a crate, and which file a path leads to.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use super::{
    super::files::File,
    source::{self, Body, Child, Source},
};

/// How many names a path is followed through: re-exports can be a circle, too.
const STEPS: usize = 40;

/// All modules of a crate. The first one is its root.
#[derive(Debug, Default)]
pub(super) struct Modules {
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    /// The path of its file.
    file: String,
    parent: usize,
    children: Vec<(String, usize)>,
    source: Source,
}

impl Modules {
    /// Reads the modules from the file of the crate's root.
    pub(super) fn read(files: &HashMap<&str, &File>, root: &str) -> Self {
        let mut res = Self::default();
        res.add_file(files, root, 0, true);
        res
    }

    /// Returns which file uses which, without itself.
    pub(super) fn edges(&self) -> BTreeSet<(&str, &str)> {
        let mut res = BTreeSet::new();
        for (id, module) in self.modules.iter().enumerate() {
            let source = &module.source;
            // A name that is only passed on is not used here.
            let used = source.uses.iter().filter(|it| {
                !it.is_reexport || it.name.as_ref().is_some_and(|name| source.names.contains(name))
            });
            let imports = used.filter(|it| it.name.is_some()).map(|it| &it.path);
            for path in imports.chain(&source.paths) {
                let mut found = BTreeSet::new();
                self.resolve(id, path, STEPS, &mut found);
                res.extend(found.into_iter().map(|it| (module.file.as_str(), it)));
            }
        }
        res.retain(|(from, to)| from != to);
        res
    }

    fn add_file(
        &mut self,
        files: &HashMap<&str, &File>,
        path: &str,
        parent: usize,
        is_root: bool,
    ) -> Option<usize> {
        let source = source::parse(&files.get(path)?.text)?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        // The files of the children are beside a root or a `mod.rs`, else in a folder of the
        // module's name.
        let children = if is_root || name == "mod.rs" {
            folder.to_owned()
        } else {
            path.trim_end_matches(".rs").to_owned()
        };
        Some(self.add(files, source, path, &children, parent))
    }

    fn add(
        &mut self,
        files: &HashMap<&str, &File>,
        mut source: Source,
        path: &str,
        folder: &str,
        parent: usize,
    ) -> usize {
        let id = self.modules.len();
        let children = mem::take(&mut source.children);
        self.modules.push(Module { file: path.to_owned(), parent, children: Vec::new(), source });
        for Child { name, body } in children {
            let child = match body {
                Body::Inline(source) => {
                    Some(self.add(files, source, path, &format!("{folder}/{name}"), id))
                }
                Body::File(Some(given)) => self.add_file(files, &beside(path, &given), id, false),
                Body::File(None) => {
                    self.add_file(files, &format!("{folder}/{name}.rs"), id, false).or_else(|| {
                        self.add_file(files, &format!("{folder}/{name}/mod.rs"), id, false)
                    })
                }
            };
            self.modules[id].children.extend(child.map(|it| (name, it)));
        }
        id
    }

    /// Adds the files that define what a path in a module leads to. Whether it leads to anything of
    /// the crate.
    fn resolve<'a>(
        &'a self,
        from: usize,
        path: &[String],
        steps: usize,
        found: &mut BTreeSet<&'a str>,
    ) -> bool {
        let [first, rest @ ..] = path else { return false };
        match first.as_str() {
            "crate" => self.walk(0, rest, steps, found),
            "self" => self.walk(from, rest, steps, found),
            "super" => self.walk(self.modules[from].parent, rest, steps, found),
            // A name that is in scope; if not, it is another crate's.
            _ => self.step(from, path, steps, found),
        }
    }

    /// Goes on with a path from a module that it has led to.
    fn walk<'a>(
        &'a self,
        module: usize,
        path: &[String],
        steps: usize,
        found: &mut BTreeSet<&'a str>,
    ) -> bool {
        match path {
            // The module itself: its items are what is used.
            [] => true,
            [first, rest @ ..] if first == "super" => {
                self.walk(self.modules[module].parent, rest, steps, found)
            }
            [first, rest @ ..] if first == "self" => self.walk(module, rest, steps, found),
            _ => {
                self.step(module, path, steps, found) || {
                    // Made by a macro there.
                    found.insert(&self.modules[module].file)
                }
            }
        }
    }

    /// Follows the first name of a path in a module.
    fn step<'a>(
        &'a self,
        module: usize,
        path: &[String],
        steps: usize,
        found: &mut BTreeSet<&'a str>,
    ) -> bool {
        let (Some(steps), [first, rest @ ..]) = (steps.checked_sub(1), path) else { return false };
        let Module { file, children, source, .. } = &self.modules[module];
        let mut res = false;
        // The last name of a path may be an item and a module at once; an item is what is used.
        if rest.is_empty() && source.defines.contains(first) {
            found.insert(file);
            return true;
        }
        for (_, child) in children.iter().filter(|(name, _)| name == first) {
            res |= self.walk(*child, rest, steps, found);
        }
        if res && !rest.is_empty() {
            return true;
        }
        if source.defines.contains(first) {
            found.insert(file);
            return true;
        }
        for import in source.uses.iter().filter(|it| it.name.as_ref() == Some(first)) {
            let mut longer = import.path.clone();
            longer.extend_from_slice(rest);
            res |= self.resolve(module, &longer, steps, found);
        }
        if res {
            return true;
        }
        for glob in source.uses.iter().filter(|it| it.name.is_none()) {
            res |= self.in_glob(module, &glob.path, path, steps, found);
        }
        res
    }

    /// Looks for a path in what `use glob::*` brings into a module.
    fn in_glob<'a>(
        &'a self,
        module: usize,
        glob: &[String],
        path: &[String],
        steps: usize,
        found: &mut BTreeSet<&'a str>,
    ) -> bool {
        let mut at = module;
        for (i, name) in glob.iter().enumerate() {
            at = match name.as_str() {
                "crate" if i == 0 => 0,
                "self" if i == 0 => module,
                "super" => self.modules[at].parent,
                _ => match self.modules[at].children.iter().find(|(child, _)| child == name) {
                    Some((_, child)) => *child,
                    None => return false,
                },
            };
        }
        at != module && self.step(at, path, steps, found)
    }
}

/// Returns the path of a file that is named relative to another one.
fn beside(path: &str, given: &str) -> String {
    let mut res: Vec<&str> = path.split('/').collect();
    res.pop();
    for part in given.split('/') {
        match part {
            "." => {}
            ".." => drop(res.pop()),
            _ => res.push(part),
        }
    }
    res.join("/")
}
