//! Detects loads that would wait for each other in a circle before any of them waits. Otherwise
//! they would wait until the load deadline.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use super::flight::Flight;
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::sync::{Arc, thread_local},
};

/// The flights for which each flight's loader waits, in the whole process: a circle may involve
/// several caches. Only loads inside loads use it. The lock is the standard library's also in the
/// model test, because no other lock is taken while it is held.
static WAITS_FOR: Mutex<Option<Graph>> = Mutex::new(None);

/// By the id of the waiting flight.
type Graph = HashMap<u64, Vec<Arc<Flight>>>;

thread_local! {
    /// The flights whose loaders are being polled on this thread, the innermost last.
    static POLLING: RefCell<Vec<Arc<Flight>>> = const { RefCell::new(Vec::new()) };
}

/// The dependency of a loader on a flight.
pub(super) struct Edge {
    from: u64,
    to: Arc<Flight>,
}

/// The poll of a flight's loader.
pub(super) struct Polling;

/// Adds the dependency of this thread's innermost loader, if it has one, on `target`.
///
/// # Errors
/// `Loader` if this would close a circle.
pub(super) fn wait_for(target: &Arc<Flight>) -> Result<Option<Edge>> {
    let polling = POLLING.with(|it| it.borrow().clone());
    let Some(innermost) = polling.last() else { return Ok(None) };
    let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    let graph = graph.get_or_insert_default();
    if let Some(path) = find(graph, &polling, target) {
        // From where the circle begins, through this thread's loaders, to where it closes.
        let start = path.last().map_or(target.id, |it| it.id);
        let own = polling.iter().skip_while(|it| it.id != start);
        let keys: Vec<_> = own.chain(&path).map(|it| &*it.key).collect();
        return Err(Error::new(
            ErrorKind::Loader,
            format!("deadlock: loads wait for each other in a circle: {}", keys.join(" → ")),
        ));
    }
    graph.entry(innermost.id).or_default().push(Arc::clone(target));
    Ok(Some(Edge { from: innermost.id, to: Arc::clone(target) }))
}

/// Adds the dependency of the outer loader before a loader runs inside it.
pub(super) fn nest(flight: &Arc<Flight>) -> Option<Edge> {
    let from = POLLING.with(|it| it.borrow().last().map(|it| it.id))?;
    let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    let waits = graph.get_or_insert_default().entry(from).or_default();
    waits.push(Arc::clone(flight));
    Some(Edge { from, to: Arc::clone(flight) })
}

/// Adds the dependencies of flights that a single loader completes, each on the next, and of the
/// outer loader on the first.
pub(super) fn chain<'a>(flights: impl Iterator<Item = &'a Arc<Flight>>) -> Vec<Edge> {
    let mut from = POLLING.with(|it| it.borrow().last().map(|it| it.id));
    let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    let graph = graph.get_or_insert_default();
    let mut edges = Vec::new();
    for to in flights {
        if let Some(from) = from.replace(to.id) {
            graph.entry(from).or_default().push(Arc::clone(to));
            edges.push(Edge { from, to: Arc::clone(to) });
        }
    }
    edges
}

/// Notes that this flight's loader is polled on this thread, until the guard is dropped.
pub(super) fn enter(flight: &Arc<Flight>) -> Polling {
    POLLING.with(|it| it.borrow_mut().push(Arc::clone(flight)));
    Polling
}

/// Returns the path along the dependencies from `target` to one of `polling`.
fn find(graph: &Graph, polling: &[Arc<Flight>], target: &Arc<Flight>) -> Option<Vec<Arc<Flight>>> {
    let mut seen = HashSet::from([target.id]);
    let mut paths = VecDeque::from([vec![Arc::clone(target)]]);
    while let Some(path) = paths.pop_front() {
        let at = path.last()?;
        if polling.iter().any(|it| it.id == at.id) {
            return Some(path);
        }
        for next in graph.get(&at.id).into_iter().flatten().filter(|it| seen.insert(it.id)) {
            paths.push_back(path.iter().chain([next]).map(Arc::clone).collect());
        }
    }
    None
}

impl Drop for Edge {
    fn drop(&mut self) {
        let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(graph) = graph.as_mut() else { return };
        let Some(waits) = graph.get_mut(&self.from) else { return };
        if let Some(n) = waits.iter().position(|it| it.id == self.to.id) {
            waits.swap_remove(n);
        }
        if waits.is_empty() {
            graph.remove(&self.from);
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLING.with(|it| it.borrow_mut().pop());
    }
}
