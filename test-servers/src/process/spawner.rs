//! The one thread that starts servers.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, mpsc},
    thread,
};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts it from a thread that lives as long as this process. The kernel kills a server when the *thread* that
/// started it ends, and that of a test ends before those who share its server are done.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, done) in queue {
                // Who has asked waits for the answer.
                let _ = done.send(command.spawn());
            }
        });
        jobs
    });
    let gone = || io::Error::other("the thread that starts servers has ended");
    let (done, answer) = mpsc::channel();
    SPAWNER.send((command, done)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}
