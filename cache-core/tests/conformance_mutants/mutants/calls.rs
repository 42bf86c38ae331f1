//! Counts the calls of a store. A mutant waits between two steps until another call ran in between,
//! also on a busy machine.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use cache_core::layer::{Call, Layer, Operation, Reply};

/// The number of calls so far. As a layer around the store, it counts the end of each call.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

/// The event for which a call waits between two steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Another call waits between its steps, or has ended.
    Another,
    /// Another call has read.
    Read,
    /// Another call has written.
    Written,
}

#[derive(Clone, Copy, Debug, Default)]
struct SoFar {
    paused: u64,
    read: u64,
    written: u64,
    /// The number of pauses that ended without their event.
    timed_out: u32,
}

impl SoFar {
    fn of(self, until: Until) -> u64 {
        match until {
            Until::Another => self.paused + self.read + self.written,
            Until::Read => self.read,
            Until::Written => self.written,
        }
    }
}

impl Calls {
    /// Lets other calls run between two steps that should be one. Waits for half a second at most,
    /// because there may be no other call, and for less after each pause that timed out.
    pub(super) fn pause(&self, until: Until) {
        let mut so_far = self.so_far.lock().unwrap();
        so_far.paused += 1;
        self.more.notify_all();
        let before = so_far.of(until);
        let limit = Duration::from_millis(500 >> so_far.timed_out.min(8));
        let (mut so_far, waited) =
            self.more.wait_timeout_while(so_far, limit, |it| it.of(until) == before).unwrap();
        so_far.timed_out += u32::from(waited.timed_out());
    }

    fn done(&self, operation: Operation) {
        let mut so_far = self.so_far.lock().unwrap();
        match operation {
            Operation::Get | Operation::GetMany | Operation::HasKey | Operation::Ttl => {
                so_far.read += 1;
            }
            _ => so_far.written += 1,
        }
        self.more.notify_all();
    }
}

impl Layer for Calls {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let res = run().await;
        self.done(call.operation);
        res
    }
    fn around_sync<R: Reply>(&self, call: Call<'_>, run: impl Fn() -> R) -> R {
        let res = run();
        self.done(call.operation);
        res
    }
}
