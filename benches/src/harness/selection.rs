use super::Case;

/// The selected cases of a suite.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All cases.
    All,
    /// The case of this name, or all whose names begin so, if it ends with `*`.
    Name(&'a str),
    /// The cases that any of these selects.
    Published(&'a [Published]),
}

/// Cases of the published tables.
#[derive(Debug)]
pub struct Published {
    /// The names of the cases, or with `*` their beginnings.
    pub names: &'static [&'static str],
    /// The numbers of tasks or threads; all if empty.
    pub tasks: &'static [usize],
    /// The sizes of values; all if empty.
    pub value_bytes: &'static [usize],
}

impl Selection<'_> {
    /// Returns whether any case of this name is selected.
    pub(super) fn has_name(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(only) => matches(only, name),
            Self::Published(all) => all.iter().any(|it| it.has_name(name)),
        }
    }

    /// Returns whether any case of this name with values of this size is selected.
    pub(super) fn has_size(self, name: &str, value_bytes: usize) -> bool {
        match self {
            Self::Published(all) => all.iter().any(|it| it.has_size(name, value_bytes)),
            _ => self.has_name(name),
        }
    }

    pub(super) fn has(self, case: &Case) -> bool {
        let Self::Published(all) = self else { return self.has_name(&case.name) };
        let has_tasks = |it: &Published| it.tasks.is_empty() || it.tasks.contains(&case.tasks);
        all.iter().any(|it| it.has_size(&case.name, case.value_bytes) && has_tasks(it))
    }
}

impl Published {
    fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|it| matches(it, name))
    }

    fn has_size(&self, name: &str, value_bytes: usize) -> bool {
        let all = self.value_bytes.is_empty();
        self.has_name(name) && (all || self.value_bytes.contains(&value_bytes))
    }
}

fn matches(selected: &str, name: &str) -> bool {
    match selected.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == selected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Unit;

    fn case(name: &str, tasks: usize) -> Case {
        Case::new(name, Unit::Nanos, 100).on_threads(tasks)
    }

    #[test]
    fn name_selects_one_case_and_prefix_selects_several() {
        assert!(Selection::Name("get").has(&case("get", 1)));
        assert!(!Selection::Name("get").has(&case("get_bytes", 1)));
        assert!(Selection::Name("get*").has(&case("get_bytes", 1)));
        assert!(!Selection::Name("get*").has_name("set"));
        assert!(Selection::All.has(&case("set", 1)));
    }

    #[test]
    fn published_cases_are_limited_to_their_tasks_and_sizes() {
        let all = [
            Published { names: &["get"], tasks: &[1, 64], value_bytes: &[100] },
            Published { names: &["set"], tasks: &[], value_bytes: &[] },
        ];
        let selection = Selection::Published(&all);
        assert!(selection.has_name("get") && !selection.has_name("incr"));
        assert!(selection.has(&case("get", 64)) && !selection.has(&case("get", 8)));
        assert!(selection.has(&case("set", 8)) && !selection.has(&case("incr", 1)));
        assert!(selection.has_size("get", 100) && !selection.has_size("get", 10_000));
        assert!(selection.has_size("set", 10_000));
        let large = Case::new("get", Unit::Nanos, 10_000);
        assert!(!selection.has(&large));
    }
}
