//! Models that answer when a test lets them: what has to happen while one is asked has happened by then, however slow the machine is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::watch;

use super::model::ChatRequest;

/// What is held, by a word of the question, and how it is heard that it is let go.
static ALL: Mutex<BTreeMap<String, watch::Receiver<()>>> = Mutex::new(BTreeMap::new());

fn all() -> MutexGuard<'static, BTreeMap<String, watch::Receiver<()>>> {
    ALL.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Keeps whoever is asked with a word in the question from answering, until it goes.
pub struct Held {
    word: String,
    _open: watch::Sender<()>,
}

impl Held {
    /// Holds whoever is asked with this word, which is nobody else's.
    pub fn who_is_asked_with(word: &str) -> Held {
        let (open, opened) = watch::channel(());
        all().insert(word.to_owned(), opened);
        Held {
            word: word.to_owned(),
            _open: open,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        all().remove(&self.word);
    }
}

/// Returns when nobody holds it.
pub(super) async fn let_go(request: &ChatRequest) {
    let question = request.messages.last().map_or("", |message| message.content.as_str());
    let held = all()
        .iter()
        .find_map(|(word, opened)| question.contains(word).then(|| opened.clone()));
    if let Some(mut opened) = held {
        // Nothing is ever sent: it ends with its sender.
        while opened.changed().await.is_ok() {}
    }
}
