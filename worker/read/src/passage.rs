//! Items that one thread makes and another takes, and an end that is said: a channel that closes without it was cut off,
//! and what came is not all.

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::Error;

enum Passage<T> {
    Item(T),
    /// The maker's own end.
    End,
}

/// The maker's side. Dropping it without an end is an error for whoever takes.
pub(crate) struct Outlet<T> {
    sender: mpsc::Sender<Result<Passage<T>, Error>>,
}

/// The taker's side.
pub(crate) struct Inlet<T> {
    receiver: mpsc::Receiver<Result<Passage<T>, Error>>,
    /// What is made, for the error of one who died of it.
    what: &'static str,
    is_over: bool,
}

/// Nobody takes items any more.
#[derive(Debug)]
pub(crate) struct Unheard;

/// Why an item was not taken at once.
pub(crate) enum NotTaken<T> {
    Unheard,
    /// As many wait as may: the item comes back.
    Full(T),
}

/// A way for items, of which so many may wait.
pub(crate) fn channel<T>(what: &'static str, ahead: usize) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = mpsc::channel(ahead);
    (Outlet { sender }, Inlet { receiver, what, is_over: false })
}

impl<T> Outlet<T> {
    /// Hands an item on.
    pub(crate) async fn send(&self, item: T) -> Result<(), Unheard> {
        self.sender.send(Ok(Passage::Item(item))).await.map_err(|_| Unheard)
    }

    /// Hands an item on, for threads that may wait.
    pub(crate) fn blocking_send(&self, item: T) -> Result<(), Unheard> {
        self.sender.blocking_send(Ok(Passage::Item(item))).map_err(|_| Unheard)
    }

    /// Hands an item on if there is room for it.
    pub(crate) fn try_send(&self, item: T) -> Result<(), NotTaken<T>> {
        self.sender.try_send(Ok(Passage::Item(item))).map_err(|refused| match refused {
            TrySendError::Full(Ok(Passage::Item(item))) => NotTaken::Full(item),
            _ => NotTaken::Unheard,
        })
    }

    /// Says that no more comes: that all did, or what went wrong.
    pub(crate) async fn end(&self, ended: Result<(), Error>) {
        // Nobody is left to tell when this fails.
        let _ = self.sender.send(ended.map(|()| Passage::End)).await;
    }

    /// The same, for threads that may wait.
    pub(crate) fn blocking_end(&self, ended: Result<(), Error>) {
        // Nobody is left to tell when this fails.
        let _ = self.sender.blocking_send(ended.map(|()| Passage::End));
    }

    /// Done when nobody takes items any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Inlet<T> {
    /// The next item; `None` after the last one.
    ///
    /// # Errors
    /// That of the maker, and `Internal` when it is gone without having said an end.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let passage = self.receiver.recv().await;
        self.pass(passage)
    }

    /// The same, for threads that may wait.
    ///
    /// # Errors
    /// As [`Inlet::next`].
    pub(crate) fn blocking_next(&mut self) -> Result<Option<T>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let passage = self.receiver.blocking_recv();
        self.pass(passage)
    }

    fn pass(&mut self, passage: Option<Result<Passage<T>, Error>>) -> Result<Option<T>, Error> {
        match passage {
            Some(Ok(Passage::Item(item))) => Ok(Some(item)),
            Some(Ok(Passage::End)) => {
                self.is_over = true;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::Internal(format!("{} ended before all of it was there", self.what))),
        }
    }
}

impl<T> std::fmt::Debug for Inlet<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").field("what", &self.what).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_that_is_said_is_one() {
        let (outlet, mut inlet) = channel("counting", 4);
        for number in 0..2 {
            outlet.blocking_send(number).unwrap();
        }
        outlet.blocking_end(Ok(()));
        drop(outlet);
        let taken: Vec<Option<i32>> = (0..4).map(|_| inlet.blocking_next().unwrap()).collect();
        assert_eq!(taken, [Some(0), Some(1), None, None]);

        let (outlet, mut inlet) = channel("counting", 4);
        outlet.blocking_send(0).unwrap();
        drop(outlet);
        assert_eq!(inlet.blocking_next().unwrap(), Some(0));
        let error = inlet.blocking_next().unwrap_err().to_string();
        assert!(error.contains("counting ended before all of it was there"), "{error}");
    }

    #[test]
    fn nobody_who_takes_is_noticed() {
        let (outlet, inlet) = channel("counting", 1);
        assert!(outlet.try_send(0).is_ok());
        assert!(matches!(outlet.try_send(1), Err(NotTaken::Full(1))));
        drop(inlet);
        assert!(matches!(outlet.try_send(1), Err(NotTaken::Unheard)));
        assert!(outlet.blocking_send(1).is_err());
    }
}
