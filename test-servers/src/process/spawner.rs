//! The thread that starts all servers.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, mpsc},
    thread,
};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a command from a thread that exists until the process ends. The kernel kills a server
/// when the *thread* that started it ends, and a test's thread may end while other tests use the
/// server.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, done) in queue {
                // The caller waits for the result.
                let _ = done.send(command.spawn());
            }
        });
        jobs
    });
    let ended = || io::Error::other("the thread that starts servers has ended");
    let (done, result) = mpsc::channel();
    SPAWNER.send((command, done)).map_err(|_| ended())?;
    result.recv().map_err(|_| ended())?
}
