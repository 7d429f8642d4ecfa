//! The end of a process, which has a deadline. A database that hangs, rather than being gone, holds threads that nothing can wake: they are
//! waited for, and not for long. Signals are waited for on a thread of its own, so that no other can be in the way.

use std::{io, process, sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result};
use futures_util::{FutureExt, future::select_all};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

use crate::kernel::gate::Gate;

/// The exit code of a process whose end took too long; `timeout` has the same.
const TOO_LONG: i32 = 124;

/// The exit code of a process whose end was cut short by a further signal; shells say so of a Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Signals within so long are one.
const SAME: Duration = Duration::from_millis(200);

/// How long it may take to say why: nobody may read the log.
const SAYING: Duration = Duration::from_secs(1);

/// How long threads may go on after all else is over.
const THREADS: Duration = Duration::from_secs(3);

/// Whoever ends a process holds this until nothing is left to do but to let go of its threads.
pub(super) struct End {
    asked: watch::Receiver<bool>,
    waits_for: watch::Sender<&'static str>,
}

impl End {
    /// Of a service: SIGTERM or SIGINT asks for it, and has to be followed within `patience`. Further ones change nothing.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub(super) fn of_a_service(patience: Duration) -> Result<End> {
        End::listen(&[SignalKind::terminate(), SignalKind::interrupt()], patience, false)
    }

    /// Of what runs at a terminal, which may also go away. A further signal ends it at once.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub(super) fn at_a_terminal(patience: Duration) -> Result<End> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        End::listen(&kinds, patience, true)
    }

    fn listen(kinds: &[SignalKind], patience: Duration, cut_short: bool) -> Result<End> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _here = runtime.enter();
            let listened = kinds.iter().map(|kind| signal(*kind)).collect::<io::Result<Vec<_>>>();
            listened.context("signals cannot be listened to")?
        };
        let (ask, asked) = watch::channel(false);
        let (waits_for, waited_for) = watch::channel("nothing yet");
        let watching = watch_over(signals, ask, waited_for, patience, cut_short);
        thread::Builder::new()
            .name("end".into())
            .spawn(move || runtime.block_on(watching))?;
        Ok(End { asked, waits_for })
    }

    /// Returns when a signal has asked for it.
    pub(super) async fn asked(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            tracing::error!("nobody listens to signals any more: ending");
        }
    }

    /// Notes what the end waits for now, to be told where it is not waited for any longer.
    pub(super) fn waits_for(&self, what: &'static str) {
        self.waits_for.send_replace(what);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.waits_for("threads, which wait for the database or another server");
    }
}

/// Waits for the signal that asks for the end, and ends the process where that takes too long.
async fn watch_over(
    mut signals: Vec<Signal>,
    ask: watch::Sender<bool>,
    mut waited_for: watch::Receiver<&'static str>,
    patience: Duration,
    cut_short: bool,
) {
    next(&mut signals).await;
    ask.send_replace(true);
    let late = async {
        // Nobody can say anything new once the `End` is gone.
        if timeout(patience, waited_for.wait_for(|_| false)).await.is_ok() {
            sleep(THREADS).await;
        }
    };
    let further = async {
        // Some senders give a signal to the process and to its group, and mean one.
        sleep(SAME).await;
        while next(&mut signals).now_or_never().is_some() {}
        next(&mut signals).await;
    };
    let (why, code) = tokio::select! {
        () = late => ("it takes too long", TOO_LONG),
        () = further, if cut_short => ("a further signal", INTERRUPTED),
    };
    let what = *waited_for.borrow();
    at_once(why, what, code)
}

/// Ends the process although something is not done: it took too long.
pub(super) fn without(what: &str) -> ! {
    at_once("it takes too long", what, TOO_LONG)
}

/// Waits for the threads that ask the database.
///
/// # Errors
/// That it is what they still wait for.
pub(super) async fn threads(gate: &Gate) -> Result<(), &'static str> {
    timeout(THREADS, gate.rest()).await.map_err(|_| "the database")
}

/// The same, and ends the process without them where they wait for too long.
pub(super) async fn let_go_of_threads(gate: &Gate) {
    if let Err(left) = threads(gate).await {
        without(left);
    }
}

fn at_once(why: &str, not_waited_for: &str, code: i32) -> ! {
    let (say, said) = mpsc::channel::<()>();
    // Whichever thread exits lets go of what it keeps for itself. Were it the one that runs actix-web's system, a thread of a server that ends
    // at the same moment would be the last to hold a channel to it, wake a task as it goes, and abort the process.
    let exiting = thread::spawn(move || {
        let _ = said.recv_timeout(SAYING);
        process::exit(code)
    });
    tracing::warn!(why, not_waited_for, "ended at once");
    drop(say);
    let _never = exiting.join();
    process::exit(code)
}

async fn next(signals: &mut [Signal]) {
    select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}
