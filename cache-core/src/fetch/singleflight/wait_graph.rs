//! Loads that wait for each other in a circle would wait until the load deadline. They are found before
//! anyone waits.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Flight;
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::sync::{Arc, thread_local},
};

/// Which flight's loader waits for which other flights, in the whole process: a circle may go through several
/// caches. Touched only by loads inside loads.
pub(super) struct Circles;

/// The same under one lock. Not `crate::runtime::sync`'s: nothing else happens while it is held.
static WAITS_FOR: Mutex<Option<Graph>> = Mutex::new(None);

/// By the id of the flight that waits.
type Graph = HashMap<u64, Vec<Arc<Flight>>>;

thread_local! {
    /// The flights whose loaders are being polled on this thread, the innermost last.
    static INSIDE: RefCell<Vec<Arc<Flight>>> = const { RefCell::new(Vec::new()) };
}

/// One loader waits for one flight.
pub(super) struct Edge {
    from: u64,
    to: Arc<Flight>,
}

/// A flight's loader is being polled.
pub(super) struct Inside;

impl Circles {
    /// Before a wait: the innermost loader of this thread, if there is one, will depend on `target`.
    pub(super) fn wait_for(target: &Arc<Flight>) -> Result<Option<Edge>> {
        let inside = INSIDE.with(|it| it.borrow().clone());
        let Some(innermost) = inside.last() else { return Ok(None) };
        let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        let graph = graph.get_or_insert_default();
        if let Some(path) = find(graph, &inside, target) {
            // From where the circle begins through this thread's loaders, and on to where it closes.
            let start = path.last().map_or(target.id, |it| it.id);
            let own = inside.iter().skip_while(|it| it.id != start);
            let keys: Vec<_> = own.chain(&path).map(|it| &*it.key).collect();
            return Err(Error::new(
                ErrorKind::Loader,
                format!("loads wait for each other in a circle: {}", keys.join(" → ")),
            ));
        }
        graph.entry(innermost.id).or_default().push(Arc::clone(target));
        Ok(Some(Edge { from: innermost.id, to: Arc::clone(target) }))
    }

    /// Before a loader runs inside another loader: the outer one depends on it.
    pub(super) fn lead(flight: &Arc<Flight>) -> Option<Edge> {
        let from = INSIDE.with(|it| it.borrow().last().map(|it| it.id))?;
        let mut graph = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = graph.get_or_insert_default().entry(from).or_default();
        waits.push(Arc::clone(flight));
        Some(Edge { from, to: Arc::clone(flight) })
    }

    /// For as long as a loader is polled.
    pub(super) fn enter(flight: &Arc<Flight>) -> Inside {
        INSIDE.with(|it| it.borrow_mut().push(Arc::clone(flight)));
        Inside
    }
}

/// The way from `target`, along who waits for whom, to one of `inside`.
fn find(graph: &Graph, inside: &[Arc<Flight>], target: &Arc<Flight>) -> Option<Vec<Arc<Flight>>> {
    let mut seen = HashSet::from([target.id]);
    let mut paths = VecDeque::from([vec![Arc::clone(target)]]);
    while let Some(path) = paths.pop_front() {
        let at = path.last()?;
        if inside.iter().any(|it| it.id == at.id) {
            return Some(path);
        }
        for next in graph.get(&at.id).into_iter().flatten().filter(|it| seen.insert(it.id)) {
            paths.push_back(path.iter().chain([next]).map(Arc::clone).collect());
        }
    }
    None
}

/// Numbers for flights.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
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

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with(|it| it.borrow_mut().pop());
    }
}
