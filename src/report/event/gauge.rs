//! How far long work has come: counted by whoever does it, read by whoever shows it.
//!
//! An event for every piece of a transfer would be thousands a second. The idea to hold in mind: work
//! tells once that it begins, with a gauge; the gauge is a number that costs nothing to move, and
//! when the last of its holders drops it, the work has ended, well or not.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Kinds of work that may take long, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LongWork {
    /// Getting the context.
    Context,
    /// Downloading a base's blob.
    Download,
    /// Writing a base to disk.
    Unpack,
    /// Reading, compressing and storing a layer.
    Layer,
    /// Sending a blob.
    Upload,
}

/// Counts bytes of one piece of work; cheap to clone. The work has ended when no clone is left.
#[derive(Clone)]
pub struct Gauge(Arc<Inner>);

struct Inner {
    work: LongWork,
    name: String,
    done_bytes: Arc<AtomicU64>,
    total_bytes: OnceLock<u64>,
}

/// Looks at a gauge without keeping the work alive.
#[derive(Clone, Debug)]
pub struct GaugeView(Weak<Inner>);

/// What a gauge showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The kind of work.
    pub work: LongWork,
    /// What is worked on, such as a digest; may be empty.
    pub name: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes to be done, where that is known.
    pub total_bytes: Option<u64>,
}

impl Gauge {
    /// Makes a gauge for work on `name`, of which `total_bytes` are to be done, if that is known.
    pub fn new(work: LongWork, name: impl Into<String>, total_bytes: Option<u64>) -> Self {
        let total = OnceLock::new();
        if let Some(bytes) = total_bytes {
            // Nobody else has the gauge yet.
            let _ = total.set(bytes);
        }
        let done_bytes = Arc::default();
        Self(Arc::new(Inner { work, name: name.into(), done_bytes, total_bytes: total }))
    }

    /// Counts bytes that are done.
    pub fn add(&self, bytes: u64) {
        self.0.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says how many bytes are done in all, as when something is sent again.
    pub fn set(&self, bytes: u64) {
        self.0.done_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says how many bytes there are to be done, if nobody has said it before.
    pub fn set_total(&self, bytes: u64) {
        let _ = self.0.total_bytes.set(bytes);
    }

    /// Returns the kind of work.
    pub fn work(&self) -> LongWork {
        self.0.work
    }

    /// Returns the number behind the gauge, for those who count without knowing what it is for.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.done_bytes)
    }

    /// Returns a reader or writer that counts what passes.
    pub fn counting<T>(&self, inner: T) -> Counting<T> {
        Counting { inner, gauge: self.clone() }
    }

    /// Returns a way to look at the gauge.
    pub fn view(&self) -> GaugeView {
        GaugeView(Arc::downgrade(&self.0))
    }

    fn read(&self) -> Reading {
        Reading {
            work: self.0.work,
            name: self.0.name.clone(),
            done_bytes: self.0.done_bytes.load(Ordering::Relaxed),
            total_bytes: self.0.total_bytes.get().copied(),
        }
    }
}

impl GaugeView {
    /// Returns what the gauge shows; `None` when the work has ended.
    pub fn read(&self) -> Option<Reading> {
        self.0.upgrade().map(|inner| Gauge(inner).read())
    }
}

/// Two gauges are equal when they are one.
impl PartialEq for Gauge {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.read()).finish()
    }
}

/// Counts what is read from or written to something.
#[derive(Debug)]
pub struct Counting<T> {
    inner: T,
    gauge: Gauge,
}

impl<T> Counting<T> {
    fn count(&self, bytes: usize) {
        self.gauge.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count(count);
        Ok(count)
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.count(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_shows_what_was_counted_until_the_last_holder_is_gone() {
        let gauge = Gauge::new(LongWork::Upload, "layer", None);
        let view = gauge.view();
        let shown = |done_bytes, total_bytes| {
            let (work, name) = (LongWork::Upload, "layer".to_owned());
            Some(Reading { work, name, done_bytes, total_bytes })
        };
        gauge.add(3);
        assert_eq!(view.read(), shown(3, None));
        let mut writer = gauge.clone().counting(Vec::new());
        writer.write_all(b"four").expect("writes");
        gauge.set_total(10);
        gauge.set_total(99);
        assert_eq!(view.read(), shown(7, Some(10)));
        gauge.set(1);
        drop(gauge);
        assert_eq!(view.read(), shown(1, Some(10)));
        drop(writer);
        assert_eq!(view.read(), None);
    }
}
