//! Work for several threads, each of which finds more of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Tasks that any worker may take. A worker keeps what it finds to itself, depth first, and gives
/// the older half away when others have nothing to do.
pub(super) struct Queue<T> {
    shared: Mutex<Shared<T>>,
    available: Condvar,
    /// A copy of `Shared::waiting`, to be looked at without the lock.
    waiting_hint: AtomicUsize,
}

struct Shared<T> {
    tasks: Vec<T>,
    worker_count: usize,
    waiting: usize,
    is_finished: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(tasks: Vec<T>, worker_count: usize) -> Self {
        let shared = Shared { tasks, worker_count, waiting: 0, is_finished: false };
        Self {
            shared: Mutex::new(shared),
            available: Condvar::new(),
            waiting_hint: AtomicUsize::new(0),
        }
    }

    /// Returns a task, from `own` or from what others gave away; `None` when all are done.
    pub(super) fn next(&self, own: &mut Vec<T>) -> Option<T> {
        if let Some(task) = own.pop() {
            return Some(task);
        }
        let mut shared = self.lock();
        loop {
            if shared.is_finished {
                return None;
            }
            if let Some(task) = shared.tasks.pop() {
                return Some(task);
            }
            shared.waiting += 1;
            self.waiting_hint.store(shared.waiting, Ordering::Relaxed);
            if shared.waiting >= shared.worker_count {
                shared.is_finished = true;
                self.available.notify_all();
                return None;
            }
            shared = self.available.wait(shared).unwrap_or_else(PoisonError::into_inner);
            shared.waiting -= 1;
            self.waiting_hint.store(shared.waiting, Ordering::Relaxed);
        }
    }

    /// Gives the older half of `own` away if someone waits for work.
    pub(super) fn share(&self, own: &mut Vec<T>) {
        if own.len() < 2 || self.waiting_hint.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut shared = self.lock();
        shared.tasks.extend(own.drain(..own.len() / 2));
        drop(shared);
        self.available.notify_all();
    }

    /// Ends the work early: nobody gets another shared task.
    pub(super) fn finish(&self) {
        self.lock().is_finished = true;
        self.available.notify_all();
    }

    /// Tells that a worker could not be started.
    pub(super) fn lose_worker(&self) {
        let mut shared = self.lock();
        shared.worker_count -= 1;
        if shared.waiting >= shared.worker_count && shared.tasks.is_empty() {
            shared.is_finished = true;
        }
        drop(shared);
        self.available.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        // The lists are whole after every single step, so that a panic elsewhere spoils nothing.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs workers that turn each task `n` into two of `n - 1`; returns how many tasks ran.
    fn run(worker_count: usize, lost: usize) -> usize {
        let queue = Queue::new(vec![12_u32], worker_count + lost);
        let ran = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..worker_count {
                scope.spawn(|| {
                    let mut own = Vec::new();
                    while let Some(task) = queue.next(&mut own) {
                        ran.fetch_add(1, Ordering::Relaxed);
                        if task > 0 {
                            own.extend([task - 1, task - 1]);
                        }
                        queue.share(&mut own);
                    }
                });
            }
            for _ in 0..lost {
                queue.lose_worker();
            }
        });
        ran.into_inner()
    }

    #[test]
    fn every_task_runs_once_and_the_work_ends() {
        for worker_count in [1, 2, 8] {
            assert_eq!(run(worker_count, 0), (1 << 13) - 1);
        }
        assert_eq!(run(2, 3), (1 << 13) - 1);
    }

    #[test]
    fn finishing_releases_those_who_wait() {
        let queue = Queue::<u32>::new(Vec::new(), 2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next(&mut Vec::new()));
            queue.finish();
            assert_eq!(waiting.join().expect("no panic"), None);
        });
    }
}
