//! Whether we have been asked to end: the one thing that long work asks between two of its pieces, and
//! may wait for.

use std::future::pending;

use tokio::sync::watch;

/// The wish that we end. Cheap to clone; every clone hears it.
#[derive(Debug, Clone)]
pub struct Stop(Option<watch::Receiver<bool>>);

impl Stop {
    /// One that never comes, for work that ends by itself.
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether it has come.
    pub fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|stopped| *stopped.borrow())
    }

    /// Rests for so long, or until it comes.
    pub async fn rest(&self, rest: std::time::Duration) {
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = self.asked() => {}
        }
    }

    /// Returns once it has come, at once if it has already; never when nobody can ask any more.
    pub async fn asked(&self) {
        if let Some(mut stopped) = self.0.clone()
            && stopped.wait_for(|stopped| *stopped).await.is_ok()
        {
            return;
        }
        pending().await
    }
}

impl From<watch::Receiver<bool>> for Stop {
    /// It comes when the value turns true.
    fn from(stopped: watch::Receiver<bool>) -> Self {
        Self(Some(stopped))
    }
}
